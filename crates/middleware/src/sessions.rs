use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};

use kvolt_session::{Access, Manager, RefusalReason, SessionSnapshot, Timeouts, Token};

use crate::bounded::bounded;
use crate::cross_origin::{self, Verdict};
use crate::error::ConfigError;
use crate::lookup::{Place, Presented, Source};
use crate::shared::Shared;
use crate::{CookiePolicy, Error, Lookup, Refusal, Result, SessionHandle, SessionLayer, SetToken};

/// How long a store may take to answer unless set otherwise: 2 seconds.
pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The cookie that [`Sessions::new`] uses.
const DEFAULT_COOKIE: &str = "__Host-session_id";

/// The sessions of an application over HTTP: a manager, where tokens travel,
/// and what is answered without one. Cloning it is cheap.
///
/// It gives the [layer](Self::layer) for routes, and is the state from which
/// the [`SessionHandle`] of a login handler is extracted.
pub struct Sessions<T>(Arc<Inner<T>>);

pub(crate) struct Inner<T> {
    pub(crate) manager: Manager<T>,
    pub(crate) lookup: Lookup,
    pub(crate) cookie: CookiePolicy,
    pub(crate) refusal: Refusal,
    pub(crate) store_timeout: Duration,
    pub(crate) cache_control: HeaderValue,
    /// The headers that decide which session a request has, as `Vary` names them.
    pub(crate) vary: Option<HeaderValue>,
    /// As browsers write them.
    trusted_origins: Vec<Box<str>>,
    /// Whether the last rotation by a layer failed: an outage is logged once.
    rotations_fail: AtomicBool,
}

/// How long a client is to keep a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// How long its session lives at most.
    lifetime: Duration,
    /// Whether also when it is closed.
    remembered: bool,
}

impl Keep {
    /// For a session that has just been made.
    pub(crate) fn new<T: Send + Sync + 'static>(manager: &Manager<T>, remembered: bool) -> Self {
        let timeouts = if remembered { manager.remembered_timeouts() } else { manager.timeouts() };
        Self { lifetime: timeouts.lifetime, remembered }
    }

    /// For a visitor's session that has just been made.
    pub(crate) fn anonymous<T: Send + Sync + 'static>(manager: &Manager<T>) -> Self {
        let Timeouts { lifetime, .. } = manager.anonymous_timeouts();
        Self { lifetime, remembered: false }
    }

    /// The same for a session whose timeouts have just started again.
    pub(crate) fn again<T: Send + Sync + 'static>(self, manager: &Manager<T>) -> Self {
        Self::new(manager, self.remembered)
    }

    /// For what is left of a session.
    pub(crate) fn rest<T: Send + Sync + 'static>(
        manager: &Manager<T>,
        of: &SessionSnapshot<T>,
    ) -> Self {
        let lifetime = of.ends_at().since(manager.clock().now());
        Self { lifetime, remembered: of.is_remembered() }
    }
}

/// What the responses say that depend on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheControl {
    /// Nobody keeps them (`no-store`): after a sign-out, the browser's Back button shows nothing.
    #[default]
    NoStore,
    /// The browser may keep them, and nobody between it and the server (`private, no-cache`).
    Private,
}

impl<T: Send + Sync + 'static> Sessions<T> {
    /// Sessions by the cookie `__Host-session_id`, with everything at its safe default.
    ///
    /// Browsers accept that cookie over HTTPS, and over plain HTTP from
    /// localhost at best; see [`CookiePolicyBuilder::insecure_plain_http`](crate::CookiePolicyBuilder::insecure_plain_http).
    pub fn new(manager: Manager<T>) -> Self {
        let defaults = SessionsBuilder::new(manager);
        let vary = vary(&defaults.lookup);
        Self(Arc::new(defaults.into_inner(vary)))
    }

    /// Sessions with other settings.
    pub fn builder(manager: Manager<T>) -> SessionsBuilder<T> {
        SessionsBuilder::new(manager)
    }

    /// The manager.
    pub fn manager(&self) -> &Manager<T> {
        &self.0.manager
    }

    /// The layer for routes that require a session.
    /// [`optional`](SessionLayer::optional) makes it one for routes that merely know about one.
    pub fn layer(&self) -> SessionLayer<T> {
        SessionLayer::new(self.clone())
    }

    /// The handle for a request with this head, for handlers that are not
    /// behind the layer and use no extractor.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the layer
    /// would refuse the request because another site sent it ([`Error::is_cross_origin`]).
    pub async fn handle(&self, parts: &request::Parts) -> Result<SessionHandle<T>> {
        let presented = self.0.lookup.presented(&parts.headers, &parts.uri);
        if !self.admits_origin(&parts.method, &parts.uri, &parts.headers, presented.place()) {
            return Err(Error::cross_origin());
        }
        let mut slot = Shared::spare();
        let begun = slot.begin(Arc::new(self.layer().optional()), Access::SLIDE, None);
        match &presented {
            Presented::One(token, _) => {
                match bounded(self.0.store_timeout, self.0.manager.get(token)).await {
                    Ok(session) => begun.read = session,
                    Err(error) => {
                        self.unread(error.into())?;
                        begun.is_unreadable = true;
                    }
                }
            }
            Presented::Several(..) => self.report_ambiguous(),
            Presented::Nothing => {}
        }
        begun.present(presented);
        Ok(SessionHandle::outside(slot))
    }

    /// What follows from an error of the store. A session that can't be read is none: its client
    /// must be able to sign in, and out.
    #[cold]
    pub(crate) fn unread(&self, error: Error) -> Result<()> {
        if error.is_unreadable() {
            error.log();
            return Ok(());
        }
        if error.is_unavailable() {
            self.0.manager.report_refusal(None, RefusalReason::Unavailable);
        }
        Err(error)
    }

    /// Reports a request with several different tokens, of which none is believed.
    #[cold]
    pub(crate) fn report_ambiguous(&self) {
        tracing::debug!(
            target: "kvolt::http",
            "believed no token of a request that has several: another cookie of the same name may be left over at another path or domain"
        );
        self.0.manager.report_refusal(None, RefusalReason::Ambiguous);
    }

    /// Notes whether a rotation by a layer worked. The request goes on in either case.
    pub(crate) fn note_rotation(&self, rotated: &Result<SetToken>) {
        let error = rotated.as_ref().err().filter(|error| !error.is_ended());
        let failed_before = self.0.rotations_fail.swap(error.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (error, failed_before) {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(
                target: "kvolt::http", error,
                "could not change a token that was due: tokens get older than allowed until it can"
            );
        }
    }

    /// Whether these are the same and not merely of the same type.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn inner(&self) -> &Inner<T> {
        &self.0
    }

    /// By which place a new token goes back: the one the old came by, or else the first that can.
    pub(crate) fn channel<'a>(&'a self, came_by: Option<&'a Source>) -> Result<&'a Source> {
        let can = |source: &&Source| !matches!(source, Source::Query(_));
        match came_by {
            Some(source) => Some(source).filter(can),
            None => self.0.lookup.sources().iter().find(can),
        }
        .ok_or_else(Error::no_way_back)
    }

    /// The header that gives the client a token.
    pub(crate) fn header(
        &self,
        channel: &Source,
        token: &Token,
        keep: Keep,
    ) -> Result<(HeaderName, HeaderValue)> {
        let (name, value) = match channel {
            Source::Cookie(name) => {
                // The name was checked when the sessions were built.
                let cookie = self.0.cookie.set_kept(name, token, keep.lifetime, keep.remembered);
                return match cookie {
                    Ok(cookie) => Ok((http::header::SET_COOKIE, cookie)),
                    Err(_) => Err(Error::no_way_back()),
                };
            }
            Source::Header(name) => (name.clone(), token.expose().to_owned()),
            Source::Bearer => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            Source::Query(_) => return Err(Error::no_way_back()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| Error::no_way_back())?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// The header that makes the client forget its token; none where it keeps it by itself.
    pub(crate) fn clearing_header(&self, channel: &Source) -> Option<(HeaderName, HeaderValue)> {
        let Source::Cookie(name) = channel else { return None };
        Some((http::header::SET_COOKIE, self.0.cookie.clear(name).ok()?))
    }

    /// Whether a request may go on: it changes nothing, or no other site made a browser send it.
    ///
    /// Browsers add no header by themselves, so a request whose token is in one needs no check.
    #[inline]
    pub(crate) fn admits_origin(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        place: Option<Place>,
    ) -> bool {
        cross_origin::is_safe(method, headers)
            || !self.is_sent_by_itself(place)
            || self.verdict(method, uri, headers) == Verdict::Admitted
    }

    /// Whether browsers send the token at this place by themselves; without one, at any.
    fn is_sent_by_itself(&self, place: Option<Place>) -> bool {
        let is_cookie = |source: &Source| matches!(source, Source::Cookie(_));
        match place {
            Some(place) => is_cookie(self.0.lookup.source(place)),
            None => self.0.lookup.sources().iter().any(is_cookie),
        }
    }

    fn verdict(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let verdict = cross_origin::verdict(method, headers, uri, &self.0.trusted_origins);
        if verdict == Verdict::CrossOrigin {
            // Any page can make a browser send it, so the log has it only where it was asked for.
            tracing::debug!(
                target: "kvolt::http",
                path = uri.path(),
                origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()),
                "rejected a cross-origin request (allow it with `trusted_origin`)"
            );
            self.0.manager.report_refusal(None, RefusalReason::CrossOrigin);
        }
        verdict
    }
}

/// Settings of [`Sessions`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionsBuilder<T> {
    manager: Manager<T>,
    lookup: Lookup,
    cookie: CookiePolicy,
    refusal: Refusal,
    store_timeout: Duration,
    cache_control: CacheControl,
    trusted_origins: Vec<String>,
}

impl<T: Send + Sync + 'static> SessionsBuilder<T> {
    fn new(manager: Manager<T>) -> Self {
        Self {
            manager,
            lookup: Lookup::cookie(DEFAULT_COOKIE),
            cookie: CookiePolicy::new(),
            refusal: Refusal::default(),
            store_timeout: DEFAULT_STORE_TIMEOUT,
            cache_control: CacheControl::default(),
            trusted_origins: Vec::new(),
        }
    }

    /// Where the token is looked for. Defaults to `cookie:__Host-session_id`.
    pub fn lookup(mut self, lookup: Lookup) -> Self {
        self.lookup = lookup;
        self
    }

    /// The attributes of the cookie.
    pub fn cookie(mut self, cookie: CookiePolicy) -> Self {
        self.cookie = cookie;
        self
    }

    /// The answer to a request that needs a session and has none. Defaults to 401.
    pub fn refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    /// How long the store may take before a request gets 503. Defaults to [`DEFAULT_STORE_TIMEOUT`].
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// Whether clients may keep responses that depend on a session. Defaults to `no-store`.
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.cache_control = cache_control;
        self
    }

    /// Another site of yours whose pages may change state here, such as
    /// `https://admin.example.org`.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }

    /// The sessions.
    ///
    /// # Errors
    ///
    /// Returns an error for a cookie that browsers would refuse, a timeout of zero, and a trusted
    /// origin that no browser would send.
    pub fn build(self) -> std::result::Result<Sessions<T>, ConfigError> {
        for source in self.lookup.sources() {
            if let Source::Cookie(name) = source {
                self.cookie.check_name(name)?;
            }
        }
        if self.store_timeout.is_zero() {
            return Err(ConfigError::new("the store's timeout must not be zero"));
        }
        let trusted = self.trusted_origins.iter();
        let trusted = trusted.map(|origin| cross_origin::canonical_origin(origin));
        let trusted_origins = trusted.collect::<std::result::Result<_, _>>()?;
        let vary = vary(&self.lookup);
        Ok(Sessions(Arc::new(Inner { trusted_origins, ..self.into_inner(vary) })))
    }

    fn into_inner(self, vary: Option<HeaderValue>) -> Inner<T> {
        Inner {
            manager: self.manager,
            lookup: self.lookup,
            cookie: self.cookie,
            refusal: self.refusal,
            store_timeout: self.store_timeout,
            cache_control: HeaderValue::from_static(match self.cache_control {
                CacheControl::NoStore => "no-store",
                CacheControl::Private => "private, no-cache",
            }),
            vary,
            trusted_origins: Vec::new(),
            rotations_fail: AtomicBool::new(false),
        }
    }
}

/// A query is part of the address, by which caches tell responses apart anyway.
fn vary(lookup: &Lookup) -> Option<HeaderValue> {
    let mut names: Vec<HeaderName> = Vec::new();
    for source in lookup.sources() {
        let name = match source {
            Source::Cookie(_) => COOKIE,
            Source::Header(name) => name.clone(),
            Source::Bearer => AUTHORIZATION,
            Source::Query(_) => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match &names[..] {
        [] => None,
        // A standard name is no text on the heap.
        [name] => Some(HeaderValue::from(name.clone())),
        names => {
            let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
            HeaderValue::try_from(names.join(", ")).ok()
        }
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
            .field("refusal", &self.0.refusal)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SessionsBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("lookup", &self.lookup)
            .field("cookie", &self.cookie)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
