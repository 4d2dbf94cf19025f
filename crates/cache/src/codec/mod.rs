//! How values become bytes, for stores that keep bytes.
//!
//! A store that keeps bytes is a [`Store<Vec<u8>>`](crate::Store); with
//! [`Encoded`](crate::Encoded) and a codec it is a store of values.

#[cfg(feature = "encrypt")]
mod encrypted;
#[cfg(feature = "json")]
mod fingerprint;
#[cfg(feature = "json")]
mod json;

use crate::{Key, Result};

#[cfg(feature = "encrypt")]
pub use encrypted::{Encrypted, EncryptionKey, EncryptionKeys};
#[cfg(feature = "json")]
pub use json::Json;

/// Turns values into bytes and back.
///
/// A codec is the inverse of itself: it reads back what it has written, and refuses to write
/// a value that it would not read back as it was.
pub trait Codec<V>: Send + Sync + 'static {
    /// The bytes of a value that is to live under `key`.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_unencodable`](crate::Error::is_unencodable)) if the value
    /// can't be encoded, or would not be read back as it is.
    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>>;

    /// The value of the bytes that were found under `key`.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_corrupt`](crate::Error::is_corrupt)) that names the key if
    /// the bytes can't be decoded.
    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V>;
}

/// A codec chosen when the program runs.
impl<V: 'static> Codec<V> for Box<dyn Codec<V>> {
    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>> {
        (**self).encode(key, value)
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V> {
        (**self).decode(key, bytes)
    }
}

/// The bytes themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl Codec<Vec<u8>> for Bytes {
    fn encode(&self, _: &Key, value: &Vec<u8>) -> Result<Vec<u8>> {
        Ok(value.clone())
    }

    fn decode(&self, _: &Key, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}
