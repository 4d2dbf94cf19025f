use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use crate::error::{ConfigError, plain};
use crate::lookup::{Lookup, Source};
use crate::redirect;

/// What a request gets that needs a session and has none.
#[derive(Clone)]
pub struct Refusal(Kind);

#[derive(Clone)]
enum Kind {
    Unauthorized,
    Redirect { page: Arc<str>, browsers_only: bool },
    With(Arc<dyn Fn(Refused<'_>) -> Response<Bytes> + Send + Sync>),
}

/// A request that was refused.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Refused<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Where it was going.
    pub uri: &'a Uri,
    /// What else it said.
    pub headers: &'a HeaderMap,
}

impl<'a> Refused<'a> {
    /// A refused request by its parts.
    pub const fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self { method, uri, headers }
    }
}

impl Refusal {
    /// 401, with `WWW-Authenticate: Bearer` where the lookup has that scheme.
    pub fn unauthorized() -> Self {
        Self(Kind::Unauthorized)
    }

    /// 303 to a login page of this site.
    ///
    /// A `GET` takes along where it was going, as the parameter `next`. The
    /// login handler checks that with [`local_path`](crate::local_path) before it follows it.
    ///
    /// # Errors
    ///
    /// Where the page is no path on this site.
    pub fn redirect(page: &str) -> Result<Self, ConfigError> {
        match redirect::local_path(page) {
            Some(page) => Ok(Self(Kind::Redirect { page: page.into(), browsers_only: false })),
            None => {
                Err(ConfigError::new(format!("the login page {page:?} is no path on this site")))
            }
        }
    }

    /// As [`redirect`](Self::redirect) for whoever asks for a page (with `text/html` in
    /// `Accept`), and as [`unauthorized`](Self::unauthorized) for all others.
    ///
    /// # Errors
    ///
    /// Where the page is no path on this site.
    pub fn redirect_browsers(page: &str) -> Result<Self, ConfigError> {
        Self::redirect(page).map(|Self(kind)| match kind {
            Kind::Redirect { page, .. } => Self(Kind::Redirect { page, browsers_only: true }),
            other => Self(other),
        })
    }

    /// The application's own response.
    pub fn with(respond: impl Fn(Refused<'_>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self(Kind::With(Arc::new(respond)))
    }

    pub(crate) fn response(&self, refused: Refused<'_>, lookup: &Lookup) -> Response<Bytes> {
        match &self.0 {
            Kind::Unauthorized => unauthorized(lookup),
            Kind::Redirect { browsers_only: true, .. } if !asks_for_a_page(refused.headers) => {
                unauthorized(lookup)
            }
            Kind::Redirect { page, .. } => to_page(page, refused),
            Kind::With(respond) => {
                let mut response = respond(refused);
                response
                    .headers_mut()
                    .entry(CACHE_CONTROL)
                    .or_insert(HeaderValue::from_static("no-store"));
                response
            }
        }
    }
}

fn unauthorized(lookup: &Lookup) -> Response<Bytes> {
    let mut response = plain(StatusCode::UNAUTHORIZED, "sign in first\n");
    if lookup.sources().contains(&Source::Bearer) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn to_page(page: &str, refused: Refused<'_>) -> Response<Bytes> {
    // What was to be sent by another method can't be sent again from a page.
    let safe = matches!(*refused.method, Method::GET | Method::HEAD);
    let going = refused.uri.path_and_query().filter(|_| safe);
    let page = redirect::with_next(page, going.map(|going| going.as_str()));
    let mut response = plain(StatusCode::SEE_OTHER, "sign in first\n");
    let location = HeaderValue::try_from(page).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn asks_for_a_page(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        let mut types = accept.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        types.any(|media| media.trim_ascii().eq_ignore_ascii_case(b"text/html"))
    })
}

impl Default for Refusal {
    fn default() -> Self {
        Self::unauthorized()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unauthorized => f.write_str("Refusal::unauthorized"),
            Kind::Redirect { page, browsers_only: false } => {
                write!(f, "Refusal::redirect({page:?})")
            }
            Kind::Redirect { page, .. } => write!(f, "Refusal::redirect_browsers({page:?})"),
            Kind::With(_) => f.write_str("Refusal::with(..)"),
        }
    }
}
