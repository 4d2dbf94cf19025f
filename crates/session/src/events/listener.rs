use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Event, TARGET};

/// How many events may wait for a listener; further ones are counted and lost.
const MAX_WAITING: usize = 4_096;

/// How many of the waiting events may be ones that a client without an account can cause, so that
/// these never push out sign-ins, sign-outs and thefts.
const MAX_WAITING_OPEN: usize = MAX_WAITING / 2;

/// A callback for events: an audit, an alarm, statistics.
///
/// Each listener runs on a thread of its own, which receives the events in order. A listener may
/// block and may panic: no request waits for it, and after a panic it receives the next event. A
/// listener that is too slow misses events beyond its queue of 4,096
/// ([`Manager::events_missed`](crate::Manager::events_missed) counts them). Events that a client
/// without an account can cause (unknown tokens, refused requests, anonymous sessions, expired
/// sessions) fill at most half of the queue, so they never push out the others.
///
/// The thread ends when the manager is dropped and the queue is empty.
///
/// A closure is a listener too: see [`Event`].
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Event, EventKind, EventListener, Manager};
///
/// struct Alarm;
///
/// impl EventListener for Alarm {
///     fn on_event(&self, event: &Event) {
///         if event.kind == EventKind::Reused {
///             eprintln!("stolen token of session {:?}", event.id);
///         }
///     }
/// }
///
/// let manager: Manager<String> =
///     Manager::builder(MemoryStore::new()).listener(Alarm).build()?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
pub trait EventListener: Send + Sync + 'static {
    /// Receives an event.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> EventListener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// The queue of one listener.
pub(super) struct Queue {
    sender: SyncSender<(Event, bool)>,
    missed: AtomicU64,
    /// How many events are waiting that a client without an account can cause.
    open: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn start(listener: Arc<dyn EventListener>) -> Self {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name(String::from("kvolt-events"));
        let open = Arc::<AtomicUsize>::default();
        let waiting = Arc::clone(&open);
        if let Err(error) = thread.spawn(move || listen(&*listener, &receiver, &waiting)) {
            let error: &(dyn StdError + 'static) = &error;
            tracing::error!(target: TARGET, error, "can't start a listener's thread: the listener misses every event");
        }
        Self { sender, missed: AtomicU64::new(0), open }
    }

    /// Queues an event; `is_open` if a client without an account can cause it.
    pub(super) fn put(&self, event: &Event, is_open: bool) {
        let has_room = !is_open || self.open.fetch_add(1, Ordering::Relaxed) < MAX_WAITING_OPEN;
        if !has_room || self.sender.try_send((event.clone(), is_open)).is_err() {
            if is_open {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
            // Logged at the first one, and whenever the number has one more digit.
            let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
            if missed == 1 || missed.ilog10() > (missed - 1).ilog10() {
                tracing::error!(target: TARGET, missed, "a listener is too slow and misses events");
            }
            #[cfg(feature = "metrics")]
            metrics::counter!(super::metrics::MISSED).increment(1);
        }
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

fn listen(listener: &dyn EventListener, events: &Receiver<(Event, bool)>, open: &AtomicUsize) {
    for (event, is_open) in events {
        if is_open {
            open.fetch_sub(1, Ordering::Relaxed);
        }
        // A panic may leave the listener's own state half changed, which is for the listener to handle.
        if catch_unwind(AssertUnwindSafe(|| listener.on_event(&event))).is_err() {
            tracing::error!(target: TARGET, event = event.kind.name(), "a listener panicked");
        }
    }
}
