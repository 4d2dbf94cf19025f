//! Listening to a store without keeping copies.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::BOUND_DEFAULT;
use super::listening::{Hears, Listening};
use super::trust::Trust;
use crate::{
    Access, Changes, Clock, Cursor, Entry, EntryRef, Expiry, Insert, Key, Listener, NewEntry,
    OnExpired, Owner, Page, Push, Rename, Renamed, Replace, Result, Store, Timestamp, Version,
};

/// A [`Store`] that passes everything on to another and listens to what that one
/// [pushes](Push), so that its [`changes`](Store::changes) can be waited for.
///
/// For applications that hold connections open for as long as a session lives,
/// and want no copies; a [`NearCache`](super::NearCache) tells of changes too.
/// Cloning it is cheap; all clones are one.
///
/// What this process changes is told as soon as it is done, by the key that it
/// was asked by; the store's push tells it by the one that the entry has.
pub struct Watched<V, S> {
    inner: Arc<Inner<S>>,
    /// Ends with the last clone.
    listening: Arc<Listening>,
    value: PhantomData<fn() -> V>,
}

struct Inner<S> {
    store: S,
    trust: Trust,
    changes: Arc<Changes>,
}

impl<V: Send + 'static, S: Store<V> + Push> Watched<V, S> {
    /// Listens to what `store` pushes, with [`BOUND_DEFAULT`].
    ///
    /// # Errors
    ///
    /// Misconfigured: outside of a Tokio runtime, in which it listens.
    pub fn new(store: S) -> Result<Self> {
        Self::builder(store).build()
    }

    /// With other settings.
    pub fn builder(store: S) -> WatchedBuilder<V, S> {
        WatchedBuilder { store, bound: BOUND_DEFAULT, clock: Clock::boot(), value: PhantomData }
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Whether it has heard from the store within the bound.
    pub fn is_hearing(&self) -> bool {
        self.inner.trust.since(self.inner.trust.now()).is_some()
    }
}

impl<S: Push> Listener for Inner<S> {
    fn changed(&self, key: &Key) {
        self.changes.changed(key);
    }

    fn all_changed(&self) {
        self.changes.all_changed();
    }

    fn now(&self) -> Timestamp {
        self.trust.now()
    }

    fn heard(&self, asked: Timestamp, store_time: Timestamp) {
        // What was changed before the listening began may not have been told.
        if self.trust.is_deaf() {
            self.changes.all_changed();
        }
        self.trust.heard(asked, store_time);
        self.changes.heard(asked);
    }
}

impl<S: Push> Hears for Inner<S> {
    type Store = S;
    const WHO: &'static str = "watched store";
    const WHEN_DEAF: &'static str = "whoever waits for a change has to ask it";

    fn store(&self) -> &S {
        &self.store
    }

    fn trust(&self) -> &Trust {
        &self.trust
    }

    fn deafen(&self) {
        self.trust.deafen();
        self.changes.deafen();
    }
}

// What has failed may have been done: it is told too.
impl<V: Send + 'static, S: Store<V> + Push> Store<V> for Watched<V, S> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        self.inner.store.get(key, access).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        let inserted = self.inner.store.insert(key, entry).await?;
        if let Insert::Inserted { removed } = &inserted {
            removed.iter().for_each(|key| self.inner.changes.changed(key));
        }
        Ok(inserted)
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        let replaced = self.inner.store.replace(key, seen, value, expiry).await;
        self.inner.changes.changed(key);
        replaced
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        let renamed = self.inner.store.rename(from, to, rename).await;
        [from, &to].into_iter().for_each(|key| self.inner.changes.changed(key));
        if let Ok(Renamed::Moved { removed }) = &renamed {
            removed.iter().for_each(|key| self.inner.changes.changed(key));
        }
        renamed
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let removed = self.inner.store.remove(key).await;
        self.inner.changes.changed(key);
        removed
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        self.inner.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let removed = self.inner.store.remove_owner(owner, keep).await;
        match &removed {
            Ok(removed) => removed.iter().for_each(|key| self.inner.changes.changed(key)),
            Err(_) => self.inner.changes.all_changed(),
        }
        removed
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        self.inner.store.scan(after, entries_max).await
    }

    async fn clear(&self) -> Result<()> {
        let cleared = self.inner.store.clear().await;
        self.inner.changes.all_changed();
        cleared
    }

    async fn count(&self) -> Result<u64> {
        self.inner.store.count().await
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.inner.store.on_expired(told)
    }

    /// `None` with a bound of zero, where nothing is heard.
    fn changes(&self) -> Option<Arc<Changes>> {
        (!self.inner.trust.bound().is_zero()).then(|| Arc::clone(&self.inner.changes))
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        self.inner.store.get_ready(key, access, visit)
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        self.inner.store.places(key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        self.inner.store.reaches(from, to)
    }
}

impl<V, S> Clone for Watched<V, S> {
    fn clone(&self) -> Self {
        let (inner, listening) = (Arc::clone(&self.inner), Arc::clone(&self.listening));
        Self { inner, listening, value: PhantomData }
    }
}

impl<V, S: fmt::Debug> fmt::Debug for Watched<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("store", &self.inner.store)
            .field("trust", &self.inner.trust)
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Watched`] store.
#[must_use = "a builder does nothing until `build` is called"]
pub struct WatchedBuilder<V, S> {
    store: S,
    bound: Duration,
    clock: Clock,
    value: PhantomData<fn() -> V>,
}

impl<V: Send + 'static, S: Store<V> + Push> WatchedBuilder<V, S> {
    /// For how long it is believed that every change was told, after the store
    /// last proved it. [`BOUND_DEFAULT`] unless set; with zero it does not listen.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Another clock than the machine's, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The store, which is listened to from now on.
    ///
    /// # Errors
    ///
    /// Misconfigured: outside of a Tokio runtime, in which it listens; a bound
    /// below 10 milliseconds that is not zero, which no store could keep up with.
    pub fn build(self) -> Result<Watched<V, S>> {
        let inner = Arc::new(Inner {
            store: self.store,
            trust: Trust::new(self.clock.clone(), self.bound),
            changes: Arc::new(Changes::pushed(self.clock, self.bound)),
        });
        let listening = Arc::new(Listening::start(&inner)?);
        Ok(Watched { inner, listening, value: PhantomData })
    }
}

impl<V, S: fmt::Debug> fmt::Debug for WatchedBuilder<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBuilder")
            .field("store", &self.store)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
