//! What went wrong, and who must act.

use kvolt_cache::Error;

/// The result of a step.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) error: Error,
}

/// Who must act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The step met another and was undone: it is tried again at once.
    Again,
    /// The key is taken.
    Taken,
    /// The connection is of no use any longer, nor are those that are as old.
    Lost,
    /// It may work later.
    Unavailable,
    /// The operator must make room.
    Full,
    /// The operator must change something.
    Misconfigured,
}

impl Failure {
    /// A failure in our own words.
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

    /// The failure of a call that did not ask for room: a full disk is unavailable to it.
    pub(crate) fn of_touching(self) -> Self {
        if self.kind != Kind::Full {
            return self;
        }
        let error = Error::unavailable("a use could not be recorded").with_source(self.error);
        Self { kind: Kind::Unavailable, error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_misconfigured() { Kind::Misconfigured } else { Kind::Unavailable };
        Self { kind, error }
    }
}
