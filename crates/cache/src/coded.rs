use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    At, Changes, Codec, Cursor, Deadlines, Entry, Error, Expiry, Freshness, Insert, Key, Listener,
    Listing, Namespace, NewEntry, OnExpired, Owner, Page, Push, Remove, Replace, Result, Store,
    Version,
};

/// A store of values, on a store of bytes and a [`Codec`].
pub struct Coded<V, S, C> {
    store: S,
    codec: C,
    max_size: usize,
    value: PhantomData<fn() -> V>,
}

/// The largest encoded value by default, in bytes: 64 KiB.
pub const VALUE_SIZE_MAX_DEFAULT: usize = 64 * 1024;

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Coded<V, S, C> {
    /// Stores values with this codec.
    pub const fn new(store: S, codec: C) -> Self {
        Self { store, codec, max_size: VALUE_SIZE_MAX_DEFAULT, value: PhantomData }
    }

    /// Sets the largest encoded value, in bytes; a larger one is an error
    /// ([`Error::is_too_large`]). Defaults to [`VALUE_SIZE_MAX_DEFAULT`].
    #[must_use]
    pub const fn max_value_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// The store of bytes.
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn encode(&self, key: &Key, value: &V) -> Result<Vec<u8>> {
        let bytes = self.codec.encode(key, value)?;
        if bytes.len() > self.max_size {
            return Err(Error::too_large(bytes.len(), self.max_size));
        }
        Ok(bytes)
    }

    fn decode(&self, entry: Entry<Vec<u8>>) -> Result<Entry<V>> {
        let value = self.codec.decode(&entry.key, &entry.value)?;
        Ok(entry.with_value(value))
    }

    fn decode_listing(&self, listing: Listing<Vec<u8>>) -> Listing<V> {
        listing.decode(|key, bytes| self.codec.decode(key, &bytes).ok())
    }
}

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Store<V> for Coded<V, S, C> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.store.get(key, freshness).await?.map(|entry| self.decode(entry)).transpose()
    }

    async fn touch(&self, at: At<'_>) -> Result<Option<Deadlines>> {
        self.store.touch(at).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        let bytes = self.encode(&key, &entry.value)?;
        self.store.insert(key, entry.with_value(bytes)).await
    }

    async fn replace(
        &self,
        at: At<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        let bytes = self.encode(at.key, &value)?;
        Ok(match self.store.replace(at, seen, bytes, expiry).await? {
            Replace::Replaced(version) => Replace::Replaced(version),
            Replace::Conflict(entry) => Replace::Conflict(self.decode(entry)?),
            Replace::Absent => Replace::Absent,
        })
    }

    async fn remove(&self, at: At<'_>, seen: Option<Version>) -> Result<Remove> {
        self.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<Listing<V>> {
        Ok(self.decode_listing(self.store.list(owner).await?))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<Page<V>> {
        let page = self.store.scan(after, max_entries).await?;
        Ok(Page::new(self.decode_listing(page.listing), page.next))
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
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
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}
