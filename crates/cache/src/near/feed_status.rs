//! How far a store's change feed is known to be complete.

use std::time::Duration;

use crate::clock::millis;
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, Timestamp};

/// The moment up to which the store has sent every change, and the store's time.
#[derive(Debug)]
pub(super) struct FeedStatus {
    clock: Clock,
    bound: Duration,
    bound_millis: u64,
    /// The moment of the question whose answer proves that every change before it was received,
    /// in milliseconds and one more; zero while the feed is disconnected.
    confirmed: AtomicU64,
    /// An upper limit of how far the store's clock is ahead of this one, as a wrapped difference.
    ahead: AtomicU64,
}

impl FeedStatus {
    pub(super) fn new(clock: Clock, bound: Duration) -> Self {
        let (confirmed, ahead) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { clock, bound, bound_millis: millis(bound), confirmed, ahead }
    }

    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store's time, or a little more, if copies may answer a read that begins at `now`.
    pub(super) fn store_time(&self, now: Timestamp) -> Option<Timestamp> {
        // Pairs with the release in `confirm`: a thread that reads this value also finds that the
        // copies of the entries that had changed before are gone.
        let confirmed = self.confirmed.load(Ordering::Acquire);
        // Both clocks show whole milliseconds, so each may be one later than it says.
        let age = (now.as_millis() + 1).saturating_sub(confirmed.checked_sub(1)?);
        let ahead = self.ahead.load(Ordering::Relaxed);
        (age <= self.bound_millis)
            .then(|| Timestamp::from_millis((now.as_millis() + 2).wrapping_add(ahead)))
    }

    /// How much longer every change is received within the bound.
    pub(super) fn current_for(&self) -> Duration {
        self.confirmed.load(Ordering::Acquire).checked_sub(1).map_or(Duration::ZERO, |confirmed| {
            Timestamp::from_millis(confirmed).saturating_add(self.bound).since(self.now())
        })
    }

    pub(super) fn confirm(&self, asked: Timestamp, store_time: Timestamp) {
        // The store's clock was read at `asked` or later, so it is no further ahead than this.
        let ahead = store_time.as_millis().wrapping_sub(asked.as_millis());
        self.ahead.store(ahead, Ordering::Relaxed);
        self.confirmed.store(asked.as_millis() + 1, Ordering::Release);
    }

    pub(super) fn is_disconnected(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed) == 0
    }

    pub(super) fn disconnect(&self) {
        self.confirmed.store(0, Ordering::Release);
    }
}
