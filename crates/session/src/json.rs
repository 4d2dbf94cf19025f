//! Session records as JSON, for stores that keep bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kvolt_cache::codec::Json;
use kvolt_cache::{Codec, Error, Key, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::TARGET;
use crate::level::Proofs;
use crate::record::{Content, Data, Decode, Envelope};
use crate::{Level, Record, SessionId};

/// Encodes session records as JSON (RFC 8259): readable in the store, and tolerant of changes.
///
/// A record is a line with the envelope, which KVolt itself reads, and then the application's
/// data:
///
/// ```text
/// {"v":1,"secret":"…","owner":"ada","created":1767225600000,"ends":1767268800000,"proved":{"1":1767225600000},"seed":"…"}
/// {"name":"Ada"}
/// ```
///
/// The data is decoded at the first access, so a session whose data can't be read is still verified,
/// listed and signed out. A change that does not touch the data writes its bytes back unchanged.
/// `docs/formats.md` in the repository has every field of the envelope.
///
/// The data is read by serde, so a field that is reordered, removed, or added with
/// `#[serde(default)]` signs no user out. For larger changes, use [`migrate`](Self::migrate) and
/// [`drop_unreadable`](Self::drop_unreadable).
///
/// Data that would not be read back as it was is refused when it is written
/// ([`Error::is_unencodable`](crate::Error::is_unencodable)), and the session stays as it was: see
/// [`Json`] for what JSON does not keep.
///
/// ```
/// use kvolt_cache::{Encoded, MemoryStore};
/// use kvolt_session::{Manager, RecordJson};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct User {
///     name: String,
///     #[serde(default)]
///     visits: u32,
/// }
///
/// # pollster::block_on(async {
/// // Any store that keeps bytes, such as Redis:
/// let bytes = MemoryStore::new();
/// let manager: Manager<User> = Manager::new(Encoded::new(bytes, RecordJson::new()));
/// let token = manager.create(User { name: String::from("Ada"), visits: 0 }).await?;
/// let session = manager.update(&token, |user| user.visits += 1).await?;
/// assert_eq!(session.expect("it exists").visits, 1);
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "a codec does nothing until a store receives it"]
pub struct RecordJson<T> {
    decode: Decode<T>,
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> RecordJson<T> {
    /// Reads and writes the data with serde.
    pub fn new() -> Self {
        Self { decode: Arc::new(|key, bytes| Json.decode(key, bytes)) }
    }

    /// Sets a function that reads data that serde can't read, such as an older form. It returns
    /// `None` if it can't read the data either.
    ///
    /// The session is stored in the new form when its data next changes.
    ///
    /// ```
    /// use kvolt_session::RecordJson;
    /// use serde_json::Value;
    ///
    /// // The data was a number before it was a text.
    /// let codec = RecordJson::<String>::new()
    ///     .migrate(|old: Value| old.as_u64().map(|number| number.to_string()));
    /// ```
    pub fn migrate(self, migrate: impl Fn(Value) -> Option<T> + Send + Sync + 'static) -> Self {
        self.or_else(move |_, data| migrate(data))
    }

    /// Keeps the readable fields of data that neither serde nor [`migrate`](Self::migrate) can read,
    /// and takes the other fields from `T::default()`.
    ///
    /// Each time, logs the session's id and the names of the dropped fields.
    ///
    /// ```
    /// use kvolt_session::RecordJson;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct User {
    ///     name: String,
    ///     cart: Vec<u64>,
    /// }
    ///
    /// let codec = RecordJson::<User>::new().drop_unreadable();
    /// ```
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

/// The data with the fields that can be read, and those of `T::default()` for the others.
fn salvage<T: Serialize + DeserializeOwned + Default>(key: &Key, data: Value) -> Option<T> {
    let (Value::Object(fields), Ok(Value::Object(mut kept))) =
        (data, serde_json::to_value(T::default()))
    else {
        return None;
    };
    let mut dropped = Vec::new();
    for (name, value) in fields {
        let before = kept.clone();
        kept.insert(name.clone(), value);
        if T::deserialize(Value::Object(kept.clone())).is_err() {
            kept = before;
            dropped.push(name);
        }
    }
    let data = T::deserialize(Value::Object(kept)).ok()?;
    let id = SessionId::from_key(key);
    tracing::warn!(
        target: TARGET, %id, fields = ?dropped,
        "dropped fields of a session's data that can't be read"
    );
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
            Ok(envelope) if (Envelope::FORMAT..=Envelope::BOUND_FORMAT).contains(&envelope.v) => {
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

/// The error for an envelope that is not of this format. It has only the place of serde's error:
/// serde's text quotes the envelope, which has secrets.
fn unreadable(key: Key, line: &[u8], error: Option<serde_json::Error>) -> Error {
    #[derive(Deserialize)]
    struct Format {
        v: u64,
    }
    match serde_json::from_slice(line) {
        Ok(Format { v }) if v > u64::from(Envelope::BOUND_FORMAT) => Error::corrupt(
            key,
            format!(
                "it is in format {v}, which a newer version of KVolt wrote, and this version \
                 reads formats up to {}: run the newer version, or revoke the session",
                Envelope::BOUND_FORMAT
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
