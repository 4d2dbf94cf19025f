use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fingerprint::fingerprint;
use crate::{Codec, Error, Key, Result};

/// JSON (RFC 8259), by serde: self-describing, and readable in the store.
///
/// A field that is reordered, or removed, or added with `#[serde(default)]`,
/// leaves what was stored before readable.
///
/// # What JSON does not keep
///
/// A value that would not be read back as it was is refused when it is written, with an error
/// ([`Error::is_unencodable`]) that says why, and the entry stays as it was. Such values are NaN
/// and the infinities, `Some(None)`, `Some(())`, keys of maps that are tuples or structs,
/// and fields that `skip_serializing_if` leaves out and that have no `default`. Each write
/// reads its own bytes back to find out: about 10 ns a byte.
///
/// The codec sees what serde sees: it does not notice a field with `#[serde(skip)]`, or two
/// variants of an `untagged` enum that are written alike.
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

/// What serde says, without the texts of the value that it quotes: errors end up in logs.
fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    if let (Some(start), Some(end)) = (reason.find('"'), reason.rfind('"')) {
        reason.replace_range(start..=end, "\"..\"");
    }
    reason
}
