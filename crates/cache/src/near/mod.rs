//! Copies in this process's memory of what a store elsewhere holds.
//!
//! [`NearCache`] is a [`Store`] in front of another that [pushes](Push) its
//! changes. Most reads are answered from a copy, without a round trip.
//!
//! # How old an answer can be
//!
//! A read that begins at *t* shows every change that was done before
//! *t* − [`bound`](Builder::bound), whatever happens to the connection on
//! which changes are pushed; a healthy push brings them within its own delay,
//! usually less than a millisecond. It works like this:
//!
//! - A copy is removed when its change is pushed.
//! - The store is asked in short intervals on the connection that pushes, so
//!   that its answer proves that everything that was changed before the
//!   question has been pushed.
//! - A copy is used only if such a question, answered by now, was asked at
//!   most the bound ago. Without one, every read asks the store.
//! - A copy is kept only if nothing about its key was pushed between the
//!   moment at which the store was asked for it and the moment at which it is
//!   put there: a removal that lands in between wins.
//!
//! So a cut or hung connection, a paused server or a suspended machine cost
//! speed, and never more than the bound in truth. If the store can't be asked
//! either, the read is an error and not an old answer.
//!
//! What this process changed it sees at once by the key that it changed. (By a
//! key that another process has just renamed it may see a copy from before, within
//! the bound.) A [strict](Access::strict)
//! read always asks the store. Conditional operations are the store's own, so
//! an old copy never makes an update or a renaming wrong.
//!
//! # Deadlines
//!
//! A copy ends no later than its entry does by the store's clock; close to the
//! deadline the store is asked. A read that counts as use reaches the store
//! only once a tenth of the idle time has passed since it was last noted (a
//! little less for some keys, so that not all are due at once): the slack of a
//! near cache is a tenth of the idle time, or the store's own slack and a
//! thirty-second if that is more.
//!
//! # Waiting for changes
//!
//! What is pushed is told to those who wait for it ([`changes`](Store::changes)),
//! after it is out of the copies, as is what this process changes itself. Without
//! copies, [`Watched`] does the same.

mod copies;
mod flights;
mod listening;
#[cfg(test)]
mod tests;
mod trust;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::copies::Copies;
use self::flights::{Flights, Outcome, Ticket};
use self::listening::{Hears, Listening};
use self::trust::Trust;
pub use self::watched::{Watched, WatchedBuilder};
use crate::{
    Access, Changes, Clock, Cursor, Entry, EntryRef, Expiry, Insert, Key, Listener, NewEntry,
    OnExpired, Owner, Page, Push, Rename, Renamed, Replace, Result, Store, Timestamp, Version,
};

/// How old an answer can be, unless set.
pub const BOUND_DEFAULT: Duration = Duration::from_secs(1);

/// How many copies are kept, unless set.
pub const COPIES_MAX_DEFAULT: usize = 100_000;

/// A [`Store`] that keeps copies of what another holds. Cloning it is cheap; all clones are one.
///
/// What it promises is in the documentation of this [module](self).
pub struct NearCache<V, S> {
    inner: Arc<Inner<V, S>>,
    /// Ends with the last clone.
    listening: Arc<Listening>,
}

pub(crate) struct Inner<V, S> {
    store: S,
    trust: Trust,
    copies: Copies<V>,
    flights: Flights<V>,
    changes: Arc<Changes>,
}

impl<V, S> NearCache<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    /// Keeps copies of what `store` holds, with [`BOUND_DEFAULT`] and [`COPIES_MAX_DEFAULT`].
    ///
    /// # Errors
    ///
    /// Misconfigured: outside of a Tokio runtime, in which it listens.
    pub fn new(store: S) -> Result<Self> {
        Self::builder(store).build()
    }

    /// A near cache with other settings.
    pub fn builder(store: S) -> Builder<V, S> {
        let (bound, copies_max) = (BOUND_DEFAULT, COPIES_MAX_DEFAULT);
        Builder { store, bound, copies_max, clock: Clock::boot(), value: std::marker::PhantomData }
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Whether copies are used at this moment: it has heard from the store within the bound.
    pub fn is_hearing(&self) -> bool {
        self.inner.trust.since(self.inner.trust.now()).is_some()
    }

    /// How many copies it holds.
    pub fn copies(&self) -> usize {
        self.inner.copies.len()
    }
}

impl<V, S> Inner<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    /// From a copy, if there is one that may be used for this access.
    fn look(&self, key: &Key, access: Access, visit: &mut dyn FnMut(EntryRef<'_, V>)) -> bool {
        if access.is_strict() {
            return false;
        }
        // Heard first and looked afterwards: what was told before it was heard is out of the copies.
        let Some(store_time) = self.trust.since(self.trust.now()) else {
            return false;
        };
        self.copies.look(key, access, store_time, visit)
    }

    async fn ask(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        let asked = self.trust.now();
        if access.is_strict() || self.trust.since(asked).is_none() {
            let flight = self.flights.alone(key, access, asked);
            let found = self.store.get(key, access).await;
            self.keep(&flight, access, &found);
            return found;
        }
        let flight = self.flights.join(key, access, asked, self.trust.bound());
        let landed = flight.outcome.get_or_init(|| async {
            let found = self.store.get(key, access).await;
            self.keep(&flight, access, &found);
            Outcome::new(found)
        });
        landed.await.repeat()
    }

    /// Ends a flight, and keeps a copy of what it brought if nothing was pushed about it meanwhile.
    fn keep(&self, flight: &Ticket<'_, V>, access: Access, found: &Result<Option<Entry<V>>>) {
        flight.land(|number| {
            // A former key has no copy: it is looked for seldom, and its entry changes under another.
            if let Ok(Some(entry)) = found
                && entry.key == *flight.key
                && let Some(store_time) = self.trust.since(self.trust.now())
            {
                self.copies.put(entry, number, access, store_time);
            }
        });
    }

    /// Told last: whoever looks then finds no copy from before.
    fn changed(&self, key: &Key) {
        self.flights.changed(key);
        self.copies.remove(key);
        self.changes.changed(key);
    }

    fn all_changed(&self) {
        self.forget();
        self.changes.all_changed();
    }

    /// Nothing that is copied, or is under way to be, is believed any more.
    fn forget(&self) {
        self.flights.all_changed();
        self.copies.clear();
    }

    /// The key under which the entry lives, if copies of it may be about.
    ///
    /// One without a copy may be a former key, and then the copy is its successor's.
    async fn real_key(&self, key: &Key) -> Result<Key> {
        if self.copies.is_empty() || self.copies.has(key) {
            return Ok(*key);
        }
        let entry = self.store.get(key, Access::PEEK.strict()).await?;
        Ok(entry.map_or(*key, |entry| entry.key))
    }
}

/// A change by this process: from its beginning to its end, however it ends, there are no
/// copies of what it is about, since at any moment in between it may have been done.
struct Changing<'a, V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    inner: &'a Inner<V, S>,
    keys: [Key; 2],
}

impl<'a, V, S> Changing<'a, V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    fn begin(inner: &'a Inner<V, S>, keys: [Key; 2]) -> Self {
        for key in &keys {
            inner.flights.begin_change(key);
            inner.copies.remove(key);
        }
        Self { inner, keys }
    }
}

impl<V, S> Drop for Changing<'_, V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    fn drop(&mut self) {
        for key in &self.keys {
            self.inner.flights.end_change(key);
            self.inner.changes.changed(key);
        }
    }
}

impl<V, S> Store<V> for NearCache<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
        let mut copy = None;
        if self.inner.look(key, access, &mut |entry| copy = Some(entry.to_entry())) {
            return Ok(copy);
        }
        self.inner.ask(key, access).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        let _changing = Changing::begin(&self.inner, [key; 2]);
        let inserted = self.inner.store.insert(key, entry).await?;
        if let Insert::Inserted { removed } = &inserted {
            removed.iter().for_each(|key| self.inner.changed(key));
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
        let keys = [*key, self.inner.real_key(key).await?];
        let _changing = Changing::begin(&self.inner, keys);
        self.inner.store.replace(key, seen, value, expiry).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        let _changing = Changing::begin(&self.inner, [*from, to]);
        let renamed = self.inner.store.rename(from, to, rename).await?;
        if let Renamed::Moved { removed } = &renamed {
            removed.iter().for_each(|key| self.inner.changed(key));
        }
        Ok(renamed)
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let keys = [*key, self.inner.real_key(key).await?];
        let _changing = Changing::begin(&self.inner, keys);
        self.inner.store.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<V>>> {
        self.inner.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let removed = self.inner.store.remove_owner(owner, keep).await;
        match &removed {
            Ok(removed) => removed.iter().for_each(|key| self.inner.changed(key)),
            // Done or not done, and to which is not known.
            Err(_) => self.inner.all_changed(),
        }
        removed
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        self.inner.store.scan(after, entries_max).await
    }

    async fn clear(&self) -> Result<()> {
        let cleared = self.inner.store.clear().await;
        self.inner.all_changed();
        cleared
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        self.inner.look(key, access, visit).then_some(Ok(true))
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

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        self.inner.store.places(key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        self.inner.store.reaches(from, to)
    }
}

/// What the store pushes.
impl<V, S> Listener for Inner<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    fn changed(&self, key: &Key) {
        Inner::changed(self, key);
    }

    fn all_changed(&self) {
        Inner::all_changed(self);
    }

    fn now(&self) -> Timestamp {
        self.trust.now()
    }

    fn heard(&self, asked: Timestamp, store_time: Timestamp) {
        // What was copied before the listening began may have changed unheard.
        if self.trust.is_deaf() {
            Inner::all_changed(self);
        }
        self.trust.heard(asked, store_time);
        self.changes.heard(asked);
    }
}

impl<V, S> Hears for Inner<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    type Store = S;
    const WHO: &'static str = "near cache";
    const WHEN_DEAF: &'static str = "every read asks it";

    fn store(&self) -> &S {
        &self.store
    }

    fn trust(&self) -> &Trust {
        &self.trust
    }

    fn deafen(&self) {
        self.trust.deafen();
        self.forget();
        self.changes.deafen();
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
pub struct Builder<V, S> {
    store: S,
    bound: Duration,
    copies_max: usize,
    clock: Clock,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V, S> Builder<V, S>
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    /// How old an answer can be; see the [module](self). [`BOUND_DEFAULT`]
    /// unless set; zero keeps no copies and does not listen.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// How many copies are kept, where one more takes the place of one that
    /// would end soon. [`COPIES_MAX_DEFAULT`] unless set.
    pub fn copies_max(mut self, copies: usize) -> Self {
        self.copies_max = copies;
        self
    }

    /// Another clock than the machine's, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The near cache, which listens from now on.
    ///
    /// # Errors
    ///
    /// Misconfigured: outside of a Tokio runtime, in which it listens; a bound
    /// below 10 milliseconds that is not zero, which no store could keep up with.
    pub fn build(self) -> Result<NearCache<V, S>> {
        let inner = Arc::new(Inner {
            store: self.store,
            trust: Trust::new(self.clock.clone(), self.bound),
            changes: Arc::new(Changes::pushed(self.clock.clone(), self.bound)),
            copies: Copies::new(self.copies_max, self.clock),
            flights: Flights::new(),
        });
        let listening = Arc::new(Listening::start(&inner)?);
        Ok(NearCache { inner, listening })
    }
}

impl<V, S: fmt::Debug> fmt::Debug for Builder<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("store", &self.store)
            .field("bound", &self.bound)
            .field("copies_max", &self.copies_max)
            .finish_non_exhaustive()
    }
}
