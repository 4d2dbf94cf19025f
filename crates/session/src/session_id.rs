use std::fmt;
use std::str::FromStr;

use kvolt_cache::{Key, Namespace};

/// The public id of a session, for lists, logs and revocation: 24 hexadecimal digits.
///
/// It is the first part of the session's [`Token`](crate::Token) and no secret: with it alone, a
/// client can't use the session, keep it alive or end it. It stays the same while the session
/// lives, and is new at each login.
///
/// ```
/// use kvolt_session::SessionId;
///
/// let id: SessionId = "00112233445566778899aabb".parse()?;
/// assert_eq!(id.to_string(), "00112233445566778899aabb");
/// assert_eq!(SessionId::from_bytes(*id.as_bytes()), id);
/// assert!("not an id".parse::<SessionId>().is_err());
/// # Ok::<(), kvolt_session::ParseSessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; Self::LEN]);

impl SessionId {
    /// The length in bytes.
    pub const LEN: usize = Key::ID_LEN;

    /// Makes an id of its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The id of the session that a store keeps under this key.
    ///
    /// ```
    /// use kvolt_cache::Namespace;
    /// use kvolt_session::SessionId;
    ///
    /// let id = SessionId::from_bytes([7; SessionId::LEN]);
    /// let key = id.key(&Namespace::new("shop")?);
    /// assert_eq!(SessionId::from_key(&key), id);
    /// # Ok::<(), kvolt_cache::Error>(())
    /// ```
    pub fn from_key(key: &Key) -> Self {
        Self(key.id())
    }

    /// The key under which a store of this namespace keeps the session.
    pub fn key(&self, namespace: &Namespace) -> Key {
        Key::from_id(self.0, namespace)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// As text.
#[cfg(feature = "json")]
impl serde::Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "json")]
impl<'de> serde::Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A text that is not 24 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session id is written as 24 lower-case hexadecimal digits")
    }
}

impl std::error::Error for ParseSessionIdError {}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        let mut id = [0; Self::LEN];
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or(ParseSessionIdError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseSessionIdError)?;
        }
        // An id has one spelling: upper case, signs and further digits are rejected.
        let id = Self(id);
        if id.to_string() == text { Ok(id) } else { Err(ParseSessionIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_back_from_text_and_key() {
        let id = SessionId::from_bytes([0, 1, 2, 253, 254, 255, 6, 7, 8, 9, 10, 11]);
        assert_eq!(id.to_string(), "000102fdfeff060708090a0b");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId::from_key(&id.key(&Namespace::new("shop").unwrap())), id);
        for bad in ["", "00", &"0".repeat(25), &"A".repeat(24), &"é".repeat(12)] {
            assert_eq!(bad.parse::<SessionId>(), Err(ParseSessionIdError), "{bad}");
        }
    }
}
