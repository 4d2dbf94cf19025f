//! Session records as JSON, for stores that keep bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt_cache::{Codec, Error, Key, Owner, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::level::Proofs;
use crate::record::{Content, Extras, Former};
use crate::{Binding, Device, Flash, Level, Record};

/// The format that is written. A higher number is a newer version's.
const FORMAT: u32 = 1;

/// Session records as JSON (RFC 8259): readable in the store, and forgiving.
///
/// ```text
/// {"v":1,"owner":"ada","created":1767225600000,"authenticated":{"1":1767225600000},
///  "seed":"kX0rNqLrU8mZ1cCw2sYt9A","device":{"user_agent":"curl/8.5.0","address":"192.0.2.7"},
///  "data":{"name":"Ada"}}
/// ```
///
/// Times are milliseconds since the Unix epoch; `authenticated` has the last one at each
/// [level](crate::Level). What is not so is left out: `owner`, the parts of `device`,
/// `kind` (16 hexadecimal digits) for a manager without one, `authenticated` of an anonymous
/// session, `rotated` where the first token is still the one, `remembered`, `binding`,
/// `flashes`, and `former`, the names that it had a short time ago: with since when its
/// user has proved more, or null, until when that is no sign of a theft, and whether they are accepted until then.
/// Fields that are not known are passed over.
///
/// Data is by serde, so a field that is reordered, removed, or added with
/// `#[serde(default)]`, logs nobody out. For changes that go further there are
/// [`migrate`](Self::migrate) and [`drop_unreadable`](Self::drop_unreadable);
/// for what even they can't read, see
/// [`Builder::undecodable`](crate::Builder::undecodable).
pub struct RecordJson<T> {
    rescue: Option<Rescue<T>>,
}

type Rescue<T> = Arc<dyn Fn(&Key, Value) -> Option<T> + Send + Sync>;

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> RecordJson<T> {
    /// Data as serde reads and writes it.
    pub const fn new() -> Self {
        Self { rescue: None }
    }

    /// Data that serde can't read any more goes through `migrate`; `None` if that can't read it either.
    ///
    /// The session is stored in the new form when it is next changed.
    #[must_use]
    pub fn migrate(self, migrate: impl Fn(Value) -> Option<T> + Send + Sync + 'static) -> Self {
        self.rescued_by(move |_, data| migrate(data))
    }

    /// Of data that serde can't read any more, and that
    /// [`migrate`](Self::migrate) does not read either, the fields that can be
    /// read are kept, and the others are those of `T::default()`.
    ///
    /// Each time it is logged, under the session's public id, which fields were dropped.
    #[must_use]
    pub fn drop_unreadable(self) -> Self
    where
        T: Default,
    {
        self.rescued_by(salvage)
    }

    fn rescued_by(self, next: impl Fn(&Key, Value) -> Option<T> + Send + Sync + 'static) -> Self {
        let first = self.rescue;
        let rescue = move |key: &Key, data: Value| match &first {
            Some(first) => first(key, data.clone()).or_else(|| next(key, data)),
            None => next(key, data),
        };
        Self { rescue: Some(Arc::new(rescue)) }
    }

    fn data(&self, key: &Key, json: &RawValue) -> Result<T> {
        let source = match serde_json::from_str(json.get()) {
            Ok(data) => return Ok(data),
            Err(source) => source,
        };
        let rescued = self.rescue.as_ref().and_then(|rescue| {
            let data = serde_json::from_str(json.get()).ok()?;
            rescue(key, data)
        });
        rescued.ok_or_else(|| {
            Error::corrupt(*key, "its data is not what this program expects").with_source(source)
        })
    }
}

/// What can be read of it, with defaults for the rest.
fn salvage<T: Serialize + DeserializeOwned + Default>(key: &Key, data: Value) -> Option<T> {
    let Value::Object(fields) = data else {
        return None;
    };
    let Ok(Value::Object(mut kept)) = serde_json::to_value(T::default()) else {
        return None;
    };
    let reads = |fields: &Map<String, Value>| T::deserialize(Value::Object(fields.clone())).is_ok();
    let mut dropped = Vec::new();
    for (name, value) in fields {
        let before = kept.insert(name.clone(), value);
        if !reads(&kept) {
            match before {
                Some(default) => kept.insert(name.clone(), default),
                None => kept.remove(&name),
            };
            dropped.push(name);
        }
    }
    let data = T::deserialize(Value::Object(kept)).ok()?;
    tracing::warn!(target: "kvolt::session", id = %key, fields = ?dropped, "dropped what can't be read of a session");
    Some(data)
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    created: u64,
    #[serde(skip_serializing_if = "Levels::is_empty")]
    authenticated: Levels,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated: Option<u64>,
    seed: String,
    #[serde(skip_serializing_if = "is_false")]
    remembered: bool,
    #[serde(skip_serializing_if = "WrittenDevice::is_unknown")]
    device: WrittenDevice<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    former: Vec<(String, Option<u64>, u64, bool)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flashes: Vec<(&'a str, &'a str)>,
    data: &'a T,
}

/// When one last proved who they are, by the number of the level.
type Levels = BTreeMap<u8, u64>;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Serialize)]
struct WrittenDevice<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

impl WrittenDevice<'_> {
    fn is_unknown(&self) -> bool {
        self.user_agent.is_none() && self.address.is_none()
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u32,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    created: u64,
    #[serde(default)]
    authenticated: Levels,
    #[serde(default)]
    rotated: Option<u64>,
    seed: String,
    #[serde(default)]
    remembered: bool,
    #[serde(default)]
    device: ReadDevice,
    #[serde(default)]
    binding: Option<String>,
    #[serde(default)]
    former: Vec<(String, Option<u64>, u64, bool)>,
    #[serde(default)]
    flashes: Vec<(String, String)>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReadDevice {
    user_agent: Option<String>,
    address: Option<IpAddr>,
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<Record<T>> for RecordJson<T> {
    fn binds_key(&self) -> bool {
        false
    }

    fn encode(&self, _: &Key, record: &Record<T>) -> Result<Vec<u8>> {
        let Content { data, owner, created, proofs, rotated, device, kind, .. } = record.content();
        let at = |level: Level| Some((level.number(), proofs.exactly(level)?.as_millis()));
        let none = Extras::default();
        let extras = record.content().extras.as_deref().unwrap_or(&none);
        let written = Written {
            v: FORMAT,
            kind: (*kind != 0).then(|| format!("{kind:016x}")),
            owner: owner.as_ref().map(Owner::as_str),
            created: created.as_millis(),
            authenticated: Level::ALL.into_iter().filter_map(at).collect(),
            rotated: (rotated != created).then(|| rotated.as_millis()),
            seed: URL_SAFE_NO_PAD.encode(record.content().seed),
            remembered: record.content().remembered,
            device: WrittenDevice { user_agent: device.user_agent(), address: device.address() },
            binding: extras.binding.as_ref().map(Binding::as_str),
            former: extras
                .former
                .iter()
                .map(|Former { key, outdated, until, accepted }| {
                    let outdated = outdated.map(Timestamp::as_millis);
                    (key.to_string(), outdated, until.as_millis(), *accepted)
                })
                .collect(),
            flashes: extras.flashes.iter().map(|flash| (flash.kind(), flash.text())).collect(),
            data,
        };
        serde_json::to_vec(&written).map_err(|source| {
            Error::misconfigured("the session's data can't be written as JSON").with_source(source)
        })
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Record<T>> {
        let read: Read<'_> = serde_json::from_slice(bytes).map_err(|source| {
            Error::corrupt(*key, "it is not a session as this program writes it")
                .with_source(source)
        })?;
        if read.v > FORMAT {
            return Err(Error::corrupt(
                *key,
                format!("it is in format {}, and this version reads up to {FORMAT}", read.v),
            ));
        }
        let kind = match read.kind {
            Some(kind) => u64::from_str_radix(&kind, 16).map_err(|source| {
                Error::corrupt(*key, "its kind is not hexadecimal").with_source(source)
            })?,
            None => 0,
        };
        let mut device = Device::new();
        if let Some(user_agent) = &read.device.user_agent {
            device = device.with_user_agent(user_agent);
        }
        if let Some(address) = read.device.address {
            device = device.with_address(address);
        }
        let bad = |what: &str| Error::corrupt(*key, format!("its {what} is not sound"));
        let mut proofs = Proofs::NONE;
        for (number, at) in read.authenticated {
            // A level that a newer version knows is none of ours, and gives no rights here.
            if let Some(level) = Level::from_number(number) {
                proofs.add(level, Timestamp::from_millis(at));
            }
        }
        let mut seed = [0; 18];
        match URL_SAFE_NO_PAD.decode_slice(&read.seed, &mut seed) {
            Ok(16) => {}
            _ => return Err(bad("seed")),
        }
        let seed = *seed.first_chunk().ok_or_else(|| bad("seed"))?;
        let mut former = Vec::new();
        for (key, outdated, until, accepted) in read.former {
            let key: Key = key.parse().map_err(|_| bad("former name"))?;
            let outdated = outdated.map(Timestamp::from_millis);
            let until = Timestamp::from_millis(until);
            former.push(Former { key, outdated, until, accepted });
        }
        let flashes = read.flashes.iter().map(|(kind, text)| Flash::new(kind, text)).collect();
        let extras = Extras { former, binding: read.binding.map(Binding::from), flashes };
        let created = Timestamp::from_millis(read.created);
        let mut content = Content {
            kind,
            data: self.data(key, read.data)?,
            owner: read.owner.map(Owner::from),
            created,
            proofs,
            rotated: read.rotated.map_or(created, Timestamp::from_millis),
            seed,
            remembered: read.remembered,
            device,
            extras: Some(Box::new(extras)),
        };
        content.tidy();
        Ok(Record::new(content))
    }
}

impl<T> Clone for RecordJson<T> {
    fn clone(&self) -> Self {
        Self { rescue: self.rescue.clone() }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Default for RecordJson<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for RecordJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordJson").field("rescues", &self.rescue.is_some()).finish()
    }
}
