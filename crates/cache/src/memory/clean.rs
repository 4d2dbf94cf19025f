//! Reclaiming the memory of expired entries.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::cleaning::{Cleaning, Waker};
use super::hash::Prefix;
use super::inner::{Inner, Stripe};
use super::node::NotLive;
use crate::Timestamp;
use crate::sync::{Apart, lock, yield_now};

/// The thread wakes at least this often, to compact queues that are full of removed entries.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// How many items of removed entries the queues may hold before they are compacted: one
/// megabyte.
const MAX_STALE_ITEMS: usize = 65_536;

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Starts the thread of a store that has one and has not started it yet.
    pub(super) fn ensure_cleaner(self: &Arc<Self>) {
        if self.cleaning == Cleaning::Background {
            self.started_cleaner.call_once(|| {
                let (inner, waker) = (Arc::downgrade(self), Arc::clone(&self.waker));
                let thread = thread::Builder::new().name(String::from("kvolt-clean"));
                // Without a thread, only `clean` and a store's bounds reclaim: reads stay right.
                let _ = thread.spawn(move || clean_until_dropped(&inner, &waker));
            });
        }
    }

    /// Reclaims some of the entries that are due. Returns when to continue: zero for at once, `None`
    /// if no entry waits.
    pub(super) fn clean_slice(&self) -> Option<Duration> {
        let now = self.now();
        for Apart(Stripe { queue, .. }) in &self.stripes {
            let items = lock(queue).take_due(now.as_millis());
            if items.is_empty() {
                continue;
            }
            for item in items {
                if let Some(ends) = self.clean_item(item, now) {
                    lock(queue).file(item, ends);
                }
            }
            return Some(Duration::ZERO);
        }
        let next = self.stripes.iter().filter_map(|stripe| lock(&stripe.0.queue).next_due()).min();
        next.map(|next| Timestamp::from_millis(next).since(now))
    }

    /// Reclaims an entry if it has expired; otherwise returns when it ends.
    ///
    /// A panic in the application's code costs the memory of one entry at most.
    fn clean_item(&self, item: u64, now: Timestamp) -> Option<u64> {
        let map = self.map();
        let (key, node) = map.get_key_value(&Prefix(item))?;
        match node.state(now) {
            Err(NotLive::Expired) => {
                let reclaim = AssertUnwindSafe(|| self.reclaim_if_expired(key, now));
                if catch_unwind(reclaim).is_err() {
                    tracing::error!(
                        target: "kvolt::cache",
                        "the application's code panicked while an expired entry was reclaimed: \
                         fix the `on_expired` callback, `weigh`, or `Drop` of the value"
                    );
                }
                return None;
            }
            Ok(()) => {}
            Err(NotLive::Undecided) => yield_now(),
        }
        Some(node.ends()).filter(|ends| *ends < Timestamp::NEVER)
    }

    /// Files every entry again if most items in the queues belong to removed entries.
    pub(super) fn compact_queues(&self) {
        let queues = || self.stripes.iter().map(|stripe| &stripe.0.queue);
        let items: usize = queues().map(|queue| lock(queue).len()).sum();
        if items <= 2 * self.len() + MAX_STALE_ITEMS {
            return;
        }
        queues().for_each(|queue| drop(std::mem::take(&mut *lock(queue))));
        // An entry that is inserted from here on files itself; the others are in the map.
        for (key, node) in self.map().iter().filter(|(_, node)| !node.is_pending()) {
            self.file(key, node.ends());
        }
    }
}

impl<V> Drop for Inner<V> {
    fn drop(&mut self) {
        // The thread finds the store gone.
        self.waker.wake();
    }
}

/// Cleans a store. Between two slices, the thread holds nothing that keeps the store alive.
fn clean_until_dropped<V: Clone + Send + Sync + 'static>(inner: &Weak<Inner<V>>, waker: &Waker) {
    loop {
        waker.awake();
        let Some(store) = inner.upgrade() else { return };
        let rest = store.clean_slice();
        if rest.is_some_and(|rest| rest.is_zero()) {
            drop(store);
            // Other threads run between two slices.
            yield_now();
            continue;
        }
        store.compact_queues();
        let now = store.now().as_millis();
        drop(store);
        let rest = rest.unwrap_or(MAX_SLEEP).clamp(Duration::from_millis(1), MAX_SLEEP);
        waker.sleep(now, rest);
    }
}
