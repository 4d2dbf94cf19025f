//! Requests and responses of actix-web as plain names and values, and the way back.

use actix_web::HttpRequest;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::{Authority, PathAndQuery};
use bytes::Bytes;
use kvolt_middleware::adapter::{self, Headers, RequestHead, ResponseHead};

use actix_web::HttpResponse;

/// The head of a request.
pub(crate) struct Head<'a>(pub(crate) &'a HttpRequest);

impl Headers for Head<'_> {
    #[inline]
    fn each<'a>(&'a self, name: &adapter::HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        each(self.0.headers(), name, visit);
    }

    #[inline]
    fn first(&self, name: &adapter::HeaderName) -> Option<&[u8]> {
        first(self.0.headers(), name)
    }
}

impl RequestHead for Head<'_> {
    #[inline]
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn authority(&self) -> Option<&str> {
        self.0.uri().authority().map(Authority::as_str)
    }

    fn path_and_query(&self) -> &str {
        self.0.uri().path_and_query().map_or("/", PathAndQuery::as_str)
    }
}

/// The headers of a response.
pub(crate) struct Fields<'a>(pub(crate) &'a mut HeaderMap);

impl Headers for Fields<'_> {
    fn each<'a>(&'a self, name: &adapter::HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        each(self.0, name, visit);
    }

    fn first(&self, name: &adapter::HeaderName) -> Option<&[u8]> {
        first(self.0, name)
    }
}

impl ResponseHead for Fields<'_> {
    #[inline]
    fn append(&mut self, name: &adapter::HeaderName, value: adapter::HeaderValue) -> bool {
        let Some((name, value)) = field(name, &value) else { return false };
        let names = self.0.len_keys();
        self.0.append(name, value);
        self.0.len_keys() == names
    }

    fn retain(&mut self, name: &adapter::HeaderName, keep: &mut dyn FnMut(&[u8]) -> bool) {
        let removed: Vec<HeaderValue> = self.0.remove(name.as_str()).collect();
        let kept = removed.into_iter().filter(|value| keep(value.as_bytes()));
        let Some(name) = own_name(name) else { return };
        kept.for_each(|value| self.0.append(name.clone(), value));
    }
}

#[inline]
fn each<'a>(headers: &'a HeaderMap, name: &adapter::HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
    match known_name(name) {
        Some(name) => headers.get_all(name).for_each(|value| visit(value.as_bytes())),
        None => headers.get_all(name.as_str()).for_each(|value| visit(value.as_bytes())),
    }
}

#[inline]
fn first<'a>(headers: &'a HeaderMap, name: &adapter::HeaderName) -> Option<&'a [u8]> {
    let first = match known_name(name) {
        Some(name) => headers.get(name),
        None => headers.get(name.as_str()),
    };
    first.map(HeaderValue::as_bytes)
}

static ACCEPT: HeaderName = header::ACCEPT;
static AUTHORIZATION: HeaderName = header::AUTHORIZATION;
static CACHE_CONTROL: HeaderName = header::CACHE_CONTROL;
static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
static COOKIE: HeaderName = header::COOKIE;
static HOST: HeaderName = header::HOST;
static ORIGIN: HeaderName = header::ORIGIN;
static SET_COOKIE: HeaderName = header::SET_COOKIE;
static UPGRADE: HeaderName = header::UPGRADE;
static VARY: HeaderName = header::VARY;

/// The values that most responses need, without copying them.
static BY_COOKIE: HeaderValue = HeaderValue::from_static("cookie");
static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The names that most requests need, without parsing them.
#[inline]
fn known_name(name: &adapter::HeaderName) -> Option<&'static HeaderName> {
    use http::header;
    // In the order of their use. Comparing two standard names is comparing two numbers.
    Some(match name {
        name if name == header::COOKIE => &COOKIE,
        name if name == header::ACCEPT => &ACCEPT,
        name if name == header::UPGRADE => &UPGRADE,
        name if name == header::CACHE_CONTROL => &CACHE_CONTROL,
        name if name == header::VARY => &VARY,
        name if name == header::SET_COOKIE => &SET_COOKIE,
        name if name == header::CONTENT_TYPE => &CONTENT_TYPE,
        name if name == header::ORIGIN => &ORIGIN,
        name if name == header::HOST => &HOST,
        name if name == header::AUTHORIZATION => &AUTHORIZATION,
        _ => return None,
    })
}

/// `None` for no name: both crates accept the same ones.
fn own_name(name: &adapter::HeaderName) -> Option<HeaderName> {
    match known_name(name) {
        Some(name) => Some(name.clone()),
        None => HeaderName::from_bytes(name.as_str().as_bytes()).ok(),
    }
}

fn field(
    name: &adapter::HeaderName,
    value: &adapter::HeaderValue,
) -> Option<(HeaderName, HeaderValue)> {
    let own = match value.as_bytes() {
        b"cookie" => BY_COOKIE.clone(),
        b"no-store" => NO_STORE.clone(),
        bytes => {
            let mut own = HeaderValue::from_bytes(bytes).ok()?;
            own.set_sensitive(value.is_sensitive());
            own
        }
    };
    Some((own_name(name)?, own))
}

/// A response of the layer.
pub(crate) fn response(answer: &http::Response<Bytes>) -> HttpResponse<BoxBody> {
    let mut response = HttpResponse::new(status(answer.status()));
    for (name, value) in answer.headers() {
        if let Some((name, value)) = field(name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response.set_body(BoxBody::new(answer.body().clone()))
}

pub(crate) fn status(status: http::StatusCode) -> StatusCode {
    StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Sets a header to one value.
pub(crate) fn replace(
    headers: &mut HeaderMap,
    name: &adapter::HeaderName,
    value: &adapter::HeaderValue,
) {
    if let Some((name, value)) = field(name, value) {
        headers.insert(name, value);
    }
}
