//! Finds one cookie among those that a client sent.

use memchr::memchr_iter;

use crate::head::{Headers, names};

/// The maximum length of all `Cookie` headers of a request together, in bytes. Browsers send less
/// to one site. In a longer one, no cookie is accepted.
pub(crate) const MAX_LEN: usize = 64 * 1024;

/// Passes each value of the cookies of that name to `found`. `false` if the headers are longer
/// than `max_len` together: the rest is not searched.
///
/// Several headers are searched as one (RFC 6265bis, section 5.8.3; HTTP/2 allows them). The order
/// of cookies of one name does not show where they come from, so no caller may prefer one.
#[inline]
pub(crate) fn each<'a>(
    headers: &'a (impl Headers + ?Sized),
    name: &str,
    max_len: usize,
    mut found: impl FnMut(&'a [u8]),
) -> bool {
    let mut searched = 0_usize;
    headers.each(&names::COOKIE, &mut |header| {
        searched = searched.saturating_add(header.len());
        if searched > max_len {
            return;
        }
        let mut start = 0;
        for end in memchr_iter(b';', header).chain([header.len()]) {
            if let Some(value) = value_of(&header[start..end], name.as_bytes()) {
                found(value);
            }
            start = end + 1;
        }
    });
    searched <= max_len
}

/// The value of a `name=value` pair, if it has that name.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value =
        pair.trim_ascii_start().strip_prefix(name)?.trim_ascii_start().strip_prefix(b"=")?;
    Some(value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    /// The one value of a cookie.
    fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
        let mut values = Vec::new();
        let is_searched = each(headers, name, MAX_LEN, |value| values.push(value));
        values.dedup();
        (is_searched && values.len() == 1).then(|| values[0])
    }

    #[test]
    fn cookie_is_found_at_any_position() {
        for value in ["id=x", "a=1; id=x", "id=x; b=2", "a=1;id=x;b=2", " id = x ;", ";;id=x;=;"] {
            assert_eq!(find(&headers(&[value.as_bytes()]), "id"), Some(&b"x"[..]), "{value}");
        }
        assert_eq!(find(&headers(&[b"a=1", b"id=x"]), "id"), Some(&b"x"[..]));
    }

    #[test]
    fn other_cookies_are_ignored() {
        for value in ["ID=x", "id2=x", "xid=x", "id", "idx", "a=id=x", "\"id\"=x", "__Host-id=x"] {
            assert_eq!(find(&headers(&[value.as_bytes()]), "id"), None, "{value}");
        }
        assert_eq!(find(&headers(&[]), "id"), None);
    }

    #[test]
    fn two_different_cookies_conflict() {
        assert_eq!(find(&headers(&[b"id=x; id=y"]), "id"), None);
        assert_eq!(find(&headers(&[b"id=x", b"id=y"]), "id"), None);
        assert_eq!(find(&headers(&[b"id=x; id=y; id=x"]), "id"), None);
        assert_eq!(find(&headers(&[b"id=x; id="]), "id"), None);
        assert_eq!(find(&headers(&[b"id=x; a=1; id=x"]), "id"), Some(&b"x"[..]));
    }

    #[test]
    fn overlong_cookie_headers_are_not_searched() {
        let many = "a=;".repeat(100_000);
        assert_eq!(find(&headers(&[b"id=x", many.as_bytes()]), "id"), None);
        let large = vec![b'x'; 1 << 20];
        assert_eq!(find(&headers(&[&large]), "id"), None);
        assert!(!each(&headers(&[&large]), "id", MAX_LEN, |_| ()));
    }

    #[test]
    fn non_text_bytes_are_harmless() {
        assert_eq!(find(&headers(&[b"\xff\xfe=\x80; id=x; \xc3="]), "id"), Some(&b"x"[..]));
    }
}
