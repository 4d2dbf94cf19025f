use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, header};

use kvolt_session::StepUp;

/// The result of a session operation in a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// After how many seconds a client may try again when the store is unavailable:
/// the value of `Retry-After` (RFC 9110, section 10.2.3).
pub const RETRY_AFTER: u32 = 5;

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

/// Why a handler could not do what it wanted with a session.
///
/// As a response it is 503 with `Retry-After` where the store is unavailable or
/// full, 401 where the session had ended in the meantime or a stronger or fresher
/// authentication is needed, 403 where another site
/// made a browser send the request or a form token is wrong, 409 where the owner has as many as allowed,
/// 413 where the session can't hold so much, 400 where the request has several session tokens, and
/// else 500. Nothing of it is shown to the client;
/// what an operator has to act on is in the log.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Session(kvolt_session::Error),
    Ended,
    CrossOrigin,
    Csrf,
    /// And whether tokens come by the scheme that has a challenge for it.
    StepUp(StepUp, bool),
    SessionExists,
    NoWayBack,
    ResponseBegun,
    Ambiguous,
}

impl Error {
    pub(crate) fn ended() -> Self {
        Self(Kind::Ended)
    }

    pub(crate) fn cross_origin() -> Self {
        Self(Kind::CrossOrigin)
    }

    pub(crate) fn csrf() -> Self {
        Self(Kind::Csrf)
    }

    pub(crate) fn step_up(missing: StepUp, bearer: bool) -> Self {
        Self(Kind::StepUp(missing, bearer))
    }

    pub(crate) fn session_exists() -> Self {
        Self(Kind::SessionExists)
    }

    pub(crate) fn no_way_back() -> Self {
        Self(Kind::NoWayBack)
    }

    pub(crate) fn response_begun() -> Self {
        Self(Kind::ResponseBegun)
    }

    pub(crate) fn ambiguous() -> Self {
        Self(Kind::Ambiguous)
    }

    /// Whether the session exists and can't be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(&self.0, Kind::Session(error) if error.is_corrupt())
    }

    /// Whether the store is down, slow or full, or refuses to serve this program: the same
    /// request may work later, if need be once somebody has seen to the store.
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

    /// Whether the session's data would be larger than the store takes.
    pub fn is_too_large(&self) -> bool {
        matches!(&self.0, Kind::Session(error) if error.is_too_large())
    }

    /// Whether another site made a browser send the request.
    pub fn is_cross_origin(&self) -> bool {
        matches!(self.0, Kind::CrossOrigin)
    }

    /// Whether the form token was missing, or none of the session's.
    pub fn is_csrf(&self) -> bool {
        matches!(self.0, Kind::Csrf)
    }

    /// Whether the request has too many different tokens, or where one is needed, several.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.0, Kind::Ambiguous)
    }

    /// What is missing, where the user has to prove again, or more strongly, who they are.
    pub fn missing_step_up(&self) -> Option<StepUp> {
        match self.0 {
            Kind::StepUp(missing, _) => Some(missing),
            _ => None,
        }
    }

    /// The status that it answers with.
    pub fn status(&self) -> StatusCode {
        if self.is_unavailable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.is_ended() || self.missing_step_up().is_some() {
            StatusCode::UNAUTHORIZED
        } else if self.is_cross_origin() || self.is_csrf() {
            StatusCode::FORBIDDEN
        } else if self.is_limit_reached() {
            StatusCode::CONFLICT
        } else if self.is_too_large() {
            StatusCode::PAYLOAD_TOO_LARGE
        } else if self.is_ambiguous() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }

    /// Tells the operator.
    pub(crate) fn log(&self) {
        tracing::error!(target: "kvolt::http", error = self as &dyn StdError, "session operation failed");
    }

    /// The response, which an axum handler gives by returning the error.
    pub fn to_response(&self) -> Response<Bytes> {
        let status = self.status();
        if status.is_server_error() {
            self.log();
        }
        if let Kind::StepUp(missing, bearer) = self.0 {
            return insufficient(missing, bearer);
        }
        let text = match status {
            StatusCode::FORBIDDEN if self.is_csrf() => {
                "the form token is missing or too old: load the page again\n"
            }
            StatusCode::SERVICE_UNAVAILABLE => "sessions are unavailable, try again later\n",
            StatusCode::UNAUTHORIZED => "the session has ended\n",
            StatusCode::FORBIDDEN => "requests from other sites are refused\n",
            StatusCode::CONFLICT => "too many sessions are open\n",
            StatusCode::PAYLOAD_TOO_LARGE => "the session can't hold so much\n",
            StatusCode::BAD_REQUEST => {
                "the request has several session tokens: clear the cookies\n"
            }
            _ => "internal error\n",
        };
        let mut response = plain(status, text);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

/// 401, and what is missing, in the terms of RFC 9470; where tokens come by that scheme, as a challenge too.
pub(crate) fn insufficient(missing: StepUp, bearer: bool) -> Response<Bytes> {
    let max_age = missing.max_age().map(|max_age| max_age.as_secs());
    let acr_values = missing.level().number();
    let mut response = plain(StatusCode::UNAUTHORIZED, "");
    let mut text = String::from("insufficient_user_authentication: authenticate again");
    let mut challenge = String::from("Bearer error=\"insufficient_user_authentication\"");
    if let Some(max_age) = max_age {
        text += &format!(", max_age={max_age}");
        challenge += &format!(", max_age=\"{max_age}\"");
    }
    text += &format!(", acr_values={acr_values}\n");
    challenge += &format!(", acr_values=\"{acr_values}\"");
    *response.body_mut() = Bytes::from(text);
    if bearer && let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A short answer in plain text, which nobody may keep.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Session(error) if error.is_unavailable() => "the session store is unavailable",
            Kind::Session(_) => "the session operation failed",
            Kind::Ended => "the session has ended",
            Kind::CrossOrigin => "another site made a browser send the request",
            Kind::Csrf => "the form token is missing, or none of the session's",
            Kind::StepUp(..) => "the user has to prove again who they are",
            Kind::SessionExists => "the client has a session: no anonymous one was made",
            Kind::NoWayBack => {
                "a token that came in a query can't be replaced: no response carries one back"
            }
            Kind::ResponseBegun => "the response has begun: it can't give the client a token",
            Kind::Ambiguous => "the request has several session tokens",
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
