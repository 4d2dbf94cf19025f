//! Errors, and how they answer a request.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use kvolt_session::StepUp;

use crate::message::{INTERNAL_ERROR, Message};
use crate::sessions::help;

/// The result of a session operation in a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A setting that can't work, found when the application starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Cow<'static, str>);

impl ConfigError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for ConfigError {}

/// Why a session operation failed in a handler.
///
/// A handler that returns it answers
///
/// | status | over gRPC | if |
/// |---|---|---|
/// | 400 | `INVALID_ARGUMENT` | the request has several session tokens |
/// | 401 | `UNAUTHENTICATED` | the request has no session, or the session has ended |
/// | 401 | `UNAUTHENTICATED` | the session is bound to a device, and the request does not prove that it comes from there |
/// | 401 | `PERMISSION_DENIED` | the user must authenticate again or more strongly |
/// | 403 | `PERMISSION_DENIED` | another site made a browser send the request, a form token is wrong, or an administrator acts for the user |
/// | 409 | `RESOURCE_EXHAUSTED` | the owner has as many sessions as allowed |
/// | 413 | `RESOURCE_EXHAUSTED` | the session's data would be too large |
/// | 500 | `INTERNAL` | anything else |
/// | 503 | `UNAVAILABLE` | the store is unavailable or full, or a browser can't prove its device now, with `Retry-After` or `grpc-retry-pushback-ms` |
///
/// The body is a short text, or JSON behind the layer for a request whose `Accept` begins with
/// `application/json`: `{"error":"session_ended","message":"the session has ended"}`. It contains
/// no details; errors that an operator must act on are logged. Behind the layer a gRPC request, known
/// by its content type, gets a status and no body. A handler that returns statuses of its own
/// [converts](Self::to_grpc) the error.
///
/// ```
/// use kvolt_middleware::{Error, Result, SessionHandle};
/// use kvolt_session::NewSession;
///
/// async fn login(client: SessionHandle<String>) -> Result<&'static str> {
///     match client.login(NewSession::new(String::from("Ada")).owner("42")).await {
///         Err(error) if error.is_limit_reached() => Ok("sign out on another device first"),
///         other => other.map(|()| "welcome"),
///     }
/// }
///
/// /// The line that a page shows.
/// fn explain(error: &Error) -> &'static str {
///     if error.is_unavailable() {
///         "try again in a moment"
///     } else if error.is_ended() || error.missing_step_up().is_some() {
///         "sign in again"
///     } else if error.is_csrf() || error.is_cross_origin() {
///         "load the page again"
///     } else if error.is_impersonation() {
///         "return to your own account first"
///     } else if error.is_too_large() {
///         "remove something first"
///     } else if error.is_unproven() {
///         "load the page again, or sign in again"
///     } else if error.is_ambiguous() {
///         "clear the cookies of this site"
///     } else {
///         "something went wrong"
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Error(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Session(kvolt_session::Error),
    Ended,
    /// And whether the lookup has the `Bearer` scheme, which has a challenge for it.
    NoSession(bool),
    LayerMissing,
    Unreadable,
    CrossOrigin,
    Csrf,
    /// And whether the lookup has the `Bearer` scheme, which has a challenge for it.
    StepUp(StepUp, bool),
    Impersonation,
    /// The request does not prove the device that its session is bound to.
    Unproven,
    /// The browser could not prove the device now.
    ProofDelayed,
    /// The device must prove its key again.
    ProofTooOld,
    SessionExists,
    NoWayBack,
    ResponseBegun,
    Ambiguous,
}

impl Error {
    /// Whether the session exists and can't be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(&self.0, Kind::Session(error) if error.is_corrupt())
    }

    /// Whether the store is down, slow or full, or rejects this program. The same request may work
    /// later, possibly after an operator has acted.
    pub fn is_unavailable(&self) -> bool {
        matches!(&self.0, Kind::Session(error)
            if error.is_unavailable() || error.is_full() || error.is_contended()
                || (error.is_misconfigured() && error.is_store_error()))
    }

    /// Whether the session had ended before the operation.
    pub fn is_ended(&self) -> bool {
        matches!(self.0, Kind::Ended)
    }

    /// Whether the owner has as many sessions as allowed.
    pub fn is_limit_reached(&self) -> bool {
        matches!(&self.0, Kind::Session(error) if error.is_limit_reached())
    }

    /// Whether the session is an impersonation, which can't do this, or can't be started here.
    pub fn is_impersonation(&self) -> bool {
        match &self.0 {
            Kind::Impersonation => true,
            Kind::Session(error) => error.is_impersonation(),
            _ => false,
        }
    }

    /// Whether the session's data would be larger than the store accepts.
    pub fn is_too_large(&self) -> bool {
        matches!(&self.0, Kind::Session(error) if error.is_too_large())
    }

    /// Whether another site made a browser send the request.
    pub fn is_cross_origin(&self) -> bool {
        matches!(self.0, Kind::CrossOrigin)
    }

    /// Whether the form token was missing, or was not one of this session.
    pub fn is_csrf(&self) -> bool {
        matches!(self.0, Kind::Csrf)
    }

    /// Whether the session is bound to a device, and the request does not prove that it comes from
    /// there, or the proof is too old. Browsers prove it with a later request.
    pub fn is_unproven(&self) -> bool {
        matches!(self.0, Kind::Unproven | Kind::ProofDelayed | Kind::ProofTooOld)
    }

    /// Whether the request has too many different tokens, or several where one is needed.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.0, Kind::Ambiguous)
    }

    /// Returns the authentication that is missing, if the user must authenticate again or more
    /// strongly.
    pub fn missing_step_up(&self) -> Option<StepUp> {
        match self.0 {
            Kind::StepUp(missing, _) => Some(missing),
            _ => None,
        }
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.message().status
    }

    pub(crate) fn log(&self) {
        tracing::error!(
            target: "kvolt::http",
            error = self as &dyn StdError,
            help = help!("errors-for-the-operator"),
            "session operation failed"
        );
    }

    pub(crate) fn message(&self) -> Message {
        if self.is_unavailable() {
            let text = "sessions are unavailable, try again later";
            return Message::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text);
        }
        if self.is_limit_reached() {
            let text = "too many sessions are open";
            return Message::new(StatusCode::CONFLICT, "too_many_sessions", text);
        }
        if self.is_too_large() {
            let text = "the session can't hold so much data";
            return Message::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text);
        }
        if self.is_impersonation() {
            let text = match self.0 {
                Kind::Impersonation => "not available while acting for a user",
                _ => "an impersonation can't do this, or can't start here",
            };
            return Message::new(StatusCode::FORBIDDEN, "impersonation", text);
        }
        let (status, code, text) = match self.0 {
            Kind::StepUp(missing, bearer) => return Message::step_up(missing, bearer),
            Kind::NoSession(bearer) => return Message::sign_in(bearer),
            Kind::Ended => (StatusCode::UNAUTHORIZED, "session_ended", "the session has ended"),
            Kind::CrossOrigin => {
                (StatusCode::FORBIDDEN, "cross_origin", "requests from other sites are rejected")
            }
            Kind::Csrf => {
                let text = "the form token is missing or too old: load the page again";
                (StatusCode::FORBIDDEN, "form_token", text)
            }
            Kind::Unproven => {
                let text =
                    "this device did not prove its key: load the page again, or sign in again";
                (StatusCode::UNAUTHORIZED, "device_unproven", text)
            }
            Kind::ProofTooOld => {
                let text = "this device must prove its key again: send the request again";
                (StatusCode::UNAUTHORIZED, "device_proof_too_old", text)
            }
            Kind::ProofDelayed => {
                let text = "this device could not prove its key, try again later";
                (StatusCode::SERVICE_UNAVAILABLE, "device_proof_delayed", text)
            }
            Kind::Ambiguous => {
                let text = "the request has several session tokens: clear the cookies";
                (StatusCode::BAD_REQUEST, "several_tokens", text)
            }
            _ => return INTERNAL_ERROR,
        };
        Message::new(status, code, text)
    }

    /// Returns the response, and logs an error that an operator must act on. An axum handler
    /// returns the error itself.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use kvolt_middleware::Result;
    ///
    /// fn answer(result: Result<&'static str>) -> Response<Bytes> {
    ///     let text = |text| Response::new(Bytes::from_static(str::as_bytes(text)));
    ///     result.map_or_else(|error| error.to_response(), text)
    /// }
    /// ```
    pub fn to_response(&self) -> Response<Bytes> {
        self.logged_message().marked()
    }

    /// Returns the trailers of a gRPC response: `grpc-status`, `grpc-message`, and for a store that
    /// is unavailable `grpc-retry-pushback-ms`. Logs an error that an operator must act on.
    ///
    /// A handler of tonic returns it as a status:
    ///
    /// ```text
    /// fn status(error: kvolt::Error) -> tonic::Status {
    ///     tonic::Status::from_header_map(&error.to_grpc()).expect("it has a code")
    /// }
    /// ```
    ///
    /// ```
    /// use http::HeaderMap;
    /// use kvolt_middleware::{Result, Session, SessionHandle};
    ///
    /// async fn sign_out(request: http::Request<()>) -> Result<(), HeaderMap> {
    ///     let client = SessionHandle::<String>::from_extensions(request.extensions());
    ///     client.map_err(|error| error.to_grpc())?.logout().await.map_err(|error| error.to_grpc())
    /// }
    /// ```
    pub fn to_grpc(&self) -> HeaderMap {
        self.logged_message().trailers()
    }

    fn logged_message(&self) -> Message {
        let message = self.message();
        if message.status.is_server_error() {
            self.log();
        }
        message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Session(error) if error.is_unavailable() => "the session store is unavailable",
            Kind::Session(_) => "the session operation failed",
            Kind::Ended => "the session has ended",
            Kind::NoSession(_) => "the request has no session",
            Kind::LayerMissing => "no session layer for this type of data is around the service",
            Kind::Unreadable => "the session can't be read",
            Kind::CrossOrigin => "another site made a browser send the request",
            Kind::Csrf => "missing or invalid form token",
            Kind::StepUp(..) => "the user must authenticate again",
            Kind::SessionExists => "the client has a session: no anonymous one was created",
            Kind::NoWayBack => {
                "a token that came in a query can't be replaced: no response carries one back"
            }
            Kind::ResponseBegun => "the response has begun: it can't give the client a token",
            Kind::Ambiguous => "the request has several session tokens",
            Kind::Unproven => "the request does not prove the device that the session is bound to",
            Kind::ProofDelayed => "the browser could not prove the device of the session now",
            Kind::ProofTooOld => "the device of the session must prove its key again",
            Kind::Impersonation => "an administrator acts for the user in this session",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Kind::Session(error) => Some(error),
            _ => None,
        }
    }
}

impl From<kvolt_session::Error> for Error {
    fn from(error: kvolt_session::Error) -> Self {
        Self(Kind::Session(error))
    }
}
