//! Failures of a call, and how to react to them.

use kvolt_cache::Error;

/// The result of a step.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) error: Error,
}

/// How to react to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another call conflicted, and nothing was changed: retry at once.
    Again,
    /// The key is taken.
    Taken,
    /// The connection is dead, and idle ones most likely are too.
    Lost,
    /// Retry later.
    Unavailable,
    /// The operator must provide room.
    Full,
    /// The operator must change something.
    Misconfigured,
}

impl Failure {
    /// A failure that this crate detects.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        let error = match kind {
            Kind::Again | Kind::Lost | Kind::Unavailable | Kind::Taken => {
                Error::unavailable(message)
            }
            Kind::Full => Error::full(message),
            Kind::Misconfigured => Error::misconfigured(message),
        };
        Self { kind, error }
    }

    /// The failure of a touch. It stores nothing new, so a full disk counts as unavailable.
    pub(crate) fn of_touching(self) -> Self {
        if self.kind != Kind::Full {
            return self;
        }
        let error =
            Error::unavailable("the use of an entry could not be recorded").with_source(self.error);
        Self { kind: Kind::Unavailable, error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_misconfigured() { Kind::Misconfigured } else { Kind::Unavailable };
        Self { kind, error }
    }
}
