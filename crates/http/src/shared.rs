//! The slot that a request, its handler and its response share.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use http::HeaderMap;

use crate::slot::Slot;

/// A slot that is shared. Its memory is used again by a later request on the thread that finishes
/// its response: what a request costs is counted in allocations.
pub(crate) struct Shared<T>(Arc<Option<Slot<T>>>);

/// How many slots a thread keeps for later requests.
const MAX_SPARE: usize = 32;

thread_local! {
    /// Empty ones, mostly of one type.
    static SPARE: RefCell<Vec<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
}

impl<T: Send + Sync + 'static> Shared<T> {
    #[inline]
    pub(crate) fn new(slot: Slot<T>) -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let spare = spare.and_then(|spare| spare.downcast::<Option<Slot<T>>>().ok());
        let mut shared = spare.unwrap_or_default();
        match Arc::get_mut(&mut shared) {
            Some(place) => *place = Some(slot),
            None => shared = Arc::new(Some(slot)),
        }
        Self(shared)
    }
}

impl<T> Deref for Shared<T> {
    type Target = Slot<T>;

    #[inline]
    fn deref(&self) -> &Slot<T> {
        Option::as_ref(&self.0).expect("it is emptied when no one shares it any more")
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The slot of a request whose response is not finished. Once it is, or is dropped, what the
/// client would have to be told is no longer done.
pub(crate) struct Unfinished<T>(Option<Shared<T>>);

impl<T: Send + Sync + 'static> Unfinished<T> {
    pub(crate) fn new(slot: Shared<T>) -> Self {
        Self(Some(slot))
    }

    /// Adds to a response what the client and the caches on the way have to know.
    #[inline]
    pub(crate) fn finish(&mut self, headers: &mut HeaderMap) {
        let Some(Shared(mut shared)) = self.0.take() else { return };
        let Some(place) = Arc::get_mut(&mut shared) else {
            // A stream or a task has kept it.
            let slot = Shared(shared);
            return slot.finish(slot.close(), headers);
        };
        if let Some(slot) = place {
            // Without a lock.
            let state = slot.state_mut().unwrap_or_else(PoisonError::into_inner);
            let outgoing = state.outgoing.take();
            slot.finish(outgoing, headers);
        }
        *place = None;
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(shared);
            }
        });
    }
}

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take().filter(|slot| Arc::strong_count(&slot.0) > 1) {
            slot.close();
        }
    }
}
