//! Reclaiming the memory of what has expired.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::hash::Prefix;
use super::inner::Inner;
use crate::sync::lock;

/// Who cleans a [`MemoryStore`](crate::MemoryStore).
///
/// Cleaning is only about memory: what has expired is absent without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cleaning {
    /// A thread of the store's own, from the first entry on until the store is
    /// dropped. It sleeps until something comes due. With a clock that a test
    /// moves, there is none.
    #[default]
    Background,
    /// Whoever calls [`MemoryStore::clean`](crate::MemoryStore::clean).
    Manual,
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Looks at up to a chunk of what is due. Returns when to go on: zero for
    /// at once, `None` when nothing waits.
    pub(super) fn clean_slice(&self) -> Option<Duration> {
        let now = self.clock.now().as_millis();
        let next = match (self.clean_entries(), self.former.clean(now)) {
            (Some(entries), Some(former)) => Some(entries.min(former)),
            (entries, former) => entries.or(former),
        };
        next.map(|next| Duration::from_millis(next.saturating_sub(now)))
    }

    /// Returns when to go on, in the clock's milliseconds.
    fn clean_entries(&self) -> Option<u64> {
        let now = self.clock.now();
        let due = {
            let mut wheel = lock(&self.wheel);
            let due = wheel.take_due(now.as_millis());
            if due.is_empty() {
                return wheel.next_due();
            }
            due
        };
        let mut prolonged = Vec::new();
        let map = self.map.pin();
        for item in due {
            match map.get_key_value(&Prefix(item)) {
                Some((_, node)) if !node.has_ended(now) => {
                    prolonged.push((item, node.ends()));
                }
                Some((key, _)) => {
                    self.reap(key, now);
                }
                None => {}
            }
        }
        if !prolonged.is_empty() {
            let mut wheel = lock(&self.wheel);
            for (item, ends) in prolonged {
                wheel.file(item, ends, now.as_millis());
            }
        }
        Some(now.as_millis())
    }

    /// Files every entry anew if most of what waits in the wheel belongs to entries that are gone.
    pub(super) fn compact_wheel(&self) {
        let stale = |items: usize| items > 2 * self.capacity.entries() + STALE_ITEMS_MAX;
        let discarded = {
            let mut wheel = lock(&self.wheel);
            if !stale(wheel.len()) {
                return;
            }
            std::mem::take(&mut *wheel)
        };
        // What is inserted from here on files itself; what was before is in the map.
        let now = self.clock.now().as_millis();
        for (key, node) in self.map.pin().iter() {
            lock(&self.wheel).file(key.prefix(), node.ends(), now);
        }
        drop(discarded);
    }
}

/// Items of removed entries that are not worth the effort: half a megabyte.
const STALE_ITEMS_MAX: usize = 65_536;

/// How the store tells its thread that something comes due earlier, or that it ends.
pub(super) struct Signal {
    /// When the thread looks again by itself, in the clock's milliseconds; while
    /// it is looking, never, so that nothing filed meanwhile is slept through.
    wakes_at: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    woken: bool,
}

/// The thread looks at least this often, so that a wheel full of removed entries is compacted.
const SLEEP_MAX: Duration = Duration::from_secs(60);

impl Signal {
    pub(super) fn new() -> Self {
        Self {
            wakes_at: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    /// Makes the thread look no later than this.
    pub(super) fn wake_by(&self, millis: u64) {
        if millis < self.wakes_at.load(Ordering::SeqCst) {
            self.state().woken = true;
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_one();
    }

    /// Says that the thread looks now. Comes before the look.
    fn look(&self) {
        self.wakes_at.store(u64::MAX, Ordering::SeqCst);
    }

    /// Sleeps until then or until woken. `false` once the store has ended.
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

    fn state(&self) -> MutexGuard<'_, State> {
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
            signal.look();
            let rest = store.clean_slice();
            if rest.is_some_and(|rest| rest.is_zero()) {
                // Between slices, whoever waits for the processor has it.
                drop(store);
                thread::yield_now();
                continue;
            }
            store.compact_wheel();
            let now = store.clock.now().as_millis();
            drop(store);
            let rest = rest.unwrap_or(SLEEP_MAX).clamp(Duration::from_millis(1), SLEEP_MAX);
            if !signal.sleep(now, rest) {
                return;
            }
        }
    };
    thread::Builder::new().name(String::from("kvolt-clean")).spawn(clean).map(drop)
}
