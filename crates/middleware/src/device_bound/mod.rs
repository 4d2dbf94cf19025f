//! Sessions that are bound to the device of their browser: the settings, and what they become.

mod endpoints;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};

use crate::device_request::DeviceRequest;
use crate::head::RequestHead;
use crate::lookup::{Lookup, Source};
use crate::{ConfigError, CookiePolicy, cross_origin, local_path};

/// Binds sessions to the device of their browser, so that a stolen cookie is worthless within
/// minutes: Device Bound Session Credentials (DBSC, a working draft of the W3C), which Chrome has.
///
/// After a sign-in the browser is asked to make a key that can't leave the device. It then gets a
/// second cookie, which lives for some minutes, and a new value of it each time it proves that it
/// has the key. Requests of a bound session without an accepted value are refused. A browser that
/// has no such keys ignores the offer, and its sessions stay unbound.
///
/// A layer of these [`Sessions`](crate::Sessions) must be around the two [paths](Self::paths), and
/// no other layer may answer requests to them. The guide has a page on it.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::{DeviceBound, Sessions};
/// use kvolt_session::Manager;
///
/// #[derive(Clone)]
/// struct User { is_admin: bool }
///
/// let manager = Manager::<User>::new(MemoryStore::new());
/// let sessions = Sessions::builder(manager).device_bound(DeviceBound::new()).build()?;
///
/// // Everything that can be set:
/// let device_bound = DeviceBound::new()
///     .lifetime(std::time::Duration::from_secs(300))
///     .paths("/device/register", "/device/refresh")
///     .cookie("__Host-shop_bound")
///     .refresh_initiator("https://www.shop.example")
///     .offer_to(|user: &User| user.is_admin)
///     .require_proof(false);
/// let sessions = Sessions::builder(Manager::new(MemoryStore::new())).device_bound(device_bound);
/// # sessions.build()?;
/// # Ok::<(), kvolt_middleware::ConfigError>(())
/// ```
#[must_use = "settings do nothing until `SessionsBuilder::device_bound` receives them"]
pub struct DeviceBound<T> {
    lifetime: Duration,
    min_lifetime: Duration,
    pub(crate) register: String,
    pub(crate) refresh: String,
    pub(crate) cookie: String,
    initiators: Vec<String>,
    offers_to: Option<OffersTo<T>>,
    pub(crate) requires_proof: bool,
}

type OffersTo<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

impl<T> DeviceBound<T> {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            min_lifetime: Duration::from_secs(300),
            register: String::from("/dbsc/register"),
            refresh: String::from("/dbsc/refresh"),
            cookie: String::from("__Host-session_bound"),
            initiators: Vec::new(),
            offers_to: None,
            requires_proof: true,
        }
    }

    /// Sets how long the bound cookie lives, and so a stolen copy of both cookies, in whole seconds.
    /// Defaults to 600 seconds; at least 300, and at most one day.
    ///
    /// While pages are in use, the browser refreshes the cookie two minutes before it expires.
    /// Browsers have a quota for that.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, min_lifetime: Duration::from_secs(300), ..self }
    }

    /// Sets a [`lifetime`](Self::lifetime) that may be below 300 seconds, for tests: browsers reach
    /// their quota of refreshes with it, and then send requests without the bound cookie.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::{DeviceBound, Sessions};
    /// use kvolt_session::Manager;
    ///
    /// let six_seconds = Duration::from_secs(6);
    /// let sessions = |device_bound| {
    ///     let manager = Manager::<String>::new(MemoryStore::new());
    ///     Sessions::builder(manager).device_bound(device_bound).build()
    /// };
    /// assert!(sessions(DeviceBound::new().lifetime(six_seconds)).is_err());
    /// assert!(sessions(DeviceBound::new().dangerous_lifetime(six_seconds)).is_ok());
    /// ```
    pub fn dangerous_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, min_lifetime: Duration::from_secs(1), ..self }
    }

    /// Sets the paths of this site to which browsers send a registration and a refresh. Defaults to
    /// `/dbsc/register` and `/dbsc/refresh`.
    pub fn paths(self, register: impl Into<String>, refresh: impl Into<String>) -> Self {
        Self { register: register.into(), refresh: refresh.into(), ..self }
    }

    /// Sets the name of the bound cookie. Its attributes are those of the session's cookie. Defaults
    /// to `__Host-session_bound`.
    pub fn cookie(self, name: impl Into<String>) -> Self {
        Self { cookie: name.into(), ..self }
    }

    /// Allows pages of another origin of the same site, such as `https://www.shop.example` for
    /// `https://shop.example`, to cause a refresh by their requests to this one. Without it, such
    /// requests come without the bound cookie once that has expired.
    ///
    /// Only origins of the same site, unless the cookie is
    /// [`SameSite::None`](crate::SameSite::None): for another site the browser refreshes without the
    /// session's cookie, and the answer to that ends the binding.
    pub fn refresh_initiator(mut self, origin: impl Into<String>) -> Self {
        self.initiators.push(origin.into());
        self
    }

    /// Sets which sessions the browser is asked to bind, by the data with which they are created.
    /// Defaults to all.
    pub fn offer_to(self, offers_to: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        Self { offers_to: Some(Arc::new(offers_to)), ..self }
    }

    /// Sets whether requests of a bound session without proof are refused. Defaults to true. With
    /// false they pass, except on routes that
    /// [require](kvolt_session::StepUp::device_proved_within) one. Such a route sends a user whose
    /// device has lost its key to sign in: the page for that must then show its form although there is
    /// a session, if that is not
    /// [proven](kvolt_session::SessionSnapshot::is_device_proven).
    pub fn require_proof(self, require_proof: bool) -> Self {
        Self { requires_proof: require_proof, ..self }
    }

    /// The checked settings for sessions with this lookup and this cookie.
    pub(crate) fn check(
        self,
        lookup: &Lookup,
        policy: &CookiePolicy,
    ) -> Result<Settings<T>, ConfigError> {
        let Self { lifetime, min_lifetime, register, refresh, cookie, .. } = &self;
        let error = |text: String| Err(ConfigError::new(text));
        let source = Source::Cookie((**cookie).into());
        if lookup.first_cookie().is_none() {
            return error("only sessions in a cookie can be bound to a device: add cookie:NAME to the lookup, or leave out `device_bound`".into());
        }
        if lookup.sources().contains(&source) {
            return error(format!(
                "the cookie {cookie:?} is that of the session: give the bound one another name"
            ));
        }
        if !policy.is_secure() {
            return error("browsers bind sessions to a device over HTTPS only: leave out `insecure_plain_http` or `device_bound`".into());
        }
        if policy.domain.is_some() {
            return error("a session that is bound to a device belongs to one host: leave out the cookie's domain, or `device_bound`".into());
        }
        policy.check_name(cookie)?;
        if lifetime < min_lifetime || *lifetime > MAX_LIFETIME || lifetime.subsec_nanos() != 0 {
            return error(format!(
                "the bound cookie's lifetime of {lifetime:?} must be whole seconds, from {min_lifetime:?} to {MAX_LIFETIME:?}"
            ));
        }
        for path in [register, refresh] {
            // A router would take some of them for a pattern.
            if local_path(path).is_none() || path.contains(['?', '#', '"', '{', '}', ':', '*']) {
                return error(format!("{path:?} is not a plain path on this site"));
            }
            let within = path.strip_prefix(policy.path());
            if !within.is_some_and(|rest| policy.path().ends_with('/') || rest.starts_with('/')) {
                return error(format!(
                    "browsers send no cookie to {path:?}: set `paths` below the cookie's path, {:?}",
                    policy.path()
                ));
            }
        }
        if register == refresh {
            return error(format!("registration and refresh can't have one path, {refresh:?}"));
        }
        let mut initiators = Vec::new();
        for origin in &self.initiators {
            initiators.push(format!("\"{}\"", cross_origin::host_of(origin)?));
        }
        let initiators = match &initiators[..] {
            [] => String::new(),
            hosts => format!(",\"allowed_refresh_initiators\":[{}]", hosts.join(",")),
        };
        let attributes = policy.attributes().replace('\\', "\\\\").replace('"', "\\\"");
        let instructions = format!(
            "\",\"refresh_url\":\"{refresh}\",\"scope\":{{\"include_site\":false}},\"credentials\":[{{\"type\":\"cookie\",\"name\":\"{cookie}\",\"attributes\":\"{attributes}\"}}]{initiators}}}"
        );
        Ok(Settings { source, policy: policy.clone(), instructions, set: self })
    }
}

/// The longest lifetime of the bound cookie.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl<T> Default for DeviceBound<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for DeviceBound<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBound")
            .field("lifetime", &self.lifetime)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

/// Checked settings.
pub(crate) struct Settings<T> {
    pub(crate) set: DeviceBound<T>,
    /// The place of the bound cookie in a request.
    source: Source,
    policy: CookiePolicy,
    /// The answer to a registration, after the browser's name for it.
    instructions: String,
}

const REGISTRATION: HeaderName = HeaderName::from_static("secure-session-registration");

impl<T> Settings<T> {
    /// Whether sessions with this data are to be bound.
    pub(crate) fn is_offered_to(&self, data: &T) -> bool {
        self.set.offers_to.as_ref().is_none_or(|offers_to| offers_to(data))
    }

    /// The header that asks the browser to register a key.
    pub(crate) fn offer(&self, challenge: &str) -> (HeaderName, HeaderValue) {
        let value = format!("(ES256);path=\"{}\";challenge=\"{challenge}\"", self.set.register);
        (REGISTRATION, HeaderValue::try_from(value).expect("the path was checked"))
    }

    /// The header that removes the bound cookie. If the browser still has the key, it proves that
    /// before its next request.
    pub(crate) fn clearing_header(&self) -> (HeaderName, HeaderValue) {
        (SET_COOKIE, self.policy.clear(&self.set.cookie))
    }

    /// What a request shows about its device.
    pub(crate) fn request(&self, request: &impl RequestHead) -> DeviceRequest {
        DeviceRequest::of(request, self.source.unique(request))
    }
}
