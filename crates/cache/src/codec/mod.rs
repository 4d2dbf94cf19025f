//! Encoding of values as bytes.
//!
//! A remote store is a [`Store<Vec<u8>>`](crate::Store). With a codec, [`Encoded`](crate::Encoded)
//! makes it a store of values. Sessions have a codec of their own: `kvolt_session::RecordJson`.

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

/// Encodes values as bytes and decodes them.
///
/// Decoding must return the value that was encoded. A codec refuses to encode a value for which
/// that would not hold.
///
/// ```
/// use kvolt_cache::codec::Codec;
/// use kvolt_cache::{Error, Key, Result};
///
/// /// Text as UTF-8.
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn encode(&self, _: &Key, value: &String) -> Result<Vec<u8>> {
///         Ok(value.clone().into_bytes())
///     }
///
///     fn decode(&self, key: &Key, bytes: &[u8]) -> Result<String> {
///         let text = String::from_utf8(bytes.to_vec());
///         text.map_err(|error| Error::corrupt(*key, "it is not UTF-8").with_source(error))
///     }
/// }
///
/// let key = Key::of("greeting");
/// let bytes = Text.encode(&key, &String::from("hello"))?;
/// assert_eq!(Text.decode(&key, &bytes)?, "hello");
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec of `{V}`",
    label = "does not encode `{V}`",
    note = "`Json` encodes values that implement serde's traits; for sessions, use `RecordJson`"
)]
pub trait Codec<V>: Send + Sync + 'static {
    /// Encodes the value of the entry under `key`.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_unencodable`](crate::Error::is_unencodable)) if the value
    /// can't be encoded, or would be decoded to another one.
    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>>;

    /// Decodes the value of the entry under `key`.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_corrupt`](crate::Error::is_corrupt)) that names the key if
    /// the bytes can't be decoded.
    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V>;
}

/// A codec that the program chooses when it starts.
impl<V: 'static> Codec<V> for Box<dyn Codec<V>> {
    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>> {
        (**self).encode(key, value)
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V> {
        (**self).decode(key, bytes)
    }
}

/// Keeps bytes as they are: for values that are bytes, also for an encryption around them.
///
/// ```
/// use kvolt_cache::Key;
/// use kvolt_cache::codec::{Bytes, Codec};
///
/// let value = b"value".to_vec();
/// assert_eq!(Bytes.encode(&Key::of("name"), &value)?, value);
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
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
