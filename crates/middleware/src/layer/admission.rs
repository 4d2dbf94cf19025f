//! Decides whether a request may pass.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use kvolt_session::{Access, Ready, RefusalReason, SessionSnapshot, Unread};

use super::reload;
use super::response;
use super::shared::RequestSession;
use super::slot::Slot;
use crate::error::Kind;
use crate::head::RequestHead;
use crate::message::Format;
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
pub struct Denied {
    reason: Reason,
    /// What the client must get all the same: the token of a session that was taken over, and the
    /// end of the cookie that it had before.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Denied {
    pub(super) fn failed(error: Error) -> Self {
        Reason::Failed(error).into()
    }
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self { reason, headers: Vec::new() }
    }
}

#[derive(Debug)]
pub(super) enum Reason {
    Missing(Missing),
    Failed(Error),
    /// The page must load itself again, so that its browser may prove the device.
    Reload,
    /// The browser must prove the device again, and then send the request again.
    ProveAgain,
    /// The layer has answered a request of the browser itself.
    #[cfg(feature = "device-bound")]
    Answered(Box<Response<Bytes>>),
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
        let admitted = self.try_admit(request, outer);
        admitted.unwrap_or_else(|denied| Admission::Answer(self.answer(denied, request)))
    }

    /// [`admit`](Self::admit), without the layer's own answer.
    #[inline]
    pub(crate) fn try_admit(
        self: &Arc<Self>,
        request: &impl RequestHead,
        outer: Option<&RequestSession<T>>,
    ) -> Result<Admission<T>, Denied> {
        let presented = self.sessions.0.lookup.presented(request);
        #[cfg(feature = "device-bound")]
        if let Some(settings) = &self.sessions.0.device_bound
            && let Some(endpoint) = settings.endpoint(request)
        {
            let (settings, sessions) = (Arc::clone(settings), self.sessions.clone());
            return Ok(Admission::Wait(Box::pin(async move {
                let answer = settings.serve(&sessions, endpoint, presented).await;
                Err(Reason::Answered(answer).into())
            })));
        }
        let is_safe = cross_origin::is_safe(request);
        let is_bypassed = || self.bypasses_origin.as_ref().is_some_and(|admits| admits(request));
        let source = presented.source();
        if !is_safe && !is_bypassed() && !self.sessions.admits_origin(request, source) {
            return Err(Denied::failed(Error(Kind::CrossOrigin)));
        }
        let is_strict = outer.is_some_and(|outer| outer.0.access.is_strict());
        let peeks = self.peeks.as_ref().is_some_and(|peeks| peeks(request));
        let access = if peeks { Access::PEEK } else { self.access };
        let access = access.strict_if(is_strict || self.access.is_strict());

        let within = outer.map(|outer| &outer.0);
        let within = within.filter(|outer| Arc::ptr_eq(&outer.sessions().0, &self.sessions.0));
        let presented = within.map_or(presented, |outer| outer.presented());
        let outermost = within.map(|outer| Arc::clone(outer.outermost.as_ref().unwrap_or(outer)));
        let mut shared = Arc::new(Slot::new(Arc::clone(self), access, presented, outermost));
        let slot = unique(&mut shared);
        slot.format = Format::of(request);
        slot.is_plain_http = !is_safe && cross_origin::is_plain_http(request);
        #[cfg(feature = "device-bound")]
        if let Some(settings) = &self.sessions.0.device_bound {
            slot.device.get_or_insert_default().request = settings.request(request);
        }
        match within {
            // The read of the layer around this one suffices.
            Some(outer) if outer.covers(access) => {
                slot.access = outer.access;
                (slot.read, slot.is_unreadable) = (outer.read.clone(), outer.is_unreadable);
                if let Some(session) = outer.unproven() {
                    slot.device.get_or_insert_default().unproven = Some(session.clone());
                }
                return self.decide(shared);
            }
            None if !slot.several().is_empty() => self.sessions.report_ambiguous(),
            None if self.sessions.0.bridge.is_some() => {
                if let Some(old) = self.to_bridge(slot, request) {
                    return Ok(Admission::Wait(Box::pin(Arc::clone(self).resolve(shared, old))));
                }
            }
            _ => {}
        }
        let Some(token) = slot.presented_token() else { return self.decide(shared) };
        match self.sessions.manager().get_ready(token, access) {
            Ready::Yes(result) => {
                self.note_read(slot, result)?;
                if slot.is_outdated() {
                    return Ok(Admission::Wait(Box::pin(Arc::clone(self).reread(shared))));
                }
                self.decide(shared)
            }
            Ready::No(unread) => {
                Ok(Admission::Wait(Box::pin(Arc::clone(self).finish(shared, unread))))
            }
        }
    }

    /// Waits for the store's answer.
    async fn finish(
        self: Arc<Self>,
        mut shared: Arc<Slot<T>>,
        unread: Unread<T>,
    ) -> Result<RequestSession<T>, Denied> {
        let slot = unique(&mut shared);
        if let Some(token) = slot.presented_token() {
            let answer = self.sessions.manager().finish(token, unread);
            let result = bounded(self.sessions.0.store_timeout, answer).await;
            self.note_read(slot, result)?;
        }
        self.reread(shared).await
    }

    /// Admits a request whose session was read. Asks the store itself first, if a near cache's copy
    /// does not know the bound cookie.
    pub(super) async fn reread(
        self: Arc<Self>,
        mut shared: Arc<Slot<T>>,
    ) -> Result<RequestSession<T>, Denied> {
        let slot = unique(&mut shared);
        if slot.is_outdated()
            && let Some(token) = slot.presented_token()
        {
            // Boxed, so that the future of every request that waits stays small.
            let read = Box::pin(self.sessions.manager().get_with(token, Access::PEEK.strict()));
            let read = bounded(self.sessions.0.store_timeout, read).await;
            slot.forget();
            if let Err(denied) = self.note_read(slot, read) {
                return Err(Denied { headers: slot.take_headers(), ..denied });
            }
        }
        self.admitted(shared).await
    }

    /// Admits a request whose session was read.
    async fn admitted(&self, mut slot: Arc<Slot<T>>) -> Result<RequestSession<T>, Denied> {
        if let Err(denied) = self.verdict(&slot) {
            return Err(Denied { headers: unique(&mut slot).take_headers(), ..denied });
        }
        match slot.is_completion_due() {
            true => Box::pin(complete(slot)).await,
            false => Ok(RequestSession(slot)),
        }
    }

    /// Stores what was read. A session that can't be read still has a client that must be able to
    /// sign in and out.
    #[inline]
    pub(super) fn note_read(
        &self,
        slot: &mut Slot<T>,
        result: kvolt_session::Result<Option<SessionSnapshot<T>>>,
    ) -> Result<(), Denied> {
        let error = match result {
            Ok(session) => {
                match session {
                    Some(session) if session.device_bound().is_some() => {
                        self.check_device(slot, session);
                    }
                    session => slot.read = session,
                }
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
        Err(Denied::failed(error))
    }

    /// Withholds a session that is bound to a device, if the request does not prove that it comes
    /// from there.
    #[cold]
    fn check_device(&self, slot: &mut Slot<T>, mut session: SessionSnapshot<T>) {
        let device = slot.device.get_or_insert_default();
        let now = self.sessions.manager().clock().now();
        let is_proven = session.check_device(device.request.cookie.as_ref(), now);
        if is_proven || !self.sessions.0.requires_proof {
            (slot.read, device.unproven) = (Some(session), None);
        } else {
            (slot.read, device.unproven) = (None, Some(session));
        }
    }

    /// Every path into a handler passes here.
    #[inline]
    fn decide(&self, slot: Arc<Slot<T>>) -> Result<Admission<T>, Denied> {
        self.verdict(&slot)?;
        Ok(match slot.is_completion_due() {
            true => Admission::Wait(Box::pin(complete(slot))),
            false => Admission::Pass(RequestSession(slot)),
        })
    }

    /// Whether a request with this session may pass: the one decision.
    #[inline]
    fn verdict(&self, slot: &Slot<T>) -> Result<(), Denied> {
        let Some(session) = slot.session() else {
            if let Some(session) = slot.unproven() {
                return self.verdict_on_unproven(slot, session);
            }
            return match (self.required, slot.is_unreadable) {
                (false, _) => Ok(()),
                (true, false) => Err(Reason::Missing(Missing::Session).into()),
                (true, true) => Err(Denied::failed(Error(Kind::Unreadable))),
            };
        };
        let Some(step_up) = self.step_up else { return Ok(()) };
        let manager = self.sessions.manager();
        if session.is_anonymous() {
            // An anonymous session has no authentication to renew.
            return Err(Reason::Missing(Missing::Session).into());
        }
        let now = manager.clock().now();
        if session.meets(&step_up, now) {
            return Ok(());
        }
        manager.report_refusal(Some(session), RefusalReason::StepUp);
        Err(Denied::from(match session.acting_for() {
            // The administrator can't prove the user's identity.
            Some(_) => Reason::Failed(Error(Kind::Impersonation)),
            None if !session.meets(&step_up.of_user(), now) => {
                Reason::Missing(Missing::StepUp(step_up))
            }
            None if session.is_device_proven() => Reason::ProveAgain,
            None => slot.device().refusal(),
        }))
    }

    /// Never ends the session: its browser may only not have been allowed to prove the device.
    #[cold]
    fn verdict_on_unproven(
        &self,
        slot: &Slot<T>,
        session: &SessionSnapshot<T>,
    ) -> Result<(), Denied> {
        let reason = slot.device().refusal();
        // The user must be able to sign in again and to sign out.
        if self.required || (slot.device().is_read && !matches!(reason, Reason::Missing(_))) {
            let manager = self.sessions.manager();
            manager.report_refusal(Some(session), RefusalReason::DeviceUnproven);
            return Err(reason.into());
        }
        Ok(())
    }

    /// Returns the layer's own answer to a request that may not pass.
    #[cold]
    pub fn answer(&self, denied: Denied, request: &impl RequestHead) -> Box<Response<Bytes>> {
        let inner = &self.sessions.0;
        let mut response = match denied.reason {
            Reason::Missing(missing) => {
                self.sessions.hint_at_login(request, missing);
                self.refusal.response(Refused { request, missing }, &inner.lookup)
            }
            Reason::Failed(error) => error.message().response(Format::of(request)),
            Reason::Reload => reload::page(),
            Reason::ProveAgain => self.prove_again(request),
            #[cfg(feature = "device-bound")]
            Reason::Answered(response) => return response,
        };
        let headers = response.headers_mut();
        for (name, value) in denied.headers {
            response::set(headers, &name, value);
        }
        response::restrict(headers, &inner.cache_control);
        if let Some(names) = &inner.vary {
            response::vary(headers, names);
        }
        Box::new(response)
    }
}

#[cfg(feature = "testing")]
impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied.reason {
            Reason::Failed(error) => error,
            Reason::Missing(_) => Self(Kind::Ended),
            _ => Self(Kind::Unproven),
        }
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

/// A slot before it is shared.
#[inline]
pub(super) fn unique<T>(slot: &mut Arc<Slot<T>>) -> &mut Slot<T> {
    Arc::get_mut(slot).expect("a slot is not shared before its request is admitted")
}

/// Does what is due for a request that passes, with its response: a new token, and the offer of a
/// binding. If that fails, the request passes all the same.
async fn complete<T: Send + Sync + 'static>(
    slot: Arc<Slot<T>>,
) -> Result<RequestSession<T>, Denied> {
    let handle = SessionHandle::new(slot);
    if handle.slot.is_rotation_due()
        && let Some(session) = handle.session()
    {
        handle.slot.sessions().note_rotation(&session.rotate().await);
    }
    #[cfg(feature = "device-bound")]
    if handle.slot.is_device_offer_due() {
        handle.offer_binding().await;
    }
    Ok(RequestSession(handle.slot))
}
