//! Reclaiming the memory of expired entries.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::hash::Prefix;
use super::inner::Inner;
use super::node::State;
use crate::Timestamp;
use crate::sync::{lock, yield_now};

/// What cleans a [`MemoryStore`](crate::MemoryStore).
///
/// Cleaning is only about memory: an expired entry is absent without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cleaning {
    /// A thread of the store's own, from the first entry until the store is dropped. It sleeps
    /// until an entry comes due. With a clock that a test moves, there is none.
    #[default]
    Background,
    /// The application, by calling [`MemoryStore::clean`](crate::MemoryStore::clean).
    Manual,
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Reclaims up to a chunk of what is due. Returns when to continue: zero for at once, `None` if
    /// nothing waits.
    pub(super) fn clean_slice(&self) -> Option<Duration> {
        let now = self.now();
        let mut next: Option<u64> = None;
        for stripe in &self.stripes {
            let wheel = &stripe.0.wheel;
            let (due, next_due) = {
                let mut wheel = lock(wheel);
                (wheel.take_due(now.as_millis()), wheel.next_due())
            };
            if due.is_empty() {
                next = next.into_iter().chain(next_due).min();
                continue;
            }
            let later =
                due.into_iter().filter_map(|item| Some((item, self.clean_item(item, now)?)));
            let later: Vec<_> = later.collect();
            let mut wheel = lock(wheel);
            for (item, ends) in later {
                wheel.file(item, ends, now.as_millis());
            }
            return Some(Duration::ZERO);
        }
        next.map(|next| Duration::from_millis(next.saturating_sub(now.as_millis())))
    }

    /// Reclaims an entry if it has expired; otherwise returns when it ends now.
    ///
    /// A panic in the application's code costs the memory of one entry at most.
    fn clean_item(&self, item: u64, now: Timestamp) -> Option<u64> {
        let map = self.map();
        let (key, node) = map.get_key_value(&Prefix(item))?;
        match node.state(now) {
            State::Expired => {
                if catch_unwind(AssertUnwindSafe(|| self.reap(key, now))).is_err() {
                    tracing::error!(
                        target: "kvolt::cache",
                        "the application's code panicked while an expired entry was reclaimed: \
                         fix the `on_expired` callback, `weigh`, or `Drop` of the value"
                    );
                }
                return None;
            }
            State::Live => {}
            State::Undecided => yield_now(),
        }
        Some(node.ends()).filter(|ends| *ends < Timestamp::NEVER)
    }

    /// Files every entry again if most of what waits in the wheels belongs to entries that are
    /// gone.
    pub(super) fn compact_wheels(&self) {
        let wheels = || self.stripes.iter().map(|stripe| &stripe.0.wheel);
        let items: usize = wheels().map(|wheel| lock(wheel).len()).sum();
        if items <= 2 * self.len() + MAX_STALE_ITEMS {
            return;
        }
        wheels().for_each(|wheel| drop(std::mem::take(&mut *lock(wheel))));
        // What is inserted from here on files itself; what was before is in the map.
        for (key, node) in self.map().iter().filter(|(_, node)| !node.is_pending()) {
            self.file(key, node.ends());
        }
    }
}

/// Items of removed entries that are not worth the effort: half a megabyte.
const MAX_STALE_ITEMS: usize = 65_536;

/// How a store wakes its thread: an entry comes due earlier, or the store ends.
pub(super) struct Signal {
    /// When the thread wakes by itself, in the clock's milliseconds. While it is awake, never, so
    /// that it does not sleep through what is filed meanwhile; once it was woken, zero.
    wakes_at: AtomicU64,
    state: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Default)]
struct Asked {
    stopped: bool,
    woken: bool,
}

/// The thread wakes at least this often, to compact wheels that are full of removed entries.
const MAX_SLEEP: Duration = Duration::from_secs(60);

impl Signal {
    pub(super) fn new() -> Self {
        Self {
            wakes_at: AtomicU64::new(0),
            state: Mutex::new(Asked::default()),
            changed: Condvar::new(),
        }
    }

    /// Wakes the thread, unless it wakes by then.
    pub(super) fn wake_by(&self, millis: u64) {
        if millis < self.wakes_at.load(Ordering::SeqCst) {
            let mut state = self.state();
            state.woken = true;
            // Until the thread is awake, no other call has to wake it.
            self.wakes_at.store(0, Ordering::SeqCst);
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_one();
    }

    /// The thread is awake. Comes before its first look at the wheels.
    fn awake(&self) {
        self.wakes_at.store(u64::MAX, Ordering::SeqCst);
    }

    /// Sleeps for `rest`, or until woken. `false` once the store has ended.
    fn sleep(&self, now: u64, rest: Duration) -> bool {
        let mut state = self.state();
        self.wakes_at.store(now.saturating_add(rest.as_millis() as u64), Ordering::SeqCst);
        if !state.woken && !state.stopped {
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        !state.stopped
    }

    fn state(&self) -> MutexGuard<'_, Asked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread of a store. It holds nothing that keeps the store alive.
pub(super) fn spawn<V: Clone + Send + Sync + 'static>(
    inner: Weak<Inner<V>>,
    signal: Arc<Signal>,
) -> std::io::Result<()> {
    let clean = move || {
        loop {
            let Some(store) = inner.upgrade() else { return };
            signal.awake();
            let rest = store.clean_slice();
            if rest.is_some_and(|rest| rest.is_zero()) {
                // Between slices, other threads have the processor.
                drop(store);
                yield_now();
                continue;
            }
            store.compact_wheels();
            let now = store.now().as_millis();
            drop(store);
            let rest = rest.unwrap_or(MAX_SLEEP).clamp(Duration::from_millis(1), MAX_SLEEP);
            if !signal.sleep(now, rest) {
                return;
            }
        }
    };
    thread::Builder::new().name(String::from("kvolt-clean")).spawn(clean).map(drop)
}
