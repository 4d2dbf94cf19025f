//! The one decision whether a request may pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use kvolt_session::{Access, Ready, RefusalReason, SessionSnapshot, Unread};

use crate::bounded::bounded;
use crate::error::plain;
use crate::lookup::Presented;
use crate::shared::{Shared, Unfinished};
use crate::slot::{self, Slot};
use crate::{Error, Missing, Refused, SessionHandle, SessionLayer};

/// What becomes of a request.
pub(crate) enum Admission<T> {
    /// It passes, with this slot.
    Pass(Shared<T>),
    /// It gets the layer's own answer.
    Answer(Box<Response<Bytes>>),
    /// The store decides. Boxed: it exists only where there is I/O to wait for.
    Wait(Wait<T>),
}

pub(crate) type Wait<T> = Pin<Box<dyn Future<Output = Found<T>> + Send>>;

/// What the store said to a request that had to wait for it.
#[expect(clippy::large_enum_variant, reason = "it is moved once for each wait")]
pub(crate) enum Found<T> {
    /// Of its session.
    Session {
        presented: Presented,
        result: kvolt_session::Result<Option<SessionSnapshot<T>>>,
        access: Access,
        outer: Option<Shared<T>>,
    },
    /// Of a new token for its session. It may pass.
    Token(Shared<T>),
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// What becomes of a request.
    #[inline]
    pub(crate) fn examine<B>(self: &Arc<Self>, request: &Request<B>) -> Admission<T> {
        let sessions = &self.sessions;
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let presented = sessions.inner().lookup.presented(headers, uri);
        if !sessions.admits_origin(method, uri, headers, presented.place()) {
            return Admission::Answer(self.respond(Error::cross_origin().to_response()));
        }
        let outer = request.extensions().get::<Shared<T>>();
        let access = self.access_for(request, outer.is_some_and(|outer| outer.is_strict()));
        if let Some(outer) = outer.filter(|outer| outer.sessions().is(sessions)) {
            return self.examine_within(outer.clone(), access, request);
        }
        if let Presented::Several(..) = presented {
            sessions.report_ambiguous();
        }
        self.read(presented, access, None, request)
    }

    /// What becomes of a request that a layer of the same sessions around this one let pass.
    #[cold]
    fn examine_within<B>(
        self: &Arc<Self>,
        outer: Shared<T>,
        access: Access,
        request: &Request<B>,
    ) -> Admission<T> {
        let Some(access) = outer.read_for(access) else {
            return self.read(outer.presented(), access, Some(outer), request);
        };
        if outer.is_unreadable() && self.required {
            return Admission::Answer(self.unreadable());
        }
        let mut slot = Shared::spare();
        slot.begin(Arc::clone(self), access, Some(outer.clone())).read_from(&outer);
        self.decide(slot, request)
    }

    /// How the store is asked for a request's session.
    #[inline]
    fn access_for<B>(&self, request: &Request<B>, strict: bool) -> Access {
        let peeks = self
            .peeks
            .as_ref()
            .is_some_and(|peeks| peeks(request.method(), request.uri(), request.headers()));
        let access =
            if peeks { Access::PEEK.strict_if(self.access.is_strict()) } else { self.access };
        access.strict_if(strict)
    }

    /// Reads the session of what a request came with.
    #[inline]
    fn read<B>(
        self: &Arc<Self>,
        presented: Presented,
        access: Access,
        outer: Option<Shared<T>>,
        request: &Request<B>,
    ) -> Admission<T> {
        let Presented::One(token, _) = &presented else {
            return self.admit(presented, Ok(None), access, outer, request);
        };
        match self.sessions.manager().get_ready(token, access) {
            Ready::Yes(result) => self.admit(presented, result, access, outer, request),
            Ready::No(unread) => {
                Admission::Wait(Box::pin(Arc::clone(self).finish(unread, presented, access, outer)))
            }
        }
    }

    /// Waits for the store's answer.
    async fn finish(
        self: Arc<Self>,
        unread: Unread<T>,
        presented: Presented,
        access: Access,
        outer: Option<Shared<T>>,
    ) -> Found<T> {
        let result = match &presented {
            Presented::One(token, _) => {
                let answer = self.sessions.manager().finish(token, unread);
                bounded(self.sessions.inner().store_timeout, answer).await
            }
            // Without a token, nothing is read.
            Presented::Nothing | Presented::Several(..) => Ok(None),
        };
        Found::Session { presented, result, access, outer }
    }

    /// What becomes of a request that has waited.
    pub(crate) fn resume<B>(
        self: &Arc<Self>,
        found: Found<T>,
        request: &Request<B>,
    ) -> Admission<T> {
        match found {
            Found::Session { presented, result, access, outer } => {
                self.admit(presented, result, access, outer, request)
            }
            Found::Token(slot) => Admission::Pass(slot),
        }
    }

    /// What becomes of a request of which the store has said this.
    #[inline]
    fn admit<B>(
        self: &Arc<Self>,
        presented: Presented,
        result: kvolt_session::Result<Option<SessionSnapshot<T>>>,
        access: Access,
        outer: Option<Shared<T>>,
        request: &Request<B>,
    ) -> Admission<T> {
        let mut slot = Shared::spare();
        let begun = slot.begin(Arc::clone(self), access, outer);
        begun.present(presented);
        match result {
            Ok(session) => begun.read = session,
            Err(error) => match self.unread(error.into()) {
                Ok(()) => begun.is_unreadable = true,
                Err(response) => return Admission::Answer(response),
            },
        }
        self.decide(slot, request)
    }

    /// Whether a request may pass. Every path into a handler comes through here.
    #[inline]
    fn decide<B>(&self, slot: Shared<T>, request: &Request<B>) -> Admission<T> {
        match self.missing(&slot) {
            None if slot.is_rotation_due() => Admission::Wait(Box::pin(rotate(slot))),
            None => Admission::Pass(slot),
            Some(missing) => Admission::Answer(self.refused(slot, missing, request)),
        }
    }

    /// What a request lacks.
    #[inline]
    fn missing(&self, slot: &Slot<T>) -> Option<Missing> {
        let Some(session) = slot.session() else {
            return self.required.then_some(Missing::Session);
        };
        let step_up = self.step_up?;
        if session.is_anonymous() {
            // A visitor who has proved nothing can't prove it again.
            return Some(Missing::Session);
        }
        let manager = self.sessions.manager();
        if session.meets(&step_up, manager.clock().now()) {
            return None;
        }
        manager.report_refusal(Some(session), RefusalReason::StepUp);
        Some(Missing::StepUp(step_up))
    }

    #[cold]
    fn refused<B>(
        &self,
        slot: Shared<T>,
        missing: Missing,
        request: &Request<B>,
    ) -> Box<Response<Bytes>> {
        let uri = original_uri(request);
        let refused = Refused::new(request.method(), uri, request.headers()).lacking(missing);
        let mut response = slot.refuse(refused);
        Unfinished::new(slot).finish(response.headers_mut());
        Box::new(response)
    }

    #[cold]
    fn unread(&self, error: Error) -> Result<(), Box<Response<Bytes>>> {
        match self.sessions.unread(error) {
            Ok(()) if self.required => Err(self.unreadable()),
            Ok(()) => Ok(()),
            Err(error) => Err(self.respond(error.to_response())),
        }
    }

    /// The answer to a request that needs a session and has one that can't be read.
    fn unreadable(&self) -> Box<Response<Bytes>> {
        self.respond(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
    }

    /// Marks an answer of the layer's own.
    fn respond(&self, mut response: Response<Bytes>) -> Box<Response<Bytes>> {
        if let Some(names) = &self.sessions.inner().vary {
            slot::vary(response.headers_mut(), names);
        }
        Box::new(response)
    }
}

/// Changes the token of a session. The request goes on with the old one if that fails.
async fn rotate<T: Send + Sync + 'static>(slot: Shared<T>) -> Found<T> {
    if let Some(session) = SessionHandle::behind(slot.clone()).into_session() {
        slot.sessions().note_rotation(&session.rotate_read().await);
    }
    Found::Token(slot)
}

/// Where a request was going before a router took off what it is nested under.
fn original_uri<B>(request: &Request<B>) -> &http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
}
