//! The slot that a request, its handler and its response share.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;

use http::HeaderMap;
use kvolt_session::Access;

use crate::SessionLayer;
use crate::slot::Slot;

/// A slot that is shared. Its memory is used again by a later request on the thread that finishes
/// its response: what a request costs is counted in allocations.
pub(crate) struct Shared<T>(Arc<Slot<T>>);

/// How many slots a thread keeps for later requests.
const MAX_SPARE: usize = 32;

thread_local! {
    /// Empty ones, mostly of one type.
    static SPARE: RefCell<Vec<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// One that no one shares yet.
    pub(crate) fn spare() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        Self(spare.and_then(|spare| spare.downcast().ok()).unwrap_or_default())
    }

    /// Begins with a request, before the slot is shared.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        layer: Arc<SessionLayer<T>>,
        access: Access,
        outer: Option<Self>,
    ) -> &mut Slot<T> {
        let slot = Arc::get_mut(&mut self.0).expect("no one else has a spare slot");
        slot.begin(layer, access, outer);
        slot
    }
}

impl<T> Deref for Shared<T> {
    type Target = Slot<T>;

    #[inline]
    fn deref(&self) -> &Slot<T> {
        &self.0
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

impl<T> Unfinished<T> {
    pub(crate) fn new(slot: Shared<T>) -> Self {
        Self(Some(slot))
    }
}

impl<T: Send + Sync + 'static> Unfinished<T> {
    /// Adds to a response what the client and the caches on the way have to know.
    #[inline]
    pub(crate) fn finish(&mut self, headers: &mut HeaderMap) {
        let Some(Shared(mut shared)) = self.0.take() else { return };
        let Some(slot) = Arc::get_mut(&mut shared) else {
            // A stream or a task has kept it.
            let slot = Shared(shared);
            return slot.finish(slot.close(), headers);
        };
        // Without a lock. A slot within another has nothing of its own.
        let outgoing = slot.state_mut().outgoing.take();
        slot.finish(outgoing, headers);
        slot.end();
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
