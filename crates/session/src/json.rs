//! Session records as JSON, for stores that keep bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt_cache::codec::Json;
use kvolt_cache::{Codec, Error, Key, Owner, Result, Timestamp};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::level::Proofs;
use crate::record::{Content, Data, Decode, Previous, Rare};
use crate::token::SecretDigest;
use crate::{Binding, Device, Flash, Level, Record, SessionId};

/// The format that is written, and the highest that is read.
const FORMAT: u64 = 1;

/// Session records as JSON (RFC 8259): readable in the store, and forgiving.
///
/// A record is a line with the envelope, which KVolt itself reads, and then the application's
/// data:
///
/// ```text
/// {"v":1,"secret":"…","owner":"ada","created":1767225600000,"ends":1767268800000,"proved":{"1":1767225600000},"seed":"…"}
/// {"name":"Ada"}
/// ```
///
/// The data is decoded when it is first asked for, so a session whose data can't be read is
/// still verified, listed and signed out. A change that does not touch the data writes its bytes
/// back unchanged. `docs/formats.md` in the repository has every field of the envelope.
///
/// Data is by serde, so a field that is reordered, removed, or added with
/// `#[serde(default)]`, signs no one out. For changes that go further there are
/// [`migrate`](Self::migrate) and [`drop_unreadable`](Self::drop_unreadable).
///
/// Data that would not be read back as it was is refused when it is written
/// ([`Error::is_unencodable`](crate::Error::is_unencodable)), and the session stays as it was: see
/// [`Json`] for what JSON does not keep.
pub struct RecordJson<T> {
    decode: Decode<T>,
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> RecordJson<T> {
    /// Data as serde reads and writes it.
    pub fn new() -> Self {
        Self { decode: Arc::new(|key, bytes| Json.decode(key, bytes)) }
    }

    /// Data that serde can't read goes through `migrate`, which returns `None` if it can't read
    /// it either.
    ///
    /// The session is stored in the new form when its data is next changed.
    #[must_use]
    pub fn migrate(self, migrate: impl Fn(Value) -> Option<T> + Send + Sync + 'static) -> Self {
        self.or_else(move |_, data| migrate(data))
    }

    /// Of data that serde can't read, and that [`migrate`](Self::migrate) does not read either,
    /// keeps the fields that can be read. The others are those of `T::default()`.
    ///
    /// Each time, the log has the session's id and the names of the fields that were dropped.
    #[must_use]
    pub fn drop_unreadable(self) -> Self
    where
        T: Default,
    {
        self.or_else(salvage)
    }

    fn or_else(self, next: impl Fn(&Key, Value) -> Option<T> + Send + Sync + 'static) -> Self {
        let first = self.decode;
        let decode = move |key: &Key, bytes: &[u8]| {
            first(key, bytes).or_else(|error| {
                let data = serde_json::from_slice(bytes).ok();
                data.and_then(|data| next(key, data)).ok_or(error)
            })
        };
        Self { decode: Arc::new(decode) }
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
    let id = SessionId::from_key(key);
    tracing::warn!(target: "kvolt::session", %id, fields = ?dropped, "dropped fields of a session's data that can't be read");
    Some(data)
}

/// The first line. What is at its default is left out; unknown fields are passed over.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u64,
    secret: Base64<{ SecretDigest::LEN }>,
    #[serde(default, skip_serializing_if = "is_default")]
    epoch: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    owner: Option<Text<'a>>,
    created: u64,
    ends: u64,
    #[serde(default, skip_serializing_if = "Levels::is_empty")]
    proved: Levels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotated: Option<u64>,
    seed: Base64<16>,
    #[serde(default, skip_serializing_if = "is_default")]
    remembered: bool,
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    device: Where<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    binding: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<Before>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet_until: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    flashes: Vec<(Text<'a>, Text<'a>)>,
}

#[derive(Serialize, Deserialize, Default, PartialEq)]
struct Where<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

#[derive(Serialize, Deserialize)]
struct Before {
    secret: Base64<{ SecretDigest::LEN }>,
    #[serde(default, skip_serializing_if = "Levels::is_empty")]
    proved: Levels,
    until: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    accepted: bool,
}

/// When the user last proved who they are, by the number of the level.
type Levels = BTreeMap<u8, u64>;

/// A text that is borrowed where it can be.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// Bytes in base64url, which have exactly one spelling.
struct Base64<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Base64<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Base64<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // With the room that the decoder asks for before it knows of the missing padding.
        let mut bytes = [0; SecretDigest::LEN + 2];
        match URL_SAFE_NO_PAD.decode_slice(<&str>::deserialize(from)?, &mut bytes) {
            Ok(len) if len == N => Ok(Self(*bytes.first_chunk().expect("it has more than N"))),
            _ => Err(D::Error::custom("wrong length or alphabet")),
        }
    }
}

fn is_default<V: Default + PartialEq>(value: &V) -> bool {
    *value == V::default()
}

fn to_levels(proofs: &Proofs) -> Levels {
    let at = |level: Level| Some((level.number(), proofs.exactly(level)?.as_millis()));
    Level::ALL.into_iter().filter_map(at).collect()
}

fn from_levels(levels: Levels) -> Proofs {
    let mut proofs = Proofs::NONE;
    for (number, at) in levels {
        // A level that only a newer version knows gives no rights here.
        if let Some(level) = Level::from_number(number) {
            proofs.add(level, Timestamp::from_millis(at));
        }
    }
    proofs
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<Record<T>> for RecordJson<T> {
    fn encode(&self, key: &Key, record: &Record<T>) -> Result<Vec<u8>> {
        let content = record.content();
        let Content { created, rotated, device, .. } = content;
        let none = Rare::default();
        let rare = content.rare.as_deref().unwrap_or(&none);
        let envelope = Envelope {
            v: FORMAT,
            secret: Base64(*content.secret.as_bytes()),
            epoch: content.epoch,
            owner: content.owner.as_ref().map(|owner| owner.as_str().into()),
            created: created.as_millis(),
            ends: content.ends_at.as_millis(),
            proved: to_levels(&content.proofs),
            rotated: (rotated != created).then(|| rotated.as_millis()),
            seed: Base64(content.seed),
            remembered: content.remembered,
            device: Where {
                user_agent: device.user_agent().map(Text::from),
                address: device.address(),
            },
            binding: rare.binding.as_ref().map(|binding| binding.as_str().into()),
            previous: rare.previous.iter().map(Before::from).collect(),
            quiet_until: rare.quiet_until.map(Timestamp::as_millis),
            flashes: rare
                .flashes
                .iter()
                .map(|flash| (flash.kind().into(), flash.text().into()))
                .collect(),
        };
        let mut bytes = serde_json::to_vec(&envelope).map_err(|source| {
            Error::unencodable("its envelope can't be written").with_source(source)
        })?;
        bytes.push(b'\n');
        match content.data.bytes() {
            Some(data) => bytes.extend_from_slice(data),
            None => {
                let data = content.data.get();
                let data = data.map_err(|error| Error::unencodable(error.to_string()))?;
                bytes.append(&mut Json.encode(key, data)?);
            }
        }
        Ok(bytes)
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<Record<T>> {
        let end = memchr::memchr(b'\n', bytes).ok_or_else(|| {
            Error::corrupt(*key, "it is not a session: its first line has no end")
        })?;
        let (line, data) = (&bytes[..end], &bytes[end + 1..]);
        let read = match serde_json::from_slice::<Envelope<'_>>(line) {
            Ok(read) if read.v == FORMAT => read,
            other => return Err(unreadable(*key, line, other.err())),
        };
        let owner =
            match read.owner {
                None => None,
                Some(name) => Some(Owner::from_stored(&name.0).ok_or_else(|| {
                    Error::corrupt(*key, "its envelope names an owner that is none")
                })?),
            };
        let mut device = Device::new();
        if let Some(user_agent) = &read.device.user_agent {
            device = device.with_user_agent(&user_agent.0);
        }
        if let Some(address) = read.device.address {
            device = device.with_address(address);
        }
        let rare = Rare {
            previous: read.previous.into_iter().map(Previous::from).collect(),
            quiet_until: read.quiet_until.map(Timestamp::from_millis),
            binding: read.binding.map(|binding| Binding::from(&*binding.0)),
            flashes: read.flashes.iter().map(|(kind, text)| Flash::new(&kind.0, &text.0)).collect(),
        };
        Ok(Record::new(Content {
            secret: SecretDigest::from_bytes(read.secret.0),
            epoch: read.epoch,
            owner,
            created: Timestamp::from_millis(read.created),
            ends_at: Timestamp::from_millis(read.ends),
            proofs: from_levels(read.proved),
            rotated: Timestamp::from_millis(read.rotated.unwrap_or(read.created)),
            seed: read.seed.0,
            remembered: read.remembered,
            device,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            data: Data::encoded(*key, data, Arc::clone(&self.decode)),
        }))
    }
}

impl From<&Previous> for Before {
    fn from(previous: &Previous) -> Self {
        Self {
            secret: Base64(*previous.secret.as_bytes()),
            proved: to_levels(&previous.proofs),
            until: previous.until.as_millis(),
            accepted: previous.is_accepted,
        }
    }
}

impl From<Before> for Previous {
    fn from(before: Before) -> Self {
        Self {
            secret: SecretDigest::from_bytes(before.secret.0),
            proofs: from_levels(before.proved),
            until: Timestamp::from_millis(before.until),
            is_accepted: before.accepted,
        }
    }
}

/// Why an envelope is not one of this format. Of serde's error it has the place alone: what
/// serde says quotes the envelope, and secrets are in it.
fn unreadable(key: Key, line: &[u8], error: Option<serde_json::Error>) -> Error {
    #[derive(Deserialize)]
    struct Format {
        v: u64,
    }
    match serde_json::from_slice(line) {
        Ok(Format { v }) if v > FORMAT => Error::corrupt(
            key,
            format!(
                "it is in format {v}, which a newer version of KVolt wrote, and this version \
                 reads formats up to {FORMAT}: run the newer version, or revoke the session"
            ),
        ),
        _ => {
            let column = error.map_or(0, |error| error.column());
            Error::corrupt(key, format!("its envelope is damaged, at byte {column}"))
        }
    }
}

impl<T> Clone for RecordJson<T> {
    fn clone(&self) -> Self {
        Self { decode: Arc::clone(&self.decode) }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Default for RecordJson<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for RecordJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordJson")
    }
}
