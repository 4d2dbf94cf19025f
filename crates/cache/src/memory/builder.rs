use std::fmt;
use std::sync::Arc;

use super::MemoryStore;
use super::capacity::{AtCapacity, Capacity};
use super::cleaning::Cleaning;
use super::inner::Inner;
use crate::Clock;

/// Settings of a [`MemoryStore`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct MemoryStoreBuilder<V> {
    capacity: Capacity<V>,
    clock: Clock,
    cleaning: Cleaning,
}

impl<V: Clone + Send + Sync + 'static> MemoryStoreBuilder<V> {
    pub(super) fn new() -> Self {
        let (capacity, cleaning) = (Capacity::unbounded(), Cleaning::default());
        Self { capacity, clock: Clock::system(), cleaning }
    }

    /// Sets the largest number of entries. Defaults to no bound.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.capacity.max.entries = entries;
        self
    }

    /// Sets the largest number of bytes: for each entry what `weigh` says of its value, and what
    /// the store itself needs for it. Defaults to no bound.
    ///
    /// `weigh` must say the same of the same value each time, and should count what the value
    /// points to.
    pub fn max_bytes(
        mut self,
        bytes: usize,
        weigh: impl Fn(&V) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.capacity.max.bytes = bytes;
        self.capacity.weigh = Some(Arc::new(weigh));
        self
    }

    /// Sets what happens to an entry that would exceed a bound. Defaults to
    /// [`AtCapacity::Refuse`].
    pub fn at_capacity(mut self, at_capacity: AtCapacity) -> Self {
        self.capacity.at_capacity = at_capacity;
        self
    }

    /// Sets the clock. Defaults to the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what reclaims expired entries. Defaults to [`Cleaning::Background`].
    pub fn cleaning(mut self, cleaning: Cleaning) -> Self {
        self.cleaning = cleaning;
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore<V> {
        // A thread can't sleep by a clock that a test moves.
        let cleaning = if self.clock.is_system() { self.cleaning } else { Cleaning::Manual };
        MemoryStore { inner: Arc::new(Inner::new(self.capacity, self.clock, cleaning)) }
    }
}

impl<V> fmt::Debug for MemoryStoreBuilder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("capacity", &self.capacity.max)
            .field("clock", &self.clock)
            .field("cleaning", &self.cleaning)
            .finish_non_exhaustive()
    }
}
