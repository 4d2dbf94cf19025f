use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::state::State;
use super::subscription::SubscriptionTask;
use super::{DEFAULT_BOUND, DEFAULT_MAX_COPIES, NearCache};
use crate::{ChangeFeed, Clock, Result, Store};

/// The settings of a [`NearCache`].
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{ChangeFeed, NearCacheBuilder, Store};
///
/// /// A session that is revoked by another process is refused after 100 milliseconds at most.
/// fn strict<V, S>(builder: NearCacheBuilder<V, S>) -> NearCacheBuilder<V, S>
/// where
///     V: Clone + Send + Sync + 'static,
///     S: Store<V> + ChangeFeed,
/// {
///     builder.bound(Duration::from_millis(100))
/// }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NearCacheBuilder<V, S> {
    store: S,
    bound: Duration,
    max_copies: usize,
    value: PhantomData<fn() -> V>,
}

impl<V: Clone + Send + Sync + 'static, S: Store<V> + ChangeFeed> NearCacheBuilder<V, S> {
    pub(super) fn new(store: S) -> Self {
        let (bound, max_copies) = (DEFAULT_BOUND, DEFAULT_MAX_COPIES);
        Self { store, bound, max_copies, value: PhantomData }
    }

    /// Sets how old an answer can be: see the [module](super). Defaults to [`DEFAULT_BOUND`].
    ///
    /// At zero, no copies are kept and no changes are received.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Sets the largest number of copies. At that number, a new copy replaces the one that would
    /// end first. Defaults to [`DEFAULT_MAX_COPIES`].
    ///
    /// At zero, every read goes to the store, and the store's [changes](Store::changes) are still
    /// received.
    pub fn max_copies(mut self, copies: usize) -> Self {
        self.max_copies = copies;
        self
    }

    /// Makes the near cache, and starts the task that receives the store's changes.
    ///
    /// # Errors
    ///
    /// Returns an error ([`is_misconfigured`](crate::Error::is_misconfigured)) outside of a Tokio
    /// runtime, which its task needs, and for a bound below 10 milliseconds that is not zero.
    pub fn build(self) -> Result<NearCache<V, S>> {
        let clock = self.store.clock();
        let clock = if clock.is_system() { Clock::boot() } else { clock };
        let state = Arc::new(State::new(self.bound, self.max_copies, clock));
        let store = Arc::new(self.store);
        let task = Arc::new(SubscriptionTask::start(&store, &state)?);
        Ok(NearCache { store, state, task })
    }
}
