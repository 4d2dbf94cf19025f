use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Access, Changes, Codec, Cursor, Entry, Error, Expiry, Insert, Key, Listener, NewEntry,
    OnExpired, Owner, Page, Push, Rename, Renamed, Replace, Result, Store, Version,
};

/// A store of values, on a store of bytes and a [`Codec`].
///
/// With a codec that [binds the key](Codec::binds_key), a renaming costs one
/// more look-up, and so does a replacement.
pub struct Coded<V, S, C> {
    store: S,
    codec: C,
    size_max: usize,
    value: PhantomData<fn() -> V>,
}

/// The largest encoded value, in bytes, unless set: 64 KiB.
pub const VALUE_SIZE_MAX_DEFAULT: usize = 64 * 1024;

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Coded<V, S, C> {
    /// Stores values with this codec.
    pub const fn new(store: S, codec: C) -> Self {
        Self { store, codec, size_max: VALUE_SIZE_MAX_DEFAULT, value: PhantomData }
    }

    /// The largest encoded value, in bytes; a larger one is [too large](Error::too_large).
    /// [`VALUE_SIZE_MAX_DEFAULT`] unless set.
    #[must_use]
    pub const fn value_size_max(mut self, bytes: usize) -> Self {
        self.size_max = bytes;
        self
    }

    /// The store of bytes.
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>> {
        let bytes = self.codec.encode(key, value)?;
        if bytes.len() > self.size_max {
            return Err(Error::too_large(bytes.len(), self.size_max));
        }
        Ok(bytes)
    }

    fn decode(&self, entry: Entry<Vec<u8>>) -> Result<Entry<V>> {
        let value = self.codec.decode(&entry.key, &entry.value)?;
        Ok(Entry::new(entry.key, value, entry.version, entry.owner, entry.deadlines))
    }

    async fn replace_at(
        &self,
        key: &Key,
        seen: Version,
        value: &V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        let bytes = self.encode(key, value)?;
        Ok(match self.store.replace(key, seen, bytes, expiry).await? {
            Replace::Replaced(version) => Replace::Replaced(version),
            Replace::Conflict(entry) => Replace::Conflict(self.decode(entry)?),
            Replace::Absent => Replace::Absent,
        })
    }
}

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Store<V> for Coded<V, S, C> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        self.store.get(key, access).await?.map(|entry| self.decode(entry)).transpose()
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        let bytes = self.encode(&key, &entry.value)?;
        let coded = NewEntry::new(bytes, entry.expiry).owner(entry.owner).limit(entry.limit);
        self.store.insert(key, coded).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        if !self.codec.binds_key() {
            return self.replace_at(key, seen, &value, expiry).await;
        }
        // `key` may be a former one, and the value has to be encoded for the one it lives under.
        // Where it moves on in between, its version changes, or it is absent and looked for again.
        while let Some(entry) = self.store.get(key, Access::PEEK.strict()).await? {
            match self.replace_at(&entry.key, seen, &value, expiry).await? {
                Replace::Absent => {}
                done => return Ok(done),
            }
        }
        Ok(Replace::Absent)
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        let Rename { value, owner, expiry, grace, limit } = rename;
        let mut coded = Rename { value: None, owner, expiry, grace, limit };
        if let Some((seen, value)) = value {
            coded.value = Some((seen, self.encode(&to, &value)?));
            return self.store.rename(from, to, coded).await;
        }
        if !self.codec.binds_key() {
            return self.store.rename(from, to, coded).await;
        }
        loop {
            let Some(entry) = self.store.get(from, Access::PEEK.strict()).await? else {
                return Ok(Renamed::Absent);
            };
            if entry.key != *from {
                return Ok(Renamed::Superseded);
            }
            let value = self.codec.decode(from, &entry.value)?;
            coded.value = Some((entry.version, self.encode(&to, &value)?));
            match self.store.rename(from, to, coded.clone()).await? {
                // The caller named no version: it is moved as it is now.
                Renamed::Conflict => {}
                done => return Ok(done),
            }
        }
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.store.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        let entries = self.store.list(owner).await?;
        entries.into_iter().map(|entry| self.decode(entry)).collect()
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        let page = self.store.scan(after, entries_max).await?;
        let entries = page.entries.into_iter().map(|entry| self.decode(entry));
        Ok(Page::new(entries.collect::<Result<_>>()?, page.next))
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
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

impl<V: Send + Sync + 'static, S: Push, C: Codec<V>> Push for Coded<V, S, C> {
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        self.store.watch(interval, listener).await
    }
}

impl<V, S: fmt::Debug, C: fmt::Debug> fmt::Debug for Coded<V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coded")
            .field("store", &self.store)
            .field("codec", &self.codec)
            .field("size_max", &self.size_max)
            .finish_non_exhaustive()
    }
}
