//! The model behind a lock, as a store.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kvolt_cache::{
    AfterRead, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Error, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Timestamp, Version,
};

use crate::Model;

/// A reference [`Store`]: a [`Model`] behind a lock, which obeys every law because it does one
/// operation at a time.
///
/// It is slow, and not for use in a program. Cloning it is cheap; all clones are one store. Its
/// namespace is `model`; [`within`](Self::within) opens others.
///
/// The [callback](Store::on_expired) for expired entries must not call the store.
///
/// ```
/// use kvolt_cache::{Freshness, Key, Store};
/// use kvolt_testkit::{ManualClock, ModelStore};
///
/// # pollster::block_on(async {
/// let store = ModelStore::<String>::new(ManualClock::new().clock());
/// assert!(store.get(&Key::of("nothing"), Freshness::Strict).await?.is_none());
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
pub struct ModelStore<V> {
    namespace: Namespace,
    /// The entries of each namespace.
    spaces: Arc<Mutex<HashMap<Namespace, Space<V>>>>,
    clock: Clock,
    on_expired: Arc<OnceLock<OnExpired>>,
}

struct Space<V> {
    model: Model<V>,
    /// The keys of entries that can't be read.
    damaged: BTreeSet<Key>,
}

impl<V: Clone> ModelStore<V> {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        let namespace = Namespace::new("model").expect("it is a valid name");
        Self { namespace, spaces: Arc::default(), clock, on_expired: Arc::default() }
    }

    /// Opens another namespace of the same store.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if it is not a valid
    /// [namespace](Namespace::new).
    pub fn within(&self, namespace: &str) -> Result<Self> {
        let (spaces, clock) = (Arc::clone(&self.spaces), self.clock.clone());
        let namespace = Namespace::new(namespace)?;
        Ok(Self { namespace, spaces, clock, on_expired: Arc::default() })
    }

    /// Makes a live entry unreadable. Returns `false` if the key has no live entry.
    pub fn damage(&self, key: &Key) -> bool {
        self.with(|space, now| {
            let is_live = space.model.get(now, key).is_some();
            is_live && space.damaged.insert(*key)
        })
    }

    /// Drops and reports expired entries, and then calls `act` with the time, all under the lock.
    ///
    /// The time is read under the lock, so that it never goes back from one call to the next.
    fn with<T>(&self, act: impl FnOnce(&mut Space<V>, Timestamp) -> T) -> T {
        let mut spaces = self.lock();
        let now = self.clock.now();
        let space = spaces.entry(self.namespace.clone()).or_default();
        let ended = space.model.clean(now);
        if let Some(callback) = self.on_expired.get() {
            ended.iter().for_each(|key| callback(key));
        }
        let answer = act(space, now);
        space.forget_removed(now);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Namespace, Space<V>>> {
        // No call into the model leaves it half changed.
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> Space<V> {
    fn read(&mut self, now: Timestamp, key: &Key) -> Result<Option<Entry<V>>> {
        let entry = self.model.get(now, key);
        match entry {
            Some(_) if self.damaged.contains(key) => {
                Err(Error::corrupt(*key, "it was damaged on purpose"))
            }
            entry => Ok(entry),
        }
    }

    fn listing(&self, entries: Vec<Entry<V>>) -> EntryList<V> {
        let (unreadable, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| self.damaged.contains(&entry.key));
        EntryList::new(entries, unreadable.into_iter().map(|entry| entry.key).collect())
    }

    /// The next entry under a key is not damaged.
    fn forget_removed(&mut self, now: Timestamp) {
        if !self.damaged.is_empty() {
            let live = self.model.entries(now);
            self.damaged.retain(|key| live.iter().any(|entry| entry.key == *key));
        }
    }
}

impl<V: Clone> Default for Space<V> {
    fn default() -> Self {
        Self { model: Model::new(), damaged: BTreeSet::new() }
    }
}

impl<V> Clone for ModelStore<V> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            spaces: Arc::clone(&self.spaces),
            clock: self.clock.clone(),
            on_expired: Arc::clone(&self.on_expired),
        }
    }
}

impl<V> fmt::Debug for ModelStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelStore")
            .field("namespace", &self.namespace)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl<V: Clone + Send + Sync + 'static> Store<V> for ModelStore<V> {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<V>>> {
        self.with(|space, now| space.read(now, key))
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.with(|space, now| match space.read(now, at.key)? {
            Some(_) => Ok(space.model.touch(now, at.key)),
            None => Ok(None),
        })
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        if let Some(limit) = &entry.limit {
            limit.check()?;
        }
        Ok(self.with(|space, now| space.model.insert(now, key, entry)))
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        self.with(|space, now| {
            space.read(now, at.key)?;
            Ok(space.model.replace(now, at.key, seen, value, expiry))
        })
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        Ok(self.with(|space, now| space.model.remove(now, at.key, seen)))
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        Ok(self.with(|space, now| {
            let entries = space.model.list(now, owner);
            space.listing(entries)
        }))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        Ok(self.with(|space, now| space.model.remove_owner(now, owner, keep)))
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        let after = match after.map(|after| <[u8; Key::LEN]>::try_from(after.as_bytes())) {
            Some(Err(_)) => return Err(Error::misconfigured("the cursor is not a model store's")),
            Some(Ok(after)) => Some(Key::from_bytes(after)),
            None => None,
        };
        Ok(self.with(|space, now| {
            let mut entries = space.model.entries(now);
            entries.retain(|entry| after.is_none_or(|after| entry.key > after));
            let more = entries.len() > max_entries.max(1);
            entries.truncate(max_entries.max(1));
            let last = entries.last().filter(|_| more);
            let next = last.map(|entry| Cursor::from_bytes(*entry.key.as_bytes()));
            EntryPage::new(space.listing(entries), next)
        }))
    }

    async fn clear(&self) -> Result<()> {
        self.with(|space, _| space.model.clear());
        Ok(())
    }

    async fn count(&self) -> Result<u64> {
        Ok(self.with(|space, now| space.model.entries(now).len() as u64))
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.on_expired.set(callback).is_ok()
    }

    fn get_ready(
        &self,
        key: &Key,
        _: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        Some(self.with(|space, now| {
            let Some(entry) = space.read(now, key)? else { return Ok(false) };
            // It slides in place, so the caller need not touch it.
            if visit(entry.slide_due(false).as_ref()) == AfterRead::Slide {
                space.model.touch(now, key);
            }
            Ok(true)
        }))
    }
}
