//! The shared slot, and the guard of a response that is not finished.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Response;

use super::slot::Slot;
use crate::head::ResponseHead;
use crate::message::{Format, Message};
use crate::{Error, SessionHandle};

/// A request's session as the layer leaves it among the request's extensions, or that the request
/// has none. Handlers get a [`SessionHandle`] from it.
pub struct RequestSession<T>(pub(super) Arc<Slot<T>>);

impl<T: Send + Sync + 'static> RequestSession<T> {
    /// Returns the handle for a handler. From here on, the response counts as one that depends on
    /// the session.
    #[inline]
    pub fn handle(&self) -> SessionHandle<T> {
        self.0.is_exposed.store(true, Ordering::Relaxed);
        SessionHandle::new(Arc::clone(&self.0))
    }

    /// Whether the client has a session that handlers don't get: it can't be read, or the request does
    /// not prove the device that it is bound to. An extractor must refuse such a client, as
    /// [`SessionHandle::try_into_session`] does. The response does not come to depend on the session
    /// by this call.
    ///
    /// ```
    /// use kvolt_middleware::adapter::RequestSession;
    ///
    /// fn is_a_visitor(session: &RequestSession<String>) -> bool {
    ///     !session.is_withheld() && session.handle().session().is_none()
    /// }
    /// ```
    #[inline]
    pub fn is_withheld(&self) -> bool {
        self.0.is_unreadable || self.0.is_unproven()
    }
}

impl<T> Clone for RequestSession<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for RequestSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestSession").field(&self.0.session()).finish()
    }
}

/// A response that is not finished. Once it is finished or dropped, no token of its client is
/// changed any longer: the client would not get the new one.
#[derive(Debug)]
#[must_use = "without `finish`, the client does not get its token"]
pub struct PendingResponse<T>(Option<RequestSession<T>>);

impl<T> PendingResponse<T> {
    /// Guards the response to a request that was admitted.
    pub fn new(session: RequestSession<T>) -> Self {
        Self(Some(session))
    }
}

impl<T: Send + Sync + 'static> PendingResponse<T> {
    #[inline]
    pub(super) fn format(&self) -> Format {
        self.0.as_ref().map_or(Format::Text, |session| session.0.format)
    }

    /// Returns the response of an error that a handler has returned: a status for a gRPC request,
    /// JSON if the request asks for it, or else text.
    pub fn error_response(&self, error: &Error) -> Response<Bytes> {
        error.message().response(self.format())
    }

    /// Returns the response of an error ([`Error::to_response`]) in the form that the request asks
    /// for, if that is not text. For a framework that makes a response of a handler's error before
    /// the adapter sees it.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use kvolt_middleware::adapter::PendingResponse;
    ///
    /// fn in_its_form(pending: &PendingResponse<String>, error: Response<Bytes>) -> Response<Bytes> {
    ///     pending.reformatted(&error).unwrap_or(error)
    /// }
    /// ```
    pub fn reformatted(&self, error: &Response<Bytes>) -> Option<Response<Bytes>> {
        let message = error.extensions().get::<Message>()?;
        let format = self.format();
        (format != Format::Text).then(|| message.response(format))
    }

    /// Completes a response: the client's token, `Vary` and `Cache-Control`. A second call does
    /// nothing.
    #[inline]
    pub fn finish(&mut self, headers: &mut impl ResponseHead) {
        let Some(RequestSession(mut slot)) = self.0.take() else { return };
        let pending = match Arc::get_mut(&mut slot) {
            // Without a lock. A slot within another has no pending token of its own.
            Some(slot) => slot.state_mut().pending.take(),
            // A stream or a task has kept it.
            None => slot.close(),
        };
        slot.finish(pending, headers);
    }
}

impl<T> Drop for PendingResponse<T> {
    fn drop(&mut self) {
        if let Some(session) = self.0.take().filter(|session| Arc::strong_count(&session.0) > 1) {
            session.0.close();
        }
    }
}
