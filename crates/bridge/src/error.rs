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
    is_unavailable: bool,
    source: Box<dyn StdError + Send + Sync>,
}

impl OldSessionError {
    /// The old store can't be reached or rejects the call. The request gets 503.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { is_unavailable: true, source: source.into() }
    }

    /// The old session exists and has no known format. It is logged, and not taken over.
    pub fn unreadable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { is_unavailable: false, source: source.into() }
    }

    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        self.is_unavailable
    }
}

impl fmt::Display for OldSessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is_unavailable {
            true => "the old store is unavailable",
            false => "the old session can't be read",
        })
    }
}

impl StdError for OldSessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
