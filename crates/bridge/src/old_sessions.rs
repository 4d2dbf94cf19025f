use std::future::Future;
use std::pin::Pin;

use crate::{OldCookie, OldSession, OldSessionError};

/// Reads and removes the sessions of another library.
///
/// [`Bridge`](crate::Bridge) asks nothing else of it, so a store that this crate does not know needs
/// three methods.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use kvolt_bridge::{OldCookie, OldSession, OldSessionError, OldSessions};
///
/// struct InMemory(OldCookie, Mutex<HashMap<String, OldSession>>);
///
/// impl OldSessions for InMemory {
///     fn cookie(&self) -> &OldCookie {
///         &self.0
///     }
///
///     fn id(&self, cookie: &str) -> Option<String> {
///         (cookie.len() == 36).then(|| cookie.to_owned())
///     }
///
///     async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
///         Ok(self.1.lock().map_err(|error| OldSessionError::unavailable(error.to_string()))?.get(id).cloned())
///     }
///
///     async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
///         Ok(self.1.lock().map_err(|error| OldSessionError::unavailable(error.to_string()))?.remove(id).is_some())
///     }
/// }
/// ```
pub trait OldSessions: Send + Sync + 'static {
    /// The cookie by which clients name their sessions.
    fn cookie(&self) -> &OldCookie;

    /// Returns what [`read`](Self::read) and [`remove`](Self::remove) need, from the cookie's value
    /// as the client sent it. `None` if the other library would not accept it.
    ///
    /// No two clients may have the same one: it names the old session, and is its secret.
    fn id(&self, cookie: &str) -> Option<String>;

    /// Reads a session; `None` if it does not exist, or has expired.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`OldSessionError::unavailable`]), or if the
    /// session exists and can't be read ([`OldSessionError::unreadable`]).
    fn read(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<OldSession>, OldSessionError>> + Send;

    /// Removes a session, in one step, and returns whether it existed. Must also remove one that
    /// can't be read. Returns `true` for a session that only the cookie keeps.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`OldSessionError::unavailable`]).
    fn remove(&self, id: &str) -> impl Future<Output = Result<bool, OldSessionError>> + Send;
}

type Boxed<'a, R> = Pin<Box<dyn Future<Output = Result<R, OldSessionError>> + Send + 'a>>;

/// [`OldSessions`] with boxed futures, so that it can be a trait object.
pub(crate) trait Erased: Send + Sync {
    fn cookie(&self) -> &OldCookie;
    fn id(&self, cookie: &str) -> Option<String>;
    fn read<'a>(&'a self, id: &'a str) -> Boxed<'a, Option<OldSession>>;
    fn remove<'a>(&'a self, id: &'a str) -> Boxed<'a, bool>;
}

impl<S: OldSessions> Erased for S {
    fn cookie(&self) -> &OldCookie {
        OldSessions::cookie(self)
    }

    fn id(&self, cookie: &str) -> Option<String> {
        OldSessions::id(self, cookie)
    }

    fn read<'a>(&'a self, id: &'a str) -> Boxed<'a, Option<OldSession>> {
        Box::pin(OldSessions::read(self, id))
    }

    fn remove<'a>(&'a self, id: &'a str) -> Boxed<'a, bool> {
        Box::pin(OldSessions::remove(self, id))
    }
}
