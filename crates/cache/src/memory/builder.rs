use std::fmt;
use std::sync::Arc;

use super::MemoryStore;
use super::capacity::{AtCapacity, Capacity};
use super::cleaning::Cleaning;
use super::inner::Inner;
use crate::Clock;

/// The settings of a [`MemoryStore`].
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_cache::memory::AtCapacity;
///
/// let store: MemoryStore<String> = MemoryStore::builder()
///     .max_entries(100_000)
///     .max_bytes(64 << 20, |value: &String| value.capacity())
///     .at_capacity(AtCapacity::EvictNearestEnd)
///     .build();
/// assert_eq!(store.len(), 0);
/// ```
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

    /// Sets the largest number of bytes: the sum over all entries of the size of the value, as
    /// `weigh` returns it, and the store's own overhead. Defaults to no bound.
    ///
    /// `weigh` must return the same number each time for the same value, and should count the
    /// memory that the value points to.
    pub fn max_bytes(
        mut self,
        bytes: usize,
        weigh: impl Fn(&V) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.capacity.max.bytes = bytes;
        self.capacity.weigh = Some(Arc::new(weigh));
        self
    }

    /// Sets the reaction to an entry that would exceed a bound. Defaults to
    /// [`AtCapacity::Refuse`].
    pub fn at_capacity(mut self, at_capacity: AtCapacity) -> Self {
        self.capacity.at_capacity = at_capacity;
        self
    }

    /// Sets the clock. Defaults to the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how expired entries are reclaimed. Defaults to [`Cleaning::Background`].
    pub fn cleaning(mut self, cleaning: Cleaning) -> Self {
        self.cleaning = cleaning;
        self
    }

    /// Makes the store.
    pub fn build(self) -> MemoryStore<V> {
        // A thread can't sleep by a manual clock.
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
