//! Decides whether a request may pass.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use kvolt_session::{Access, Ready, RefusalReason, SessionSnapshot, Unread};

use super::response;
use super::shared::{RequestSession, spare, unique};
use super::slot::Slot;
use crate::error::Kind;
use crate::head::RequestHead;
use crate::message::asks_for_json;
use crate::store_timeout::bounded;
use crate::{Error, Missing, Refused, SessionHandle, SessionLayer, cross_origin};

/// The outcome of [`SessionLayer::admit`].
pub enum Admission<T> {
    /// The request passes, with this session among its extensions.
    Pass(RequestSession<T>),
    /// The request gets the layer's own answer.
    Answer(Box<Response<Bytes>>),
    /// The store decides: await it. A request that is [`Denied`] gets [`SessionLayer::answer`].
    Wait(StoreWait<T>),
}

/// Waits for the store. Boxed: it exists only where there is I/O.
pub type StoreWait<T> = Pin<Box<dyn Future<Output = Result<RequestSession<T>, Denied>> + Send>>;

/// Why a request may not pass.
#[derive(Debug)]
pub struct Denied(Reason);

#[derive(Debug)]
enum Reason {
    Missing(Missing),
    Failed(Error),
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// Decides whether a request may pass. `outer` is the session that another layer of this type
    /// has left in the request.
    #[inline]
    pub fn admit(
        self: &Arc<Self>,
        request: &impl RequestHead,
        outer: Option<&RequestSession<T>>,
    ) -> Admission<T> {
        let presented = self.sessions.0.lookup.presented(request);
        let is_safe = cross_origin::is_safe(request);
        let is_bypassed = || self.bypasses_origin.as_ref().is_some_and(|admits| admits(request));
        let source = presented.source();
        if !is_safe && !is_bypassed() && !self.sessions.admits_origin(request, source) {
            let denied = Denied(Reason::Failed(Error(Kind::CrossOrigin)));
            return Admission::Answer(self.answer(denied, request));
        }
        let is_strict = outer.is_some_and(|outer| outer.0.access.is_strict());
        let peeks = self.peeks.as_ref().is_some_and(|peeks| peeks(request));
        let access = if peeks { Access::PEEK } else { self.access };
        let access = access.strict_if(is_strict || self.access.is_strict());

        let mut slot = spare();
        let begun = unique(&mut slot);
        begun.layer = Some(Arc::clone(self));
        begun.access = access;
        begun.asks_for_json = asks_for_json(request);
        begun.is_plain_http = !is_safe && cross_origin::is_plain_http(request);
        match outer.filter(|outer| outer.0.sessions().is(&self.sessions)) {
            Some(outer) => return self.admit_within(&outer.0, slot, request),
            None => begun.present(presented),
        }
        if !begun.several().is_empty() {
            self.sessions.report_ambiguous();
        }
        self.read(slot, access, request)
    }

    /// Reads the session of the presented token.
    #[inline]
    fn read(
        self: &Arc<Self>,
        mut slot: Arc<Slot<T>>,
        access: Access,
        request: &impl RequestHead,
    ) -> Admission<T> {
        let begun = unique(&mut slot);
        let Some(token) = begun.presented_token() else { return self.decide(slot, request) };
        match self.sessions.manager().get_ready(token, access) {
            Ready::Yes(result) => match self.note_read(begun, result) {
                Ok(()) => self.decide(slot, request),
                Err(denied) => Admission::Answer(self.answer(denied, request)),
            },
            Ready::No(unread) => Admission::Wait(Box::pin(Arc::clone(self).finish(slot, unread))),
        }
    }

    /// Decides about a request that a layer of the same sessions around this one has admitted.
    #[cold]
    fn admit_within(
        self: &Arc<Self>,
        outer: &Arc<Slot<T>>,
        mut slot: Arc<Slot<T>>,
        request: &impl RequestHead,
    ) -> Admission<T> {
        let begun = unique(&mut slot);
        let access = begun.access;
        begun.outermost = Some(outer.outermost.clone().unwrap_or_else(|| Arc::clone(outer)));
        if !outer.covers(access) {
            begun.present(outer.presented());
            return self.read(slot, access, request);
        }
        begun.access = outer.access;
        (begun.read, begun.is_unreadable) = (outer.read.clone(), outer.is_unreadable);
        self.decide(slot, request)
    }

    /// Waits for the store's answer.
    async fn finish(
        self: Arc<Self>,
        mut slot: Arc<Slot<T>>,
        unread: Unread<T>,
    ) -> Result<RequestSession<T>, Denied> {
        let begun = unique(&mut slot);
        if let Some(token) = begun.presented_token() {
            let answer = self.sessions.manager().finish(token, unread);
            let result = bounded(self.sessions.0.store_timeout, answer).await;
            self.note_read(begun, result)?;
        }
        self.verdict(begun)?;
        if self.is_rotation_due(&slot) {
            return rotate(slot).await;
        }
        Ok(RequestSession(slot))
    }

    /// Stores what was read. A session that can't be read still has a client that must be able to
    /// sign in and out.
    #[inline]
    fn note_read(
        &self,
        slot: &mut Slot<T>,
        result: kvolt_session::Result<Option<SessionSnapshot<T>>>,
    ) -> Result<(), Denied> {
        let error = match result {
            Ok(session) => {
                slot.read = session;
                return Ok(());
            }
            Err(error) => Error::from(error),
        };
        error.log();
        if error.is_unreadable() {
            slot.is_unreadable = true;
            return Ok(());
        }
        if error.is_unavailable() {
            self.sessions.manager().report_refusal(None, RefusalReason::Unavailable);
        }
        Err(Denied(Reason::Failed(error)))
    }

    /// Every path into a handler passes here.
    #[inline]
    fn decide(self: &Arc<Self>, slot: Arc<Slot<T>>, request: &impl RequestHead) -> Admission<T> {
        match self.verdict(&slot) {
            Ok(()) if self.is_rotation_due(&slot) => Admission::Wait(Box::pin(rotate(slot))),
            Ok(()) => Admission::Pass(RequestSession(slot)),
            Err(denied) => Admission::Answer(self.answer(denied, request)),
        }
    }

    /// Whether a request with this session may pass: the one decision.
    #[inline]
    fn verdict(&self, slot: &Slot<T>) -> Result<(), Denied> {
        let Some(session) = slot.session() else {
            return match (self.required, slot.is_unreadable) {
                (false, _) => Ok(()),
                (true, false) => Err(Denied(Reason::Missing(Missing::Session))),
                (true, true) => Err(Denied(Reason::Failed(Error(Kind::Unreadable)))),
            };
        };
        let Some(step_up) = self.step_up else { return Ok(()) };
        let manager = self.sessions.manager();
        if session.is_anonymous() {
            // A visitor who has proved nothing can't prove it again.
            return Err(Denied(Reason::Missing(Missing::Session)));
        }
        if session.meets(&step_up, manager.clock().now()) {
            return Ok(());
        }
        manager.report_refusal(Some(session), RefusalReason::StepUp);
        Err(Denied(Reason::Missing(Missing::StepUp(step_up))))
    }

    #[inline]
    fn is_rotation_due(&self, slot: &Slot<T>) -> bool {
        self.rotates && slot.is_rotation_due()
    }

    /// Returns the layer's own answer to a request that may not pass.
    #[cold]
    pub fn answer(&self, denied: Denied, request: &impl RequestHead) -> Box<Response<Bytes>> {
        let inner = &self.sessions.0;
        let mut response = match denied.0 {
            Reason::Missing(missing) => {
                self.sessions.hint_at_login(request, missing);
                self.refusal.response(Refused { request, missing }, &inner.lookup)
            }
            Reason::Failed(error) => error.message().response(asks_for_json(request)),
        };
        let headers = response.headers_mut();
        response::restrict(headers, &inner.cache_control);
        if let Some(names) = &inner.vary {
            response::vary(headers, names);
        }
        Box::new(response)
    }
}

impl<T> fmt::Debug for Admission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(session) => f.debug_tuple("Pass").field(session).finish(),
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
            Self::Wait(_) => f.write_str("Wait(..)"),
        }
    }
}

/// Gives a session a new token. If that fails, the request passes with the old one.
async fn rotate<T: Send + Sync + 'static>(slot: Arc<Slot<T>>) -> Result<RequestSession<T>, Denied> {
    let handle = SessionHandle { slot: Arc::clone(&slot) };
    if let Some(session) = handle.into_session() {
        slot.sessions().note_rotation(&session.rotate_read().await);
    }
    Ok(RequestSession(slot))
}
