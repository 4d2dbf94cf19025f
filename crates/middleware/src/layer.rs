use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use tower_layer::Layer;

use kvolt_session::{Access, StepUp};

use crate::{Refusal, SessionService, Sessions};

/// Puts a request's session into the request. Made by [`Sessions::layer`].
///
/// # What it does, in this order
///
/// 1. It takes the token from the places of the lookup, and from nowhere else. Of several
///    different tokens at one place it believes none.
/// 2. A request that changes state (any method but `GET`, `HEAD`, `OPTIONS`, or
///    an upgrade, such as a WebSocket's handshake) and that another site made a
///    browser send gets 403, unless its token came by a header, which browsers
///    don't add by themselves.
/// 3. It reads the session. If the store can't answer, the request gets
///    503 with `Retry-After`, and the cookie stays: nobody is logged out. A layer within another
///    of the same [`Sessions`] goes on with what that one has read, unless it is stricter.
/// 4. It refuses a request without a session, or lets it go on if it is
///    [`optional`](Self::optional). It refuses one whose session does not meet what is
///    [required](Self::require).
/// 5. If the manager [rotates](kvolt_session::ManagerBuilder::rotate_every) tokens and this one is due, it
///    changes the token of a request that may pass, and the response carries the new one.
/// 6. A response that depends on a session, or carries a token, is not kept by
///    caches. A request that changes nothing sets no cookie.
#[must_use = "a layer does nothing until it is put on a router or a service"]
pub struct SessionLayer<T> {
    pub(crate) sessions: Sessions<T>,
    pub(crate) required: bool,
    pub(crate) access: Access,
    /// Requests that only look, besides what `access` says.
    pub(crate) peeks: Option<Peeks>,
    /// Whether sessions of anonymous visitors count as sessions here.
    pub(crate) anonymous: bool,
    pub(crate) step_up: Option<StepUp>,
    /// Whether a token can be due to be changed at all.
    pub(crate) rotates: bool,
    pub(crate) refusal: Refusal,
}

pub(crate) type Peeks = Arc<dyn Fn(&Method, &Uri, &HeaderMap) -> bool + Send + Sync>;

impl<T: Send + Sync + 'static> SessionLayer<T> {
    pub(crate) fn new(sessions: Sessions<T>) -> Self {
        let refusal = sessions.inner().refusal.clone();
        let rotates = sessions.manager().rotates_on_schedule();
        Self {
            sessions,
            required: true,
            access: Access::SLIDE,
            peeks: None,
            anonymous: false,
            step_up: None,
            rotates,
            refusal,
        }
    }

    /// For routes that merely know about a session: without one, the request goes on.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// For routes that must not keep an idle session alive: polls, health checks, event streams.
    pub fn peek(mut self) -> Self {
        self.access = Access::PEEK.strict_if(self.access.is_strict());
        self
    }

    /// For routes on which some requests must not keep an idle session alive: those of which `peeks`
    /// is true, such as polls that a script marks with a header.
    ///
    /// Whoever sends a request can claim that it only looks, and gains nothing by it.
    pub fn peek_if(
        mut self,
        peeks: impl Fn(&Method, &Uri, &HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.peeks = Some(Arc::new(peeks));
        self
    }

    /// For routes that [anonymous](kvolt_session::AnonymousSessions) visitors use with a session of
    /// theirs. Everywhere else such a session is none.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// For sensitive acts: the user must have proved who they are not long ago, or strongly
    /// enough. Asked for several times, the stricter holds.
    ///
    /// A request whose session does not meet it is answered as the
    /// [refusal](Refusal::step_up_page) says: 401 with what is missing, or a page on which a
    /// browser's user authenticates again and is sent back. On an
    /// [optional](Self::optional) layer, a request without a session still goes on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kvolt_cache::MemoryStore;
    /// # use kvolt_session::{Level, Manager, StepUp};
    /// # use kvolt_middleware::Sessions;
    /// # let manager = Manager::<u64>::new(MemoryStore::new(), Duration::from_secs(60));
    /// # let sessions = Sessions::new(manager);
    /// let fresh = sessions.layer().require(StepUp::within(Duration::from_secs(300)));
    /// let strong = sessions.layer().require(StepUp::at_level(Level::Two));
    /// ```
    pub fn require(mut self, step_up: StepUp) -> Self {
        self.step_up = Some(self.step_up.map_or(step_up, |other| other.and(step_up)));
        self
    }

    /// For sensitive acts: the store itself answers for the session, and not
    /// a near cache, whose answer may be as old as its bound.
    ///
    /// A layer inside of a strict one is strict too.
    pub fn strict(mut self) -> Self {
        self.access = self.access.strict();
        self
    }

    /// The answer here to a request that needs a session and has none.
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
            required: self.required,
            access: self.access,
            peeks: self.peeks.clone(),
            anonymous: self.anonymous,
            step_up: self.step_up,
            rotates: self.rotates,
            refusal: self.refusal.clone(),
        }
    }
}

impl<T> fmt::Debug for SessionLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("sessions", &self.sessions)
            .field("required", &self.required)
            .field("access", &self.access)
            .field("anonymous", &self.anonymous)
            .field("step_up", &self.step_up)
            .field("refusal", &self.refusal)
            .finish()
    }
}
