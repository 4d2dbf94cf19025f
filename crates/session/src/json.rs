//! Session records as JSON, for stores that keep bytes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use kvolt_cache::{Codec, Error, Key, Owner, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::record::Content;
use crate::{Device, Record};

/// The format that is written. A higher number is a newer version's.
const FORMAT: u32 = 1;

/// Session records as JSON (RFC 8259): readable in the store, and forgiving.
///
/// ```text
/// {"v":1,"owner":"ada","created":1767225600000,"authenticated":1767225600000,
///  "device":{"user_agent":"curl/8.5.0","address":"192.0.2.7"},"data":{"name":"Ada"}}
/// ```
///
/// Times are milliseconds since the Unix epoch. What is not known is left out:
/// `owner`, the parts of `device`, and `kind` (16 hexadecimal digits) for a
/// manager without one. Fields that are not known are passed over.
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
    authenticated: u64,
    #[serde(skip_serializing_if = "WrittenDevice::is_unknown")]
    device: WrittenDevice<'a>,
    data: &'a T,
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
    authenticated: u64,
    #[serde(default)]
    device: ReadDevice,
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
        let Content { data, owner, created, authenticated, device, kind } = record.content();
        let written = Written {
            v: FORMAT,
            kind: (*kind != 0).then(|| format!("{kind:016x}")),
            owner: owner.as_ref().map(Owner::as_str),
            created: created.as_millis(),
            authenticated: authenticated.as_millis(),
            device: WrittenDevice { user_agent: device.user_agent(), address: device.address() },
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
        Ok(Record::new(Content {
            data: self.data(key, read.data)?,
            owner: read.owner.map(Owner::from),
            created: Timestamp::from_millis(read.created),
            authenticated: Timestamp::from_millis(read.authenticated),
            device,
            kind,
        }))
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
