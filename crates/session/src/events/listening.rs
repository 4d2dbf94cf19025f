use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Event, TARGET};

/// How many events may wait for a listener; further ones are counted and lost.
const MAX_WAITING: usize = 4_096;

/// How many of them may be refusals that a client without an account can cause, so that these
/// never push out sign-ins, sign-outs and thefts.
const MAX_WAITING_REFUSALS: usize = MAX_WAITING / 2;

/// Whoever wants to know what happens to sessions: an audit, an alarm, a page of statistics.
///
/// Each listener has a thread of its own, to which events come in their order. So
/// it may block, and it may fail: one that panics gets the next event, one that hangs
/// misses what does not fit into its queue of 4,096, of which refusals that any client can cause
/// may fill half
/// ([`Manager::events_missed`](crate::Manager::events_missed) counts them), and
/// no request ever waits for either.
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
    sender: SyncSender<Event>,
    missed: AtomicU64,
    refusals: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn start(listener: Arc<dyn EventListener>) -> Self {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name(String::from("kvolt-events"));
        let refusals = Arc::<AtomicUsize>::default();
        let waiting = Arc::clone(&refusals);
        if let Err(error) = thread.spawn(move || listen(&*listener, &receiver, &waiting)) {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(target: TARGET, error, "no thread for a listener: it will miss every event");
        }
        Self { sender, missed: AtomicU64::new(0), refusals }
    }

    pub(super) fn put(&self, event: &Event) {
        let is_refusal = event.what.is_open_to_all();
        let has_room =
            !is_refusal || self.refusals.fetch_add(1, Ordering::Relaxed) < MAX_WAITING_REFUSALS;
        if !has_room || self.sender.try_send(event.clone()).is_err() {
            if is_refusal {
                self.refusals.fetch_sub(1, Ordering::Relaxed);
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

fn listen(listener: &dyn EventListener, events: &Receiver<Event>, refusals: &AtomicUsize) {
    for event in events {
        if event.what.is_open_to_all() {
            refusals.fetch_sub(1, Ordering::Relaxed);
        }
        // It may have left something of its own half done: that is for it to know.
        if catch_unwind(AssertUnwindSafe(|| listener.on_event(&event))).is_err() {
            tracing::error!(target: TARGET, event = event.what.name(), "a listener has panicked");
        }
    }
}
