//! The sessions of an application over HTTP.

mod builder;
mod hints;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use kvolt_session::{Manager, RefusalReason, Token};

use crate::bridge::SessionBridge;
use crate::error::Kind;
use crate::head::RequestHead;
use crate::lookup::{Source, SourceIndex, Unique};
use crate::{CookiePolicy, Error, Lookup, Missing, Refusal, Result, SessionLayer, cross_origin};
use hints::{Hints, hint};

pub(crate) use hints::help;

pub use builder::{CacheControl, DEFAULT_STORE_TIMEOUT, SessionsBuilder};

/// The sessions of an application over HTTP: a manager, where tokens travel, and how requests
/// without a session are answered. Cloning it is cheap.
///
/// It creates the [layers](Self::layer) for routes.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::Sessions;
/// use kvolt_session::Manager;
///
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let sessions = Sessions::new(manager);
/// let (required, optional) = (sessions.layer(), sessions.layer().optional());
/// assert_eq!(sessions.manager().timeouts().idle, Duration::from_secs(30 * 60));
/// ```
pub struct Sessions<T>(pub(crate) Arc<Inner<T>>);

pub(crate) struct Inner<T> {
    pub(crate) manager: Manager<T>,
    pub(crate) lookup: Lookup,
    cookie: CookiePolicy,
    pub(crate) refusal: Refusal,
    pub(crate) store_timeout: Duration,
    pub(crate) bridge: Option<Arc<dyn SessionBridge<T>>>,
    #[cfg(feature = "device-bound")]
    pub(crate) device_bound: Option<Arc<crate::device_bound::Settings<T>>>,
    /// Whether requests of a session that is bound to a device are refused without proof. Also
    /// without settings: another program has bound it, or this one with settings that were removed.
    pub(crate) requires_proof: bool,
    pub(crate) cache_control: HeaderValue,
    /// The request headers of the lookup, as the value of `Vary`.
    pub(crate) vary: Option<HeaderValue>,
    /// As browsers write them.
    trusted_origins: Vec<Box<str>>,
    /// Whether the last rotation by a layer failed, so that an outage is logged once.
    rotations_fail: AtomicBool,
    hints: Hints,
}

/// How long a client keeps a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLifetime {
    /// The maximum lifetime of the session.
    pub(crate) lifetime: Duration,
    /// Whether a browser keeps the token when it closes.
    pub(crate) is_remembered: bool,
}

impl<T: Send + Sync + 'static> Sessions<T> {
    /// Creates sessions with the cookie `__Host-session_id` and all defaults.
    ///
    /// Browsers accept that cookie over HTTPS, and over plain HTTP from localhost at best. For
    /// development see
    /// [`CookiePolicyBuilder::insecure_plain_http`](crate::CookiePolicyBuilder::insecure_plain_http).
    pub fn new(manager: Manager<T>) -> Self {
        SessionsBuilder::new(manager).into_sessions()
    }

    /// Returns a builder for sessions with other settings.
    pub fn builder(manager: Manager<T>) -> SessionsBuilder<T> {
        SessionsBuilder::new(manager)
    }

    /// Returns the manager.
    pub fn manager(&self) -> &Manager<T> {
        &self.0.manager
    }

    /// Creates a layer for routes that require a session. [`optional`](SessionLayer::optional)
    /// makes it a layer for routes that work without one, such as those that sign clients in.
    pub fn layer(&self) -> SessionLayer<T> {
        SessionLayer::new(self.clone())
    }

    /// Reports a request with several different tokens, of which none is accepted.
    #[cold]
    pub(crate) fn report_ambiguous(&self) {
        hint!(
            self.0.hints.ambiguous,
            help!("401-no_session"),
            "accepted no token of a request that has several: another cookie of the same name may be left at another path or domain (use a cookie name that no other program uses)"
        );
        self.0.manager.report_refusal(None, RefusalReason::Ambiguous);
    }

    /// Notes whether a rotation by a layer worked. The request passes in either case.
    pub(crate) fn note_rotation(&self, rotated: &Result<()>) {
        let error = rotated.as_ref().err().filter(|error| !error.is_ended());
        let failed_before = self.0.rotations_fail.swap(error.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (error, failed_before) {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(
                target: "kvolt::http", error,
                "could not rotate a token that was due: tokens get older than `rotate_every` until the store answers"
            );
        }
    }

    /// Explains the refusal of a request that seems to sign in.
    pub(crate) fn hint_at_login(&self, request: &impl RequestHead, missing: Missing) {
        let last = request.path().rsplit('/').next().unwrap_or_default();
        let names = ["login", "log-in", "signin", "sign-in"];
        let is_login = names.iter().any(|name| name.eq_ignore_ascii_case(last));
        if is_login && request.method() == "POST" && missing == Missing::Session {
            hint!(
                self.0.hints.login,
                help!("401-no_session"),
                path = request.path(),
                "refused a request without a session: a route that signs in must be behind `sessions.layer().optional()`"
            );
        }
    }

    /// Explains why a browser will not keep the cookie that it gets.
    pub(crate) fn hint_at_plain_http(&self, channel: &Source) {
        if self.0.cookie.is_secure() && matches!(channel, Source::Cookie(_)) {
            hint!(
                self.0.hints.plain_http,
                help!("401-no_session"),
                "set a `Secure` cookie for a page that was loaded over plain HTTP: browsers reject it, and the next request has no session (use HTTPS or localhost, or for development `CookiePolicy::builder().insecure_plain_http(true)`)"
            );
        }
    }

    /// The source by which a new token goes back: the one of the old token, or else the first that
    /// a response can carry.
    pub(crate) fn channel<'a>(&'a self, old: Option<&'a Source>) -> Result<&'a Source> {
        let can_carry = |source: &&Source| !matches!(source, Source::Query(_));
        match old {
            Some(source) => Some(source).filter(can_carry),
            None => self.0.lookup.sources().iter().find(can_carry),
        }
        .ok_or(Error(Kind::NoWayBack))
    }

    /// The cookie by which a client gets the token of a session that the bridge has taken over. Its
    /// old session was in a cookie, too.
    pub(crate) fn bridged_source(&self) -> Result<SourceIndex> {
        self.0.lookup.first_cookie().ok_or(Error(Kind::NoWayBack))
    }

    /// The values of the other library's cookie, if there is a bridge to it.
    pub(crate) fn old_cookie<'a>(&self, request: &'a impl RequestHead) -> Unique<'a> {
        self.0.bridge.as_ref().map_or(Unique::None, |bridge| {
            Source::Cookie(bridge.cookie_name().into()).unique(request)
        })
    }

    /// The header that gives the client a token.
    pub(crate) fn token_header(
        &self,
        channel: &Source,
        token: &Token,
        lifetime: TokenLifetime,
    ) -> Result<(HeaderName, HeaderValue)> {
        let (name, value) = match channel {
            Source::Cookie(name) => {
                let TokenLifetime { lifetime, is_remembered } = lifetime;
                return Ok((SET_COOKIE, self.0.cookie.set(name, token, lifetime, is_remembered)));
            }
            Source::Header(name) => (name.clone(), token.expose().to_owned()),
            Source::Bearer => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            Source::Query(_) => return Err(Error(Kind::NoWayBack)),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| Error(Kind::NoWayBack))?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// The header that removes a cookie; `None` for other sources.
    pub(crate) fn clearing_header(&self, channel: &Source) -> Option<(HeaderName, HeaderValue)> {
        let Source::Cookie(name) = channel else { return None };
        Some((SET_COOKIE, self.0.cookie.clear(name)))
    }

    /// Whether a request that changes state comes from an admitted origin, or carries a token that
    /// browsers don't send on their own.
    pub(crate) fn admits_origin(
        &self,
        request: &impl RequestHead,
        source: Option<SourceIndex>,
    ) -> bool {
        let is_cookie = |source: &Source| matches!(source, Source::Cookie(_));
        let is_sent_by_browsers = match source {
            // A dead token in a header does not keep the bridge from signing the request in.
            Some(source) => {
                is_cookie(self.0.lookup.source(source))
                    || !matches!(self.old_cookie(request), Unique::None)
            }
            None => self.0.lookup.sources().iter().any(is_cookie),
        };
        if !is_sent_by_browsers || cross_origin::is_admitted(request, &self.0.trusted_origins) {
            return true;
        }
        hint!(
            self.0.hints.cross_origin,
            help!("403-cross_origin"),
            path = request.path(),
            origin = cross_origin::origin(request),
            "rejected a cross-origin request (allow its origin with `Sessions::builder(..).trusted_origin(..)`)"
        );
        self.0.manager.report_refusal(None, RefusalReason::CrossOrigin);
        false
    }
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("lookup", &self.0.lookup)
            .field("cookie", &self.0.cookie)
            .finish_non_exhaustive()
    }
}
