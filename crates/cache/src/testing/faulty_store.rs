//! A store that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    AfterRead, ChangeFeed, ChangeObserver, Changes, Clock, Cursor, Deadlines, Entry, EntryList,
    EntryPage, EntryRef, Error, Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry,
    OnExpired, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};

use super::{Call, Faults};

/// A wrapper that makes a store fail, stall and lose answers, as a test demands.
///
/// ```
/// use kvolt_cache::testing::{Call, FaultyStore};
/// use kvolt_cache::{Freshness, Key, MemoryStore, Store};
///
/// # pollster::block_on(async {
/// let (store, faults) = FaultyStore::new(MemoryStore::<String>::new());
/// faults.fail_next(1);
/// let error = store.get(&Key::of("a name"), Freshness::Strict).await.unwrap_err();
/// assert!(error.is_unavailable());
/// assert!(store.get(&Key::of("a name"), Freshness::Strict).await.unwrap().is_none());
/// assert_eq!(faults.count(Call::Get), 2);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
    clock: Option<Clock>,
}

impl<S> FaultyStore<S> {
    /// Makes a store that does not fail yet, and its controls.
    pub fn new(store: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { store, faults: faults.clone(), clock: None }, faults)
    }

    /// Sets the clock of the programs on this store, as on a machine whose time differs from that of
    /// the store's server. Defaults to the clock of the wrapped store.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::testing::FaultyStore;
    /// use kvolt_cache::{ManualClock, MemoryStore, Store};
    ///
    /// let (time, fast) = (ManualClock::new(), ManualClock::new());
    /// fast.advance(Duration::from_secs(5));
    /// let store: MemoryStore<u32> = MemoryStore::builder().clock(time.clock()).build();
    /// let store = FaultyStore::new(store).0.with_clock(fast.clock());
    /// let ahead = store.clock().now().since(store.inner().clock().now());
    /// assert_eq!(ahead, Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The wrapped store, which has no faults.
    pub fn inner(&self) -> &S {
        &self.store
    }
}

impl<V: Send + 'static, S: Store<V>> Store<V> for FaultyStore<S> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.clock.clone().unwrap_or_else(|| self.store.clock())
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.faults.before(Call::Get).await?;
        let answer = self.store.get(key, freshness).await;
        self.faults.after(Call::Get, answer).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.faults.before(Call::Touch).await?;
        let answer = self.store.touch(at).await;
        self.faults.after(Call::Touch, answer).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        self.faults.note_insertion(key);
        self.faults.before(Call::Insert).await?;
        let answer = self.store.insert(key, entry).await;
        self.faults.after(Call::Insert, answer).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        self.faults.before(Call::Replace).await?;
        let answer = self.store.replace(at, seen, value, expiry).await;
        self.faults.after(Call::Replace, answer).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.faults.before(Call::Remove).await?;
        let answer = self.store.remove(at, seen).await;
        self.faults.after(Call::Remove, answer).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.faults.before(Call::List).await?;
        let answer = self.store.list(owner).await;
        self.faults.after(Call::List, answer).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.faults.before(Call::RemoveOwner).await?;
        let answer = self.store.remove_owner(owner, keep).await;
        self.faults.after(Call::RemoveOwner, answer).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.faults.before(Call::Scan).await?;
        let answer = self.store.scan(after, max_entries).await;
        self.faults.after(Call::Scan, answer).await
    }

    async fn clear(&self) -> Result<()> {
        self.faults.before(Call::Clear).await?;
        let answer = self.store.clear().await;
        self.faults.after(Call::Clear, answer).await
    }

    async fn count(&self) -> Result<u64> {
        self.faults.before(Call::Count).await?;
        let answer = self.store.count().await;
        self.faults.after(Call::Count, answer).await
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        self.faults.record(Call::GetReady);
        if self.faults.must_wait(Call::GetReady) {
            return None;
        }
        if let Err(error) = self.faults.fail(Call::GetReady) {
            return Some(Err(error));
        }
        let answer = self.store.get_ready(key, freshness, visit)?;
        match self.faults.lose(Call::GetReady) {
            Ok(()) => Some(answer),
            Err(error) => Some(Err(error)),
        }
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.store.on_expired(callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.store.changes()
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.store.place(key, owner)
    }
}

impl<S: ChangeFeed> ChangeFeed for FaultyStore<S> {
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Error {
        self.store.run(interval, observer).await
    }
}
