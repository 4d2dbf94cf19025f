use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{
    AfterRead, Changes, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Version,
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The name of the histogram of a store's response times in seconds, with the labels `operation`
/// and `outcome` (`ok` or `error`).
#[cfg(feature = "metrics")]
pub const STORE_SECONDS: &str = "kvolt_store_seconds";

/// A store with its type erased. Cloning it is cheap; all clones are one store.
///
/// For a program that chooses its store when it starts, and for types that should not have the
/// store as a parameter. [`get_ready`](Store::get_ready) costs one virtual call; the other
/// operations box their future.
///
/// ```
/// use kvolt_cache::{AnyStore, MemoryStore, Store};
///
/// let store: AnyStore<String> = AnyStore::new(MemoryStore::new());
/// assert_eq!(store.namespace().as_str(), "memory");
/// ```
#[derive(Clone)]
pub struct AnyStore<V> {
    store: Arc<dyn Erased<V>>,
    is_measured: bool,
}

impl<V: Send + 'static> AnyStore<V> {
    /// Erases the type of a store.
    pub fn new(store: impl Store<V>) -> Self {
        Self { store: Arc::new(store), is_measured: false }
    }

    /// Measures operations with the `metrics` facade, in the histogram [`STORE_SECONDS`].
    ///
    /// Answers without I/O ([`get_ready`](Store::get_ready)) are not measured.
    ///
    /// ```
    /// use kvolt_cache::{AnyStore, MemoryStore};
    ///
    /// let store = AnyStore::<String>::new(MemoryStore::new()).measured();
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn measured(self) -> Self {
        Self { is_measured: true, ..self }
    }

    async fn run<T>(&self, operation: &'static str, call: Boxed<'_, T>) -> Result<T> {
        #[cfg(feature = "metrics")]
        if self.is_measured {
            #[expect(
                clippy::disallowed_methods,
                reason = "a duration for a metric, which no test moves"
            )]
            let began = std::time::Instant::now();
            let answer = call.await;
            let outcome = if answer.is_ok() { "ok" } else { "error" };
            let labels = [("operation", operation), ("outcome", outcome)];
            metrics::histogram!(STORE_SECONDS, &labels).record(began.elapsed().as_secs_f64());
            return answer;
        }
        let _ = operation;
        call.await
    }
}

impl<V> fmt::Debug for AnyStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyStore").field("is_measured", &self.is_measured).finish_non_exhaustive()
    }
}

/// [`Store`] with boxed futures, so that it can be a trait object.
trait Erased<V>: Send + Sync {
    fn namespace(&self) -> &Namespace;
    fn clock(&self) -> Clock;
    fn get<'a>(&'a self, key: &'a Key, freshness: Freshness) -> Boxed<'a, Option<Entry<V>>>;
    fn touch<'a>(&'a self, at: Target<'a>) -> Boxed<'a, Option<Deadlines>>;
    fn insert(&self, key: Key, entry: NewEntry<V>) -> Boxed<'_, InsertOutcome>;
    fn replace<'a>(
        &'a self,
        at: Target<'a>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Boxed<'a, ReplaceOutcome<V>>;
    fn remove<'a>(&'a self, at: Target<'a>, seen: Option<Version>) -> Boxed<'a, RemoveOutcome>;
    fn list<'a>(&'a self, owner: &'a Owner) -> Boxed<'a, EntryList<V>>;
    fn remove_owner<'a>(&'a self, owner: &'a Owner, keep: Option<&'a Key>) -> Boxed<'a, Vec<Key>>;
    fn scan<'a>(&'a self, after: Option<&'a Cursor>, max_entries: usize)
    -> Boxed<'a, EntryPage<V>>;
    fn clear(&self) -> Boxed<'_, ()>;
    fn count(&self) -> Boxed<'_, u64>;
    fn on_expired(&self, callback: OnExpired) -> bool;
    fn changes(&self) -> Option<Arc<Changes>>;
    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>>;
    fn place(&self, key: Key, owner: Option<&Owner>) -> Key;
}

impl<V: Send + 'static, S: Store<V>> Erased<V> for S {
    fn namespace(&self) -> &Namespace {
        Store::namespace(self)
    }

    fn clock(&self) -> Clock {
        Store::clock(self)
    }

    fn get<'a>(&'a self, key: &'a Key, freshness: Freshness) -> Boxed<'a, Option<Entry<V>>> {
        Box::pin(Store::get(self, key, freshness))
    }

    fn touch<'a>(&'a self, at: Target<'a>) -> Boxed<'a, Option<Deadlines>> {
        Box::pin(Store::touch(self, at))
    }

    fn insert(&self, key: Key, entry: NewEntry<V>) -> Boxed<'_, InsertOutcome> {
        Box::pin(Store::insert(self, key, entry))
    }

    fn replace<'a>(
        &'a self,
        at: Target<'a>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Boxed<'a, ReplaceOutcome<V>> {
        Box::pin(Store::replace(self, at, seen, value, expiry))
    }

    fn remove<'a>(&'a self, at: Target<'a>, seen: Option<Version>) -> Boxed<'a, RemoveOutcome> {
        Box::pin(Store::remove(self, at, seen))
    }

    fn list<'a>(&'a self, owner: &'a Owner) -> Boxed<'a, EntryList<V>> {
        Box::pin(Store::list(self, owner))
    }

    fn remove_owner<'a>(&'a self, owner: &'a Owner, keep: Option<&'a Key>) -> Boxed<'a, Vec<Key>> {
        Box::pin(Store::remove_owner(self, owner, keep))
    }

    fn scan<'a>(
        &'a self,
        after: Option<&'a Cursor>,
        max_entries: usize,
    ) -> Boxed<'a, EntryPage<V>> {
        Box::pin(Store::scan(self, after, max_entries))
    }

    fn clear(&self) -> Boxed<'_, ()> {
        Box::pin(Store::clear(self))
    }

    fn count(&self) -> Boxed<'_, u64> {
        Box::pin(Store::count(self))
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        Store::on_expired(self, callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        Store::changes(self)
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        Store::get_ready(self, key, freshness, visit)
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        Store::place(self, key, owner)
    }
}

impl<V: Send + 'static> Store<V> for AnyStore<V> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.run("get", self.store.get(key, freshness)).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.run("touch", self.store.touch(at)).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        self.run("insert", self.store.insert(key, entry)).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        self.run("replace", self.store.replace(at, seen, value, expiry)).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.run("remove", self.store.remove(at, seen)).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.run("list", self.store.list(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.run("remove_owner", self.store.remove_owner(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.run("scan", self.store.scan(after, max_entries)).await
    }

    async fn clear(&self) -> Result<()> {
        self.run("clear", self.store.clear()).await
    }

    async fn count(&self) -> Result<u64> {
        self.run("count", self.store.count()).await
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.store.on_expired(callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.store.changes()
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        self.store.get_ready(key, freshness, visit)
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.store.place(key, owner)
    }
}
