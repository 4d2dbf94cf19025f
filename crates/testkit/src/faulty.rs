//! A store that fails on purpose.

use std::sync::Arc;

use kvolt_cache::{
    Access, Changes, Cursor, Entry, EntryRef, Expiry, Insert, Key, NewEntry, OnExpired, Owner,
    Page, Rename, Renamed, Replace, Result, Store, Version,
};

use crate::{Call, Faults};

/// A store around another that fails, stalls and loses answers when a test says so.
///
/// ```
/// use kvolt_cache::{Access, Key, Store};
/// use kvolt_testkit::{Call, FaultyStore, ManualClock, ModelStore};
///
/// # pollster::block_on(async {
/// let (store, faults) = FaultyStore::new(ModelStore::<String>::new(ManualClock::new().clock()));
/// faults.fail_next(1);
/// let error = store.get(&Key::of("a name"), Access::SLIDE).await.unwrap_err();
/// assert!(error.is_unavailable());
/// assert!(store.get(&Key::of("a name"), Access::SLIDE).await.unwrap().is_none());
/// assert_eq!(faults.count(Call::Get), 2);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct FaultyStore<S> {
    store: S,
    faults: Faults,
}

impl<S> FaultyStore<S> {
    /// The store, which does not fail yet, and its controls.
    pub fn new(store: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { store, faults: faults.clone() }, faults)
    }

    /// The store inside, around which no fault has a way.
    pub fn inner(&self) -> &S {
        &self.store
    }
}

impl<V: Send + 'static, S: Store<V>> Store<V> for FaultyStore<S> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        self.faults.before(Call::Get).await?;
        let answer = self.store.get(key, access).await;
        self.faults.after(Call::Get, answer).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        self.faults.before(Call::Insert).await?;
        let answer = self.store.insert(key, entry).await;
        self.faults.after(Call::Insert, answer).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        self.faults.before(Call::Replace).await?;
        let answer = self.store.replace(key, seen, value, expiry).await;
        self.faults.after(Call::Replace, answer).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        self.faults.before(Call::Rename).await?;
        let answer = self.store.rename(from, to, rename).await;
        self.faults.after(Call::Rename, answer).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.faults.before(Call::Remove).await?;
        let answer = self.store.remove(key).await;
        self.faults.after(Call::Remove, answer).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        self.faults.before(Call::List).await?;
        let answer = self.store.list(owner).await;
        self.faults.after(Call::List, answer).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.faults.before(Call::RemoveOwner).await?;
        let answer = self.store.remove_owner(owner, keep).await;
        self.faults.after(Call::RemoveOwner, answer).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        self.faults.before(Call::Scan).await?;
        let answer = self.store.scan(after, entries_max).await;
        self.faults.after(Call::Scan, answer).await
    }

    async fn clear(&self) -> Result<()> {
        self.faults.before(Call::Clear).await?;
        let answer = self.store.clear().await;
        self.faults.after(Call::Clear, answer).await
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        self.faults.record(Call::GetReady);
        if self.faults.has_to_wait(Call::GetReady) {
            return None;
        }
        if let Err(error) = self.faults.fail(Call::GetReady) {
            return Some(Err(error));
        }
        let answer = self.store.get_ready(key, access, visit)?;
        match self.faults.lose(Call::GetReady) {
            Ok(()) => Some(answer),
            Err(error) => Some(Err(error)),
        }
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.store.on_expired(told)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.store.changes()
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        self.store.places(key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        self.store.reaches(from, to)
    }
}
