use std::error::Error as StdError;
use std::fmt;

/// The result of a session operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A session operation that could not be carried out: never "there is no such session".
///
/// Ask it who has to act: [`is_unavailable`](Self::is_unavailable) and
/// [`is_contended`](Self::is_contended) (nobody: try again),
/// [`is_limit_reached`](Self::is_limit_reached) (the user),
/// [`is_full`](Self::is_full) and
/// [`is_misconfigured`](Self::is_misconfigured) (the operator),
/// [`is_corrupt`](Self::is_corrupt) (this session can't be read),
/// [`is_too_large`](Self::is_too_large) (whoever filled the session),
/// [`is_unencodable`](Self::is_unencodable) (the program, whose data it is).
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Contended,
    LimitReached,
    Full,
    Misconfigured,
    Corrupt,
    TooLarge,
    Unencodable,
}

impl Error {
    /// A store that did not answer in the time that was set for it.
    pub fn timed_out(after: std::time::Duration) -> Self {
        Self::new(Kind::Unavailable, format!("the store did not answer within {after:?}"))
    }

    /// A session whose data can't be read.
    pub(crate) fn corrupt(id: crate::SessionId, source: &kvolt_cache::Error) -> Self {
        Self::new(Kind::Corrupt, format!("session {id}: {source}"))
    }

    /// A session that the store files under another owner than its record names.
    pub(crate) fn misfiled(id: crate::SessionId) -> Self {
        Self::new(
            Kind::Corrupt,
            format!("session {id}: the store names another owner than its record: revoke it"),
        )
    }

    pub(crate) fn store(source: kvolt_cache::Error) -> Self {
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
        Self(Box::new(Inner { kind, message: source.to_string(), source: Some(source.into()) }))
    }

    pub(crate) fn no_randomness(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let message = String::from("the operating system's random generator does not work");
        Self(Box::new(Inner { kind: Kind::Unavailable, message, source: Some(source.into()) }))
    }

    pub(crate) fn contended(message: impl Into<String>) -> Self {
        Self::new(Kind::Contended, message)
    }

    pub(crate) fn limit_reached() -> Self {
        Self::new(
            Kind::LimitReached,
            "there are as many sessions as allowed, of the owner or of visitors",
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(Kind::TooLarge, "an anonymous session may not hold so much")
    }

    /// A name that can't be an owner's.
    pub(crate) fn invalid_owner(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::misconfigured(format!("not a valid owner: {source}"))
    }

    pub(crate) fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// Whether the same call may work later, with nobody doing anything: the
    /// store is down or slow.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// Whether others kept changing the session in between.
    pub fn is_contended(&self) -> bool {
        self.0.kind == Kind::Contended
    }

    /// Whether the owner has as many sessions as allowed; or, together, anonymous visitors have.
    pub fn is_limit_reached(&self) -> bool {
        self.0.kind == Kind::LimitReached
    }

    /// Whether the store is at its capacity.
    pub fn is_full(&self) -> bool {
        self.0.kind == Kind::Full
    }

    /// Whether the configuration or the program has to change.
    pub fn is_misconfigured(&self) -> bool {
        self.0.kind == Kind::Misconfigured
    }

    /// Whether it was the store that failed, in whatever way, and not the call.
    pub fn is_store_error(&self) -> bool {
        self.0.source.as_ref().is_some_and(|source| source.is::<kvolt_cache::Error>())
    }

    /// Whether the session's data is larger than the store takes; it is as it was before.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == Kind::TooLarge
    }

    /// Whether the store's codec can't keep the data as it is, such as NaN in JSON; the session
    /// is as it was before.
    pub fn is_unencodable(&self) -> bool {
        self.0.kind == Kind::Unencodable
    }

    /// Whether the session is there but can't be decoded.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == Kind::Corrupt
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
