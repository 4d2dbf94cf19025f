//! The attributes of the session's cookie.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;
use kvolt_session::Token;

use crate::error::ConfigError;
use crate::lookup::is_token;

/// The attributes of the session's cookie.
///
/// Defaults to `Path=/; HttpOnly; Secure; SameSite=Lax` without a `Domain`, until the browser
/// closes. `HttpOnly` can't be turned off.
///
/// ```
/// use kvolt_middleware::{CookiePolicy, SameSite};
///
/// let policy = CookiePolicy::builder().same_site(SameSite::Strict).persistent(true).build()?;
/// // Attributes that browsers reject are an error here:
/// let rejected = CookiePolicy::builder().same_site(SameSite::None).insecure_plain_http(true);
/// assert!(rejected.build().is_err());
/// # Ok::<(), kvolt_middleware::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CookiePolicy {
    path: Option<String>,
    pub(crate) domain: Option<String>,
    same_site: SameSite,
    is_insecure: bool,
    is_persistent: bool,
    is_partitioned: bool,
}

/// Whether a browser sends the cookie with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// Never, not even when a link leads here.
    Strict,
    /// Only when a link or a typed address leads here.
    #[default]
    Lax,
    /// Always. Requires `Secure`.
    None,
}

impl SameSite {
    /// The value of the cookie's attribute: `Strict`, `Lax` or `None`.
    ///
    /// ```
    /// use kvolt_middleware::SameSite;
    ///
    /// assert_eq!(SameSite::default().as_str(), "Lax");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Strict, Self::Lax, Self::None].into_iter().find(|value| value.as_str() == text)
    }
}

impl CookiePolicy {
    /// Returns the default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a builder for a policy with other attributes.
    pub fn builder() -> CookiePolicyBuilder {
        CookiePolicyBuilder(Self::new())
    }

    pub(crate) fn is_secure(&self) -> bool {
        !self.is_insecure
    }

    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// Whether browsers accept a cookie of that name with these attributes (RFC 6265bis,
    /// section 5.7). They compare the prefixes without regard to case.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), ConfigError> {
        let has_prefix = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_host_only = has_prefix("__Host-");
        let needs_secure = is_host_only || has_prefix("__Secure-") || has_prefix("__Http-");
        let error = |text: String| Err(ConfigError::new(text));
        if !is_token(name) {
            return error(format!("{name:?} is not a valid name of a cookie"));
        }
        if name.len() + Token::LEN > MAX_PAIR_LEN {
            return error("the cookie's name and value exceed 4,096 bytes".into());
        }
        if needs_secure && self.is_insecure {
            return error(format!(
                "browsers reject a cookie named {name:?} without Secure; for plain HTTP, use a name without prefix"
            ));
        }
        if is_host_only && (self.path() != "/" || self.domain.is_some()) {
            return error(format!(
                "browsers reject a cookie named {name:?} with a Domain or a Path other than /"
            ));
        }
        Ok(())
    }

    /// The `Set-Cookie` header that gives the client its token, for a name that was
    /// [checked](Self::check_name). With `is_remembered`, the browser keeps it in any case.
    pub(crate) fn set(
        &self,
        name: &str,
        token: &Token,
        lifetime: Duration,
        is_remembered: bool,
    ) -> HeaderValue {
        let is_kept = self.is_persistent || is_remembered;
        self.header(name, token.expose(), is_kept.then(|| lifetime.min(MAX_MAX_AGE).as_secs()))
    }

    /// The `Set-Cookie` header that removes the cookie. It has the same attributes, or browsers
    /// would keep the cookie.
    pub(crate) fn clear(&self, name: &str) -> HeaderValue {
        self.header(name, "", Some(0))
    }

    /// The attributes, without a lifetime.
    #[cfg(feature = "device-bound")]
    pub(crate) fn attributes(&self) -> String {
        let header = self.header("", "", None);
        let text = header.to_str().expect("it is visible ASCII");
        text.trim_start_matches("=; ").to_owned()
    }

    pub(crate) fn header(&self, name: &str, value: &str, max_age: Option<u64>) -> HeaderValue {
        let mut cookie = String::with_capacity(160);
        cookie.extend([name, "=", value, "; Path=", self.path()]);
        if let Some(domain) = &self.domain {
            cookie.extend(["; Domain=", domain]);
        }
        match max_age {
            // For browsers that don't support Max-Age.
            Some(0) => cookie.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            // Writing to a string does not fail.
            Some(seconds) => drop(write!(cookie, "; Max-Age={seconds}")),
            None => {}
        }
        cookie.push_str("; HttpOnly");
        if self.is_secure() {
            cookie.push_str("; Secure");
        }
        cookie.extend(["; SameSite=", self.same_site.as_str()]);
        if self.is_partitioned {
            cookie.push_str("; Partitioned");
        }
        let mut header = HeaderValue::try_from(cookie)
            .expect("name, path and domain were checked to be visible ASCII");
        header.set_sensitive(true);
        header
    }
}

/// The maximum length of a cookie's name and value together, in bytes. Browsers reject more.
const MAX_PAIR_LEN: usize = 4096;

/// Browsers keep no cookie longer (RFC 6265bis, section 5.5).
const MAX_MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Builds a [`CookiePolicy`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CookiePolicyBuilder(CookiePolicy);

impl CookiePolicyBuilder {
    /// Sets the path below which the cookie is sent. Defaults to `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Sends the cookie to this domain and all its subdomains. Defaults to this host alone, which
    /// is safer.
    ///
    /// ```
    /// use kvolt_middleware::CookiePolicy;
    ///
    /// // For `shop.example` and `www.shop.example`. The cookie's name must not begin with `__Host-`.
    /// let policy = CookiePolicy::builder().domain("shop.example").build()?;
    /// # Ok::<(), kvolt_middleware::ConfigError>(())
    /// ```
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.0.domain = Some(domain.into());
        self
    }

    /// Sets whether the cookie is sent with requests from other sites. Defaults to
    /// [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.0.same_site = same_site;
        self
    }

    /// Keeps the cookie when the browser closes, for the maximum lifetime of the session (browsers
    /// allow 400 days). Defaults to `false`.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.0.is_persistent = persistent;
        self
    }

    /// Keeps a cookie for each top-level site in which this one is embedded (`Partitioned`, CHIPS).
    /// For pages in frames of other sites, together with [`SameSite::None`]. Defaults to `false`.
    ///
    /// Give the cookie a new name when you turn this on or off: a browser sends an old cookie of
    /// the same name beside the new one, and a request with two different tokens has no session.
    ///
    /// ```
    /// use kvolt_middleware::{CookiePolicy, SameSite};
    ///
    /// let embedded = CookiePolicy::builder().same_site(SameSite::None).partitioned(true).build()?;
    /// # Ok::<(), kvolt_middleware::ConfigError>(())
    /// ```
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.0.is_partitioned = partitioned;
        self
    }

    /// Leaves out `Secure`, so that browsers send the cookie over plain HTTP, where any machine on
    /// the network path can read it. For development only. Defaults to `false`.
    pub fn insecure_plain_http(mut self, insecure: bool) -> Self {
        self.0.is_insecure = insecure;
        self
    }

    /// Returns the policy.
    ///
    /// # Errors
    ///
    /// Returns an error if browsers would reject the cookie or misread its attributes.
    pub fn build(self) -> Result<CookiePolicy, ConfigError> {
        let CookiePolicy { domain, same_site, is_insecure, is_partitioned, .. } = &self.0;
        let path = self.0.path();
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !path.starts_with('/') || !is_plain(path) || path.len() > 1024 {
            return Err(ConfigError::new(format!(
                "the cookie's path {path:?} must start with / and contain only visible ASCII, without ;"
            )));
        }
        if let Some(domain) = domain {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            let malformed = domain.split('.').any(str::is_empty) || !domain.bytes().all(allowed);
            if malformed || domain.len() > 253 {
                return Err(ConfigError::new(format!(
                    "the cookie's domain {domain:?} is not a host name (write it without a leading dot)"
                )));
            }
        }
        if *is_insecure && (*same_site == SameSite::None || *is_partitioned) {
            return Err(ConfigError::new(
                "browsers reject SameSite=None and Partitioned without Secure",
            ));
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
    fn default_cookie_is_safe() {
        let policy = CookiePolicy::new();
        let set = policy.set("__Host-session_id", &token(), Duration::from_secs(60), false);
        assert!(set.is_sensitive());
        let expected = format!(
            "__Host-session_id={}; Path=/; HttpOnly; Secure; SameSite=Lax",
            "A".repeat(Token::LEN)
        );
        assert_eq!(text(set), expected);
    }

    #[test]
    fn removal_has_the_attributes_of_the_cookie() {
        let policy = CookiePolicy::builder()
            .path("/app")
            .domain("example.org")
            .persistent(true)
            .build()
            .unwrap();
        let set = text(policy.set("id", &token(), Duration::from_secs(60), false));
        assert_eq!(
            set,
            format!(
                "id={}; Path=/app; Domain=example.org; Max-Age=60; HttpOnly; Secure; SameSite=Lax",
                "A".repeat(Token::LEN)
            )
        );
        let clear = text(policy.clear("id"));
        assert_eq!(
            clear,
            "id=; Path=/app; Domain=example.org; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn partitioned_cookie_needs_secure() {
        let builder = CookiePolicy::builder().partitioned(true).same_site(SameSite::None);
        let policy = builder.clone().build().unwrap();
        for cookie in [policy.set("id", &token(), Duration::MAX, false), policy.clear("id")] {
            let cookie = text(cookie);
            assert!(cookie.ends_with("; Secure; SameSite=None; Partitioned"), "{cookie}");
        }
        let plain = builder.same_site(SameSite::Lax).insecure_plain_http(true);
        assert!(plain.build().is_err());
    }

    #[test]
    fn max_age_is_at_most_400_days() {
        let policy = CookiePolicy::builder().persistent(true).build().unwrap();
        let set = text(policy.set("id", &token(), Duration::MAX, false));
        assert!(set.contains("; Max-Age=34560000;"), "{set}");
    }

    #[test]
    fn rejected_cookies_are_errors() {
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
    fn malformed_cookie_attributes_are_errors() {
        for path in ["", "app", "/a;b", "/a b", "/\r\n", "/é"] {
            assert!(CookiePolicy::builder().path(path).build().is_err(), "{path:?}");
        }
        for domain in ["", ".example.org", "example..org", "a b", "a;b", "exämple.org", "a/b"] {
            assert!(CookiePolicy::builder().domain(domain).build().is_err(), "{domain:?}");
        }
    }
}
