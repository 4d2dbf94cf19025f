use std::borrow::Borrow;
use std::fmt;

use kvolt_cache::Key;

use crate::secret_digest::SecretDigest;
use crate::{SessionSnapshot, Token};

/// A token that a client presented, with its session if the caller has just read that by the token.
///
/// The calls that take one accept a `&Token`, or `(&Token, SessionSnapshot<T>)`, which costs the
/// store one command less. The snapshot must be what the caller read by this token. It may be old:
/// a call works on the session as it is now.
pub struct Presented<'a, T> {
    pub(super) token: &'a Token,
    pub(super) read: Option<SessionSnapshot<T>>,
}

/// A token with what the store and the record know it by.
#[derive(Clone, Copy)]
pub(super) struct HashedToken<'a> {
    pub(super) token: &'a Token,
    pub(super) key: Key,
    pub(super) digest: SecretDigest,
}

impl<'a, T, B: Borrow<Token>> From<&'a B> for Presented<'a, T> {
    fn from(token: &'a B) -> Self {
        Self { token: token.borrow(), read: None }
    }
}

impl<'a, T, S: Into<Option<SessionSnapshot<T>>>> From<(&'a Token, S)> for Presented<'a, T> {
    fn from((token, read): (&'a Token, S)) -> Self {
        Self { token, read: read.into() }
    }
}

impl<T> fmt::Debug for Presented<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("read", &self.read).finish_non_exhaustive()
    }
}
