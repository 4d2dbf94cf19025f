use std::collections::BTreeSet;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Request};
use kvolt_middleware::Lookup;

use crate::is_token;

/// Beyond this many bytes in all headers together, nothing is found.
const MAX_LEN: usize = 64 * 1024;

/// Each line of the bytes is one `Cookie` header. The value found for the cookie `id` is what a
/// slow and obvious search finds.
///
/// # Panics
///
/// If that does not hold.
pub fn cookie_header(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line)
            && headers.try_append(COOKIE, value).is_err()
        {
            return;
        }
    }
    let lookup: Lookup = "cookie:id".parse().expect("the lookup is a good one");
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_static("/?id=query");
    *request.headers_mut() = headers.clone();
    let found = lookup.find(&request);
    let found = found.as_ref().map(|token| token.expose().as_bytes());
    assert_eq!(found, search(&headers));
}

/// The one value that every cookie of the name `id` has, if it is a token.
fn search(headers: &HeaderMap) -> Option<&[u8]> {
    let values = || headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if values().map(<[u8]>::len).sum::<usize>() > MAX_LEN {
        return None;
    }
    let mut found = BTreeSet::new();
    for pair in values().flat_map(|value| value.split(|byte| *byte == b';')) {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        if pair[..equals].trim_ascii() == b"id" {
            found.insert(pair[equals + 1..].trim_ascii());
        }
    }
    let first = found.pop_first()?;
    (found.is_empty() && is_token(first)).then_some(first)
}
