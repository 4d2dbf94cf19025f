use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Codec, Error, Key, Result};

/// JSON (RFC 8259), by serde: self-describing, and readable in the store.
///
/// A field that is reordered, or removed, or added with `#[serde(default)]`,
/// leaves what was stored before readable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn encode(&self, _: &Key, value: &V) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|source| {
            Error::misconfigured("the value can't be written as JSON").with_source(source)
        })
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V> {
        serde_json::from_slice(bytes).map_err(|source| {
            Error::corrupt(*key, "it is not the JSON that is expected").with_source(source)
        })
    }
}
