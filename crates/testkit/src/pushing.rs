//! A store whose change feed a test controls.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{
    ChangeFeed, ChangeObserver, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Error,
    Expiry, Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Timestamp, Version,
};
use tokio::sync::{Notify, RwLock};

/// A wrapper that gives a store a change feed, which a test delays, cuts off and restores.
///
/// ```
/// use kvolt_testkit::{ManualClock, ModelStore, PushingStore};
///
/// let store = ModelStore::<String>::new(ManualClock::new().clock());
/// let (store, pushes) = PushingStore::new(store);
/// // Give `store` to `NearCache::new`, and then:
/// assert!(!pushes.is_watched());
/// # let _ = store;
/// ```
#[derive(Debug, Clone)]
pub struct PushingStore<S> {
    store: S,
    pushes: Pushes,
}

impl<S> PushingStore<S> {
    /// Makes a store that pushes its changes at once, and its controls.
    pub fn new<V>(store: S) -> (Self, Pushes)
    where
        S: Store<V>,
    {
        let pushes = Pushes(Arc::new(Shared {
            clock: store.clock(),
            state: Mutex::default(),
            changed: Notify::new(),
            delivered: Notify::new(),
            calls: RwLock::new(()),
        }));
        (Self { store, pushes: pushes.clone() }, pushes)
    }

    /// The wrapped store. Changes that are made through it are not pushed.
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
    /// Notified when the queue or a control of the feed has changed.
    changed: Notify,
    /// Notified when a beat was delivered.
    delivered: Notify,
    /// Held for reading by each call until its changes are in the queue.
    calls: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Push>,
    watched: bool,
    held: bool,
    cut: bool,
    beats: u64,
    beats_delivered: u64,
}

#[derive(Debug, Clone, Copy)]
enum Push {
    Changed(Key),
    All,
    Asked(u64),
    Confirmed(u64, Timestamp, Timestamp),
}

impl Pushes {
    /// Sends a confirmation, and waits until the observer has received it.
    ///
    /// It also waits for an observer, so it does not return while the feed is held or cut.
    pub async fn beat(&self) {
        let number = {
            let mut state = self.state();
            state.beats += 1;
            let number = state.beats;
            state.queue.push_back(Push::Asked(number));
            number
        };
        self.0.changed.notify_waiters();
        loop {
            let delivered = self.0.delivered.notified();
            {
                let mut state = self.state();
                if state.beats_delivered >= number {
                    return;
                }
                // A cut drops the questions from before it.
                if state.queue.is_empty() && state.watched {
                    state.queue.push_back(Push::Asked(number));
                    self.0.changed.notify_waiters();
                }
            }
            delivered.await;
        }
    }

    /// Delays all changes from now on.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Delivers the delayed changes, and delays no more.
    pub fn release(&self) {
        self.state().held = false;
        self.0.changed.notify_waiters();
    }

    /// Cuts the feed off: changes that are not delivered yet, and later ones, are lost.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.queue.clear();
        self.0.changed.notify_waiters();
    }

    /// Lets the feed run again.
    pub fn heal(&self) {
        self.state().cut = false;
        self.0.delivered.notify_waiters();
    }

    /// Whether an observer runs the feed.
    pub fn is_watched(&self) -> bool {
        self.state().watched
    }

    /// Pushes a change of an entry, as if another program had made it.
    pub fn tell(&self, key: Key) {
        self.push(Push::Changed(key));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, push: Push) {
        let mut state = self.state();
        if state.watched && !state.cut {
            state.queue.push_back(push);
            self.0.changed.notify_waiters();
        }
    }

    fn next(&self) -> Result<Option<Push>> {
        let mut state = self.state();
        if state.cut {
            return Err(Error::unavailable("the test has cut the feed off"));
        }
        Ok(if state.held { None } else { state.queue.pop_front() })
    }
}

/// Marks the feed as ended when it is dropped.
struct EndOnDrop<'a>(&'a Pushes);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watched = false;
        state.queue.clear();
    }
}

impl<S: Send + Sync + 'static> ChangeFeed for PushingStore<S> {
    /// Confirms only when a test calls [`Pushes::beat`].
    async fn run(&self, _: Duration, observer: &dyn ChangeObserver) -> Error {
        self.pushes.state().watched = true;
        let _watched = EndOnDrop(&self.pushes);
        self.pushes.0.delivered.notify_waiters();
        loop {
            let changed = self.pushes.0.changed.notified();
            match self.pushes.next() {
                Err(cut) => return cut,
                Ok(None) => changed.await,
                Ok(Some(Push::Changed(key))) => observer.changed(&key),
                Ok(Some(Push::All)) => observer.all_changed(),
                Ok(Some(Push::Asked(number))) => {
                    // Waits for the calls in progress, so that their changes come first.
                    let _calls = self.pushes.0.calls.write().await;
                    let confirmed =
                        Push::Confirmed(number, observer.now(), self.pushes.0.clock.now());
                    self.pushes.state().queue.push_back(confirmed);
                }
                Ok(Some(Push::Confirmed(number, asked, store_time))) => {
                    observer.confirmed(asked, store_time);
                    let mut state = self.pushes.state();
                    state.beats_delivered = state.beats_delivered.max(number);
                    self.pushes.0.delivered.notify_waiters();
                }
            }
        }
    }
}

impl<V: Send + 'static, S: Store<V>> Store<V> for PushingStore<S> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<V>>> {
        self.store.get(key, freshness).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        let _call = self.pushes.0.calls.read().await;
        let touched = self.store.touch(at).await?;
        if touched.is_some() {
            self.pushes.push(Push::Changed(*at.key));
        }
        Ok(touched)
    }

    async fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let _call = self.pushes.0.calls.read().await;
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let inserted = self.store.insert(key, entry).await?;
        if let InsertOutcome::Inserted { removed } = &inserted {
            let changed = removed.iter().copied().chain(replaced).chain([key]);
            changed.for_each(|key| self.pushes.push(Push::Changed(key)));
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
        self.pushes.push(Push::Changed(*at.key));
        Ok(replaced)
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        let _call = self.pushes.0.calls.read().await;
        let removed = self.store.remove(at, seen).await?;
        self.pushes.push(Push::Changed(*at.key));
        Ok(removed)
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<V>> {
        self.store.list(owner).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let _call = self.pushes.0.calls.read().await;
        let removed = self.store.remove_owner(owner, keep).await?;
        removed.iter().for_each(|key| self.pushes.push(Push::Changed(*key)));
        Ok(removed)
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        self.store.scan(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        let _call = self.pushes.0.calls.read().await;
        self.store.clear().await?;
        self.pushes.push(Push::All);
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
