use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, request};
use tower_http::csrf::CsrfLayer;
use tower_layer::Layer;
use tower_service::Service;

use kvolt_cache::Access;
use kvolt_session::{Manager, NewSession, RefusalReason, Session, Token};

use crate::bounded::bounded;
use crate::error::ConfigError;
use crate::lookup::Source;
use crate::slot::Slot;
use crate::{CookiePolicy, Handle, Lookup, Refusal, Result, SessionLayer, SetToken};

/// How long a store may take to answer unless set otherwise: 2 seconds.
pub const STORE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// The cookie that [`Sessions::new`] uses.
const COOKIE_DEFAULT: &str = "__Host-session_id";

/// The sessions of an application over HTTP: a manager, where tokens travel,
/// and what is answered without one. Cloning it is cheap.
///
/// It gives the [layer](Self::layer) for routes, and is the state from which
/// the [`Handle`] of a login handler is extracted.
pub struct Sessions<T>(Arc<Inner<T>>);

pub(crate) struct Inner<T> {
    pub(crate) manager: Manager<T>,
    pub(crate) lookup: Lookup,
    pub(crate) cookie: CookiePolicy,
    pub(crate) refusal: Refusal,
    pub(crate) store_timeout: Duration,
    pub(crate) cache_control: HeaderValue,
    /// The headers that decide which session a request has.
    pub(crate) vary: Vec<HeaderValue>,
    cross_origin: CsrfLayer,
}

/// How long a client is to keep a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// How long its session lives at the most.
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

    /// The same for a session whose timeouts have just started anew.
    pub(crate) fn anew<T: Send + Sync + 'static>(self, manager: &Manager<T>) -> Self {
        Self::new(manager, self.remembered)
    }

    /// For what is left of a session.
    pub(crate) fn rest<T: Send + Sync + 'static>(manager: &Manager<T>, of: &Session<T>) -> Self {
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
        let defaults = Builder::new(manager);
        let vary = vary(&defaults.lookup);
        Self(Arc::new(defaults.into_inner(vary)))
    }

    /// Sessions with other settings.
    pub fn builder(manager: Manager<T>) -> Builder<T> {
        Builder::new(manager)
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

    /// Makes a session for one who has just proved who they are, where nothing
    /// of the request is known.
    ///
    /// Return what it gives as part of the response. A session that the client
    /// had before lives on until it ends by itself; a [`Handle`] ends it.
    ///
    /// # Errors
    ///
    /// As for [`Manager::create`].
    pub async fn login(&self, session: impl Into<NewSession<T>>) -> Result<SetToken> {
        let channel = self.channel(None)?;
        let session = session.into();
        let keep = Keep::new(&self.0.manager, session.is_remembered());
        let token = bounded(self.0.store_timeout, self.0.manager.create(session)).await?;
        let (name, value) = self.header(channel, &token, keep)?;
        Ok(SetToken::headers(name, value, Some(token)))
    }

    /// The handle for a request with this head, for handlers that are not
    /// behind the layer and use no extractor.
    ///
    /// # Errors
    ///
    /// The store's; [`is_cross_origin`](crate::Error::is_cross_origin) where the layer would refuse the request.
    pub async fn handle(&self, parts: &request::Parts) -> Result<Handle<T>> {
        let found = self.0.lookup.find_with_place(&parts.headers, &parts.uri);
        let came_by = found.as_ref().map(|(_, place)| self.0.lookup.source(*place));
        if !self.admits_origin(&parts.method, &parts.uri, &parts.headers, came_by) {
            return Err(crate::Error::cross_origin());
        }
        let layer = Arc::new(self.layer().optional());
        let asked = match &found {
            Some((token, _)) => bounded(self.0.store_timeout, self.0.manager.get(token)).await,
            None => Ok(None),
        };
        let slot = match asked {
            Ok(session) => {
                let session = session.filter(|session| !session.is_anonymous());
                Slot::new(layer, found, Access::SLIDE, session)
            }
            // Whoever has a session that can't be decoded must be able to sign in, and out.
            Err(error) if error.is_corrupt() => {
                crate::Error::from(error).log();
                Slot::new(layer, found, Access::SLIDE, None).unreadable()
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Handle::outside(Arc::new(slot)))
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
        .ok_or_else(crate::Error::no_way_back)
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
                    Err(_) => Err(crate::Error::no_way_back()),
                };
            }
            Source::Header(name) => (name.clone(), token.expose().to_owned()),
            Source::Bearer => (AUTHORIZATION, format!("Bearer {}", token.expose())),
            Source::Query(_) => return Err(crate::Error::no_way_back()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| crate::Error::no_way_back())?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// The header that makes the client forget its token; none where it keeps it by itself.
    pub(crate) fn clearing_header(&self, channel: &Source) -> Option<(HeaderName, HeaderValue)> {
        let Source::Cookie(name) = channel else { return None };
        Some((http::header::SET_COOKIE, self.0.cookie.clear(name).ok()?))
    }

    /// Whether a request may change state: not one that another site made a browser send.
    ///
    /// The rules are those of `tower_http::csrf`. A token in a header is none
    /// that a browser adds by itself, so such a request needs no check.
    pub(crate) fn admits_origin(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        came_by: Option<&Source>,
    ) -> bool {
        // The handshake of a WebSocket is a `GET` that any site's page can make, cookies included,
        // and what follows can do anything.
        let upgrades = headers.contains_key(UPGRADE);
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !upgrades {
            return true;
        }
        let by_itself = |source: &Source| matches!(source, Source::Cookie(_));
        let checked = match came_by {
            Some(source) => by_itself(source),
            None => self.0.lookup.sources().iter().any(by_itself),
        };
        if !checked {
            return true;
        }
        let mut head = Request::new(());
        *head.method_mut() = if upgrades { Method::POST } else { method.clone() };
        *head.uri_mut() = uri.clone();
        for name in [&HOST, &ORIGIN, &HeaderName::from_static("sec-fetch-site")] {
            if let Some(value) = headers.get(name) {
                head.headers_mut().insert(name, value.clone());
            }
        }
        let verdict = pin!(self.0.cross_origin.layer(Pass).call(head));
        // Neither service ever waits.
        let verdict = verdict.poll(&mut Context::from_waker(Waker::noop()));
        let admitted =
            matches!(verdict, Poll::Ready(Ok(response)) if response.status().is_success());
        if !admitted {
            tracing::warn!(
                target: "kvolt::http",
                path = uri.path(),
                "refused a request that another site made a browser send"
            );
            self.0.manager.report_refusal(None, RefusalReason::CrossOrigin);
        }
        admitted
    }
}

/// What stands behind the cross-origin check: an answer that says it was passed.
struct Pass;

impl Service<Request<()>> for Pass {
    type Response = Response<String>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<std::result::Result<Response<String>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(String::new())))
    }
}

/// Settings of [`Sessions`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<T> {
    manager: Manager<T>,
    lookup: Lookup,
    cookie: CookiePolicy,
    refusal: Refusal,
    store_timeout: Duration,
    cache_control: CacheControl,
    trusted_origins: Vec<String>,
}

impl<T: Send + Sync + 'static> Builder<T> {
    fn new(manager: Manager<T>) -> Self {
        Self {
            manager,
            lookup: Lookup::cookie(COOKIE_DEFAULT),
            cookie: CookiePolicy::new(),
            refusal: Refusal::default(),
            store_timeout: STORE_TIMEOUT_DEFAULT,
            cache_control: CacheControl::default(),
            trusted_origins: Vec::new(),
        }
    }

    /// Where the token is looked for. `cookie:__Host-session_id` unless set.
    pub fn lookup(mut self, lookup: Lookup) -> Self {
        self.lookup = lookup;
        self
    }

    /// The attributes of the cookie.
    pub fn cookie(mut self, cookie: CookiePolicy) -> Self {
        self.cookie = cookie;
        self
    }

    /// What a request gets that needs a session and has none. 401 unless set.
    pub fn refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    /// How long the store may take before a request gets 503. [`STORE_TIMEOUT_DEFAULT`] unless set.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// What responses that depend on a session say about being kept. `no-store` unless set.
    pub fn cache_control(mut self, cache_control: CacheControl) -> Self {
        self.cache_control = cache_control;
        self
    }

    /// Another site of one's own whose pages may change state here, such as `https://admin.example.org`.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }

    /// The sessions.
    ///
    /// # Errors
    ///
    /// A cookie that browsers would refuse; a timeout of zero; a trusted origin that is none.
    pub fn build(self) -> std::result::Result<Sessions<T>, ConfigError> {
        for source in self.lookup.sources() {
            if let Source::Cookie(name) = source {
                self.cookie.check_name(name)?;
            }
        }
        if self.store_timeout.is_zero() {
            return Err(ConfigError::new("the store's timeout must not be zero"));
        }
        let mut cross_origin = CsrfLayer::new();
        for origin in &self.trusted_origins {
            cross_origin = cross_origin
                .add_trusted_origin(origin)
                .map_err(|error| ConfigError::new(error.to_string()))?;
        }
        let vary = vary(&self.lookup);
        let mut inner = self.into_inner(vary);
        inner.cross_origin = cross_origin;
        Ok(Sessions(Arc::new(inner)))
    }

    fn into_inner(self, vary: Vec<HeaderValue>) -> Inner<T> {
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
            cross_origin: CsrfLayer::new(),
        }
    }
}

/// A query is part of the address, by which caches tell responses apart anyway.
fn vary(lookup: &Lookup) -> Vec<HeaderValue> {
    let mut vary: Vec<HeaderValue> = Vec::new();
    for source in lookup.sources() {
        let header = match source {
            Source::Cookie(_) => HeaderValue::from(COOKIE),
            Source::Header(name) => HeaderValue::from(name.clone()),
            Source::Bearer => HeaderValue::from(AUTHORIZATION),
            Source::Query(_) => continue,
        };
        if !vary.contains(&header) {
            vary.push(header);
        }
    }
    vary
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

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("lookup", &self.lookup)
            .field("cookie", &self.cookie)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
