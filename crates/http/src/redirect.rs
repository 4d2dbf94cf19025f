use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The text, if it is a path on this site that a browser can safely be sent to.
///
/// For the `next` parameter that a [redirect to the login
/// page](crate::Refusal::redirect) carries: whoever hands a user a link can
/// write anything there. What would lead to another site (`//evil.example`,
/// `/\evil.example`, `https:…`) or into a header is refused.
///
/// ```
/// use kvolt_http::local_path;
///
/// assert_eq!(local_path("/profile?tab=2"), Some("/profile?tab=2"));
/// assert_eq!(local_path("//evil.example"), None);
/// ```
pub fn local_path(text: &str) -> Option<&str> {
    // Browsers read a backslash as a slash, and drop tabs and line ends before they parse.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (plain && text.len() <= LEN_MAX && text.starts_with('/') && !text.starts_with("//"))
        .then_some(text)
}

/// Longer than any address that a person was going to.
const LEN_MAX: usize = 2048;

const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of the login page, with where the user was going.
pub(crate) fn with_next(page: &str, next: Option<&str>) -> String {
    match next.and_then(local_path) {
        Some(next) if next != page => {
            let separator = if page.contains('?') { '&' } else { '?' };
            format!("{page}{separator}next={}", utf8_percent_encode(next, ENCODED))
        }
        _ => page.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_on_this_site_are_local() {
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
    fn where_the_user_was_going_is_kept_encoded() {
        assert_eq!(with_next("/login", Some("/a?b=c&d")), "/login?next=/a%3Fb%3Dc%26d");
        assert_eq!(with_next("/login?lang=de", Some("/a")), "/login?lang=de&next=/a");
        assert_eq!(with_next("/login", Some("//evil.example")), "/login");
        assert_eq!(with_next("/login", Some("/login")), "/login");
        assert_eq!(with_next("/login", None), "/login");
    }
}
