use std::fmt;

use tower_layer::Layer;

use kvolt_cache::Access;

use crate::{Refusal, SessionService, Sessions};

/// Puts a request's session into the request. Made by [`Sessions::layer`].
///
/// # What it does, in this order
///
/// 1. It looks for a token at the places of the lookup, and nowhere else.
/// 2. A request that changes state (any method but `GET`, `HEAD`, `OPTIONS`, or
///    an upgrade, such as a WebSocket's handshake) and that another site made a
///    browser send gets 403, unless its token came by a header, which browsers
///    don't add by themselves.
/// 3. The store is asked for the session. If it can't say, the request gets
///    503 with `Retry-After`, and the cookie stays: nobody is logged out.
/// 4. Without a session the request is refused, or with
///    [`optional`](Self::optional) goes on.
/// 5. A response that depends on a session, or carries a token, is not kept by
///    caches. A request that changes nothing sets no cookie.
#[must_use = "a layer does nothing until it is put on a router or a service"]
pub struct SessionLayer<T> {
    pub(crate) sessions: Sessions<T>,
    pub(crate) required: bool,
    pub(crate) access: Access,
    pub(crate) refusal: Refusal,
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    pub(crate) fn new(sessions: Sessions<T>) -> Self {
        let refusal = sessions.inner().refusal.clone();
        Self { sessions, required: true, access: Access::SLIDE, refusal }
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

    /// For sensitive acts: the session is asked for in the store itself, and not
    /// in a near cache, whose answer may be as old as its bound.
    ///
    /// A layer inside of a strict one is strict too.
    pub fn strict(mut self) -> Self {
        self.access = self.access.strict();
        self
    }

    /// What a request gets here that needs a session and has none.
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
            .field("refusal", &self.refusal)
            .finish()
    }
}
