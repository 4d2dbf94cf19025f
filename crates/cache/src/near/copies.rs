use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::feed_status::FeedStatus;
use super::flights::Flights;

use crate::memory::AtCapacity;
use crate::{
    AfterRead, Clock, Deadlines, Entry, EntryRef, Expiry, Freshness, Key, MemoryStore, NewEntry,
    Result, Timestamp,
};

/// The largest age of a copy, so that the memory of an unused copy is freed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The copies, and the questions to the store that are in flight.
pub(super) struct Copies<V> {
    feed: Arc<FeedStatus>,
    kept: MemoryStore<CachedCopy<V>>,
    reads: Flights<Option<Entry<V>>>,
    /// A lock of these is taken before one of `reads`.
    touches: Flights<Option<Deadlines>>,
    /// Spreads the moments at which several servers touch one entry.
    jitter: RandomState,
}

#[derive(Clone)]
struct CachedCopy<V> {
    entry: Entry<V>,
    /// The number of the question whose answer this is.
    question: u64,
    /// From this moment of the store's clock, a use must reach the store.
    due: Option<Timestamp>,
}

impl<V: Clone + Send + Sync + 'static> Copies<V> {
    pub(super) fn new(max_copies: usize, clock: Clock, feed: Arc<FeedStatus>) -> Self {
        // Only for reclaiming, so the clock that costs less to read is good enough.
        let clock = if clock.is_system() { Clock::system() } else { clock };
        let kept = MemoryStore::builder()
            .max_entries(max_copies)
            .at_capacity(AtCapacity::EvictNearestEnd)
            .clock(clock)
            .build();
        let (reads, touches) = (Flights::new(Arc::clone(&feed)), Flights::new(Arc::clone(&feed)));
        Self { feed, kept, reads, touches, jitter: RandomState::new() }
    }

    /// Shows the copy, if it may answer and its entry can't have ended.
    pub(super) fn look(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> bool {
        if freshness == Freshness::Strict {
            return false;
        }
        // The feed is checked before the copy is read: a change that it has confirmed has already
        // removed the copy.
        let Some(read_at) = self.feed.store_time(self.feed.now()) else {
            return false;
        };
        let shown = self.kept.read(key, |kept| {
            let CachedCopy { entry, due, .. } = kept.value;
            if entry.deadlines.expires_at().is_some_and(|end| end <= read_at) {
                return (AfterRead::Keep, false);
            }
            let slide_due = due.is_some_and(|due| due <= read_at);
            // A copy can't slide: the caller touches the entry.
            let (AfterRead::Keep | AfterRead::Slide) =
                visit(EntryRef { read_at, is_copy: true, slide_due, ..entry.as_ref() });
            (AfterRead::Keep, true)
        });
        shown.unwrap_or(false)
    }

    /// Asks the store by `question`, or joins the same question of another call. The entry is marked
    /// as a copy if that was asked before this call began.
    pub(super) async fn read(
        &self,
        key: &Key,
        freshness: Freshness,
        question: impl Future<Output = Result<Option<Entry<V>>>>,
    ) -> Result<Option<Entry<V>>> {
        let keep = |number, found: &Option<Entry<V>>| {
            // `None`, if there is no copy, is smaller than any number.
            if self.kept.read(key, |copy| (AfterRead::Keep, copy.value.question)) > Some(number) {
                return;
            }
            let Some(entry) = found else {
                // A caller knows now that the entry is absent, so no later read may find it.
                let _ = self.kept.inner.remove(key, None);
                return;
            };
            if let Some(now) = self.feed.store_time(self.feed.now()) {
                let due = self.due(key, entry.deadlines);
                // If the store shows no slide as due, a touch would change nothing.
                let due = if entry.slide_due { due } else { postponed(due, entry.deadlines, now) };
                self.put(key, CachedCopy { entry: entry.clone(), question: number, due }, now);
            }
        };
        let (mut found, is_older) = self.reads.ask(key, freshness, question, keep).await?;
        if let Some(entry) = &mut found {
            entry.is_copy |= is_older;
        }
        Ok(found)
    }

    /// Touches the entry by `question`, or joins a touch by another call that is sent after this
    /// call began.
    ///
    /// The answer updates the deadlines of the copy, or removes the copy if the entry is absent.
    pub(super) async fn touch(
        &self,
        key: &Key,
        question: impl Future<Output = Result<Option<Deadlines>>>,
    ) -> Result<Option<Deadlines>> {
        let question = async {
            let touched = question.await;
            if let Ok(None) = touched {
                self.changed(key);
            }
            touched
        };
        let keep = |_, touched: &Option<Deadlines>| {
            if let Some(deadlines) = *touched
                && let Some(now) = self.feed.store_time(self.feed.now())
            {
                let _lock = self.reads.shard(key);
                self.prolong(key, deadlines, now);
            }
        };
        let (touched, _) = self.touches.ask(key, Freshness::Strict, question, keep).await?;
        Ok(touched)
    }

    /// Updates the deadlines of the copy to those that the store has answered to a touch.
    ///
    /// A store with a longer slack of its own may have left them unchanged: the next touch is
    /// postponed.
    fn prolong(&self, key: &Key, deadlines: Deadlines, now: Timestamp) {
        if let Some(mut kept) = self.kept.read(key, |kept| (AfterRead::Keep, kept.value.clone())) {
            kept.entry.deadlines = deadlines;
            kept.due = postponed(self.due(key, deadlines), deadlines, now);
            self.put(key, kept, now);
        }
    }

    fn put(&self, key: &Key, kept: CachedCopy<V>, now: Timestamp) {
        let left = kept.entry.deadlines.expires_at().map(|end| end.since(now));
        let age = left.map_or(MAX_AGE, |left| left.min(MAX_AGE));
        let _ = self.kept.inner.remove(key, None);
        if !age.is_zero() {
            // A copy that does not fit is absent, which is a right answer too.
            let _ = self.kept.inner.insert(*key, NewEntry::new(kept, Expiry::after(age)));
        }
    }

    /// The moment from which a use must reach the store: between 8/100 and 10/100 of the idle time
    /// after the last use.
    fn due(&self, key: &Key, deadlines: Deadlines) -> Option<Timestamp> {
        let (idle, used) = (deadlines.idle_timeout()?, deadlines.last_used()?);
        let spread = (self.jitter.hash_one(key) % 21) as u32;
        Some(used.saturating_add(idle / 1_000 * (80 + spread)))
    }

    /// This process begins a change. There is no copy until it ends.
    pub(super) fn begin_change(&self, key: &Key) {
        self.touches.begin_change(key);
        self.reads.begin_change(key);
        let _ = self.kept.inner.remove(key, None);
    }

    /// Drops the copy, and keeps no answer that is in flight.
    pub(super) fn changed(&self, key: &Key) {
        self.touches.changed(key);
        self.reads.changed(key);
        let _ = self.kept.inner.remove(key, None);
    }

    pub(super) fn all_changed(&self) {
        self.touches.all_changed();
        self.reads.all_changed();
        self.kept.inner.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

impl<V> Copies<V> {
    pub(super) fn end_change(&self, key: &Key) {
        self.touches.end_change(key);
        self.reads.end_change(key);
    }
}

/// Postpones a touch to at least a thirty-second of the idle time from now.
fn postponed(due: Option<Timestamp>, deadlines: Deadlines, now: Timestamp) -> Option<Timestamp> {
    let earliest = now.saturating_add(deadlines.idle_timeout()? / 32);
    Some(due?.max(earliest))
}
