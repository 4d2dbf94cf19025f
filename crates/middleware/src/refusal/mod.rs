//! How a request without a session is answered.

mod local_path;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION, REFERER};
use http::{HeaderValue, Response, StatusCode};
use kvolt_session::StepUp;

use crate::Error;
use crate::cross_origin;
use crate::error::{ConfigError, Kind as ErrorKind};
use crate::head::RequestHead;
use crate::lookup::Lookup;
use crate::message::{Format, Message, asks_for_page};

pub use local_path::local_path;

/// The answer to a request that needs a session and has none, or whose user must authenticate
/// again.
///
/// Defaults to 401, as JSON where the request's `Accept` begins with `application/json`. A gRPC
/// request, known by its content type, gets `UNAUTHENTICATED` or, if its user must authenticate
/// again, `PERMISSION_DENIED`, also where others are redirected.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::{Refusal, Sessions};
/// use kvolt_session::Manager;
///
/// let manager = Manager::<u64>::new(MemoryStore::new());
/// let refusal = Refusal::redirect_browsers("/login")?.step_up_page("/password")?;
/// let sessions = Sessions::builder(manager).refusal(refusal).build()?;
///
/// // Programs get 401 in any case, also on a layer of their own.
/// let api = sessions.layer().refusal(Refusal::unauthorized());
/// let pages = sessions.layer().refusal(Refusal::redirect("/login")?);
/// # Ok::<(), kvolt_middleware::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Refusal {
    kind: Kind,
    /// The page on which a browser's user authenticates again.
    step_up_page: Option<Arc<str>>,
}

#[derive(Clone)]
enum Kind {
    Unauthorized,
    Redirect { page: Arc<str>, browsers_only: bool },
    With(Arc<dyn Fn(Refused<'_>) -> Response<Bytes> + Send + Sync>),
}

/// A request that was refused.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Refused<'a> {
    /// The head of the request.
    pub request: &'a dyn RequestHead,
    /// The session or the authentication that the request lacks.
    pub missing: Missing,
}

/// The reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A session.
    Session,
    /// A recent, or a strong enough, authentication in the session that it has.
    StepUp(StepUp),
    /// A proof that the request comes from the device that its session is bound to. The client is
    /// another one, or its browser has lost its key: then the user must sign in again.
    DeviceProof,
}

impl Refusal {
    /// Answers 401, with `WWW-Authenticate: Bearer` where the lookup has that scheme.
    pub fn unauthorized() -> Self {
        Self::of(Kind::Unauthorized)
    }

    /// Redirects to a login page of this site (303).
    ///
    /// A `GET` adds where it was going as the parameter `next` to the page's query, before a
    /// fragment, so that the server sees it. The login handler must check it with [`local_path`]
    /// before it redirects there.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is not a path on this site, or has the parameter `next` already.
    pub fn redirect(page: &str) -> Result<Self, ConfigError> {
        Ok(Self::of(Kind::Redirect { page: local_path::page(page)?, browsers_only: false }))
    }

    /// [Redirects](Self::redirect) a client that asks for a page (with `text/html` in `Accept`),
    /// and answers 401 to all others.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is not a path on this site, or has the parameter `next` already.
    pub fn redirect_browsers(page: &str) -> Result<Self, ConfigError> {
        Ok(Self::of(Kind::Redirect { page: local_path::page(page)?, browsers_only: true }))
    }

    /// Answers with the application's own response, also to gRPC requests. Defaults to
    /// `Cache-Control: no-store` if the response has no such header.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use kvolt_middleware::{Missing, Refusal, Refused};
    ///
    /// let refusal = Refusal::with(|refused: Refused<'_>| {
    ///     let text = match refused.missing {
    ///         Missing::StepUp(_) => String::from("enter your password again"),
    ///         _ => format!("sign in to see {}", refused.request.path()),
    ///     };
    ///     Response::builder().status(401).body(Bytes::from(text)).expect("a valid response")
    /// });
    /// ```
    pub fn with(respond: impl Fn(Refused<'_>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::of(Kind::With(Arc::new(respond)))
    }

    /// Sets the page of this site to which a client that asks for a page is sent to authenticate
    /// again, if a route [requires](crate::SessionLayer::require) that. The page
    /// [reauthenticates](crate::Session::reauthenticate) and sends the client back to `next`.
    ///
    /// A form is not sent again: `next` is then the page that it was on. Without a step-up page,
    /// and for all other clients, the answer is 401 with what is missing, in the terms of RFC 9470.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is not a path on this site, or has the parameter `next` already.
    pub fn step_up_page(self, page: &str) -> Result<Self, ConfigError> {
        Ok(Self { step_up_page: Some(local_path::page(page)?), ..self })
    }

    fn of(kind: Kind) -> Self {
        Self { kind, step_up_page: None }
    }

    pub(crate) fn response(&self, refused: Refused<'_>, lookup: &Lookup) -> Response<Bytes> {
        let bearer = lookup.has_bearer();
        let (page, message) = match (&self.kind, refused.missing) {
            (Kind::With(respond), _) => {
                let mut response = respond(refused);
                let cache_control = response.headers_mut().entry(CACHE_CONTROL);
                cache_control.or_insert(HeaderValue::from_static("no-store"));
                return response;
            }
            (_, Missing::StepUp(missing)) => {
                let page = self.step_up_page.as_ref().filter(|_| asks_for_page(refused.request));
                (page, Message::step_up(missing, bearer))
            }
            (Kind::Redirect { page, browsers_only }, _)
                if (!browsers_only || asks_for_page(refused.request))
                    && local_path::path(page) != refused.request.path() =>
            {
                (Some(page), Message::sign_in(bearer))
            }
            (_, Missing::DeviceProof) => (None, Error(ErrorKind::Unproven).message()),
            (_, Missing::Session) => (None, Message::sign_in(bearer)),
        };
        match (page, Format::of(refused.request)) {
            (Some(page), Format::Text | Format::Json) => to_page(page, refused),
            (_, format) => message.response(format),
        }
    }
}

fn to_page(page: &str, refused: Refused<'_>) -> Response<Bytes> {
    let request = refused.request;
    // A page can only repeat a `GET`.
    let next = match (request.method(), refused.missing) {
        ("GET" | "HEAD", _) => Some(request.path_and_query()),
        (_, Missing::StepUp(_)) => page_before(request),
        (_, Missing::Session | Missing::DeviceProof) => None,
    };
    let text = match refused.missing {
        Missing::Session | Missing::DeviceProof => "sign in first",
        Missing::StepUp(_) => "authenticate again first",
    };
    let mut response = Message::new(StatusCode::SEE_OTHER, "", text).response(Format::Text);
    let location = HeaderValue::try_from(local_path::with_next(page, next));
    let location = location.unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The page of this site that a form was on, if the browser says so.
fn page_before(request: &dyn RequestHead) -> Option<&str> {
    cross_origin::path_here(str::from_utf8(request.first(&REFERER)?).ok()?, request)
}

impl Default for Refusal {
    fn default() -> Self {
        Self::unauthorized()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unauthorized => f.write_str("Refusal::unauthorized"),
            Kind::Redirect { page, .. } => write!(f, "Refusal::redirect({page:?})"),
            Kind::With(_) => f.write_str("Refusal::with(..)"),
        }
    }
}

impl fmt::Debug for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.request.path();
        f.debug_struct("Refused").field("path", &path).field("missing", &self.missing).finish()
    }
}
