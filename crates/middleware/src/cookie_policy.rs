use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use kvolt_session::Token;

use crate::error::ConfigError;
use crate::lookup::is_token;

/// The attributes of the session's cookie.
///
/// Safe when nothing is set: `Path=/; HttpOnly; Secure; SameSite=Lax`, no
/// `Domain`, and gone when the browser closes. `HttpOnly` is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePolicy {
    path: String,
    domain: Option<String>,
    same_site: SameSite,
    secure: bool,
    persistent: bool,
}

/// Whether a browser sends the cookie with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Never, not even when a link leads here.
    Strict,
    /// Only when a link or an address leads here.
    #[default]
    Lax,
    /// Always. Needs `Secure`.
    None,
}

impl CookiePolicy {
    /// The safe policy.
    pub fn new() -> Self {
        Self {
            path: String::from("/"),
            domain: None,
            same_site: SameSite::Lax,
            secure: true,
            persistent: false,
        }
    }

    /// A policy with other settings.
    pub fn builder() -> CookiePolicyBuilder {
        CookiePolicyBuilder(Self::new())
    }

    /// Whether browsers keep a cookie of that name with these attributes
    /// (RFC 6265bis, section 5.7). They match the prefixes without regard to case.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), ConfigError> {
        let has_prefix = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if !is_token(name) {
            return Err(ConfigError::new(format!("{name:?} is no name of a cookie")));
        }
        if name.len() + Token::LEN > MAX_PAIR_LEN {
            return Err(ConfigError::new("the cookie's name and value exceed 4,096 bytes"));
        }
        let host_only = has_prefix("__Host-");
        if (host_only || has_prefix("__Secure-") || has_prefix("__Http-")) && !self.secure {
            return Err(ConfigError::new(format!(
                "browsers refuse a cookie named {name:?} without Secure; for plain HTTP, use a name without prefix"
            )));
        }
        if host_only && (self.path != "/" || self.domain.is_some()) {
            return Err(ConfigError::new(format!(
                "browsers refuse a cookie named {name:?} with a Domain or a Path other than /"
            )));
        }
        Ok(())
    }

    /// The `Set-Cookie` header that gives the client its token.
    ///
    /// # Errors
    ///
    /// Where browsers would refuse a cookie of that name with these attributes.
    pub fn set(
        &self,
        name: &str,
        token: &Token,
        lifetime: Duration,
    ) -> Result<HeaderValue, ConfigError> {
        self.set_kept(name, token, lifetime, false)
    }

    /// [`set`](Self::set), kept by the browser in any case where `remembered` is set.
    pub(crate) fn set_kept(
        &self,
        name: &str,
        token: &Token,
        lifetime: Duration,
        remembered: bool,
    ) -> Result<HeaderValue, ConfigError> {
        self.check_name(name)?;
        let persistent = self.persistent || remembered;
        let max_age = persistent.then(|| lifetime.min(MAX_MAX_AGE).as_secs());
        Ok(self.header(name, token.expose(), max_age))
    }

    /// The `Set-Cookie` header that makes the client forget it: the same
    /// attributes, or browsers would keep it.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub fn clear(&self, name: &str) -> Result<HeaderValue, ConfigError> {
        self.check_name(name)?;
        Ok(self.header(name, "", Some(0)))
    }

    fn header(&self, name: &str, value: &str, max_age: Option<u64>) -> HeaderValue {
        let mut cookie = String::with_capacity(160);
        cookie.extend([name, "=", value, "; Path=", &self.path]);
        if let Some(domain) = &self.domain {
            cookie.extend(["; Domain=", domain]);
        }
        match max_age {
            // For browsers that know no Max-Age.
            Some(0) => cookie.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            // Writing to a string does not fail.
            Some(seconds) => drop(write!(cookie, "; Max-Age={seconds}")),
            None => {}
        }
        cookie.push_str("; HttpOnly");
        if self.secure {
            cookie.push_str("; Secure");
        }
        cookie.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        let mut header = HeaderValue::try_from(cookie)
            .expect("name, path and domain were checked to be visible ASCII");
        header.set_sensitive(true);
        header
    }
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// A cookie's name and value together, in bytes: more is refused by browsers.
const MAX_PAIR_LEN: usize = 4096;

/// Browsers keep no cookie longer (RFC 6265bis, section 5.5).
const MAX_MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Settings of a [`CookiePolicy`].
///
/// ```
/// use kvolt_middleware::{CookiePolicy, SameSite};
///
/// let policy = CookiePolicy::builder().same_site(SameSite::Strict).persistent(true).build()?;
/// // EventKind browsers would refuse is refused here:
/// let refused = CookiePolicy::builder().same_site(SameSite::None).insecure_plain_http(true);
/// assert!(refused.build().is_err());
/// # Ok::<(), kvolt_middleware::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CookiePolicyBuilder(CookiePolicy);

impl CookiePolicyBuilder {
    /// Below which path the cookie is sent. `/` unless set.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = path.into();
        self
    }

    /// Sends the cookie to this domain and all below it; without it, to this
    /// host alone, which is safer.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.0.domain = Some(domain.into());
        self
    }

    /// Whether it is sent with requests from other sites. `Lax` unless set.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.0.same_site = same_site;
        self
    }

    /// Keeps the cookie when the browser closes, for as long as the session
    /// can live at the most (and browsers allow: 400 days).
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.0.persistent = persistent;
        self
    }

    /// Leaves out `Secure`, so that the cookie is sent over plain HTTP, where
    /// anybody on the way can read it. For development on loopback only.
    pub fn insecure_plain_http(mut self, insecure: bool) -> Self {
        self.0.secure = !insecure;
        self
    }

    /// The policy.
    ///
    /// # Errors
    ///
    /// Where browsers would refuse the cookie or misread its attributes.
    pub fn build(self) -> Result<CookiePolicy, ConfigError> {
        let CookiePolicy { path, domain, same_site, secure, .. } = &self.0;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !path.starts_with('/') || !plain(path) || path.len() > 1024 {
            return Err(ConfigError::new(format!(
                "the cookie's path {path:?} must start with / and have visible ASCII but ; only"
            )));
        }
        if let Some(domain) = domain {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            let malformed = domain.split('.').any(str::is_empty) || !domain.bytes().all(allowed);
            if malformed || domain.len() > 253 {
                return Err(ConfigError::new(format!(
                    "the cookie's domain {domain:?} is no host name (write it without a leading dot)"
                )));
            }
        }
        if *same_site == SameSite::None && !secure {
            return Err(ConfigError::new("browsers refuse SameSite=None without Secure"));
        }
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::parse("A".repeat(Token::LEN)).unwrap()
    }

    fn text(header: HeaderValue) -> String {
        header.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_cookie_is_safe_when_nothing_is_set() {
        let policy = CookiePolicy::new();
        let set = policy.set("__Host-session_id", &token(), Duration::from_secs(60)).unwrap();
        assert!(set.is_sensitive());
        let expected = format!(
            "__Host-session_id={}; Path=/; HttpOnly; Secure; SameSite=Lax",
            "A".repeat(Token::LEN)
        );
        assert_eq!(text(set), expected);
    }

    #[test]
    fn a_removal_has_the_attributes_of_what_it_removes() {
        let policy = CookiePolicy::builder()
            .path("/app")
            .domain("example.org")
            .persistent(true)
            .build()
            .unwrap();
        let set = text(policy.set("id", &token(), Duration::from_secs(60)).unwrap());
        assert_eq!(
            set,
            format!(
                "id={}; Path=/app; Domain=example.org; Max-Age=60; HttpOnly; Secure; SameSite=Lax",
                "A".repeat(Token::LEN)
            )
        );
        let clear = text(policy.clear("id").unwrap());
        assert_eq!(
            clear,
            "id=; Path=/app; Domain=example.org; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn no_cookie_is_asked_to_be_kept_longer_than_browsers_keep_one() {
        let policy = CookiePolicy::builder().persistent(true).build().unwrap();
        let set = text(policy.set("id", &token(), Duration::MAX).unwrap());
        assert!(set.contains("; Max-Age=34560000;"), "{set}");
    }

    #[test]
    fn what_browsers_would_refuse_is_refused() {
        let plain = CookiePolicy::builder().insecure_plain_http(true).build().unwrap();
        let below = CookiePolicy::builder().path("/app").build().unwrap();
        let wide = CookiePolicy::builder().domain("example.org").build().unwrap();
        for name in ["__Host-id", "__host-id", "__HOST-Http-id"] {
            for policy in [&plain, &below, &wide] {
                assert!(policy.check_name(name).is_err(), "{name}");
            }
        }
        for name in ["__Secure-id", "__sEcure-id", "__Http-id"] {
            assert!(plain.check_name(name).is_err(), "{name}");
            assert!(below.check_name(name).is_ok(), "{name}");
        }
        assert!(plain.check_name("").is_err());
        assert!(plain.check_name("a;b").is_err());
        assert!(plain.check_name(&"a".repeat(4049)).is_err());
        assert!(plain.check_name(&"a".repeat(4048)).is_ok());
    }

    #[test]
    fn attributes_that_would_be_misread_are_refused() {
        for path in ["", "app", "/a;b", "/a b", "/\r\n", "/é"] {
            assert!(CookiePolicy::builder().path(path).build().is_err(), "{path:?}");
        }
        for domain in ["", ".example.org", "example..org", "a b", "a;b", "exämple.org", "a/b"] {
            assert!(CookiePolicy::builder().domain(domain).build().is_err(), "{domain:?}");
        }
    }
}
