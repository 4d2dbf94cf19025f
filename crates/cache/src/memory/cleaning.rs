use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// How a [`MemoryStore`](crate::MemoryStore) reclaims the memory of expired entries.
///
/// Cleaning is only about memory: an expired entry is absent without it.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_cache::memory::Cleaning;
///
/// let store = MemoryStore::<String>::builder().cleaning(Cleaning::Manual).build();
/// store.clean();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cleaning {
    /// A thread of the store's own, from the first insertion until the store is dropped. It sleeps
    /// until an entry comes due. With a [`ManualClock`](crate::ManualClock), no thread is started.
    #[default]
    Background,
    /// The application, by calling [`MemoryStore::clean`](crate::MemoryStore::clean).
    Manual,
}

/// Wakes the thread that cleans a store, if an entry comes due before the thread wakes by itself.
#[derive(Default)]
pub(super) struct Waker {
    /// When the thread wakes by itself, in the clock's milliseconds. `u64::MAX` while the thread
    /// is awake, so that it does not sleep past an entry that is filed meanwhile; zero before it
    /// has started, and once a call has woken it.
    wakes_at: AtomicU64,
    thread: OnceLock<Thread>,
}

impl Waker {
    /// Wakes the thread, unless it wakes by then.
    pub(super) fn wake_by(&self, millis: u64) {
        if millis < self.wakes_at.load(Ordering::SeqCst) {
            // No other call wakes the thread until it is awake.
            self.wakes_at.store(0, Ordering::SeqCst);
            self.wake();
        }
    }

    /// Wakes the thread. If it is awake, its next sleep ends at once.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Marks the calling thread as the one that cleans, and as awake: before it reads the queues.
    pub(super) fn awake(&self) {
        self.thread.get_or_init(thread::current);
        self.wakes_at.store(u64::MAX, Ordering::SeqCst);
    }

    /// Sleeps for `rest`, or until woken.
    pub(super) fn sleep(&self, now: u64, rest: Duration) {
        self.wakes_at.store(now.saturating_add(rest.as_millis() as u64), Ordering::SeqCst);
        thread::park_timeout(rest);
    }
}
