//! A store that fails, stalls and lets keys collide on demand, and forwards its change feed.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{
    AfterRead, ChangeFeed, ChangeObserver, Changes, Clock, Cursor, Deadlines, Entry, EntryList,
    EntryPage, EntryRef, Error, Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry,
    OnExpired, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};
use kvolt_testkit::{Faults, FaultyStore};

/// A store right above a real driver, with [`Faults`] and [`Collisions`].
pub(crate) struct FaultyPushStore<V, S> {
    faulty: FaultyStore<S>,
    collisions: Collisions,
    value: PhantomData<fn() -> V>,
}

/// Occupies a key with another entry just before it is inserted, as if a generator repeated itself.
#[derive(Debug, Clone, Default)]
pub struct Collisions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    copy_of: Option<Key>,
    planted: Vec<Key>,
}

impl Collisions {
    /// Occupies the next inserted key with a copy of the entry under `victim`.
    pub fn arm(&self, victim: Key) {
        self.state().copy_of = Some(victim);
    }

    /// The keys that were occupied.
    pub fn planted(&self) -> Vec<Key> {
        self.state().planted.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Send + 'static, S: Store<V>> FaultyPushStore<V, S> {
    pub(crate) fn new(store: S) -> (Self, Faults, Collisions) {
        let (faulty, faults) = FaultyStore::new(store);
        let collisions = Collisions::default();
        let faulty_push_store = Self { faulty, collisions: collisions.clone(), value: PhantomData };
        (faulty_push_store, faults, collisions)
    }

    async fn collide(&self, key: Key) -> Result<()> {
        let Some(victim) = self.collisions.state().copy_of.take() else { return Ok(()) };
        let store = self.faulty.inner();
        if let Some(entry) = store.get(&victim, Freshness::Strict).await? {
            let copy = NewEntry::new(entry.value, Expiry::after(LONG)).maybe_owner(entry.owner);
            if matches!(store.insert(key, copy).await?, InsertOutcome::Inserted { .. }) {
                self.collisions.state().planted.push(key);
            }
        }
        Ok(())
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3_600);

impl<V: Send + 'static, S: Store<V>> Store<V> for FaultyPushStore<V, S> {
    fn namespace(&self) -> &Namespace {
        self.faulty.namespace()
    }

    fn clock(&self) -> Clock {
        self.faulty.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.faulty.get(key, freshness).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.faulty.touch(at).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        self.collide(key).await?;
        self.faulty.insert(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        self.faulty.replace(at, seen, value, expiry).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.faulty.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.faulty.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.faulty.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.faulty.scan(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        self.faulty.clear().await
    }

    async fn count(&self) -> Result<u64> {
        self.faulty.count().await
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        self.faulty.get_ready(key, freshness, visit)
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.faulty.on_expired(callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.faulty.changes()
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.faulty.place(key, owner)
    }
}

impl<V: Send + 'static, S: Store<V> + ChangeFeed> ChangeFeed for FaultyPushStore<V, S> {
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        self.faulty.inner().run(interval, listener).await
    }
}

impl<V, S: Clone> Clone for FaultyPushStore<V, S> {
    fn clone(&self) -> Self {
        let (faulty, collisions) = (self.faulty.clone(), self.collisions.clone());
        Self { faulty, collisions, value: PhantomData }
    }
}

impl<V, S: fmt::Debug> fmt::Debug for FaultyPushStore<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyPushStore").field("store", &self.faulty).finish_non_exhaustive()
    }
}
