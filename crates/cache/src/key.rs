use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::{Error, Namespace, Result};

/// The key of an entry: 32 bytes.
///
/// A key is either the public id of a session followed by the [tag](Namespace::tag) of its
/// namespace ([`from_id`](Self::from_id)), or the digest of a name ([`of`](Self::of)). A digest
/// ends in the tag of a namespace with a probability of 2^-160, so a client that chooses
/// an id can't reach an entry that is stored under a name.
///
/// The first eight bytes must be uniformly distributed, because stores use them as the hash. A key
/// is not a secret.
///
/// ```
/// use kvolt_cache::{Key, Namespace};
///
/// let shop = Namespace::new("shop")?;
/// let key = Key::from_id([7; Key::ID_LEN], &shop);
/// assert_eq!(key.id(), [7; Key::ID_LEN]);
/// assert!(key.is_in(&shop) && !Key::of("a name").is_in(&shop));
/// assert_eq!(key.to_string().parse::<Key>()?, key);
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; Self::LEN]);

impl Key {
    /// The length of a key in bytes.
    pub const LEN: usize = 32;

    /// The length of an id in bytes.
    pub const ID_LEN: usize = 12;

    /// Makes a key of its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Makes the key of an id in a namespace: the id, then the namespace's tag.
    pub fn from_id(id: [u8; Self::ID_LEN], namespace: &Namespace) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[..Self::ID_LEN].copy_from_slice(&id);
        bytes[Self::ID_LEN..].copy_from_slice(namespace.tag());
        Self(bytes)
    }

    /// Makes the key of a name of any length: its SHA-256 (FIPS 180-4).
    pub fn of(name: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(name.as_ref()).into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The first bytes of the key. They are an id only if the key [is in](Self::is_in) a
    /// namespace.
    pub fn id(&self) -> [u8; Self::ID_LEN] {
        let mut id = [0; Self::ID_LEN];
        id.copy_from_slice(&self.0[..Self::ID_LEN]);
        id
    }

    /// Whether the key was made from an id in this namespace.
    pub fn is_in(&self, namespace: &Namespace) -> bool {
        self.0[Self::ID_LEN..] == namespace.tag()[..]
    }

    /// The first eight bytes: the hash, and a short name for the due queue.
    pub(crate) const fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

// An id or a digest is its own hash: only a server inserts, so no client chooses keys that collide.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

/// Writes 64 lower-case hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Accepts 64 lower-case hexadecimal digits, as `Display` writes them.
impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; Self::LEN];
        let has_upper_case = text.bytes().any(|digit| digit.is_ascii_uppercase());
        if has_upper_case || !read_hex(text, &mut bytes) {
            return Err(Error::misconfigured(
                "a key is written as 64 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(bytes))
    }
}

/// Reads hexadecimal digits of either case into `bytes`; `false` unless there are exactly two for
/// each byte.
pub(crate) fn read_hex(text: &str, bytes: &mut [u8]) -> bool {
    let is_read = |(byte, digits): (&mut u8, &[u8])| {
        digits.iter().all(|digit| {
            let digit = char::from(*digit).to_digit(16);
            *byte = *byte << 4 | digit.unwrap_or_default() as u8;
            digit.is_some()
        })
    };
    text.len() == 2 * bytes.len() && bytes.iter_mut().zip(text.as_bytes().chunks(2)).all(is_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_a_name_is_its_sha256() {
        // Computed by Python's `hashlib`.
        let expected = "36e96c62633613d6f8e98943830ed5c5f814c2bb9214d8bba577386096bc926a";
        assert_eq!(Key::of("a name").to_string(), expected);
    }

    #[test]
    fn key_is_read_back_from_its_one_text() {
        let key = Key::of("a name");
        let text = key.to_string();
        assert_eq!(text.parse::<Key>().unwrap(), key);
        for wrong in [&text.to_uppercase(), &text[1..], &"+f".repeat(32), &"é".repeat(32)] {
            assert!(wrong.parse::<Key>().unwrap_err().is_misconfigured(), "{wrong}");
        }
    }
}
