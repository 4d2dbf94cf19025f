//! The headers of a response: its token, `Vary` and `Cache-Control`.

use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue};

use crate::head::ResponseHead;

/// Sets a header. A cookie replaces the cookie of the same name only: of two in one response,
/// browsers may keep either.
pub(crate) fn set(headers: &mut impl ResponseHead, name: &HeaderName, value: HeaderValue) {
    let name_of = |cookie: &[u8]| cookie.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let same = name_of(value.as_bytes());
    headers.retain(name, &mut |other| *name == SET_COOKIE && name_of(other) != same);
    headers.append(name, value);
}

/// Keeps shared caches from storing a response, whatever the handler said. A stricter value of the
/// handler stays.
#[inline]
pub(crate) fn restrict(headers: &mut impl ResponseHead, cache_control: &HeaderValue) {
    // Most responses have no such header, so it is appended first.
    if headers.append(&CACHE_CONTROL, cache_control.clone()) {
        merge_cache_control(headers);
    }
}

#[cold]
fn merge_cache_control(headers: &mut impl ResponseHead) {
    let is_strict = |directive: &[u8]| {
        directive.eq_ignore_ascii_case(b"no-store") || directive.eq_ignore_ascii_case(b"private")
    };
    let said = before_last(headers, &CACHE_CONTROL);
    let keeps_said = said.iter().any(|value| list(value).any(is_strict));
    let mut left = said.len();
    headers.retain(&CACHE_CONTROL, &mut |_| {
        let is_own = left == 0;
        left = left.saturating_sub(1);
        is_own != keeps_said
    });
}

/// Adds the headers on which the response depends.
#[inline]
pub(crate) fn vary(headers: &mut impl ResponseHead, names: &HeaderValue) {
    if headers.append(&VARY, names.clone()) {
        merge_vary(headers, names);
    }
}

#[cold]
fn merge_vary(headers: &mut impl ResponseHead, names: &HeaderValue) {
    let said = before_last(headers, &VARY);
    let mut left = said.len();
    headers.retain(&VARY, &mut |_| {
        left = left.wrapping_sub(1);
        left < said.len()
    });
    let covers = |value: &[u8], name: &[u8]| {
        list(value).any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name))
    };
    for name in list(names.as_bytes()) {
        if !said.iter().any(|value| covers(value, name))
            && let Ok(name) = HeaderValue::from_bytes(name)
        {
            headers.append(&VARY, name);
        }
    }
}

/// The values of a header before the last one.
fn before_last(headers: &impl ResponseHead, name: &HeaderName) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    headers.each(name, &mut |value| values.push(value.to_vec()));
    values.pop();
    values
}

/// The elements of a header that is a list.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn response_sets_a_cookie_of_one_name_once() {
        let mut headers = headers(&[(SET_COOKIE, "id=1; Path=/"), (SET_COOKIE, "id2=2")]);
        set(&mut headers, &SET_COOKIE, HeaderValue::from_static("id=3"));
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["id2=2", "id=3"]);
    }

    #[test]
    fn handler_can_be_stricter_about_caches_and_not_laxer() {
        let no_store = HeaderValue::from_static("no-store");
        for (said, expected) in [
            (&["public, max-age=60"][..], &["no-store"][..]),
            (&["max-age=60", "public"], &["no-store"]),
            (&["private, max-age=60"], &["private, max-age=60"]),
            (&["max-age=60", "No-Store"], &["max-age=60", "No-Store"]),
        ] {
            let said: Vec<_> = said.iter().map(|value| (CACHE_CONTROL, *value)).collect();
            let mut headers = headers(&said);
            restrict(&mut headers, &no_store);
            assert_eq!(headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn vary_names_each_header_once() {
        let names = HeaderValue::from_static("cookie, x-id");
        let mut said = headers(&[(VARY, "Accept, Cookie"), (VARY, "Origin")]);
        vary(&mut said, &names);
        let all: Vec<_> = said.get_all(VARY).iter().collect();
        assert_eq!(all, ["Accept, Cookie", "Origin", "x-id"]);
        let mut all = headers(&[(VARY, "*")]);
        vary(&mut all, &names);
        assert_eq!(all.get_all(VARY).iter().collect::<Vec<_>>(), ["*"]);
        let mut none = headers(&[]);
        vary(&mut none, &names);
        assert_eq!(none.get_all(VARY).iter().collect::<Vec<_>>(), [names]);
    }
}
