//! Settings of sessions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use kvolt_session::Manager;

use super::{Hints, Inner, Sessions};
use crate::bridge::SessionBridge;
#[cfg(feature = "device-bound")]
use crate::device_bound::DeviceBound;
use crate::error::ConfigError;
use crate::lookup::Source;
use crate::{CookiePolicy, Lookup, Refusal, cross_origin};

/// How long a store may take to answer by default: 2 seconds.
pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The lookup that [`Sessions::new`] uses.
const DEFAULT_LOOKUP: &str = "cookie:__Host-session_id";

/// The `Cache-Control` of responses that depend on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheControl {
    /// `no-store`: no cache keeps the response. After a logout, the browser's Back button shows
    /// nothing.
    #[default]
    NoStore,
    /// `private, no-cache`: only the browser may keep the response.
    Private,
}

/// Builds [`Sessions`].
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::{CacheControl, CookiePolicy, Sessions};
/// use kvolt_session::Manager;
///
/// let manager = Manager::<String>::new(MemoryStore::new());
/// // For development over plain HTTP, with a single-page application on another port.
/// let sessions = Sessions::builder(manager)
///     .lookup("cookie:session_id".parse()?)
///     .cookie(CookiePolicy::builder().insecure_plain_http(true).build()?)
///     .trusted_origin("http://localhost:5173")
///     .store_timeout(Duration::from_millis(500))
///     .cache_control(CacheControl::Private)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionsBuilder<T> {
    inner: Inner<T>,
    trusted_origins: Vec<String>,
    #[cfg(feature = "device-bound")]
    device_bound: Option<DeviceBound<T>>,
}

impl<T: Send + Sync + 'static> SessionsBuilder<T> {
    pub(super) fn new(manager: Manager<T>) -> Self {
        let lookup: Lookup = DEFAULT_LOOKUP.parse().expect("the default lookup is well-formed");
        let inner = Inner {
            manager,
            vary: vary(&lookup),
            lookup,
            cookie: CookiePolicy::new(),
            refusal: Refusal::default(),
            store_timeout: DEFAULT_STORE_TIMEOUT,
            bridge: None,
            #[cfg(feature = "device-bound")]
            device_bound: None,
            requires_proof: true,
            cache_control: HeaderValue::from_static("no-store"),
            trusted_origins: Vec::new(),
            rotations_fail: AtomicBool::new(false),
            hints: Hints::default(),
        };
        Self {
            inner,
            trusted_origins: Vec::new(),
            #[cfg(feature = "device-bound")]
            device_bound: None,
        }
    }

    pub(super) fn into_sessions(self) -> Sessions<T> {
        Sessions(Arc::new(self.inner))
    }

    /// Sets where the token is searched for. Defaults to `cookie:__Host-session_id`.
    pub fn lookup(mut self, lookup: Lookup) -> Self {
        self.inner.vary = vary(&lookup);
        self.inner.lookup = lookup;
        self
    }

    /// Sets the attributes of the cookie. Defaults to [`CookiePolicy::new`].
    pub fn cookie(mut self, cookie: CookiePolicy) -> Self {
        self.inner.cookie = cookie;
        self
    }

    /// Sets the answer to a request that needs a session and has none. Defaults to 401.
    pub fn refusal(mut self, refusal: Refusal) -> Self {
        self.inner.refusal = refusal;
        self
    }

    /// Sets how long the store may take before a request gets 503. Defaults to
    /// [`DEFAULT_STORE_TIMEOUT`].
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.inner.store_timeout = timeout;
        self
    }

    /// Takes over the sessions of another library: the `Bridge` of the crate `kvolt-bridge`.
    /// Defaults to none. A client gets its new token as the first cookie of the lookup.
    ///
    /// ```
    /// use kvolt_middleware::adapter::SessionBridge;
    /// use kvolt_middleware::{ConfigError, Sessions};
    /// use kvolt_session::Manager;
    ///
    /// fn sessions(
    ///     manager: Manager<String>,
    ///     bridge: impl SessionBridge<String>,
    /// ) -> Result<Sessions<String>, ConfigError> {
    ///     Sessions::builder(manager).bridge(bridge).build()
    /// }
    /// ```
    pub fn bridge(mut self, bridge: impl SessionBridge<T>) -> Self {
        self.inner.bridge = Some(Arc::new(bridge));
        self
    }

    /// Binds sessions to the device of their browser, where the browser can do it. Defaults to off.
    ///
    /// Once sessions are bound, every layer of the manager's sessions refuses them without proof,
    /// also after this setting was removed: then their users must sign in again.
    #[cfg(feature = "device-bound")]
    pub fn device_bound(mut self, device_bound: DeviceBound<T>) -> Self {
        self.device_bound = Some(device_bound);
        self
    }

    /// Sets the `Cache-Control` of responses that depend on a session. Defaults to
    /// [`CacheControl::NoStore`].
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.inner.cache_control = HeaderValue::from_static(match cache_control {
            CacheControl::NoStore => "no-store",
            CacheControl::Private => "private, no-cache",
        });
        self
    }

    /// Allows pages of another origin of yours, such as `https://admin.example.org`, to change
    /// state. For one route with unknown origins see
    /// [`dangerous_admit_cross_origin`](crate::SessionLayer::dangerous_admit_cross_origin).
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }

    /// Returns the sessions.
    ///
    /// # Errors
    ///
    /// Returns an error for a cookie that browsers would reject, a timeout of zero, a trusted
    /// origin that no browser would send, a bridge from a cookie with the name of this one, a bridge
    /// with a lookup that has no cookie, and settings of `device_bound` that no browser would accept.
    pub fn build(mut self) -> Result<Sessions<T>, ConfigError> {
        for source in self.inner.lookup.sources() {
            if let Source::Cookie(name) = source {
                self.inner.cookie.check_name(name)?;
                if self.inner.bridge.as_ref().is_some_and(|bridge| bridge.cookie_name() == &**name)
                {
                    return Err(ConfigError::new(format!(
                        "the other library's cookie is named {name:?} too: give this one another name"
                    )));
                }
            }
        }
        if self.inner.bridge.is_some() && self.inner.lookup.first_cookie().is_none() {
            return Err(ConfigError::new(
                "a bridge gives its clients a cookie: add cookie:NAME to the lookup",
            ));
        }
        if self.inner.store_timeout.is_zero() {
            return Err(ConfigError::new("the store's timeout must not be zero"));
        }
        #[cfg(feature = "device-bound")]
        if let Some(settings) = self.device_bound.take() {
            self.inner.requires_proof = settings.requires_proof;
            let settings = settings.check(&self.inner.lookup, &self.inner.cookie)?;
            let name = &settings.set.cookie;
            if self.inner.bridge.as_ref().is_some_and(|bridge| bridge.cookie_name() == name) {
                return Err(ConfigError::new(format!(
                    "the other library's cookie is named {name:?} too: give the bound one another name"
                )));
            }
            self.inner.device_bound = Some(Arc::new(settings));
        }
        let trusted = self.trusted_origins.iter();
        let trusted = trusted.map(|origin| cross_origin::canonical_origin(origin));
        self.inner.trusted_origins = trusted.collect::<Result<_, _>>()?;
        Ok(self.into_sessions())
    }
}

/// The request headers of a lookup. A query is part of the address, which caches compare in any
/// case.
fn vary(lookup: &Lookup) -> Option<HeaderValue> {
    let mut names: Vec<HeaderName> = Vec::new();
    for name in lookup.sources().iter().filter_map(Source::header_name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match &names[..] {
        [] => None,
        // A standard name is not on the heap.
        [name] => Some(HeaderValue::from(name.clone())),
        names => {
            let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
            HeaderValue::try_from(names.join(", ")).ok()
        }
    }
}

impl<T> fmt::Debug for SessionsBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("lookup", &self.inner.lookup)
            .finish_non_exhaustive()
    }
}
