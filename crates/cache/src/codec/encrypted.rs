use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key::read_hex;
use crate::{Codec, Error, Key, Result};

/// The first byte of a sealed value. No JSON text begins with it.
const FORMAT: u8 = 1;
const ID_LEN: usize = 8;
const NONCE_LEN: usize = 24;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// Encrypts and authenticates the bytes of another codec: XChaCha20-Poly1305 (RFC 8439 with the
/// extended nonce of draft-irtf-cfrg-xchacha), with a random nonce for each write and the entry's
/// key as associated data.
///
/// A reader of the store learns only the length of a value. A writer to the store can't change a
/// value, or move it to another entry, but can remove an entry or restore an older value of the
/// same entry.
///
/// A sealed value consists of the format number (one byte, 1), the id of the encryption key
/// (8 bytes), the nonce (24 bytes), and the ciphertext with its tag (16 bytes more than the value).
///
/// ```
/// use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
/// use kvolt_cache::{Encoded, MemoryStore};
///
/// // Generate one by `openssl rand -hex 32`, and keep it with the other secrets.
/// let key: EncryptionKey = "0f".repeat(32).parse()?;
/// let codec = Encrypted::new(Json, EncryptionKeys::new(key));
/// let store: Encoded<String, _, _> = Encoded::new(MemoryStore::<Vec<u8>>::new(), codec);
/// # let _ = store;
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encrypted<C> {
    codec: C,
    keys: EncryptionKeys,
    accepts_unsealed: bool,
}

impl<C> Encrypted<C> {
    /// Encrypts the bytes of `codec`.
    pub const fn new(codec: C, keys: EncryptionKeys) -> Self {
        Self { codec, keys, accepts_unsealed: false }
    }

    /// Also decodes values that were stored before encryption was turned on.
    ///
    /// Use it only during the change: as long as it is set, a writer to the store can forge values.
    ///
    /// ```
    /// use kvolt_cache::codec::{Codec, Encrypted, EncryptionKey, EncryptionKeys, Json};
    /// use kvolt_cache::Key;
    ///
    /// let (key, unsealed) = (Key::of("greeting"), br#""hello""#);
    /// let keys = EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32]));
    /// let codec = Encrypted::new(Json, keys);
    /// assert!(Codec::<String>::decode(&codec, &key, unsealed).is_err());
    /// let codec = codec.dangerous_accept_unsealed();
    /// assert_eq!(Codec::<String>::decode(&codec, &key, unsealed)?, "hello");
    /// # Ok::<(), kvolt_cache::Error>(())
    /// ```
    #[must_use]
    pub const fn dangerous_accept_unsealed(mut self) -> Self {
        self.accepts_unsealed = true;
        self
    }
}

impl<V, C: Codec<V>> Codec<V> for Encrypted<C> {
    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>> {
        let plain = Zeroizing::new(self.codec.encode(key, value)?);
        self.keys.seal(key, &plain)
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<V> {
        if self.accepts_unsealed && bytes.first() != Some(&FORMAT) {
            return self.codec.decode(key, bytes);
        }
        let plain = Zeroizing::new(self.keys.open(key, bytes)?);
        self.codec.decode(key, &plain)
    }
}

/// A secret of 256 bits that seals values.
///
/// Make it by a cryptographic generator (`openssl rand -hex 32`), never from a password. Its text
/// has 64 hexadecimal digits. It has no `Display`, its `Debug` shows only an id, and it is wiped
/// when it is dropped.
///
/// ```
/// use kvolt_cache::codec::EncryptionKey;
///
/// let key: EncryptionKey = "0f".repeat(32).parse()?;
/// assert!("too short".parse::<EncryptionKey>().is_err());
/// # let _ = key;
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey {
    id: [u8; ID_LEN],
    cipher: XChaCha20Poly1305,
}

impl EncryptionKey {
    /// Makes a key of 32 secret bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"kvolt encryption key id\0").chain_update(bytes);
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&digest.finalize()[..ID_LEN]);
        Self { id, cipher: XChaCha20Poly1305::new(bytes.into()) }
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({:016x})", u64::from_be_bytes(self.id))
    }
}

/// Accepts 64 hexadecimal digits.
impl FromStr for EncryptionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Written in place, so that no copy of the secret is left unwiped.
        let mut bytes = Zeroizing::new([0; 32]);
        if !read_hex(text, &mut *bytes) {
            return Err(Error::misconfigured(
                "an encryption key is written as 64 hexadecimal digits, as by `openssl rand -hex 32`",
            ));
        }
        Ok(Self::from_bytes(&bytes))
    }
}

/// The encryption keys in use. The first seals values, and any of them opens values.
///
/// To rotate, add the new key at the end on every server, then move it to the front, and drop the
/// old one when the longest lifetime has passed.
///
/// ```
/// use kvolt_cache::codec::{Codec, Encrypted, EncryptionKey, EncryptionKeys, Json};
/// use kvolt_cache::Key;
///
/// let [old, new] = [[1; 32], [2; 32]].map(|bytes| EncryptionKey::from_bytes(&bytes));
/// let before = Encrypted::new(Json, EncryptionKeys::new(old.clone()));
/// let rotated = Encrypted::new(Json, EncryptionKeys::new(new).also_opening(old));
///
/// let key = Key::of("greeting");
/// let sealed = before.encode(&key, &String::from("hello"))?;
/// let opened: String = rotated.decode(&key, &sealed)?;
/// assert_eq!(opened, "hello");
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncryptionKeys(Vec<EncryptionKey>);

impl EncryptionKeys {
    /// Seals and opens values with one key.
    pub fn new(key: EncryptionKey) -> Self {
        Self(vec![key])
    }

    /// Also opens values that were sealed with another key.
    #[must_use]
    pub fn also_opening(mut self, key: EncryptionKey) -> Self {
        self.0.push(key);
        self
    }

    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|source| {
            Error::unavailable("the operating system's random generator does not work")
                .with_source(source)
        })?;
        // There is at least the key that `new` has put here.
        let EncryptionKey { id, cipher } = &self.0[0];
        let aad = associated(id, key);
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .map_err(|_| Error::misconfigured("the value is too long to be encrypted"))?;
        let mut bytes = Vec::with_capacity(HEAD_LEN + sealed.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }

    fn open(&self, key: &Key, bytes: &[u8]) -> Result<Vec<u8>> {
        let parts = bytes.split_first().filter(|(format, _)| **format == FORMAT);
        let parts = parts.and_then(|(_, rest)| {
            let (id, rest) = rest.split_first_chunk::<ID_LEN>()?;
            let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
            Some((id, nonce, sealed))
        });
        let Some((id, nonce, sealed)) = parts else {
            return Err(Error::corrupt(*key, "it is not an encrypted value"));
        };
        let Some(EncryptionKey { cipher, .. }) = self.0.iter().find(|known| known.id == *id) else {
            let id = u64::from_be_bytes(*id);
            return Err(Error::corrupt(
                *key,
                format!(
                    "it was sealed with the encryption key {id:016x}, which is not among those given"
                ),
            ));
        };
        let aad = associated(id, key);
        cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad })
            .map_err(|_| Error::corrupt(*key, "it was changed, or sealed for another entry"))
    }
}

fn associated(id: &[u8; ID_LEN], key: &Key) -> [u8; 1 + ID_LEN + 32] {
    let mut aad = [FORMAT; 1 + ID_LEN + 32];
    aad[1..=ID_LEN].copy_from_slice(id);
    aad[1 + ID_LEN..].copy_from_slice(key.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_key_has_64_hexadecimal_digits() {
        let text = "00112233445566778899aabbccddeeff".repeat(2);
        let mut bytes = [0; 32];
        for (byte, value) in bytes.iter_mut().zip((0..16).cycle()) {
            *byte = value * 0x11;
        }
        let key = EncryptionKey::from_bytes(&bytes);
        for text in [text.clone(), text.to_uppercase()] {
            assert_eq!(text.parse::<EncryptionKey>().unwrap().id, key.id);
        }
        for wrong in ["", &text[1..], &format!("{text}0"), &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<EncryptionKey>().is_err(), "{wrong}");
        }
    }
}
