//! The model behind a lock, as a store.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kvolt_cache::{
    Access, Clock, Cursor, Entry, EntryRef, Error, Expiry, Insert, Key, NewEntry, OnExpired, Owner,
    Page, Rename, Renamed, Replace, Result, Store, Timestamp, Version,
};

use crate::Model;

/// A [`Store`] that obeys every law because it does one thing at a time: a [`Model`] behind a
/// lock.
///
/// Not fast, and each of its operations cleans up first: a reference, not a
/// store to use. Cloning it is cheap; all clones are one store.
///
/// Who is [told](Store::on_expired) of what has ended must not call the store.
///
/// ```
/// use kvolt_cache::{Access, Key, Store};
/// use kvolt_testkit::{ManualClock, ModelStore};
///
/// # pollster::block_on(async {
/// let store = ModelStore::<String>::new(ManualClock::new().clock());
/// assert!(store.get(&Key::of("nothing"), Access::PEEK).await?.is_none());
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
pub struct ModelStore<V> {
    model: Arc<Mutex<Model<V>>>,
    clock: Clock,
    on_expired: Arc<OnceLock<OnExpired>>,
}

impl<V: Clone> ModelStore<V> {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { model: Arc::new(Mutex::new(Model::new())), clock, on_expired: Arc::default() }
    }

    /// The lock, with what has ended dropped and told, and the time.
    ///
    /// The time is read under the lock, so that it never goes back from one call to the next.
    fn begin(&self) -> (MutexGuard<'_, Model<V>>, Timestamp) {
        // No call into the model leaves it half changed.
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let ended = model.clean(now);
        if let Some(told) = self.on_expired.get() {
            ended.iter().for_each(|key| told(key));
        }
        (model, now)
    }
}

impl<V> Clone for ModelStore<V> {
    fn clone(&self) -> Self {
        let (model, on_expired) = (Arc::clone(&self.model), Arc::clone(&self.on_expired));
        Self { model, clock: self.clock.clone(), on_expired }
    }
}

impl<V> fmt::Debug for ModelStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelStore").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl<V: Clone + Send + Sync + 'static> Store<V> for ModelStore<V> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        let (mut model, now) = self.begin();
        Ok(model.get(now, key, access))
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        check_owner(entry.owner.as_ref())?;
        let (mut model, now) = self.begin();
        Ok(model.insert(now, key, entry))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        let (mut model, now) = self.begin();
        Ok(model.replace(now, key, seen, value, expiry))
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        check_owner(rename.owner.as_ref())?;
        let (mut model, now) = self.begin();
        Ok(model.rename(now, from, to, rename))
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let (mut model, now) = self.begin();
        Ok(model.remove(now, key))
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        let (mut model, now) = self.begin();
        Ok(model.list(now, owner))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let (mut model, now) = self.begin();
        Ok(model.remove_owner(now, owner, keep))
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        let mut entries = {
            let (mut model, now) = self.begin();
            model.entries(now)
        };
        if let Some(after) = after {
            let Ok(after) = <[u8; 32]>::try_from(after.as_bytes()) else {
                return Err(Error::misconfigured("the cursor is not from a model store"));
            };
            entries.retain(|entry| entry.key > Key::from_bytes(after));
        }
        let more = entries.len() > entries_max.max(1);
        entries.truncate(entries_max.max(1));
        let last = entries.last().filter(|_| more);
        let next = last.map(|entry| Cursor::from_bytes(*entry.key.as_bytes()));
        Ok(Page::new(entries, next))
    }

    async fn clear(&self) -> Result<()> {
        self.begin().0.clear();
        Ok(())
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.on_expired.set(told).is_ok()
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        let entry = {
            let (mut model, now) = self.begin();
            model.get(now, key, access)
        };
        if let Some(entry) = &entry {
            visit(EntryRef::new(
                &entry.key,
                &entry.value,
                entry.version,
                entry.owner.as_ref(),
                entry.deadlines,
            ));
        }
        Some(Ok(entry.is_some()))
    }
}

fn check_owner(owner: Option<&Owner>) -> Result<()> {
    match owner {
        Some(owner) if owner.as_str().len() > Owner::LEN_MAX => {
            Err(Error::misconfigured("the owner is too long"))
        }
        _ => Ok(()),
    }
}
