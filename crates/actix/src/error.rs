//! Errors of handlers and extractors as responses of actix-web.

use std::any::type_name;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;
use kvolt_middleware::adapter::layered_types;

use crate::head;

/// The result of a session operation in a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a handler did not get its session, or why a session operation failed in it.
///
/// A handler's `?` makes it of a [`kvolt_middleware::Error`], whose page lists the statuses. The
/// body is a short text, or JSON behind the middleware for a request whose `Accept` begins with
/// `application/json`.
///
/// ```
/// use kvolt_actix::{Result, SessionHandle};
///
/// async fn logout(client: SessionHandle<String>) -> Result<&'static str> {
///     client.logout().await?;
///     Ok("goodbye")
/// }
/// ```
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Session(kvolt_middleware::Error),
    /// With the middleware's refusal.
    NoSession(http::Response<Bytes>),
    MiddlewareMissing,
}

impl Error {
    pub(crate) fn no_session(refusal: http::Response<Bytes>) -> Self {
        Self(Box::new(Kind::NoSession(refusal)))
    }

    /// A handler asks for a session on a route without a middleware: 500, and an error in the log.
    #[cold]
    pub(crate) fn middleware_missing<T>(request: &HttpRequest) -> Self {
        tracing::error!(
            target: "kvolt::http",
            path = request.path(),
            layers = ?layered_types(),
            help = "https://docs.rs/kvolt/latest/kvolt/guide/errors/#no-layer-is-around-the-route",
            "a handler asks for the session of a {0}, but no middleware for Session<{0}> is around the route: add `.wrap(SessionMiddleware::new(sessions.layer()))` to its scope, or `.optional()` for a route that signs in",
            type_name::<T>(),
        );
        Self(Box::new(Kind::MiddlewareMissing))
    }

    /// Whether the request has no session, or none that the route accepts.
    ///
    /// ```
    /// use kvolt_actix::{Error, Session};
    ///
    /// async fn page(user: Result<Session<String>, Error>) -> Result<String, Error> {
    ///     match user {
    ///         Ok(user) => Ok(user.to_string()),
    ///         Err(error) if error.is_no_session() => Ok(String::from("a visitor")),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// ```
    pub fn is_no_session(&self) -> bool {
        matches!(*self.0, Kind::NoSession(_))
    }
}

/// The answer, kept in the response's extensions so that the middleware can give it another form.
pub(crate) struct Marked(pub(crate) http::Response<Bytes>);

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match &*self.0 {
            Kind::Session(error) => head::status(error.status()),
            Kind::NoSession(refusal) => head::status(refusal.status()),
            Kind::MiddlewareMissing => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        match &*self.0 {
            Kind::Session(error) => {
                let answer = error.to_response();
                let mut response = head::response(&answer);
                response.extensions_mut().insert(Marked(answer));
                response
            }
            Kind::NoSession(refusal) => head::response(refusal),
            Kind::MiddlewareMissing => HttpResponse::InternalServerError()
                .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
                .insert_header((CACHE_CONTROL, "no-store"))
                .body("internal error\n"),
        }
    }
}

/// An error of an inner middleware, with the response that the session's middleware has completed.
pub(crate) struct CompletedError {
    error: actix_web::Error,
    status: StatusCode,
    headers: HeaderMap,
    /// `None` for a body that is made while it is sent.
    body: Option<Bytes>,
    /// The response itself, for the first caller.
    response: Cell<Option<HttpResponse<BoxBody>>>,
}

impl CompletedError {
    pub(crate) fn new(error: actix_web::Error, response: HttpResponse<BoxBody>) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let (head, body) = response.into_parts();
        let (body, sent) = match body.try_into_bytes() {
            Ok(bytes) => (Some(bytes.clone()), BoxBody::new(bytes)),
            Err(stream) => (None, stream),
        };
        let response = Cell::new(Some(head.set_body(sent)));
        Self { error, status, headers, body, response }
    }
}

impl ResponseError for CompletedError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if let Some(response) = self.response.take() {
            return response;
        }
        let body = self.body.clone().map(BoxBody::new);
        let body = body.unwrap_or_else(|| self.error.error_response().into_body());
        let mut response = HttpResponse::with_body(self.status, body);
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl fmt::Debug for CompletedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for CompletedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl From<kvolt_middleware::Error> for Error {
    fn from(error: kvolt_middleware::Error) -> Self {
        Self(Box::new(Kind::Session(error)))
    }
}

impl From<kvolt_session::Error> for Error {
    fn from(error: kvolt_session::Error) -> Self {
        Self(Box::new(Kind::Session(error.into())))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Session(error) => error.fmt(f),
            Kind::NoSession(_) => f.write_str("the request has no session"),
            Kind::MiddlewareMissing => f.write_str("no session middleware is around the route"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Kind::Session(error) => error.source(),
            _ => None,
        }
    }
}
