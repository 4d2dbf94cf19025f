use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::memory::AtCapacity;
use crate::{Access, Clock, Deadlines, Entry, EntryRef, Expiry, Key, MemoryStore, Timestamp};

/// A copy is asked for anew after this long at the latest, so that one that nobody reads frees its memory.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The copies, by the key of their entry.
pub(super) struct Copies<V> {
    kept: MemoryStore<Kept<V>>,
    /// No two servers ask for the same session at the same moment.
    jitter: RandomState,
}

#[derive(Clone)]
struct Kept<V> {
    entry: Entry<V>,
    /// The number of the flight that brought it.
    flight: u64,
    /// From when on, by the store's clock, a use has to be told to the store.
    due: Option<Timestamp>,
}

impl<V: Clone + Send + Sync + 'static> Copies<V> {
    pub(super) fn new(copies_max: usize, clock: Clock) -> Self {
        let kept = MemoryStore::builder()
            .entries_max(copies_max)
            .at_capacity(AtCapacity::EvictNearestEnd)
            .clock(clock)
            .build();
        Self { kept, jitter: RandomState::new() }
    }

    /// Shows the copy, unless at `store_time` its entry may have ended, or a use has to be told.
    pub(super) fn look(
        &self,
        key: &Key,
        access: Access,
        store_time: Timestamp,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> bool {
        let shown = self.kept.read(key, Access::PEEK, |kept| {
            let Kept { entry, due, .. } = kept.value;
            let ended = entry.deadlines.expires_at().is_some_and(|end| end <= store_time);
            let due = access.slides() && due.is_some_and(|due| due <= store_time);
            if ended || due {
                return false;
            }
            visit(EntryRef::new(
                &entry.key,
                &entry.value,
                entry.version,
                entry.owner.as_ref(),
                entry.deadlines,
            ));
            true
        });
        shown.unwrap_or(false)
    }

    /// Keeps a copy, unless there is one that was asked for later. Under the lock of its key.
    pub(super) fn put(&self, entry: &Entry<V>, flight: u64, access: Access, store_time: Timestamp) {
        if self.kept.read(&entry.key, Access::PEEK, |kept| kept.value.flight > flight) == Some(true)
        {
            return;
        }
        let left = entry.deadlines.expires_at().map(|end| end.since(store_time));
        let age_max = left.map_or(AGE_MAX, |left| left.min(AGE_MAX));
        if age_max.is_zero() {
            return;
        }
        let due =
            self.due(&entry.key, entry.deadlines).map(|due| match entry.deadlines.idle_timeout() {
                // The store has slack of its own, and did not note this one.
                Some(idle) if access.slides() => due.max(store_time.saturating_add(idle / 32)),
                _ => due,
            });
        let kept = Kept { entry: entry.clone(), flight, due };
        self.kept.put(entry.key, kept, Expiry::after(age_max));
    }

    /// When a use has to be told: between 8/100 and 10/100 of the idle time after the last one.
    fn due(&self, key: &Key, deadlines: Deadlines) -> Option<Timestamp> {
        let (idle, used) = (deadlines.idle_timeout()?, deadlines.last_used()?);
        let spread = (self.jitter.hash_one(key) % 21) as u32;
        Some(used.saturating_add(idle / 1_000 * (80 + spread)))
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.kept.read(key, Access::PEEK, |_| ()).is_some()
    }

    pub(super) fn remove(&self, key: &Key) {
        self.kept.take_out(key);
    }

    pub(super) fn clear(&self) {
        self.kept.empty();
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}
