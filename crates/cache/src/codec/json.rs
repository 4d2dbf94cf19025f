use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fingerprint::fingerprint;
use crate::{Codec, Error, Key, Result};

/// JSON (RFC 8259), by serde: self-describing, and readable in the store.
///
/// Stored values stay readable if a field is reordered, removed, or added with `#[serde(default)]`.
///
/// ```
/// use kvolt_cache::Key;
/// use kvolt_cache::codec::{Codec, Json};
///
/// let key = Key::of("numbers");
/// assert_eq!(Json.encode(&key, &vec![1, 2])?, b"[1,2]");
/// let refused = Json.encode(&key, &Some(f64::NAN));
/// assert!(refused.unwrap_err().is_unencodable());
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
///
/// # Values that JSON does not keep
///
/// The codec refuses a value that it would not decode to the same value. The error
/// ([`Error::is_unencodable`]) has the reason, and the entry is unchanged. Such values are NaN and
/// the infinities, `Some(None)`, `Some(())`, map keys that are tuples or structs, and fields that
/// `skip_serializing_if` leaves out and that have no `default`. Each write decodes its own bytes to
/// check this, which costs about 10 ns per byte.
///
/// The codec can't detect a field with `#[serde(skip)]`, or two variants of an `untagged` enum with
/// the same JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn encode(&self, _: &Key, value: &V) -> Result<Vec<u8>> {
        let refused = |what, error| Error::unencodable(format!("{what}: {}", reason(&error)));
        let unwritable = |error| refused("it can't be written as JSON", error);
        let bytes = serde_json::to_vec(value).map_err(unwritable)?;
        let read: V = serde_json::from_slice(&bytes)
            .map_err(|error| refused("it could not be read back from JSON", error))?;
        let [before, after] = [value, &read].map(fingerprint);
        if before.map_err(unwritable)? != after.map_err(unwritable)? {
            return Err(Error::unencodable(
                "it would be read back from JSON as another value, as `Some(None)` or NaN is",
            ));
        }
        Ok(bytes)
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt(*key, format!("it is not the JSON that is expected: {}", reason(&error)))
        })
    }
}

/// The message of serde, without the parts of the value that it quotes: errors end up in logs.
fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    if let (Some(start), Some(end)) = (reason.find('"'), reason.rfind('"')) {
        reason.replace_range(start..=end, "\"..\"");
    }
    reason
}
