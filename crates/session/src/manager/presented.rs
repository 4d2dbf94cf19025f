use std::borrow::Borrow;

use kvolt_cache::Key;

use crate::secret_digest::SecretDigest;
use crate::{SessionSnapshot, Token};

/// A token that a client presented, with its session if the caller has just read that by the token.
///
/// The calls that take one accept a `&Token`, or `(&Token, SessionSnapshot<T>)`, which costs the
/// store one command less. The snapshot must be what the caller read by this token. It may be old:
/// a call works on the session as it is now.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::Manager;
///
/// # pollster::block_on(async {
/// let manager = Manager::<u32>::new(MemoryStore::new());
/// let token = manager.create(1).await?;
/// manager.update(&token, |number| *number += 1).await?;
///
/// let session = manager.get(&token).await?.expect("it was just created");
/// let session = manager.update((&token, session), |number| *number += 1).await?;
/// assert_eq!(*session.expect("it exists"), 3);
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Presented<'a, T> {
    pub(super) token: &'a Token,
    pub(super) read: Option<SessionSnapshot<T>>,
}

/// A token with its key in the store and its digest in the record.
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
