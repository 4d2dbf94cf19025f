use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    ChangeFeed, ChangeObserver, Changes, Clock, Codec, Cursor, Deadlines, Entry, EntryList,
    EntryPage, Error, Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner,
    RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};

/// A store of values, made of a store of bytes and a [`Codec`].
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::codec::Json;
/// use kvolt_cache::{Encoded, Expiry, Freshness, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// // In a program, a store of bytes: `RedisStore`, `PostgresStore`, ...
/// let bytes = MemoryStore::<Vec<u8>>::new();
/// let store: Encoded<Vec<String>, _, _> = Encoded::new(bytes, Json).max_value_size(16 * 1024);
/// let key = Key::of("basket");
/// let basket = NewEntry::new(vec![String::from("book")], Expiry::idle(Duration::from_secs(60)));
/// let _ = store.insert(key, basket).await?;
///
/// let bytes = store.store().get(&key, Freshness::Strict).await?.expect("it was inserted").value;
/// assert_eq!(bytes, br#"["book"]"#);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Encoded<V, S, C> {
    store: S,
    codec: C,
    max_size: usize,
    value: PhantomData<fn() -> V>,
}

/// The default of [`Encoded::max_value_size`]: 64 KiB.
pub const DEFAULT_MAX_VALUE_SIZE: usize = 64 * 1024;

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Encoded<V, S, C> {
    /// Encodes the values of `store` with `codec`.
    pub const fn new(store: S, codec: C) -> Self {
        Self { store, codec, max_size: DEFAULT_MAX_VALUE_SIZE, value: PhantomData }
    }

    /// Sets the largest size of an encoded value in bytes. A larger value is refused
    /// ([`Error::is_too_large`]). Defaults to [`DEFAULT_MAX_VALUE_SIZE`].
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

    fn decode_listing(&self, listing: EntryList<Vec<u8>>) -> EntryList<V> {
        listing.decode(|key, bytes| self.codec.decode(key, bytes).ok())
    }
}

impl<V: Send + Sync + 'static, S: Store<Vec<u8>>, C: Codec<V>> Store<V> for Encoded<V, S, C> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.store.get(key, freshness).await?.map(|entry| self.decode(entry)).transpose()
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.store.touch(at).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let bytes = self.encode(&key, &entry.value)?;
        self.store.insert(key, entry.with_value(bytes)).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        let bytes = self.encode(at.key, &value)?;
        Ok(match self.store.replace(at, seen, bytes, expiry).await? {
            ReplaceOutcome::Replaced(version) => ReplaceOutcome::Replaced(version),
            ReplaceOutcome::Conflict(entry) => ReplaceOutcome::Conflict(self.decode(entry)?),
            ReplaceOutcome::Absent => ReplaceOutcome::Absent,
        })
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        Ok(self.decode_listing(self.store.list(owner).await?))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        let page = self.store.scan(after, max_entries).await?;
        Ok(EntryPage::new(self.decode_listing(page.listing), page.next))
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

impl<V: Send + Sync + 'static, S: ChangeFeed, C: Codec<V>> ChangeFeed for Encoded<V, S, C> {
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        self.store.run(interval, listener).await
    }
}
