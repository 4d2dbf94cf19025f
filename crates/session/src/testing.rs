//! For tests: the events that happened.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Event, EventKind, Manager};

#[cfg(feature = "device-bound")]
pub use crate::device_binding::fault::DeviceFault;

/// The events of a manager, recorded while they happen: an event is here when the call that caused
/// it has returned. (A listener runs on a thread of its own, and may receive it later.)
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::testing::RecordedEvents;
/// use kvolt_session::{EndReason, EventKind, Manager};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let events = RecordedEvents::of(&manager);
/// let token = manager.create(String::from("Ada")).await?;
/// manager.logout(&token).await?;
/// let ended = EventKind::Ended { reason: EndReason::Logout };
/// assert_eq!(events.kinds(), [EventKind::Created { anonymous: false }, ended]);
///
/// // Each event is taken once.
/// assert!(events.take().is_empty());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct RecordedEvents(Arc<Mutex<Vec<Event>>>);

impl RecordedEvents {
    /// Records the events of a manager, from now on.
    ///
    /// Expired sessions are among them if the store [reports](kvolt_cache::Store::on_expired) them:
    /// a store in memory on a clock that a test moves does so in
    /// [`MemoryStore::clean`](kvolt_cache::MemoryStore::clean).
    pub fn of<T: Send + Sync + 'static>(manager: &Manager<T>) -> Self {
        let recorded = Self::default();
        manager.record_events(recorded.clone());
        recorded
    }

    /// Takes the events since the last call, oldest first.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events())
    }

    /// [`take`](Self::take)s the events, and returns their kinds.
    pub fn kinds(&self) -> Vec<EventKind> {
        self.take().into_iter().map(|event| event.kind).collect()
    }

    pub(crate) fn push(&self, event: Event) {
        self.events().push(event);
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RecordedEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events().iter()).finish()
    }
}
