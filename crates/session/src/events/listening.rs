use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Event, TARGET};

/// How many events may wait for a listener; further ones are counted and lost.
const MAX_WAITING: usize = 4_096;

/// How many of them may be events that a client without an account can cause, so that these
/// never push out sign-ins, sign-outs and thefts.
const MAX_WAITING_OPEN: usize = MAX_WAITING / 2;

/// Whoever wants to know what happens to sessions: an audit, an alarm, a page of statistics.
///
/// Each listener has a thread of its own, to which events come in their order. So
/// it may block, and it may fail: one that panics gets the next event, one that hangs
/// misses what does not fit into its queue of 4,096
/// ([`Manager::events_missed`](crate::Manager::events_missed) counts that), and
/// no request ever waits for either. Events that a client without an account can cause (made-up
/// tokens, refused requests, visits of anonymous visitors, and sessions that expire) may fill half
/// of the queue, so they never push out the others.
///
/// The thread ends when the manager is gone and the queue is empty.
pub trait EventListener: Send + Sync + 'static {
    /// Is told of an event.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> EventListener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// The way to one listener.
pub(super) struct Queue {
    sender: SyncSender<(Event, bool)>,
    missed: AtomicU64,
    /// How many wait that a client without an account can cause.
    open: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn start(listener: Arc<dyn EventListener>) -> Self {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name(String::from("kvolt-events"));
        let open = Arc::<AtomicUsize>::default();
        let waiting = Arc::clone(&open);
        if let Err(error) = thread.spawn(move || listen(&*listener, &receiver, &waiting)) {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(target: TARGET, error, "no thread for a listener: it will miss every event");
        }
        Self { sender, missed: AtomicU64::new(0), open }
    }

    /// Puts an event into the queue; `is_open` if a client without an account can cause it.
    pub(super) fn put(&self, event: &Event, is_open: bool) {
        let has_room = !is_open || self.open.fetch_add(1, Ordering::Relaxed) < MAX_WAITING_OPEN;
        if !has_room || self.sender.try_send((event.clone(), is_open)).is_err() {
            if is_open {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
            // Once, and again whenever it has missed ten times as many.
            let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
            if missed.ilog10() > (missed - 1).max(1).ilog10() || missed == 1 {
                tracing::error!(target: TARGET, missed, "a listener does not keep up, and misses events");
            }
            #[cfg(feature = "metrics")]
            metrics::counter!(super::metric::MISSED).increment(1);
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
        // It may have left something of its own half done: that is for it to know.
        if catch_unwind(AssertUnwindSafe(|| listener.on_event(&event))).is_err() {
            tracing::error!(target: TARGET, event = event.kind.name(), "a listener has panicked");
        }
    }
}
