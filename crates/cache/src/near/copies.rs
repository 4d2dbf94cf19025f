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

/// The longest time until a copy is read again from the store, so that one that is not used frees
/// its memory.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The copies, by the key of their entry, and the questions that bring and prolong them.
pub(super) struct Copies<V> {
    feed: Arc<FeedStatus>,
    kept: MemoryStore<CachedCopy<V>>,
    reads: Flights<Option<Entry<V>>>,
    /// A lock of these comes before one of the reads.
    touches: Flights<Option<Deadlines>>,
    /// No two servers touch the same session at the same moment.
    jitter: RandomState,
}

#[derive(Clone)]
struct CachedCopy<V> {
    entry: Entry<V>,
    /// The number of the question that brought it.
    question: u64,
    /// From when on, by the store's clock, a use has to reach the store.
    due: Option<Timestamp>,
}

impl<V: Clone + Send + Sync + 'static> Copies<V> {
    pub(super) fn new(max_copies: usize, clock: Clock, feed: Arc<FeedStatus>) -> Self {
        // It only reclaims by this clock, so one that costs less to read will do.
        let clock = if clock.is_system() { Clock::system() } else { clock };
        let kept = MemoryStore::builder()
            .max_entries(max_copies)
            .at_capacity(AtCapacity::EvictNearestEnd)
            .clock(clock)
            .build();
        let (reads, touches) = (Flights::new(Arc::clone(&feed)), Flights::new(Arc::clone(&feed)));
        Self { feed, kept, reads, touches, jitter: RandomState::new() }
    }

    /// Shows the copy, if there is one that may answer, unless its entry may have ended.
    pub(super) fn look(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> bool {
        if freshness == Freshness::Strict {
            return false;
        }
        // Trusted first and read afterwards: what was notified before is out of the copies.
        let Some(read_at) = self.feed.store_time(self.feed.now()) else {
            return false;
        };
        let shown = self.kept.read(key, |kept| {
            let CachedCopy { entry, due, .. } = kept.value;
            if entry.deadlines.expires_at().is_some_and(|end| end <= read_at) {
                return (AfterRead::Keep, false);
            }
            let slide_due = due.is_some_and(|due| due <= read_at);
            // A copy can't slide in its place: the caller touches the entry.
            let (AfterRead::Keep | AfterRead::Slide) =
                visit(EntryRef { read_at, is_copy: true, slide_due, ..entry.as_ref() });
            (AfterRead::Keep, true)
        });
        shown.unwrap_or(false)
    }

    /// The answer of the store to `question`, or to the same one of another call. If that was
    /// asked before this call began, the entry says that it may be old.
    pub(super) async fn read(
        &self,
        key: &Key,
        freshness: Freshness,
        question: impl Future<Output = Result<Option<Entry<V>>>>,
    ) -> Result<Option<Entry<V>>> {
        let keep = |number, found: &Option<Entry<V>>| {
            if let Some(entry) = found
                && let Some(now) = self.feed.store_time(self.feed.now())
                && self.question(key).is_none_or(|question| question < number)
            {
                let due = self.due(key, entry.deadlines);
                // Where the store does not want a touch yet, it would do nothing.
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

    /// The answer of the store to `question`, a touch, or to one of another call that is sent
    /// after this call began.
    ///
    /// The copy gets the deadlines of the answer; without one, there is no copy any more.
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

    /// Gives the copy the deadlines that the store has answered a touch with.
    ///
    /// A store with a longer slack of its own may have left them as they were: it is not touched
    /// again at once.
    fn prolong(&self, key: &Key, deadlines: Deadlines, now: Timestamp) {
        if let Some(mut kept) = self.kept.read(key, |kept| (AfterRead::Keep, kept.value.clone())) {
            kept.entry.deadlines = deadlines;
            kept.due = postponed(self.due(key, deadlines), deadlines, now);
            self.put(key, kept, now);
        }
    }

    /// The number of the question that brought the copy.
    fn question(&self, key: &Key) -> Option<u64> {
        self.kept.read(key, |kept| (AfterRead::Keep, kept.value.question))
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

    /// When a use has to reach the store: between 8/100 and 10/100 of the idle time after the last
    /// one.
    fn due(&self, key: &Key, deadlines: Deadlines) -> Option<Timestamp> {
        let (idle, used) = (deadlines.idle_timeout()?, deadlines.last_used()?);
        let spread = (self.jitter.hash_one(key) % 21) as u32;
        Some(used.saturating_add(idle / 1_000 * (80 + spread)))
    }

    /// This process begins a change: until it ends, there is no copy.
    pub(super) fn begin_change(&self, key: &Key) {
        self.touches.begin_change(key);
        self.reads.begin_change(key);
        let _ = self.kept.inner.remove(key, None);
    }

    /// Drops the copy, and the answers that are in flight.
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

/// No earlier than a thirty-second of the idle time from now.
fn postponed(due: Option<Timestamp>, deadlines: Deadlines, now: Timestamp) -> Option<Timestamp> {
    let earliest = now.saturating_add(deadlines.idle_timeout()? / 32);
    Some(due?.max(earliest))
}
