//! The part of a near cache that does not depend on the type of its store.

use std::sync::Arc;
use std::time::Duration;

use super::copies::Copies;
use super::feed_status::FeedStatus;
use crate::{ChangeObserver, Changes, Clock, Key, Timestamp};

pub(super) struct State<V> {
    pub(super) feed: Arc<FeedStatus>,
    /// `None` if no copies are kept.
    pub(super) copies: Option<Copies<V>>,
    pub(super) changes: Arc<Changes>,
}

impl<V: Clone + Send + Sync + 'static> State<V> {
    pub(super) fn new(bound: Duration, max_copies: usize, clock: Clock) -> Self {
        let feed = Arc::new(FeedStatus::new(clock.clone(), bound));
        let changes = Changes::with_feed({
            let feed = Arc::clone(&feed);
            move || feed.current_for()
        });
        let copies = (max_copies > 0 && !bound.is_zero())
            .then(|| Copies::new(max_copies, clock, Arc::clone(&feed)));
        Self { feed, copies, changes: Arc::new(changes) }
    }

    /// This process has changed entries, and does not know which.
    pub(super) fn any_changed(&self) {
        self.drop_copies();
        self.changes.all_changed();
    }

    fn drop_copies(&self) {
        if let Some(copies) = &self.copies {
            copies.all_changed();
        }
    }

    /// From now on, no copy is used until the feed has confirmed again.
    pub(super) fn disconnect(&self) {
        // No effect a second time, so that a failed attempt does not wake every waiting task.
        if !self.feed.is_disconnected() {
            self.feed.disconnect();
            self.drop_copies();
            self.changes.interrupted();
        }
    }

    /// Call this before a change, and drop the guard after it.
    pub(super) fn begin_change(&self, keys: [Option<Key>; 2]) -> WriteGuard<'_, V> {
        if let Some(copies) = &self.copies {
            keys.iter().flatten().for_each(|key| copies.begin_change(key));
        }
        WriteGuard { state: self, keys }
    }
}

/// The change feed reports here.
impl<V: Clone + Send + Sync + 'static> ChangeObserver for State<V> {
    fn changed(&self, key: &Key) {
        if let Some(copies) = &self.copies {
            copies.changed(key);
        }
        // Last: a task that is notified finds no copy from before.
        self.changes.changed(key);
    }

    fn all_changed(&self) {
        // Before the first confirmation, this is part of an interruption.
        if self.feed.is_disconnected() {
            self.drop_copies();
            self.changes.interrupted();
        } else {
            self.any_changed();
        }
    }

    fn now(&self) -> Timestamp {
        self.feed.now()
    }

    fn confirmed(&self, asked: Timestamp, store_time: Timestamp) {
        let was_disconnected = self.feed.is_disconnected();
        if was_disconnected {
            // An entry that was copied before may have changed without a notification.
            self.drop_copies();
        }
        self.feed.confirm(asked, store_time);
        if was_disconnected {
            self.changes.interrupted();
        }
    }
}

/// A change by this process. There are no copies of its entries until it ends, however it ends:
/// the store may have made it at any moment in between.
pub(super) struct WriteGuard<'a, V> {
    state: &'a State<V>,
    keys: [Option<Key>; 2],
}

impl<V> Drop for WriteGuard<'_, V> {
    fn drop(&mut self) {
        for key in self.keys.iter().flatten() {
            if let Some(copies) = &self.state.copies {
                copies.end_change(key);
            }
            self.state.changes.changed(key);
        }
    }
}
