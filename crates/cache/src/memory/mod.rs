//! The store in this process's memory.
//!
//! # How it works
//!
//! Entries are in a lock-free map (`papaya`), and a key is its own hash. A read takes no lock and
//! writes to no memory that another read writes to. It shows the entry in its place, compares two
//! deadlines with the time, and slides by one compare-and-swap in the entry, at most once per
//! millisecond. A removal unlinks the entry, so that a call that has already found it slides or
//! reads an entry that no later call finds.
//!
//! A change seals the entry's deadline and then puts another node in its place. `node.rs` has a
//! table of the states of an entry, and of the calls that move it from one state to another.
//!
//! An operation on an owner's entries holds that owner's lock, which no read takes. A thread
//! reclaims expired entries in small slices, and sleeps until the next entry comes due.
//!
//! # Cost
//!
//! No operation's cost grows with the number of entries, except for `scan`, `clear` and cleaning.
//! An insertion at an owner's limit reads as many entries as the limit allows, those that it
//! removes, and each expired entry once.

mod builder;
mod capacity;
mod clean;
mod cleaning;
mod due_queue;
mod evict;
mod hash;
mod inner;
mod insert;
mod list;
mod node;
mod owners;
mod remove;
mod replace;

use std::fmt;
use std::sync::Arc;

use self::inner::Inner;
use crate::{
    AfterRead, Changes, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Version,
};

pub use self::builder::MemoryStoreBuilder;
pub use self::capacity::AtCapacity;
pub use self::cleaning::Cleaning;

/// A [`Store`] in this process's memory. Its entries are lost when the process ends.
///
/// Values are not encoded, and can be read in place. No operation waits for I/O, so the store works
/// with every async runtime and without one. Cloning it is cheap; all clones are one store. Its
/// [namespace](Store::namespace) is `memory`, but two stores share no entries.
///
/// Deadlines are exact to the tick of its [`Clock`], and each use slides them.
///
/// Its [`changes`](Store::changes) are notified of each change. An expired entry is
/// [reported](Store::on_expired) when it is reclaimed: by the thread that cleans, or by a call on
/// the same key. The callback must not call the store.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{AfterRead, Expiry, InsertOutcome, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let key = Key::of("greeting");
/// let hello = NewEntry::new("hello", Expiry::idle(Duration::from_secs(60)));
/// assert!(matches!(store.insert(key, hello).await?, InsertOutcome::Inserted { .. }));
///
/// // In place, without a future and without a copy:
/// assert_eq!(store.read(&key, |entry| (AfterRead::Slide, entry.value.len())), Some(5));
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore<V> {
    pub(crate) inner: Arc<Inner<V>>,
}

impl<V: Clone + Send + Sync + 'static> MemoryStore<V> {
    /// Makes a store without bounds, on the system's clock, with a thread that cleans it.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts to make a store with other settings.
    pub fn builder() -> MemoryStoreBuilder<V> {
        MemoryStoreBuilder::new()
    }

    /// Shows a live entry to `visit`, and slides it if `visit` returns [`AfterRead::Slide`]. Returns
    /// `None` if the key has no live entry.
    ///
    /// The visitor sees the deadlines as they are before the slide, which starts the idle time at
    /// [`read_at`](EntryRef::read_at). It runs again if the entry was changed meanwhile: its last
    /// answer counts. It should be short, because no memory is freed while it runs.
    #[inline]
    pub fn read<R>(
        &self,
        key: &Key,
        visit: impl FnMut(EntryRef<'_, V>) -> (AfterRead, R),
    ) -> Option<R> {
        self.inner.read(key, visit)
    }

    /// How many entries the store holds, including expired ones that are not reclaimed yet.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether the store holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reclaims the memory of expired entries.
    ///
    /// The store's own thread does this within 64 milliseconds after a deadline, unless
    /// [`Cleaning::Manual`] is set. Readers never wait for it.
    pub fn clean(&self) {
        while self.inner.clean_slice().is_some_and(|rest| rest.is_zero()) {}
        self.inner.compact_queues();
    }
}

impl<V: Clone + Send + Sync + 'static> Default for MemoryStore<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for MemoryStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("capacity", &self.inner.capacity.max)
            .field("clock", &self.inner.clock)
            .field("cleaning", &self.inner.cleaning)
            .finish_non_exhaustive()
    }
}

impl<V: Clone + Send + Sync + 'static> Store<V> for MemoryStore<V> {
    fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    fn clock(&self) -> Clock {
        self.inner.clock.clone()
    }

    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<V>>> {
        Ok(self.inner.find(&self.inner.map(), key).map(|found| found.to_entry()))
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        Ok(self.inner.touch(at.key))
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        self.inner.insert(key, entry)
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        self.inner.replace(at.key, seen, value, expiry)
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        Ok(self.inner.remove(at.key, seen))
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        Ok(EntryList::new(self.inner.list(owner), Vec::new()))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        Ok(self.inner.remove_owner(owner, keep))
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.inner.scan(after, max_entries)
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear();
        Ok(())
    }

    /// Returns [`len`](MemoryStore::len): at no cost, and including expired entries that are not
    /// reclaimed yet.
    async fn count(&self) -> Result<u64> {
        Ok(self.len() as u64)
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.inner.on_expired.set(callback).is_ok()
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        Some(Arc::clone(&self.inner.changes))
    }

    fn get_ready(
        &self,
        key: &Key,
        _: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        Some(Ok(self.read(key, |entry| (visit(entry), ())).is_some()))
    }
}
