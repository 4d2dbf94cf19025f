use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, REFERER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

use kvolt_session::StepUp;

use crate::error::{ConfigError, insufficient, plain};
use crate::lookup::{Lookup, Source};
use crate::{cross_origin, redirect};

/// What a request gets that needs a session and has none.
#[derive(Clone)]
pub struct Refusal {
    kind: Kind,
    /// Where browsers are sent to prove again who they are.
    step_up_page: Option<Arc<str>>,
}

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
    /// What it lacks.
    pub missing: Missing,
}

/// What a refused request lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A session.
    Session,
    /// A fresh, or a strong enough, authentication in the session that it has.
    StepUp(StepUp),
}

impl<'a> Refused<'a> {
    /// A request by its parts that was refused because it has no session.
    pub const fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        Self { method, uri, headers, missing: Missing::Session }
    }

    pub(crate) const fn lacking(self, missing: Missing) -> Self {
        Self { missing, ..self }
    }
}

impl Refusal {
    /// 401, with `WWW-Authenticate: Bearer` where the lookup has that scheme.
    pub fn unauthorized() -> Self {
        Self::of(Kind::Unauthorized)
    }

    /// 303 to a login page of this site.
    ///
    /// A `GET` takes along where it was going, as the parameter `next` of the page's query: before
    /// a fragment, so that the server sees it. The login handler checks it with
    /// [`local_path`](crate::local_path) before it follows it.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is no path on this site, or has the parameter `next` already.
    pub fn redirect(page: &str) -> Result<Self, ConfigError> {
        Ok(Self::of(Kind::Redirect { page: redirect::page(page)?, browsers_only: false }))
    }

    /// As [`redirect`](Self::redirect) for a client that asks for a page (with `text/html` in
    /// `Accept`), and as [`unauthorized`](Self::unauthorized) for all others.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is no path on this site, or has the parameter `next` already.
    pub fn redirect_browsers(page: &str) -> Result<Self, ConfigError> {
        Ok(Self::of(Kind::Redirect { page: redirect::page(page)?, browsers_only: true }))
    }

    /// The application's own response.
    pub fn with(respond: impl Fn(Refused<'_>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::of(Kind::With(Arc::new(respond)))
    }

    /// Where a client that asks for a page is sent to prove again who its user is, if a route
    /// [requires](crate::SessionLayer::require) that: a page of this site, which
    /// [reauthenticates](crate::Session::reauthenticate) and sends the client back to `next`.
    ///
    /// A form that was sent is not sent again: `next` is then the page that it was on. Without this,
    /// and for all other clients, the answer is 401 with what is missing, in the terms of RFC 9470.
    ///
    /// # Errors
    ///
    /// Returns an error if the page is no path on this site, or has the parameter `next` already.
    pub fn step_up_page(self, page: &str) -> Result<Self, ConfigError> {
        Ok(Self { step_up_page: Some(redirect::page(page)?), ..self })
    }

    fn of(kind: Kind) -> Self {
        Self { kind, step_up_page: None }
    }

    pub(crate) fn response(&self, refused: Refused<'_>, lookup: &Lookup) -> Response<Bytes> {
        if let Missing::StepUp(missing) = refused.missing
            && !matches!(self.kind, Kind::With(_))
        {
            return match &self.step_up_page {
                Some(page) if asks_for_a_page(refused.headers) => to_page(page, refused),
                _ => insufficient(missing, lookup.sources().contains(&Source::Bearer)),
            };
        }
        match &self.kind {
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
    let going = if safe {
        refused.uri.path_and_query().map(|going| going.as_str())
    } else if let Missing::StepUp(_) = refused.missing {
        page_before(refused)
    } else {
        None
    };
    let page = redirect::with_next(page, going);
    let mut response = plain(
        StatusCode::SEE_OTHER,
        match refused.missing {
            Missing::Session => "sign in first\n",
            Missing::StepUp(_) => "authenticate again first\n",
        },
    );
    let location = HeaderValue::try_from(page).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The page of this site that a form was on, as far as the browser tells.
fn page_before(refused: Refused<'_>) -> Option<&str> {
    let referer = refused.headers.get(REFERER)?.to_str().ok()?;
    cross_origin::path_here(referer, refused.uri, refused.headers)
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
        match &self.kind {
            Kind::Unauthorized => f.write_str("Refusal::unauthorized"),
            Kind::Redirect { page, browsers_only: false } => {
                write!(f, "Refusal::redirect({page:?})")
            }
            Kind::Redirect { page, .. } => write!(f, "Refusal::redirect_browsers({page:?})"),
            Kind::With(_) => f.write_str("Refusal::with(..)"),
        }
    }
}
