//! The model behind a lock, as a store.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvolt_cache::{
    Access, Clock, Cursor, Entry, EntryRef, Error, Expiry, Insert, Key, NewEntry, Owner, Page,
    Rename, Renamed, Replace, Result, Store, Version,
};

use crate::Model;

/// A [`Store`] that obeys every law because it does one thing at a time: a [`Model`] behind a
/// lock.
///
/// Not fast, and nothing ever cleans it up in between: a reference, not a
/// store to use. Cloning it is cheap; all clones are one store.
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
}

impl<V: Clone> ModelStore<V> {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { model: Arc::new(Mutex::new(Model::new())), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Model<V>> {
        // No call into the model leaves it half changed.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Clone for ModelStore<V> {
    fn clone(&self) -> Self {
        Self { model: Arc::clone(&self.model), clock: self.clock.clone() }
    }
}

impl<V> fmt::Debug for ModelStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelStore").field("clock", &self.clock).finish_non_exhaustive()
    }
}

// The time is read under the lock, so that it never goes back from one call to the next.
impl<V: Clone + Send + Sync + 'static> Store<V> for ModelStore<V> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        let mut model = self.lock();
        Ok(model.get(self.clock.now(), key, access))
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        check_owner(entry.owner.as_ref())?;
        let mut model = self.lock();
        Ok(model.insert(self.clock.now(), key, entry))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        let mut model = self.lock();
        Ok(model.replace(self.clock.now(), key, seen, value, expiry))
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        check_owner(rename.owner.as_ref())?;
        let mut model = self.lock();
        Ok(model.rename(self.clock.now(), from, to, rename))
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let mut model = self.lock();
        Ok(model.remove(self.clock.now(), key))
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        let mut model = self.lock();
        Ok(model.list(self.clock.now(), owner))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let mut model = self.lock();
        Ok(model.remove_owner(self.clock.now(), owner, keep))
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        let mut entries = {
            let mut model = self.lock();
            model.entries(self.clock.now())
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
        self.lock().clear();
        Ok(())
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        let entry = {
            let mut model = self.lock();
            model.get(self.clock.now(), key, access)
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
