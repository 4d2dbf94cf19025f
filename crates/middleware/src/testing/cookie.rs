use std::fmt;
use std::time::Duration;

use kvolt_cache::Clock;

use crate::SameSite;

/// A cookie as a browser keeps it: the fields of a cookie in WebDriver.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::testing::TestClient;
/// use kvolt_middleware::{SameSite, Sessions};
/// use kvolt_session::Manager;
///
/// # pollster::block_on(async {
/// let sessions = Sessions::new(Manager::new(MemoryStore::new()));
/// let ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
/// let cookie = ada.cookie().expect("the lookup has a cookie");
/// assert_eq!((cookie.name.as_str(), cookie.path.as_str()), ("__Host-session_id", "/"));
/// assert!(cookie.secure && cookie.http_only);
/// assert_eq!(cookie.same_site, SameSite::Lax);
/// assert_eq!((&cookie.domain, cookie.expiry), (&None, None));
/// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestCookie {
    /// The name.
    pub name: String,
    /// The value: the token.
    pub value: String,
    /// The path below which a browser sends it.
    pub path: String,
    /// The domain, if it is also for subdomains.
    pub domain: Option<String>,
    /// Whether a browser sends it over HTTPS only.
    pub secure: bool,
    /// Whether it is hidden from scripts.
    pub http_only: bool,
    /// Whether a browser sends it with requests from other sites.
    pub same_site: SameSite,
    /// When a browser drops it, in seconds since the Unix epoch; `None` if when it closes.
    pub expiry: Option<u64>,
}

impl TestCookie {
    /// Reads a `Set-Cookie` header of this crate.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(header).ok()?.split("; ");
        let (name, value) = parts.next()?.split_once('=')?;
        let mut cookie = Self {
            name: name.to_owned(),
            value: value.to_owned(),
            path: String::from("/"),
            domain: None,
            secure: false,
            http_only: false,
            same_site: SameSite::Lax,
            expiry: None,
        };
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("Path", path) => path.clone_into(&mut cookie.path),
                ("Domain", domain) => cookie.domain = Some(domain.to_owned()),
                ("Secure", _) => cookie.secure = true,
                ("HttpOnly", _) => cookie.http_only = true,
                ("SameSite", text) => cookie.same_site = SameSite::parse(text)?,
                ("Max-Age", seconds) => cookie.expiry = Some(after(seconds.parse().ok()?)),
                _ => {}
            }
        }
        Some(cookie)
    }
}

/// A browser counts `Max-Age` by its own clock, whatever the clock of the store is.
fn after(seconds: u64) -> u64 {
    let end = Clock::system().now().saturating_add(Duration::from_secs(seconds));
    end.as_millis() / 1_000
}

impl fmt::Debug for TestCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
