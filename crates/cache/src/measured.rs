//! How long a store takes, as a metric.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::histogram;

use crate::Expiry;
use crate::{
    Access, Changes, Cursor, Entry, EntryRef, Error, Insert, Key, Listener, NewEntry, OnExpired,
    Owner, Page, Push, Rename, Renamed, Replace, Result, Store, Version,
};

/// The histogram of how long a store took to answer, in seconds, by `operation` and `outcome` (`ok` or `error`).
pub const STORE_SECONDS: &str = "kvolt_store_seconds";

/// A store that measures its calls, by the `metrics` facade: the histogram [`STORE_SECONDS`].
///
/// What is [ready](Store::get_ready) at once is not measured, and costs nothing more.
#[derive(Debug, Clone)]
pub struct Measured<S>(S);

impl<S> Measured<S> {
    /// Measures the calls of `store`.
    pub const fn new(store: S) -> Self {
        Self(store)
    }
}

async fn measured<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "how long, and not when: no test moves it")]
    let began = Instant::now();
    let answer = call.await;
    let outcome = if answer.is_ok() { "ok" } else { "error" };
    let labels = [("operation", operation), ("outcome", outcome)];
    histogram!(STORE_SECONDS, &labels).record(began.elapsed().as_secs_f64());
    answer
}

impl<V: Send + 'static, S: Store<V>> Store<V> for Measured<S> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        measured("get", self.0.get(key, access)).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        measured("insert", self.0.insert(key, entry)).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        measured("replace", self.0.replace(key, seen, value, expiry)).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        measured("rename", self.0.rename(from, to, rename)).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        measured("remove", self.0.remove(key)).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        measured("list", self.0.list(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        measured("remove_owner", self.0.remove_owner(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        measured("scan", self.0.scan(after, entries_max)).await
    }

    async fn clear(&self) -> Result<()> {
        measured("clear", self.0.clear()).await
    }

    async fn count(&self) -> Result<u64> {
        measured("count", self.0.count()).await
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.0.on_expired(told)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        self.0.changes()
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        self.0.get_ready(key, access, visit)
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        self.0.places(key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        self.0.reaches(from, to)
    }
}

impl<S: Push> Push for Measured<S> {
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        self.0.watch(interval, listener).await
    }
}
