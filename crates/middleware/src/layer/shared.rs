//! The shared slot, and the guard of a response that is not finished.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Response;

use super::slot::Slot;
use crate::head::ResponseHead;
use crate::{Error, SessionHandle};

/// How many slots a thread keeps for later requests.
const MAX_SPARE: usize = 32;

thread_local! {
    /// Empty slots, mostly of one type. Using their memory again saves each request an allocation.
    static SPARE: RefCell<Vec<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
}

/// An empty slot that nothing else shares.
pub(super) fn spare<T: Send + Sync + 'static>() -> Arc<Slot<T>> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    spare.and_then(|spare| spare.downcast().ok()).unwrap_or_default()
}

/// A slot before it is shared.
#[inline]
pub(super) fn unique<T>(slot: &mut Arc<Slot<T>>) -> &mut Slot<T> {
    Arc::get_mut(slot).expect("a slot is not shared before its request is admitted")
}

/// A request's session as the layer leaves it among the request's extensions, or that the request
/// has none. Handlers get a [`SessionHandle`] from it.
pub struct RequestSession<T>(pub(super) Arc<Slot<T>>);

impl<T: Send + Sync + 'static> RequestSession<T> {
    /// Returns the handle for a handler. From here on, the response counts as one that depends on
    /// the session.
    #[inline]
    pub fn handle(&self) -> SessionHandle<T> {
        self.0.is_exposed.store(true, Ordering::Relaxed);
        SessionHandle { slot: Arc::clone(&self.0) }
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
    pub(super) fn asks_for_json(&self) -> bool {
        self.0.as_ref().is_some_and(|session| session.0.asks_for_json)
    }

    /// Returns the response of an error that a handler has returned: JSON if the request asks for
    /// it, or else text.
    pub fn error_response(&self, error: &Error) -> Response<Bytes> {
        error.message().response(self.asks_for_json())
    }

    /// Completes a response: the client's token, `Vary` and `Cache-Control`. A second call does
    /// nothing.
    #[inline]
    pub fn finish(&mut self, headers: &mut impl ResponseHead) {
        let Some(RequestSession(mut shared)) = self.0.take() else { return };
        let Some(slot) = Arc::get_mut(&mut shared) else {
            // A stream or a task has kept it.
            return shared.finish(shared.close(), headers);
        };
        // Without a lock. A slot within another has no state of its own.
        let pending = slot.state_mut().pending.take();
        slot.finish(pending, headers);
        *slot = Slot::default();
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(shared);
            }
        });
    }
}

impl<T> Drop for PendingResponse<T> {
    fn drop(&mut self) {
        if let Some(session) = self.0.take().filter(|session| Arc::strong_count(&session.0) > 1) {
            session.0.close();
        }
    }
}
