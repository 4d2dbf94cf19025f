//! The one decision whether a request may pass.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use kvolt_session::{Access, RefusalReason, Session, Token, Unread};

use crate::bounded::bounded;
use crate::error::plain;
use crate::lookup::{Place, Presented};
use crate::shared::{Shared, Unfinished};
use crate::slot::{self, Read, Slot};
use crate::{Error, Missing, Refused, SessionLayer};

/// What a request came with, and what the store said of it.
pub(crate) struct Found<T> {
    pub(crate) presented: Presented,
    pub(crate) result: kvolt_session::Result<Read<T>>,
    /// How the store was asked.
    pub(crate) access: Access,
    /// The slot of a layer of the same sessions around this one.
    pub(crate) outer: Option<Shared<T>>,
}

/// What a request that may pass takes along, or the answer to one that may not.
pub(crate) type Admitted<T> = Result<Shared<T>, Box<Response<Bytes>>>;

impl<T> From<Option<Session<T>>> for Read<T> {
    fn from(session: Option<Session<T>>) -> Self {
        session.map_or(Self::Nothing, Self::Session)
    }
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// How the store is asked for a request's session.
    #[inline]
    pub(crate) fn access_for<B>(&self, request: &Request<B>, strict: bool) -> Access {
        let peeks = self
            .peeks
            .as_ref()
            .is_some_and(|peeks| peeks(request.method(), request.uri(), request.headers()));
        let access =
            if peeks { Access::PEEK.strict_if(self.access.is_strict()) } else { self.access };
        access.strict_if(strict)
    }

    /// Waits for the store's answer.
    pub(crate) async fn ask(
        self: Arc<Self>,
        unread: Unread<T>,
        token: Token,
        place: Place,
        access: Access,
        outer: Option<Shared<T>>,
    ) -> Found<T> {
        let answer = self.sessions.manager().finish(&token, unread);
        let result = bounded(self.sessions.inner().store_timeout, answer).await.map(Read::from);
        Found { presented: Presented::One(token, place), result, access, outer }
    }

    /// Whether a request may pass. Every path into a handler comes through here.
    #[inline(always)]
    pub(crate) fn admit<B>(self: &Arc<Self>, found: Found<T>, request: &Request<B>) -> Admitted<T> {
        let Found { presented, result, access, outer } = found;
        let read = match result {
            Ok(read) => read,
            Err(error) => self.unread(error.into())?,
        };
        let slot = Shared::new(Slot::new(Arc::clone(self), presented, read, access, outer));
        match self.missing(&slot) {
            None => Ok(slot),
            Some(missing) => Err(self.refused(slot, missing, request)),
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
    fn unread(&self, error: Error) -> Result<Read<T>, Box<Response<Bytes>>> {
        match self.sessions.unread(error) {
            Ok(_) if self.required => {
                Err(self.respond(plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")))
            }
            Ok(read) => Ok(read),
            Err(error) => Err(self.respond(error.to_response())),
        }
    }

    /// Marks an answer of the layer's own.
    pub(crate) fn respond(&self, mut response: Response<Bytes>) -> Box<Response<Bytes>> {
        if let Some(names) = &self.sessions.inner().vary {
            slot::vary(response.headers_mut(), names);
        }
        Box::new(response)
    }
}

/// Where a request was going before a router took off what it is nested under.
fn original_uri<B>(request: &Request<B>) -> &http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
}
