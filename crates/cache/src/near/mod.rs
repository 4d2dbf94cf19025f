//! Copies of a remote store's entries in this process's memory.
//!
//! [`NearCache`] is a [`Store`] in front of a remote store that [pushes](ChangeFeed) its changes. A
//! copy answers most reads, without a round trip.
//!
//! # How old an answer can be
//!
//! A read that begins at *t* shows every change from before *t* − [`bound`](NearCacheBuilder::bound),
//! also if the connection on which changes are pushed fails. While it works, a change arrives
//! within its own delay, usually less than a millisecond. The rules:
//!
//! - A copy is removed when its change is pushed.
//! - In short intervals, the feed asks the store a question on the connection that pushes. The
//!   answer proves that every change from before the question was received.
//! - A copy answers a read only if such a question was asked within the bound and is answered.
//!   Otherwise every read goes to the store.
//! - The answer of the store to a read is kept as a copy only if no change of its key was pushed
//!   since the question was sent.
//!
//! So a cut or hung connection, a paused server or a suspended machine makes reads slower, but
//! never older than the bound. If the store can't be reached either, the read is an error and not
//! an old answer.
//!
//! | state of the feed | copies answer | a change by another process | a failure of the feed |
//! |---|---|---|---|
//! | disconnected (at first) | no | is not received | is retried, after 50 ms to 1 s |
//! | confirmed within the bound | yes | removes the copy | disconnects: all copies are dropped |
//! | confirmed before the bound | no | removes the copy | disconnects: all copies are dropped |
//!
//! This process sees its own changes at once. A [strict](Freshness::Strict) read is answered by the
//! store, to a question that was asked after the read began. Any number of strict reads of one key
//! keep at most two questions in flight. Conditional operations are the store's own, so an old copy
//! never makes an update wrong.
//!
//! # Deadlines
//!
//! A copy ends no later than its entry does by the store's clock; close to the deadline, reads go
//! to the store. A copy shows a [slide as due](EntryRef::slide_due) once a tenth of the idle time
//! has passed since the last use that the store knows of. For some keys it is slightly less, so
//! that not all are due at once. So the slack of a near cache is a tenth of the idle time, or the
//! store's own slack and a thirty-second if that is more. [`touch`](Store::touch) always goes to
//! the store; its answer updates or removes the copy.
//!
//! # Waiting for changes
//!
//! [`changes`](Store::changes) notifies of the changes that the store pushes, after their copies
//! are removed, and of every change that this process makes. A near cache that keeps
//! [no copies](NearCacheBuilder::max_copies) does that too, and passes every call on to the store.

mod builder;
mod copies;
mod feed_status;
mod flights;
mod state;
mod subscription;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::copies::Copies;
use self::state::State;
use self::subscription::SubscriptionTask;
use crate::{
    AfterRead, ChangeFeed, ChangeObserver, Changes, Clock, Cursor, Deadlines, Entry, EntryList,
    EntryPage, EntryRef, Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired,
    Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};

pub use self::builder::NearCacheBuilder;

/// The default of [`NearCacheBuilder::bound`]: one second.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(1);

/// The default of [`NearCacheBuilder::max_copies`]: 100,000.
pub const DEFAULT_MAX_COPIES: usize = 100_000;

/// A [`Store`] that keeps copies of the entries of a remote store. Cloning it is cheap; all clones
/// are one.
///
/// The documentation of this [module](self) has its guarantees.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{ChangeFeed, NearCache, Result, Store};
///
/// /// Answers may be half a second old.
/// fn near<V, S>(store: S) -> Result<NearCache<V, S>>
/// where
///     V: Clone + Send + Sync + 'static,
///     S: Store<V> + ChangeFeed,
/// {
///     NearCache::builder(store).bound(Duration::from_millis(500)).max_copies(10_000).build()
/// }
///
/// fn report<V, S>(near: &NearCache<V, S>)
/// where
///     V: Clone + Send + Sync + 'static,
///     S: Store<V> + ChangeFeed,
/// {
///     println!("{} copies, current: {}", near.copies(), near.is_current());
/// }
/// ```
pub struct NearCache<V, S> {
    store: Arc<S>,
    state: Arc<State<V>>,
    /// Ends with the last clone.
    task: Arc<SubscriptionTask>,
}

impl<V: Clone + Send + Sync + 'static, S: Store<V> + ChangeFeed> NearCache<V, S> {
    /// Makes a near cache in front of `store`, with [`DEFAULT_BOUND`] and [`DEFAULT_MAX_COPIES`].
    ///
    /// # Errors
    ///
    /// Returns an error ([`is_misconfigured`](crate::Error::is_misconfigured)) outside of a Tokio
    /// runtime, which its task needs.
    pub fn new(store: S) -> Result<Self> {
        Self::builder(store).build()
    }

    /// Starts to make a near cache with other settings.
    pub fn builder(store: S) -> NearCacheBuilder<V, S> {
        NearCacheBuilder::new(store)
    }

    /// The remote store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Whether copies may answer reads at this moment: the feed has confirmed within the bound that
    /// every change was received.
    pub fn is_current(&self) -> bool {
        self.state.feed.store_time(self.state.now()).is_some()
    }

    /// The number of copies.
    pub fn copies(&self) -> usize {
        self.state.copies.as_ref().map_or(0, Copies::len)
    }
}

impl<V: Clone + Send + Sync + 'static, S: Store<V> + ChangeFeed> Store<V> for NearCache<V, S> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        let Some(copies) = &self.state.copies else {
            return self.store.get(key, freshness).await;
        };
        let mut copy = None;
        let mut visit = |entry: EntryRef<'_, V>| {
            copy = Some(entry.to_entry());
            AfterRead::Keep
        };
        if copies.look(key, freshness, &mut visit) {
            return Ok(copy);
        }
        // A strict call may share the answer, and a copy is as old as its question.
        copies.read(key, freshness, self.store.get(key, Freshness::Strict)).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        match &self.state.copies {
            Some(copies) => copies.touch(at.key, self.store.touch(at)).await,
            None => self.store.touch(at).await,
        }
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let _guard = self.state.begin_change([Some(key), replaced]);
        let inserted = self.store.insert(key, entry).await?;
        if let InsertOutcome::Inserted { removed } = &inserted {
            removed.iter().for_each(|key| self.state.changed(key));
        }
        Ok(inserted)
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        let _guard = self.state.begin_change([Some(*at.key), None]);
        self.store.replace(at, seen, value, expiry).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        let _guard = self.state.begin_change([Some(*at.key), None]);
        self.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let removed = self.store.remove_owner(owner, keep).await;
        match &removed {
            Ok(removed) => removed.iter().for_each(|key| self.state.changed(key)),
            // It may have taken effect, on unknown keys.
            Err(_) => self.state.any_changed(),
        }
        removed
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.store.scan(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        let cleared = self.store.clear().await;
        self.state.any_changed();
        cleared
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.store.on_expired(callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        Some(Arc::clone(&self.state.changes))
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        match &self.state.copies {
            Some(copies) => copies.look(key, freshness, visit).then_some(Ok(true)),
            None => self.store.get_ready(key, freshness, visit),
        }
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.store.place(key, owner)
    }
}

impl<V, S> Clone for NearCache<V, S> {
    fn clone(&self) -> Self {
        let Self { store, state, task } = self;
        Self { store: Arc::clone(store), state: Arc::clone(state), task: Arc::clone(task) }
    }
}

impl<V, S: fmt::Debug> fmt::Debug for NearCache<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("store", &self.store)
            .field("feed", &self.state.feed)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}
