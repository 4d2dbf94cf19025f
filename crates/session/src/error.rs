use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::SessionId;

/// The result of a session operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A session operation that failed. A session that does not exist is not an error.
///
/// The predicates say who must act:
///
/// | predicate | who must act |
/// |---|---|
/// | [`is_unavailable`](Self::is_unavailable), [`is_contended`](Self::is_contended) | no one: try again later |
/// | [`is_limit_reached`](Self::is_limit_reached), [`is_impersonation`](Self::is_impersonation) | the user |
/// | [`is_full`](Self::is_full), [`is_misconfigured`](Self::is_misconfigured) | the operator |
/// | [`is_corrupt`](Self::is_corrupt) | the operator: this session can't be read |
/// | [`is_too_large`](Self::is_too_large), [`is_unencodable`](Self::is_unencodable) | the program: the session's data |
///
/// The [guide](https://docs.rs/kvolt/latest/kvolt/guide/errors/) has a section for each.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, NewSession, OwnerLimit};
///
/// # pollster::block_on(async {
/// let manager: Manager<String> =
///     Manager::builder(MemoryStore::new()).owner_limit(OwnerLimit::refuse(1)).build()?;
/// let ada = || NewSession::new(String::from("Ada")).owner("42");
/// let token = manager.create(ada()).await?;
///
/// let error = manager.create(ada()).await.expect_err("the owner has a session");
/// assert!(error.is_limit_reached() && !error.is_unavailable());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unavailable,
    Contended,
    LimitReached,
    Full,
    Misconfigured,
    Corrupt,
    TooLarge,
    Unencodable,
    Impersonation,
}

impl Error {
    /// Makes an error for a store that did not answer in time, for adapters that set a timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_session::Error;
    ///
    /// let error = Error::timed_out(Duration::from_secs(5));
    /// assert!(error.is_unavailable() && !error.is_store_error());
    /// assert!(!error.is_contended() && !error.is_full() && !error.is_misconfigured());
    /// assert!(!error.is_corrupt() && !error.is_too_large() && !error.is_unencodable());
    /// assert!(!error.is_impersonation());
    /// ```
    pub fn timed_out(after: Duration) -> Self {
        Self::new(Kind::Unavailable, format!("the store did not answer within {after:?}"))
    }

    /// A call that needs the user, in a session in which an administrator acts for the user.
    pub(crate) fn not_the_user() -> Self {
        Self::new(
            Kind::Impersonation,
            "an administrator acts for the user in this session: only the user can prove the \
             user's identity, or change the credentials",
        )
    }

    /// A session that can't be read.
    pub(crate) fn corrupt(id: SessionId, reason: impl fmt::Display) -> Self {
        Self::new(Kind::Corrupt, format!("session {id}: {reason}"))
    }

    /// Makes an error of a store's failure, for adapters that keep more than sessions in a store.
    ///
    /// ```
    /// use kvolt_session::Error;
    ///
    /// let error = Error::store(kvolt_cache::Error::unavailable("the connection was closed"));
    /// assert!(error.is_unavailable() && error.is_store_error());
    /// ```
    pub fn store(source: kvolt_cache::Error) -> Self {
        let kind = if source.is_unavailable() {
            Kind::Unavailable
        } else if source.is_full() {
            Kind::Full
        } else if source.is_corrupt() {
            Kind::Corrupt
        } else if source.is_too_large() {
            Kind::TooLarge
        } else if source.is_unencodable() {
            Kind::Unencodable
        } else {
            Kind::Misconfigured
        };
        Self::new(kind, source.to_string()).with_source(source)
    }

    pub(crate) fn no_randomness(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Unavailable, "the operating system's random generator fails")
            .with_source(source)
    }

    /// A name that can't be an owner's.
    pub(crate) fn invalid_owner(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::misconfigured(format!("invalid owner: {source}"))
    }

    pub(crate) fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, message)
    }

    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Failure { kind, message: message.into(), source: None }))
    }

    fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Whether the store is down or slow: the same call may work later.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// Whether other calls kept changing the session: the same call may work later.
    pub fn is_contended(&self) -> bool {
        self.0.kind == Kind::Contended
    }

    /// Whether the owner, or the anonymous visitors together, reached the limit of sessions.
    pub fn is_limit_reached(&self) -> bool {
        self.0.kind == Kind::LimitReached
    }

    /// Whether the call is refused because an administrator acts for the user in this session, or
    /// because an impersonation can't be started from it. The text says why.
    pub fn is_impersonation(&self) -> bool {
        self.0.kind == Kind::Impersonation
    }

    /// Whether the store is at its capacity.
    pub fn is_full(&self) -> bool {
        self.0.kind == Kind::Full
    }

    /// Whether the configuration or the program must change.
    pub fn is_misconfigured(&self) -> bool {
        self.0.kind == Kind::Misconfigured
    }

    /// Whether the error comes from the store, and not from the call.
    pub fn is_store_error(&self) -> bool {
        self.0.source.as_ref().is_some_and(|source| source.is::<kvolt_cache::Error>())
    }

    /// Whether the session's data is too large. The session was not changed.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == Kind::TooLarge
    }

    /// Whether the store's codec can't keep the data as it is, such as NaN in JSON. The session
    /// was not changed.
    pub fn is_unencodable(&self) -> bool {
        self.0.kind == Kind::Unencodable
    }

    /// Whether the session exists but can't be decoded.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == Kind::Corrupt
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
