use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode, Uri};

use crate::error::{ConfigError, plain};
use crate::lookup::{Lookup, Source};
use crate::redirect;

/// What a request gets that needs a session and has none.
#[derive(Clone)]
pub struct Refusal(Kind);

#[derive(Clone)]
enum Kind {
    Unauthorized,
    Redirect(Arc<str>),
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
            Some(page) => Ok(Self(Kind::Redirect(page.into()))),
            None => {
                Err(ConfigError::new(format!("the login page {page:?} is no path on this site")))
            }
        }
    }

    /// The application's own response.
    pub fn with(respond: impl Fn(Refused<'_>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self(Kind::With(Arc::new(respond)))
    }

    pub(crate) fn response(&self, refused: Refused<'_>, lookup: &Lookup) -> Response<Bytes> {
        match &self.0 {
            Kind::Unauthorized => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "sign in first\n");
                if lookup.sources().contains(&Source::Bearer) {
                    let bearer = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
                }
                response
            }
            Kind::Redirect(page) => {
                let safe = matches!(*refused.method, Method::GET | Method::HEAD);
                let going = refused.uri.path_and_query().filter(|_| safe);
                let page = redirect::with_next(page, going.map(|going| going.as_str()));
                let mut response = plain(StatusCode::SEE_OTHER, "sign in first\n");
                let location = HeaderValue::try_from(page).unwrap_or(HeaderValue::from_static("/"));
                response.headers_mut().insert(LOCATION, location);
                response
            }
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

impl Default for Refusal {
    fn default() -> Self {
        Self::unauthorized()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unauthorized => f.write_str("Refusal::unauthorized"),
            Kind::Redirect(page) => write!(f, "Refusal::redirect({page:?})"),
            Kind::With(_) => f.write_str("Refusal::with(..)"),
        }
    }
}
