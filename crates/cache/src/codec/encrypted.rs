use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key::read_hex;
use crate::{Codec, Error, Key, Result};

/// First byte of a sealed value; no JSON text begins with it.
const FORMAT: u8 = 1;
const ID_LEN: usize = 8;
const NONCE_LEN: usize = 24;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// Another codec's bytes, encrypted and authenticated: XChaCha20-Poly1305
/// (RFC 8439 with the extended nonce of draft-irtf-cfrg-xchacha), with a
/// random nonce each time and the entry's key as associated data.
///
/// Whoever can read the store learns nothing of the values but their length;
/// whoever can write to it can't change one, nor move one to another entry.
/// They can still put back an older value of the same entry, and remove it.
///
/// A sealed value is the format's number (one byte, 1), the encryption key's id
/// (8 bytes), the nonce (24 bytes), and the ciphertext with its tag (16 bytes more
/// than the value).
#[derive(Debug, Clone)]
pub struct Encrypted<C> {
    codec: C,
    keys: EncryptionKeys,
    accepts_unsealed: bool,
}

impl<C> Encrypted<C> {
    /// Seals what `codec` encodes.
    pub const fn new(codec: C, keys: EncryptionKeys) -> Self {
        Self { codec, keys, accepts_unsealed: false }
    }

    /// Also reads values that were stored before encryption was turned on.
    ///
    /// For the time of the change only: until it is taken back, whoever can
    /// write to the store can make up values.
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

/// A secret of 256 bits that values are sealed with.
///
/// To be made by a cryptographic generator (`openssl rand -hex 32`), never from
/// a password. Written as 64 hexadecimal digits. It has no `Display`, its `Debug`
/// shows its id, and it is wiped when dropped.
#[derive(Clone)]
pub struct EncryptionKey {
    id: [u8; ID_LEN],
    cipher: XChaCha20Poly1305,
}

impl EncryptionKey {
    /// A key of these 32 bytes.
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

/// The encryption keys in use: values are sealed with the first, and opened with any.
///
/// To rotate, put a new one in front on every server (first at the end, where
/// servers are changed one after the other), and drop the old one once the
/// longest lifetime has passed.
#[derive(Debug, Clone)]
pub struct EncryptionKeys(Vec<EncryptionKey>);

impl EncryptionKeys {
    /// Seals and opens with this key.
    pub fn new(key: EncryptionKey) -> Self {
        Self(vec![key])
    }

    /// Also opens what was sealed with this key.
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
        // `new` puts one there, and none is ever taken away.
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
    fn an_encryption_key_is_64_hexadecimal_digits() {
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
