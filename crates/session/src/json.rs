//! Session records as JSON, for stores that keep bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kvolt_cache::codec::Json;
use kvolt_cache::{Codec, Error, Key, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::level::Proofs;
use crate::record::{Content, Data, Decode, Envelope};
use crate::{Level, Record, SessionId};

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

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<Record<T>> for RecordJson<T> {
    fn encode(&self, key: &Key, record: &Record<T>) -> Result<Vec<u8>> {
        let Content { envelope, data } = record.content();
        let mut bytes = serde_json::to_vec(envelope).map_err(|source| {
            Error::unencodable("its envelope can't be written").with_source(source)
        })?;
        bytes.push(b'\n');
        match data.bytes() {
            Some(data) => bytes.extend_from_slice(data),
            None => {
                let data = data.get().map_err(|error| Error::unencodable(error.to_string()))?;
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
        match serde_json::from_slice::<Envelope>(line) {
            Ok(envelope) if envelope.v == Envelope::FORMAT => {
                let data = Data::encoded(*key, data, Arc::clone(&self.decode));
                Ok(Record::new(Content { envelope, data }))
            }
            other => Err(unreadable(*key, line, other.err())),
        }
    }
}

/// When each level was last proved, by its number.
impl From<Proofs> for BTreeMap<u8, Timestamp> {
    fn from(proofs: Proofs) -> Self {
        let at = |level: Level| Some((level.number(), proofs.exactly(level)?));
        Level::ALL.into_iter().filter_map(at).collect()
    }
}

impl From<BTreeMap<u8, Timestamp>> for Proofs {
    fn from(levels: BTreeMap<u8, Timestamp>) -> Self {
        let mut proofs = Self::NONE;
        for (number, at) in levels {
            // A level that only a newer version knows gives no rights here.
            if let Some(level) = Level::from_number(number) {
                proofs.add(level, at);
            }
        }
        proofs
    }
}

/// Bytes in base64url, which have exactly one spelling.
pub(crate) mod base64url {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        // The decoder asks for two more bytes than the longest value has.
        let mut bytes = [0; 34];
        let len = URL_SAFE_NO_PAD.decode_slice(<&str>::deserialize(from)?, &mut bytes);
        let bytes = bytes.get(..len.unwrap_or(0)).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom("wrong length or alphabet"))
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
        Ok(Format { v }) if v > u64::from(Envelope::FORMAT) => Error::corrupt(
            key,
            format!(
                "it is in format {v}, which a newer version of KVolt wrote, and this version \
                 reads formats up to {}: run the newer version, or revoke the session",
                Envelope::FORMAT
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
