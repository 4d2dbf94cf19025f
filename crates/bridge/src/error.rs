use std::error::Error as StdError;
use std::fmt;

/// Why an old session can't be read or removed. A session that does not exist is not an error.
///
/// ```
/// use kvolt_bridge::OldSessionError;
///
/// assert!(OldSessionError::unavailable("the connection was closed").is_unavailable());
/// assert!(!OldSessionError::unreadable("it is not JSON").is_unavailable());
/// ```
#[derive(Debug)]
pub struct OldSessionError {
    kind: Kind,
    source: Box<dyn StdError + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Misconfigured,
    Unreadable,
}

impl OldSessionError {
    /// The old store can't be reached. The request gets 503.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: Kind::Unavailable, source: source.into() }
    }

    /// The old store rejects the call, and will until the application or the store is changed: such
    /// as for a table that does not exist. The request gets 500.
    ///
    /// ```
    /// use kvolt_bridge::OldSessionError;
    ///
    /// let error = OldSessionError::misconfigured("there is no such table");
    /// assert!(error.is_misconfigured() && !error.is_unavailable());
    /// ```
    pub fn misconfigured(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: Kind::Misconfigured, source: source.into() }
    }

    /// The old session exists and has no known format. It is logged, and not taken over.
    pub fn unreadable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: Kind::Unreadable, source: source.into() }
    }

    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether the application or the old store must be changed.
    pub fn is_misconfigured(&self) -> bool {
        self.kind == Kind::Misconfigured
    }

    /// Whether nothing is known about the session.
    pub(crate) fn is_failure(&self) -> bool {
        self.kind != Kind::Unreadable
    }
}

impl fmt::Display for OldSessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Unavailable => "the old store is unavailable",
            Kind::Misconfigured => "the old store is misconfigured",
            Kind::Unreadable => "the old session can't be read",
        })
    }
}

impl StdError for OldSessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
