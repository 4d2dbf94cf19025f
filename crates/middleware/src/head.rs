//! Heads of requests and responses as plain names and values, whatever the framework.

use http::header::Entry;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// The headers of a request or a response.
pub trait Headers {
    /// Passes each value of a header to `visit`, in the order in which they were sent.
    fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8]));

    /// The first value of a header.
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut first = None;
        self.each(name, &mut |value| first = first.or(Some(value)));
        first
    }

    /// The first value of a header by its name's text, in any case.
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.first(&HeaderName::from_bytes(name.as_bytes()).ok()?)
    }
}

/// The head of a request.
pub trait RequestHead: Headers {
    /// The method, such as `POST`.
    fn method(&self) -> &str;

    /// The host and the port that the request is for, where its target has them: over HTTP/2
    /// (`:authority`), or in absolute form.
    fn authority(&self) -> Option<&str>;

    /// The path and the query as the client sent them, even if a router has removed a prefix.
    fn path_and_query(&self) -> &str;

    /// The path.
    fn path(&self) -> &str {
        let target = self.path_and_query();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The query, without the question mark.
    fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }
}

/// The headers of a response that the layer completes.
pub trait ResponseHead: Headers {
    /// Appends a value to a header. Returns whether the header had a value before.
    fn append(&mut self, name: &HeaderName, value: HeaderValue) -> bool;

    /// Removes the values of a header for which `keep` is false.
    fn retain(&mut self, name: &HeaderName, keep: &mut dyn FnMut(&[u8]) -> bool);
}

/// Names of headers that each request is searched for. A `const` would be copied at each use.
pub(crate) mod names {
    use http::{HeaderName, header};

    pub(crate) static ACCEPT: HeaderName = header::ACCEPT;
    pub(crate) static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
    pub(crate) static COOKIE: HeaderName = header::COOKIE;
    pub(crate) static UPGRADE: HeaderName = header::UPGRADE;
}

/// Whether a header's value begins with a text, in any case.
#[inline]
pub(crate) fn begins_with(value: &[u8], start: &str) -> bool {
    value.get(..start.len()).is_some_and(|value| value.eq_ignore_ascii_case(start.as_bytes()))
}

impl Headers for HeaderMap {
    #[inline]
    fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        self.get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    #[inline]
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }
}

impl ResponseHead for HeaderMap {
    #[inline]
    fn append(&mut self, name: &HeaderName, value: HeaderValue) -> bool {
        self.append(name, value)
    }

    fn retain(&mut self, name: &HeaderName, keep: &mut dyn FnMut(&[u8]) -> bool) {
        let Entry::Occupied(entry) = self.entry(name) else { return };
        let (name, values) = entry.remove_entry_mult();
        let kept: Vec<HeaderValue> = values.filter(|value| keep(value.as_bytes())).collect();
        kept.into_iter().for_each(|value| _ = self.append(&name, value));
    }
}

/// The heads of the crate `http`: of a request, and of its parts.
pub trait HttpHead {
    #[doc(hidden)]
    fn head(&self) -> (&Method, &Uri, &HeaderMap, &Extensions);
}

impl<B> HttpHead for Request<B> {
    #[inline]
    fn head(&self) -> (&Method, &Uri, &HeaderMap, &Extensions) {
        (self.method(), self.uri(), self.headers(), self.extensions())
    }
}

impl HttpHead for Parts {
    fn head(&self) -> (&Method, &Uri, &HeaderMap, &Extensions) {
        (&self.method, &self.uri, &self.headers, &self.extensions)
    }
}

impl<H: HttpHead> Headers for H {
    #[inline]
    fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        self.head().2.each(name, visit);
    }

    #[inline]
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.head().2.first(name)
    }
}

impl<H: HttpHead> RequestHead for H {
    #[inline]
    fn method(&self) -> &str {
        self.head().0.as_str()
    }

    fn authority(&self) -> Option<&str> {
        self.head().1.authority().map(Authority::as_str)
    }

    fn path_and_query(&self) -> &str {
        let (_, uri, _, extensions) = self.head();
        #[cfg(feature = "axum")]
        let uri =
            extensions.get::<axum::extract::OriginalUri>().map_or(uri, |original| &original.0);
        #[cfg(not(feature = "axum"))]
        let _ = extensions;
        uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }
}
