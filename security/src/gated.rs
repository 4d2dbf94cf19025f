//! A store that fails, stalls and lets keys collide when a test says so, and still pushes its changes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{
    Access, Changes, Cursor, Entry, EntryRef, Error, Expiry, Insert, Key, Listener, NewEntry,
    OnExpired, Owner, Page, Push, Rename, Renamed, Replace, Result, Store, Version,
};
use kvolt_testkit::{Faults, FaultyStore};

/// A store right above the driver of a real one, with [`Faults`] and [`Collisions`].
pub(crate) struct Gated<V, S> {
    faulty: FaultyStore<S>,
    collisions: Collisions,
    value: PhantomData<fn() -> V>,
}

/// Puts somebody else's entry under a key in the moment before it is taken, which is what a
/// generator that repeats itself does.
#[derive(Debug, Clone, Default)]
pub struct Collisions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    copy_of: Option<Key>,
    planted: Vec<Key>,
}

impl Collisions {
    /// The next key that is to be taken is taken already, by a copy of the entry under `victim`.
    pub fn arm(&self, victim: Key) {
        self.state().copy_of = Some(victim);
    }

    /// The keys that were taken like that.
    pub fn planted(&self) -> Vec<Key> {
        self.state().planted.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Send + 'static, S: Store<V>> Gated<V, S> {
    pub(crate) fn new(store: S) -> (Self, Faults, Collisions) {
        let (faulty, faults) = FaultyStore::new(store);
        let collisions = Collisions::default();
        let gated = Self { faulty, collisions: collisions.clone(), value: PhantomData };
        (gated, faults, collisions)
    }

    async fn collide(&self, key: Key) -> Result<()> {
        let Some(victim) = self.collisions.state().copy_of.take() else { return Ok(()) };
        let store = self.faulty.inner();
        if let Some(entry) = store.get(&victim, Access::PEEK).await? {
            let copy = NewEntry::new(entry.value, Expiry::after(LONG)).owner(entry.owner);
            if matches!(store.insert(key, copy).await?, Insert::Inserted { .. }) {
                self.collisions.state().planted.push(key);
            }
        }
        Ok(())
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3_600);

impl<V: Send + 'static, S: Store<V>> Store<V> for Gated<V, S> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        self.faulty.get(key, access).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        self.collide(key).await?;
        self.faulty.insert(key, entry).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        self.faulty.replace(key, seen, value, expiry).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        self.collide(to).await?;
        self.faulty.rename(from, to, rename).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.faulty.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        self.faulty.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.faulty.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        self.faulty.scan(after, entries_max).await
    }

    async fn clear(&self) -> Result<()> {
        self.faulty.clear().await
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        self.faulty.get_ready(key, access, visit)
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.faulty.on_expired(told)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.faulty.changes()
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        self.faulty.places(key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        self.faulty.reaches(from, to)
    }
}

impl<V: Send + 'static, S: Store<V> + Push> Push for Gated<V, S> {
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        self.faulty.inner().watch(interval, listener).await
    }
}

impl<V, S: Clone> Clone for Gated<V, S> {
    fn clone(&self) -> Self {
        let (faulty, collisions) = (self.faulty.clone(), self.collisions.clone());
        Self { faulty, collisions, value: PhantomData }
    }
}

impl<V, S: fmt::Debug> fmt::Debug for Gated<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated").field("store", &self.faulty).finish_non_exhaustive()
    }
}
