//! A store that pushes its changes when a test lets it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{
    ChangeFeed, ChangeObserver, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Error,
    Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Timestamp, Version,
};
use tokio::sync::{Notify, RwLock};

/// A store around another that tells a near cache of its changes, in order,
/// and whose telling a test holds up, cuts off and heals.
#[derive(Debug, Clone)]
pub struct PushingStore<S> {
    store: S,
    pushes: Pushes,
}

impl<S> PushingStore<S> {
    /// The store, which tells at once, and its controls. `clock` is the store's own.
    pub fn new(store: S, clock: Clock) -> (Self, Pushes) {
        let pushes = Pushes(Arc::new(Shared {
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
            told: Notify::new(),
            calls: RwLock::new(()),
        }));
        (Self { store, pushes: pushes.clone() }, pushes)
    }

    /// The store inside, whose changes are not told.
    pub fn inner(&self) -> &S {
        &self.store
    }
}

/// The controls of a [`PushingStore`].
#[derive(Debug, Clone)]
pub struct Pushes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// There is something to tell, or the telling was cut, held up or let go on.
    changed: Notify,
    /// A beat was told.
    told: Notify,
    /// Read by a call until what it changed is in the queue.
    calls: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Told>,
    watched: bool,
    held: bool,
    cut: bool,
    beats: u64,
    beats_told: u64,
}

#[derive(Debug, Clone, Copy)]
enum Told {
    Changed(Key),
    All,
    Asked(u64),
    Heard(u64, Timestamp, Timestamp),
}

impl Pushes {
    /// Asks the store for a sign of life, and waits until the listener has heard it.
    ///
    /// Waits for a listener too; so it never ends while the telling is held up or cut.
    pub async fn beat(&self) {
        let number = {
            let mut state = self.state();
            state.beats += 1;
            let number = state.beats;
            state.queue.push_back(Told::Asked(number));
            number
        };
        self.0.changed.notify_waiters();
        loop {
            let told = self.0.told.notified();
            {
                let mut state = self.state();
                if state.beats_told >= number {
                    return;
                }
                // What was asked before a cut is not answered any more.
                if state.queue.is_empty() && state.watched {
                    state.queue.push_back(Told::Asked(number));
                    self.0.changed.notify_waiters();
                }
            }
            told.await;
        }
    }

    /// Tells nothing from now on, but remembers it.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Goes on telling what was held up.
    pub fn release(&self) {
        self.state().held = false;
        self.0.changed.notify_waiters();
    }

    /// Cuts the listener off: what is changed from now on, or was not told yet, is never told.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.queue.clear();
        self.0.changed.notify_waiters();
    }

    /// Lets a listener listen again.
    pub fn heal(&self) {
        self.state().cut = false;
        self.0.told.notify_waiters();
    }

    /// Whether somebody listens.
    pub fn is_watched(&self) -> bool {
        self.state().watched
    }

    /// Tells that an entry was changed, as if by another program.
    pub fn tell(&self, key: Key) {
        self.push(Told::Changed(key));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, told: Told) {
        let mut state = self.state();
        if state.watched && !state.cut {
            state.queue.push_back(told);
            self.0.changed.notify_waiters();
        }
    }

    fn next(&self) -> Result<Option<Told>> {
        let mut state = self.state();
        if state.cut {
            return Err(Error::unavailable("the test cut the listener off"));
        }
        Ok(if state.held { None } else { state.queue.pop_front() })
    }
}

/// Ends the watching however it ends.
struct Watched<'a>(&'a Pushes);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watched = false;
        state.queue.clear();
    }
}

impl<S: Send + Sync + 'static> ChangeFeed for PushingStore<S> {
    /// It is heard only when a test [beats](Pushes::beat).
    async fn run(&self, _: Duration, listener: &dyn ChangeObserver) -> Error {
        self.pushes.state().watched = true;
        let _watched = Watched(&self.pushes);
        self.pushes.0.told.notify_waiters();
        loop {
            let changed = self.pushes.0.changed.notified();
            match self.pushes.next() {
                Err(cut) => return cut,
                Ok(None) => changed.await,
                Ok(Some(Told::Changed(key))) => listener.changed(&key),
                Ok(Some(Told::All)) => listener.all_changed(),
                Ok(Some(Told::Asked(number))) => {
                    // After every call that changed something before it, whose telling is in the queue.
                    let _calls = self.pushes.0.calls.write().await;
                    let heard = Told::Heard(number, listener.now(), self.pushes.0.clock.now());
                    self.pushes.state().queue.push_back(heard);
                }
                Ok(Some(Told::Heard(number, asked, store_time))) => {
                    listener.confirmed(asked, store_time);
                    let mut state = self.pushes.state();
                    state.beats_told = state.beats_told.max(number);
                    self.pushes.0.told.notify_waiters();
                }
            }
        }
    }
}

impl<V: Send + 'static, S: Store<V>> Store<V> for PushingStore<S> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.store.get(key, freshness).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        let _call = self.pushes.0.calls.read().await;
        let touched = self.store.touch(at).await?;
        if touched.is_some() {
            self.pushes.push(Told::Changed(*at.key));
        }
        Ok(touched)
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let _call = self.pushes.0.calls.read().await;
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let inserted = self.store.insert(key, entry).await?;
        if let InsertOutcome::Inserted { removed } = &inserted {
            let changed = removed.iter().copied().chain(replaced).chain([key]);
            changed.for_each(|key| self.pushes.push(Told::Changed(key)));
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
        let _call = self.pushes.0.calls.read().await;
        let replaced = self.store.replace(at, seen, value, expiry).await?;
        self.pushes.push(Told::Changed(*at.key));
        Ok(replaced)
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        let _call = self.pushes.0.calls.read().await;
        let removed = self.store.remove(at, seen).await?;
        self.pushes.push(Told::Changed(*at.key));
        Ok(removed)
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let _call = self.pushes.0.calls.read().await;
        let removed = self.store.remove_owner(owner, keep).await?;
        removed.iter().for_each(|key| self.pushes.push(Told::Changed(*key)));
        Ok(removed)
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.store.scan(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        let _call = self.pushes.0.calls.read().await;
        self.store.clear().await?;
        self.pushes.push(Told::All);
        Ok(())
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.store.on_expired(callback)
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        self.store.place(key, owner)
    }
}
