//! The one decision whether a request may pass.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use kvolt_session::{Access, RefusalReason, Session, Unread};

use crate::bounded::bounded;
use crate::error::plain;
use crate::lookup::Presented;
use crate::shared::{Shared, Unfinished};
use crate::slot::{self, Slot};
use crate::{Error, Missing, Refused, SessionLayer};

/// What the store said to a request that had to wait for it.
pub(crate) struct Found<T> {
    presented: Presented,
    result: kvolt_session::Result<Option<Session<T>>>,
    access: Access,
    outer: Option<Shared<T>>,
}

/// What a request that may pass takes along, or the answer to one that may not.
pub(crate) type Admitted<T> = Result<Shared<T>, Box<Response<Bytes>>>;

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
        presented: Presented,
        access: Access,
        outer: Option<Shared<T>>,
    ) -> Found<T> {
        let result = match &presented {
            Presented::One(token, _) => {
                let answer = self.sessions.manager().finish(token, unread);
                bounded(self.sessions.inner().store_timeout, answer).await
            }
            // Without a token, nothing is asked.
            Presented::Nothing | Presented::Several(..) => Ok(None),
        };
        Found { presented, result, access, outer }
    }

    /// [`admit`](Self::admit) for a request that has waited.
    pub(crate) fn admit_found<B>(
        self: &Arc<Self>,
        found: Found<T>,
        request: &Request<B>,
    ) -> Admitted<T> {
        let Found { presented, result, access, outer } = found;
        self.admit(presented, result, access, outer, request)
    }

    /// [`admit`](Self::admit) for a request whose session a layer of the same sessions around this
    /// one has read, by this access.
    pub(crate) fn admit_within<B>(
        self: &Arc<Self>,
        outer: Shared<T>,
        access: Access,
        request: &Request<B>,
    ) -> Admitted<T> {
        if outer.is_unreadable() && self.required {
            return Err(self.unreadable());
        }
        let (read, is_unreadable) = outer.read();
        let mut slot = Shared::spare();
        let begun = slot.begin(Arc::clone(self), access, Some(outer));
        (begun.read, begun.is_unreadable) = (read, is_unreadable);
        self.decide(slot, request)
    }

    /// Whether a request may pass. Every path into a handler comes through here.
    #[inline]
    pub(crate) fn admit<B>(
        self: &Arc<Self>,
        presented: Presented,
        result: kvolt_session::Result<Option<Session<T>>>,
        access: Access,
        outer: Option<Shared<T>>,
        request: &Request<B>,
    ) -> Admitted<T> {
        let mut slot = Shared::spare();
        let begun = slot.begin(Arc::clone(self), access, outer);
        begun.present(presented);
        match result {
            Ok(session) => begun.read = session,
            Err(error) => {
                self.unread(error.into())?;
                begun.is_unreadable = true;
            }
        }
        self.decide(slot, request)
    }

    #[inline]
    fn decide<B>(&self, slot: Shared<T>, request: &Request<B>) -> Admitted<T> {
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
