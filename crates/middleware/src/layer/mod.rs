//! The layer for routes.

pub(crate) mod admission;
mod bridging;
#[cfg(feature = "device-bound")]
mod device_bound;
mod future;
mod reload;
mod response;
mod service;
pub(crate) mod shared;
pub(crate) mod slot;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kvolt_session::{Access, StepUp};
use tower_layer::Layer;

use crate::head::RequestHead;
use crate::{Refusal, Sessions};

pub use future::ResponseFuture;
pub use service::SessionService;

/// Adds a request's session to the request. Created by [`Sessions::layer`].
///
/// # Order
///
/// 1. It takes the token from the sources of the lookup. A request with several different tokens at
///    one source has no session.
/// 2. It rejects a request that changes state (any method but `GET`, `HEAD`, `OPTIONS`, or an
///    upgrade such as a WebSocket's handshake) and that another site made a browser send: 403. A
///    request whose token is in a header passes, since browsers add no header on their own.
/// 3. It reads the session. If the store can't answer, the request gets 503 with `Retry-After`, and
///    the cookie stays: no user is logged out. A layer within another layer of the same
///    [`Sessions`] uses what that one has read, unless it is stricter.
/// 4. It refuses a request without a session, unless it is [`optional`](Self::optional), and one
///    whose session does not meet what is [required](Self::require). It never shows a handler
///    a session that is bound to a device which the request does not prove, unless
///    `DeviceBound::require_proof` is off. Where sessions are bound, the layer itself answers the
///    two paths that browsers call for it, before all other steps.
/// 5. If the manager [rotates](kvolt_session::ManagerBuilder::rotate_every) tokens and this one is
///    due, and not bound to a device, it changes the token of a request that passes, and the response carries the new one.
/// 6. A response that depends on a session, or carries a token, is not stored by shared caches:
///    `Vary`, and `Cache-Control` ([`no-store`](crate::CacheControl) by default). A response of an
///    optional layer depends on the session if an extractor, or
///    [`SessionHandle::from_extensions`](crate::SessionHandle::from_extensions), has asked for it:
///    other responses, such as static files, keep their caching. A request that changes nothing
///    sets no cookie.
///
/// A call of gRPC, known by its content type, is refused with a status instead:
/// [`Error`](crate::Error) lists which.
///
/// # Other layers
///
/// It goes around any service, such as `ServeDir` or one of tonic, and any other layer, such as `TraceLayer` or
/// `CompressionLayer`, in any order. `CorsLayer` must be the outer one: a preflight carries no
/// cookie, and a required layer answers 401 to it.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use kvolt_middleware::{Session, Sessions};
///
/// async fn name(user: Session<String>) -> String {
///     user.to_string()
/// }
///
/// fn routes(sessions: &Sessions<String>) -> Router {
///     let page = Router::new().route("/page", get(name)).route_layer(sessions.layer());
///     let poll = Router::new().route("/poll", get(name)).route_layer(sessions.layer().peek());
///     let pay = Router::new().route("/pay", get(name)).route_layer(sessions.layer().strict());
///     let basket = Router::new().route("/basket", get(name));
///     page.merge(poll).merge(pay).merge(basket.route_layer(sessions.layer().anonymous()))
/// }
/// ```
#[must_use = "a layer does nothing until it is added to a router or a service"]
pub struct SessionLayer<T> {
    pub(crate) sessions: Sessions<T>,
    required: bool,
    access: Access,
    /// Requests that only peek, besides `access`.
    peeks: Option<RequestCheck>,
    /// Requests that another site may make a browser send.
    bypasses_origin: Option<RequestCheck>,
    /// Whether handlers see anonymous sessions.
    anonymous: bool,
    step_up: Option<StepUp>,
    pub(crate) refusal: Refusal,
}

type RequestCheck = Arc<dyn Fn(&dyn RequestHead) -> bool + Send + Sync>;

/// The types of data of all layers of this process, for the hint at a route without its layer.
static LAYERED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Returns the names of the types of data for which this process has a layer, for the log entry about
/// a handler whose route has none.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::{Sessions, adapter};
/// use kvolt_session::Manager;
///
/// let sessions = Sessions::new(Manager::<u64>::new(MemoryStore::new()));
/// let layer = sessions.layer();
/// assert_eq!(adapter::layered_types(), ["u64"]);
/// ```
pub fn layered_types() -> Vec<&'static str> {
    LAYERED.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    pub(crate) fn new(sessions: Sessions<T>) -> Self {
        let name = std::any::type_name::<T>();
        LAYERED.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Self {
            required: true,
            access: Access::SLIDE,
            peeks: None,
            bypasses_origin: None,
            anonymous: false,
            step_up: None,
            refusal: sessions.0.refusal.clone(),
            sessions,
        }
    }

    /// Lets requests without a session pass. For routes that serve both, and for those that sign
    /// clients in and out.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Reads sessions without keeping them alive. For polls, health checks and event streams.
    pub fn peek(mut self) -> Self {
        self.access = Access::PEEK.strict_if(self.access.is_strict());
        self
    }

    /// Reads sessions without keeping them alive where `peeks` returns true, such as for polls that
    /// a script marks with a header.
    ///
    /// Any client can claim that it only polls; its session then ends earlier.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kvolt_cache::MemoryStore;
    /// # use kvolt_session::Manager;
    /// # use kvolt_middleware::Sessions;
    /// # let manager = Manager::<u64>::new(MemoryStore::new());
    /// # let sessions = Sessions::new(manager);
    /// let layer = sessions.layer().peek_if(|request| request.query() == Some("poll"));
    /// ```
    pub fn peek_if(
        mut self,
        peeks: impl Fn(&dyn RequestHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.peeks = Some(Arc::new(peeks));
        self
    }

    /// Admits requests that another site made a browser send where `admits` returns true, such as
    /// a `POST` from an identity provider (SAML, `form_post`) or from a card check.
    ///
    /// **The route must check the sender by other means**, such as a signature: any site can send
    /// such a request with the user's cookie, if the cookie is
    /// [`SameSite::None`](crate::SameSite::None). If other layers of this crate are around the
    /// route, each of them needs the call.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kvolt_cache::MemoryStore;
    /// # use kvolt_session::Manager;
    /// # use kvolt_middleware::Sessions;
    /// # let manager = Manager::<u64>::new(MemoryStore::new());
    /// # let sessions = Sessions::new(manager);
    /// let layer = sessions.layer().optional();
    /// let layer = layer.dangerous_admit_cross_origin(|request| request.path() == "/saml/acs");
    /// ```
    pub fn dangerous_admit_cross_origin(
        mut self,
        admits: impl Fn(&dyn RequestHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.bypasses_origin = Some(Arc::new(admits));
        self
    }

    /// Shows the sessions of [anonymous](kvolt_session::AnonymousSessions) visitors to handlers.
    /// On other routes a visitor has no session.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Requires a recent, or a strong enough, authentication. For sensitive actions. Of several
    /// calls, the stricter requirement applies.
    ///
    /// A request whose session does not meet it is answered as the
    /// [refusal](Refusal::step_up_page) says: 401 with what is missing, or a page on which a
    /// browser's user authenticates again and is sent back. On an [optional](Self::optional)
    /// layer, a request without a session still passes.
    ///
    /// ```
    /// # use kvolt_cache::MemoryStore;
    /// # use kvolt_session::Manager;
    /// # use kvolt_middleware::Sessions;
    /// use std::time::Duration;
    /// use kvolt_session::{Level, StepUp};
    ///
    /// # let manager = Manager::<u64>::new(MemoryStore::new());
    /// # let sessions = Sessions::new(manager);
    /// let fresh = sessions.layer().require(StepUp::within(Duration::from_secs(300)));
    /// let strong = sessions.layer().require(StepUp::at_level(Level::Two));
    /// ```
    pub fn require(mut self, step_up: StepUp) -> Self {
        self.step_up = Some(self.step_up.map_or(step_up, |other| other.and(step_up)));
        self
    }

    /// Reads sessions from the store itself instead of a near cache, whose copy may be as old as
    /// its bound. For sensitive actions. A layer within a strict layer is strict too.
    pub fn strict(mut self) -> Self {
        self.access = self.access.strict();
        self
    }

    /// Sets the answer to a request that needs a session and has none. Defaults to the one of
    /// [`SessionsBuilder::refusal`](crate::SessionsBuilder::refusal).
    pub fn refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }
}

impl<S, T> Layer<S> for SessionLayer<T> {
    type Service = SessionService<S, T>;

    fn layer(&self, inner: S) -> SessionService<S, T> {
        SessionService::new(inner, self.clone())
    }
}

impl<T> Clone for SessionLayer<T> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            peeks: self.peeks.clone(),
            bypasses_origin: self.bypasses_origin.clone(),
            refusal: self.refusal.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for SessionLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("required", &self.required)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
