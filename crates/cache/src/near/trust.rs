use std::fmt;
use std::time::Duration;

use crate::clock::millis;
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, Timestamp};

/// Up to when the store has notified every change, and what time it has.
pub(super) struct Trust {
    clock: Clock,
    bound: Duration,
    bound_millis: u64,
    /// When the question was asked whose answer proves that every change before it was
    /// notified, in milliseconds and one more; zero while nothing is proven.
    heard: AtomicU64,
    /// How far the store's clock is ahead of this one at the most, as a wrapped difference.
    ahead: AtomicU64,
}

impl Trust {
    pub(super) fn new(clock: Clock, bound: Duration) -> Self {
        let (heard, ahead) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { clock, bound, bound_millis: millis(bound), heard, ahead }
    }

    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store's time, or a little more, if copies may be used for a read that begins `now`.
    pub(super) fn store_time(&self, now: Timestamp) -> Option<Timestamp> {
        // Pairs with the release in `heard`: a thread that sees it sees that the copies of what
        // was notified before are gone.
        let heard = self.heard.load(Ordering::Acquire);
        // Both clocks show whole milliseconds, so each may be one later than it says.
        let age = (now.as_millis() + 1).saturating_sub(heard.checked_sub(1)?);
        let ahead = self.ahead.load(Ordering::Relaxed);
        (age <= self.bound_millis)
            .then(|| Timestamp::from_millis((now.as_millis() + 2).wrapping_add(ahead)))
    }

    /// For how much longer every change is notified within the bound.
    pub(super) fn current_for(&self) -> Duration {
        self.heard.load(Ordering::Acquire).checked_sub(1).map_or(Duration::ZERO, |heard| {
            Timestamp::from_millis(heard).saturating_add(self.bound).since(self.now())
        })
    }

    pub(super) fn confirmed(&self, asked: Timestamp, store_time: Timestamp) {
        // The store's clock was read at `asked` or later, so it is no further ahead than this.
        let ahead = store_time.as_millis().wrapping_sub(asked.as_millis());
        self.ahead.store(ahead, Ordering::Relaxed);
        self.heard.store(asked.as_millis() + 1, Ordering::Release);
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.heard.load(Ordering::Relaxed) == 0
    }

    pub(super) fn deafen(&self) {
        self.heard.store(0, Ordering::Release);
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("bound", &self.bound)
            .field("trusts", &self.store_time(self.now()).is_some())
            .finish_non_exhaustive()
    }
}
