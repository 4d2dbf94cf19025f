//! What went wrong, and who has to act.

use std::io::ErrorKind;

use kvolt_cache::Error;

use crate::dialect::{Dialect, Trouble};

/// The result of a step.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) error: Error,
}

/// Who has to act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The step got in the way of another and was undone: it is tried again at once.
    Again,
    /// The key is taken.
    Taken,
    /// The connection is of no use any more, nor are those that are as old.
    Lost,
    /// Nobody: it may work later.
    Unavailable,
    /// The operator has to make room.
    Full,
    /// The operator has to change something.
    Misconfigured,
}

impl Failure {
    /// The failure of a driver's call.
    pub(crate) fn of<D: Dialect>(error: sqlx::Error) -> Self {
        let (kind, message) = match &error {
            sqlx::Error::Database(reported) => {
                let code = reported.code().unwrap_or_default();
                let mut message = format!("{} says: {} ({code})", D::NAME, reported.message());
                if let Some(hint) = D::hint(&**reported) {
                    message += &format!("; {hint}");
                }
                (D::kind(&**reported), message)
            }
            sqlx::Error::Io(error) => {
                (Kind::Lost, format!("the connection to {} failed: {error}", D::NAME))
            }
            sqlx::Error::Tls(why) => (
                Kind::Misconfigured,
                format!("no TLS connection to {} could be made: {why}", D::NAME),
            ),
            sqlx::Error::Configuration(why) => {
                (Kind::Misconfigured, format!("the settings for {} can't work: {why}", D::NAME))
            }
            _ => (Kind::Lost, format!("the connection to {} broke", D::NAME)),
        };
        let quotes_rows = matches!(&error, sqlx::Error::Database(reported)
            if reported.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23")));
        let mut failure = Self::new(kind, message);
        // What PostgreSQL says of bad data quotes the row, and with it somebody's session.
        if !quotes_rows {
            failure.error = failure.error.with_source(error);
        }
        failure
    }

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

    /// The same, where nobody asked for room: a full disk is no answer to a read.
    pub(crate) fn of_reading(self) -> Self {
        if self.kind != Kind::Full {
            return self;
        }
        let error = Error::unavailable("a use could not be recorded").with_source(self.error);
        Self { kind: Kind::Unavailable, error }
    }

    /// A connection that could not be made.
    pub(crate) fn connecting<D: Dialect>(trouble: Trouble) -> Self {
        match trouble {
            // How the library for TLS refuses a certificate.
            Trouble::Driver(sqlx::Error::Io(why)) if why.kind() == ErrorKind::InvalidData => {
                Self::of::<D>(sqlx::Error::Tls(why.into()))
            }
            Trouble::Driver(error) => Self::of::<D>(error),
            Trouble::Refused(error) => Self::from(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_misconfigured() { Kind::Misconfigured } else { Kind::Unavailable };
        Self { kind, error }
    }
}
