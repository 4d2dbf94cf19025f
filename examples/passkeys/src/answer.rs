//! The answer of a handler that fails.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::accounts::NotAdded;

pub(crate) type Answer<T> = Result<T, Failed>;

/// An error of the session, or a refusal of the application's own.
pub(crate) enum Failed {
    Session(kvolt::Error),
    Refused(StatusCode, &'static str),
}

pub(crate) const NO_CEREMONY: Failed = Failed::Refused(StatusCode::CONFLICT, "start again");
pub(crate) const NOT_PROVED: Failed =
    Failed::Refused(StatusCode::FORBIDDEN, "the passkey was not accepted");
pub(crate) const INTERNAL: Failed =
    Failed::Refused(StatusCode::INTERNAL_SERVER_ERROR, "something is wrong");

impl From<kvolt::Error> for Failed {
    fn from(error: kvolt::Error) -> Self {
        Self::Session(error)
    }
}

impl From<kvolt::session::Error> for Failed {
    fn from(error: kvolt::session::Error) -> Self {
        Self::Session(error.into())
    }
}

impl From<NotAdded> for Failed {
    fn from(error: NotAdded) -> Self {
        Self::Refused(
            StatusCode::CONFLICT,
            match error {
                NotAdded::NameTaken => "the name is taken",
                NotAdded::PasskeyKnown => "the passkey is registered already",
            },
        )
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Refused(status, why) => (status, why).into_response(),
        }
    }
}
