//! Paths on this site, and the `next` parameter.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::ConfigError;

/// Returns the text if it is a path on this site to which a browser can safely be redirected.
///
/// For the `next` parameter of a [redirect to the login page](crate::Refusal::redirect), which a
/// link from another site can set to anything. Paths that lead to another site (`//evil.example`,
/// `/\evil.example`, `https:…`) or break out of a header are rejected.
///
/// ```
/// use kvolt_middleware::local_path;
///
/// assert_eq!(local_path("/profile?tab=2"), Some("/profile?tab=2"));
/// assert_eq!(local_path("//evil.example"), None);
/// ```
pub fn local_path(text: &str) -> Option<&str> {
    // Browsers read a backslash as a slash, and drop tabs and line ends before they parse.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (plain && text.len() <= MAX_LEN && text.starts_with('/') && !text.starts_with("//"))
        .then_some(text)
}

/// The maximum length of a path, in bytes.
const MAX_LEN: usize = 2048;

const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A page to which [`with_next`] may add a parameter: a path on this site that has no `next` yet.
pub(crate) fn page(text: &str) -> Result<Arc<str>, ConfigError> {
    let Some(page) = local_path(text) else {
        return Err(ConfigError::new(format!("the page {text:?} is not a path on this site")));
    };
    let (_, query, _) = parts(page);
    let names_next = |pair: &str| pair.split('=').next() == Some("next");
    if query.is_some_and(|query| query.split('&').any(names_next)) {
        return Err(ConfigError::new(format!(
            "the page {text:?} has the parameter `next`, which is added to it"
        )));
    }
    Ok(page.into())
}

/// The path of a page, without its query and its fragment.
pub(crate) fn path(page: &str) -> &str {
    parts(page).0
}

/// A path, its query and its fragment.
fn parts(page: &str) -> (&str, Option<&str>, Option<&str>) {
    let (page, fragment) =
        page.split_once('#').map_or((page, None), |(page, end)| (page, Some(end)));
    let (path, query) = page.split_once('?').map_or((page, None), |(path, end)| (path, Some(end)));
    (path, query, fragment)
}

/// The address of the login page with the parameter `next`, before a fragment, which no server
/// sees.
pub(crate) fn with_next(page: &str, next: Option<&str>) -> String {
    let Some(next) = next.and_then(local_path).filter(|next| *next != page) else {
        return page.to_owned();
    };
    let (path, query, fragment) = parts(page);
    let mut address = String::from(path);
    address.extend(["?", query.unwrap_or_default()]);
    address.push_str(if query.is_some() { "&next=" } else { "next=" });
    address.extend(utf8_percent_encode(next, ENCODED));
    if let Some(fragment) = fragment {
        address.extend(["#", fragment]);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_path_rejects_other_sites() {
        for local in ["/", "/a", "/a/b?c=d&e=/f#g", "/%2F%2Fevil.example", "/a//b"] {
            assert_eq!(local_path(local), Some(local));
        }
        for foreign in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: a=b",
            "/\t/evil.example",
            " /a",
            "/ä",
        ] {
            assert_eq!(local_path(foreign), None, "{foreign:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(4000))), None);
    }

    #[test]
    fn next_parameter_is_encoded() {
        assert_eq!(with_next("/login", Some("/a?b=c&d")), "/login?next=/a%3Fb%3Dc%26d");
        assert_eq!(with_next("/login?lang=de", Some("/a")), "/login?lang=de&next=/a");
        assert_eq!(with_next("/login#x", Some("/a?b")), "/login?next=/a%3Fb#x");
        assert_eq!(with_next("/login?x=1#y?z", Some("/a")), "/login?x=1&next=/a#y?z");
        assert_eq!(with_next("/#/login", Some("/a")), "/?next=/a#/login");
        assert_eq!(with_next("/login#x", None), "/login#x");
        assert_eq!(with_next("/login", Some("//evil.example")), "/login");
        assert_eq!(with_next("/login", Some("/login")), "/login");
        assert_eq!(with_next("/login", None), "/login");
    }

    #[test]
    fn page_with_a_next_parameter_is_an_error() {
        for refused in ["/login?next=/a", "/login?a=b&next", "//evil.example", "login"] {
            assert!(page(refused).is_err(), "{refused}");
        }
        for taken in ["/login", "/login?nextpage=1", "/login?a=next", "/#next=1"] {
            assert_eq!(&*page(taken).unwrap(), taken);
        }
    }
}
