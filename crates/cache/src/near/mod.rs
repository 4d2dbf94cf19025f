//! Copies in this process's memory of the entries of a remote store.
//!
//! [`NearCache`] is a [`Store`] in front of another that [pushes](ChangeFeed) its changes. A copy answers
//! most reads, without a round trip.
//!
//! # How old an answer can be
//!
//! A read that begins at *t* shows every change that was made before *t* −
//! [`bound`](NearCacheBuilder::bound), whatever happens to the connection on which changes are pushed. A
//! healthy push brings them within its own delay, usually less than a millisecond. It works like
//! this:
//!
//! - A copy is removed when its change is pushed.
//! - The store is asked in short intervals on the connection that pushes, so its answer proves that
//!   every change from before the question has been pushed.
//! - A copy is used only if such a question, answered by now, was asked at most the bound ago.
//!   Without one, every read asks the store.
//! - A copy is kept only if no change of its key was pushed between the moment at which the store
//!   was asked for it and the moment at which it is kept: a removal in between wins.
//!
//! So a cut or hung connection, a paused server or a suspended machine makes reads slower, and
//! never older than the bound. If the store can't be asked either, the read is an error and not
//! an old answer.
//!
//! A change by this process is seen at once. A [strict](Freshness::Strict) read is answered by the
//! store, to a question that was asked after the read began; any number of them for one key keeps
//! at most two questions in flight. Conditional operations are the store's own, so an old copy
//! never makes an update wrong.
//!
//! # Deadlines
//!
//! A copy ends no later than its entry does by the store's clock; close to the deadline the store
//! is asked. A copy shows that a [slide is due](EntryRef::slide_due) once a tenth of the idle time
//! has passed since the last use that the store knows of (a little less for some keys, so that not
//! all are due at once). So the slack of a near cache is a tenth of the idle time, or the store's
//! own slack and a thirty-second if that is more. [`touch`](Store::touch) always goes to the store;
//! its answer gives the copy its deadlines, or removes it.
//!
//! # Waiting for changes
//!
//! [`changes`](Store::changes) notifies of what the store pushes, after it is out of the copies, and
//! of every change that this process makes. A near cache that keeps
//! [no copies](NearCacheBuilder::max_copies) does that too, and passes every call on.

mod copies;
mod flights;
mod listening;
#[cfg(test)]
mod tests;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::copies::Copies;
use self::listening::Listening;
use self::trust::Trust;
use crate::{
    AfterRead, ChangeFeed, ChangeObserver, Changes, Clock, Cursor, Deadlines, Entry, EntryList,
    EntryPage, EntryRef, Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired,
    Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Timestamp, Version,
};

/// How old an answer can be by default: one second.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(1);

/// How many copies are kept by default.
pub const DEFAULT_MAX_COPIES: usize = 100_000;

/// A [`Store`] that keeps copies of the entries of another. Cloning it is cheap; all clones are one.
///
/// The documentation of this [module](self) says what it promises.
pub struct NearCache<V, S> {
    inner: Arc<Inner<V, S>>,
    /// Ends with the last clone.
    listening: Arc<Listening>,
}

pub(crate) struct Inner<V, S> {
    store: S,
    trust: Arc<Trust>,
    /// `None` if no copies are kept.
    copies: Option<Copies<V>>,
    changes: Arc<Changes>,
}

impl<V, S> NearCache<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    /// Keeps copies of the entries of `store`, with [`DEFAULT_BOUND`] and [`DEFAULT_MAX_COPIES`].
    ///
    /// # Errors
    ///
    /// Returns an error ([`is_misconfigured`](crate::Error::is_misconfigured)) outside of a Tokio
    /// runtime, in which it listens to the store.
    pub fn new(store: S) -> Result<Self> {
        Self::builder(store).build()
    }

    /// A near cache with other settings.
    pub fn builder(store: S) -> NearCacheBuilder<V, S> {
        let (bound, max_copies) = (DEFAULT_BOUND, DEFAULT_MAX_COPIES);
        NearCacheBuilder {
            store,
            bound,
            max_copies,
            clock: Clock::boot(),
            value: std::marker::PhantomData,
        }
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Whether copies may be used at this moment: the store has proven within the bound that it
    /// pushes its changes.
    pub fn is_current(&self) -> bool {
        self.inner.trust.store_time(self.inner.trust.now()).is_some()
    }

    /// How many copies it holds.
    pub fn copies(&self) -> usize {
        self.inner.copies.as_ref().map_or(0, Copies::len)
    }
}

impl<V: Clone + Send + Sync + 'static, S> Inner<V, S> {
    fn new(store: S, bound: Duration, max_copies: usize, clock: Clock) -> Self {
        let trust = Arc::new(Trust::new(clock.clone(), bound));
        let changes = Changes::with_feed({
            let trust = Arc::clone(&trust);
            move || trust.current_for()
        });
        let copies = (max_copies > 0 && !bound.is_zero())
            .then(|| Copies::new(max_copies, clock, Arc::clone(&trust)));
        Self { store, trust, copies, changes: Arc::new(changes) }
    }

    /// Notifies last: a task that looks then finds no copy from before.
    fn changed(&self, key: &Key) {
        if let Some(copies) = &self.copies {
            copies.changed(key);
        }
        self.changes.changed(key);
    }

    fn all_changed(&self) {
        self.forget();
        self.changes.all_changed();
    }

    fn forget(&self) {
        if let Some(copies) = &self.copies {
            copies.all_changed();
        }
    }

    /// No copy is used until the store has notified again.
    fn deafen(&self) {
        // Without effect a second time: a task that waits is not woken by every failed attempt.
        if !self.trust.is_deaf() {
            self.trust.deafen();
            self.forget();
            self.changes.interrupted();
        }
    }

    fn begin_change(&self, keys: [Option<Key>; 2]) -> Changing<'_, V, S> {
        if let Some(copies) = &self.copies {
            keys.iter().flatten().for_each(|key| copies.begin_change(key));
        }
        Changing { inner: self, keys }
    }
}

/// A change by this process. From its beginning to its end, however it ends, there are no copies of
/// its entries, since at any moment in between it may have been made.
struct Changing<'a, V: Clone + Send + Sync + 'static, S> {
    inner: &'a Inner<V, S>,
    keys: [Option<Key>; 2],
}

impl<V: Clone + Send + Sync + 'static, S> Drop for Changing<'_, V, S> {
    fn drop(&mut self) {
        for key in self.keys.iter().flatten() {
            if let Some(copies) = &self.inner.copies {
                copies.end_change(key);
            }
            self.inner.changes.changed(key);
        }
    }
}

impl<V, S> Store<V> for NearCache<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    fn namespace(&self) -> &Namespace {
        self.inner.store.namespace()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        let Inner { store, copies: Some(copies), .. } = &*self.inner else {
            return self.inner.store.get(key, freshness).await;
        };
        let mut copy = None;
        let mut visit = |entry: EntryRef<'_, V>| {
            copy = Some(entry.to_entry());
            AfterRead::Keep
        };
        if copies.look(key, freshness, &mut visit) {
            return Ok(copy);
        }
        // A strict call may share the answer, and a copy is as old as the question that brought it.
        copies.read(key, freshness, async { store.get(key, Freshness::Strict).await }).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        let Inner { store, copies, .. } = &*self.inner;
        match copies {
            Some(copies) => copies.touch(at.key, async { store.touch(at).await }).await,
            None => store.touch(at).await,
        }
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let _changing = self.inner.begin_change([Some(key), replaced]);
        let inserted = self.inner.store.insert(key, entry).await?;
        if let InsertOutcome::Inserted { removed } = &inserted {
            removed.iter().for_each(|key| self.inner.changed(key));
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
        let _changing = self.inner.begin_change([Some(*at.key), None]);
        self.inner.store.replace(at, seen, value, expiry).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        let _changing = self.inner.begin_change([Some(*at.key), None]);
        self.inner.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.inner.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let removed = self.inner.store.remove_owner(owner, keep).await;
        match &removed {
            Ok(removed) => removed.iter().for_each(|key| self.inner.changed(key)),
            // It may have taken effect, and on which keys is not known.
            Err(_) => self.inner.all_changed(),
        }
        removed
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.inner.store.scan(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        let cleared = self.inner.store.clear().await;
        self.inner.all_changed();
        cleared
    }

    async fn count(&self) -> Result<u64> {
        self.inner.store.count().await
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.inner.store.on_expired(callback)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        Some(Arc::clone(&self.inner.changes))
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        match &self.inner.copies {
            Some(copies) => copies.look(key, freshness, visit).then_some(Ok(true)),
            None => self.inner.store.get_ready(key, freshness, visit),
        }
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.inner.store.place(key, owner)
    }
}

/// What the store pushes.
impl<V, S> ChangeObserver for Inner<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    fn changed(&self, key: &Key) {
        Inner::changed(self, key);
    }

    fn all_changed(&self) {
        // Part of an interruption, if the store has not proven yet that it notifies.
        if self.trust.is_deaf() {
            self.forget();
            self.changes.interrupted();
        } else {
            Inner::all_changed(self);
        }
    }

    fn now(&self) -> Timestamp {
        self.trust.now()
    }

    fn confirmed(&self, asked: Timestamp, store_time: Timestamp) {
        let was_deaf = self.trust.is_deaf();
        if was_deaf {
            // What was copied before may have changed without a notification.
            self.forget();
        }
        self.trust.confirmed(asked, store_time);
        if was_deaf {
            self.changes.interrupted();
        }
    }
}

impl<V, S> Clone for NearCache<V, S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), listening: Arc::clone(&self.listening) }
    }
}

impl<V, S: fmt::Debug> fmt::Debug for NearCache<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("store", &self.inner.store)
            .field("trust", &self.inner.trust)
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`NearCache`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct NearCacheBuilder<V, S> {
    store: S,
    bound: Duration,
    max_copies: usize,
    clock: Clock,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V, S> NearCacheBuilder<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    /// Sets how old an answer can be; see the [module](self). Defaults to [`DEFAULT_BOUND`].
    ///
    /// With zero, no copies are kept and the store is not listened to.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Sets how many copies are kept. At that number, a new one takes the place of one that would
    /// end soon. Defaults to [`DEFAULT_MAX_COPIES`].
    ///
    /// With zero, every read asks the store, and only the store's [changes](Store::changes) are
    /// listened to.
    pub fn max_copies(mut self, copies: usize) -> Self {
        self.max_copies = copies;
        self
    }

    /// Sets another clock than the machine's, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the near cache, which listens to the store from now on.
    ///
    /// # Errors
    ///
    /// Returns an error ([`is_misconfigured`](crate::Error::is_misconfigured)) outside of a Tokio
    /// runtime, in which it listens, and for a bound below 10 milliseconds that is not zero, which
    /// no store could keep up with.
    pub fn build(self) -> Result<NearCache<V, S>> {
        let inner = Arc::new(Inner::new(self.store, self.bound, self.max_copies, self.clock));
        let listening = Arc::new(Listening::start(&inner)?);
        Ok(NearCache { inner, listening })
    }
}

impl<V, S: fmt::Debug> fmt::Debug for NearCacheBuilder<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCacheBuilder")
            .field("store", &self.store)
            .field("bound", &self.bound)
            .field("max_copies", &self.max_copies)
            .finish_non_exhaustive()
    }
}
