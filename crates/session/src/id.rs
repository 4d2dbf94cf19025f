use std::fmt;
use std::str::FromStr;

use kvolt_cache::Key;

/// The public name of a session, for lists, logs and revocation: 64 hexadecimal digits.
///
/// It is the digest under which a store keeps the session. Nobody becomes
/// anybody with it: given as a token, it is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Key);

impl SessionId {
    pub(crate) const fn new(key: Key) -> Self {
        Self(key)
    }

    /// The key under which a store keeps the session.
    pub const fn key(&self) -> &Key {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

/// The text was not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session id is written as 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for ParseSessionIdError {}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        text.parse().map(Self).map_err(|_| ParseSessionIdError)
    }
}
