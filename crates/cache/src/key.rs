use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The name of an entry: 32 bytes that a store neither chooses nor interprets.
///
/// A key must be uniformly distributed, as a digest is: stores use its first
/// eight bytes as the hash. A key is not a secret; sessions are stored under
/// the digest of their token, never under the token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// A key from the 32 bytes of a digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of a name of any length: its SHA-256 (FIPS 180-4), each bit inverted.
    ///
    /// So it is the digest of nothing that anybody can know of. Sessions live under
    /// plain digests of tokens: a client can make a token of the bytes of a name, and is to
    /// reach nothing with it that lives under the name in the same store.
    pub fn of(name: impl AsRef<[u8]>) -> Self {
        let digest: [u8; 32] = Sha256::digest(name.as_ref()).into();
        Self(digest.map(|byte| !byte))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes: hash, and short name in the timer wheel.
    pub(crate) const fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

// A digest is its own hash: only a server inserts, so nobody can choose keys that collide.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

/// 64 lower-case hexadecimal digits.
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

/// The text was not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseKeyError;

impl fmt::Display for ParseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is written as 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for ParseKeyError {}

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseKeyError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Result<u8, ParseKeyError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseKeyError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_name_is_as_documented() {
        // By a second implementation: Python's `hashlib`.
        let expected = "c916939d9cc9ec29071676bc7cf12a3a07eb3d446deb27445a88c79f69436d95";
        assert_eq!(Key::of("a name").to_string(), expected);
    }

    #[test]
    fn a_key_survives_its_text_form_and_only_that_form_is_accepted() {
        let key = Key::of("a name");
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse::<Key>(), Err(ParseKeyError));
        assert_eq!(text[1..].parse::<Key>(), Err(ParseKeyError));
        assert_eq!("é".repeat(32).parse::<Key>(), Err(ParseKeyError));
    }
}
