//! The map and the operations on one key.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use papaya::{Compute, HashMap, HashMapRef, LocalGuard, Operation};

use super::capacity::{Capacity, Room};
use super::cleaner::Signal;
use super::hash::OwnHash;
use super::node::{self, Node, State};
use super::owners::Owners;
use super::wheel::Wheel;
use crate::sync::{Apart, AtomicU64, Mutex, Ordering, lock, step, yield_now};
use crate::{
    AfterRead, Changes, Clock, Deadlines, Entry, EntryRef, Expiry, Key, OnExpired, Owner,
    RemoveOutcome, ReplaceOutcome, Result, Timestamp, Version,
};

/// What all clones of a store share.
pub(super) struct Inner<V> {
    map: HashMap<Key, Node<V>, OwnHash>,
    pub(super) owners: Owners,
    /// By the calling thread, so that insertions on several do not wait for each other. A bounded
    /// store has one.
    pub(super) stripes: Box<[Apart<Stripe>]>,
    pub(super) capacity: Capacity<V>,
    pub(super) clock: Clock,
    pub(super) signal: Arc<Signal>,
    /// Notified after a change was made. Reading and sliding never touch it.
    pub(super) changes: Arc<Changes>,
    pub(super) on_expired: OnceLock<OnExpired>,
}

/// What the insertions of a part of the threads write to.
#[derive(Default)]
pub(super) struct Stripe {
    pub(super) wheel: Mutex<Wheel>,
    /// How many versions were given to nodes.
    versions: AtomicU64,
}

const STRIPES: usize = 16;

/// A number of the calling thread: small, and not that of another that began soon before or after.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

pub(super) type Map<'a, V> = HashMapRef<'a, Key, Node<V>, OwnHash, LocalGuard<'a>>;

/// A live entry, and when it was found.
pub(super) struct Found<'a, V> {
    key: &'a Key,
    pub(super) node: &'a Node<V>,
    now: Timestamp,
}

/// An entry that was taken out of the map.
pub(super) struct Taken<'a, V> {
    pub(super) key: &'a Key,
    node: &'a Node<V>,
    pub(super) was_live: bool,
}

impl<V: Clone> Found<'_, V> {
    pub(super) fn to_entry(&self) -> Entry<V> {
        let slide_due = self.node.slide_due(self.now);
        self.node.view(self.key, self.now).to_entry().slide_due(slide_due)
    }
}

impl<'a, V> Taken<'a, V> {
    fn new(key: &'a Key, node: &'a Node<V>, now: Timestamp) -> Self {
        // A change that has sealed it finds it gone and gives up: undecided means expired.
        Self { key, node, was_live: node.state(now) == State::Live }
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) fn new(capacity: Capacity<V>, clock: Clock, signal: Arc<Signal>) -> Self {
        let stripes = if capacity.is_bounded() { 1 } else { STRIPES };
        Self {
            map: HashMap::with_hasher(OwnHash),
            owners: Owners::new(),
            stripes: (0..stripes).map(|_| Apart::default()).collect(),
            capacity,
            clock,
            signal,
            changes: Arc::default(),
            on_expired: OnceLock::new(),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Timestamp {
        step();
        self.clock.now()
    }

    #[inline]
    pub(super) fn map(&self) -> Map<'_, V> {
        step();
        self.map.pin()
    }

    /// How many entries the map has, expired ones included.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    fn stripe(&self) -> (usize, &Stripe) {
        let index = thread_number() % self.stripes.len();
        (index, &self.stripes[index].0)
    }

    /// Unique among all states of all entries, so that no key ever sees a version again.
    pub(super) fn next_version(&self) -> u64 {
        let (index, stripe) = self.stripe();
        stripe.versions.fetch_add(1, Ordering::Relaxed) * STRIPES as u64 + index as u64
    }

    /// The live entry under a key, once it is decided whether it is live.
    pub(super) fn find<'a>(&self, map: &'a Map<'_, V>, key: &Key) -> Option<Found<'a, V>> {
        loop {
            let now = self.now();
            let (key, node) = map.get_key_value(key)?;
            match node.state(now) {
                State::Live => return Some(Found { key, node, now }),
                State::Expired => return None,
                State::Undecided => yield_now(),
            }
        }
    }

    /// Shows the entry to `visit`, if it is live, and slides it if that says so.
    #[inline]
    pub(super) fn read<R>(
        &self,
        key: &Key,
        mut visit: impl FnMut(EntryRef<'_, V>) -> (AfterRead, R),
    ) -> Option<R> {
        let map = self.map();
        loop {
            // The time is read before the look-up: an answer is never younger than it claims.
            let now = self.now();
            let (key, node) = map.get_key_value(key)?;
            let mut state = node.state(now);
            if state == State::Live {
                let (used, answer) = visit(node.view(key, now));
                if used == AfterRead::Slide {
                    state = node.slide(now);
                }
                if state == State::Live {
                    return Some(answer);
                }
            }
            if state == State::Expired {
                return None;
            }
            yield_now();
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry<V>> {
        let map = self.map();
        self.find(&map, key).map(|found| found.to_entry())
    }

    pub(super) fn touch(&self, key: &Key) -> Option<Deadlines> {
        let map = self.map();
        loop {
            let now = self.now();
            let node = map.get(key)?;
            match node.slide(now) {
                State::Live => return Some(node.deadlines()),
                State::Expired => return None,
                State::Undecided => yield_now(),
            }
        }
    }

    pub(super) fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        let weight = self.capacity.weigh(&value);
        self.capacity.check_weight(weight)?;
        let map = self.map();
        loop {
            let Some(found) = self.find(&map, key) else {
                return Ok(ReplaceOutcome::Absent);
            };
            if found.node.version() != seen.number() {
                return Ok(ReplaceOutcome::Conflict(found.to_entry()));
            }
            // No other node ever has this version, so this is the weight of the one that is
            // replaced below.
            let before = self.capacity.weigh(found.node.value());
            let grows = Room { entries: 0, bytes: weight.saturating_sub(before) };
            self.make_room(grows, Some(key))?;
            match self.try_replace(&map, key, seen, &value, expiry, found.now) {
                Some(version) => {
                    let bytes = before.saturating_sub(weight);
                    self.capacity.give_back(Room { entries: 0, bytes });
                    self.changes.changed(key);
                    return Ok(ReplaceOutcome::Replaced(Version::from_number(version)));
                }
                // It was changed meanwhile, or is about to be.
                None => {
                    self.capacity.give_back(grows);
                    yield_now();
                }
            }
        }
    }

    /// One attempt. Returns the new version; `None` if the entry is no longer the one that was
    /// seen, or is sealed by another change.
    fn try_replace(
        &self,
        map: &Map<'_, V>,
        key: &Key,
        seen: Version,
        value: &V,
        expiry: Option<Expiry>,
        now: Timestamp,
    ) -> Option<u64> {
        let version = self.next_version();
        let mut sealed = None;
        let replaced = map.compute(*key, |current| {
            let Some((_, node)) = current.filter(|(_, node)| node.version() == seen.number())
            else {
                return Operation::Abort(());
            };
            // Before the seal: it may panic.
            let value = value.clone();
            // The map may ask again about the node that this call has sealed.
            sealed = sealed.or_else(|| node.seal(now));
            let Some(deadlines) = sealed else { return Operation::Abort(()) };
            let deadlines = expiry.map_or(deadlines, |expiry| node::deadlines(expiry, now));
            Operation::Insert(node.successor(value, version, deadlines))
        });
        let Compute::Updated { new: (key, new), .. } = replaced else { return None };
        if expiry.is_some() {
            self.file(key, new.ends());
        }
        Some(version)
    }

    pub(super) fn remove(&self, key: &Key, seen: Option<Version>) -> RemoveOutcome {
        let map = self.map();
        let is_seen = |node: &Node<V>| seen.is_none_or(|seen| seen.number() == node.version());
        loop {
            let now = self.now();
            match map.remove_if(key, |_, node| is_seen(node) && !node.is_pending()) {
                Ok(Some(taken)) if self.removed(taken, now) => return RemoveOutcome::Removed,
                Ok(_) => return RemoveOutcome::Absent,
                Err((_, node)) if is_seen(node) => yield_now(),
                Err((_, node)) => match node.state(now) {
                    State::Live => return RemoveOutcome::Conflict,
                    State::Expired => return RemoveOutcome::Absent,
                    State::Undecided => yield_now(),
                },
            }
        }
    }

    /// After a call took an entry out of the map: whether it was live.
    pub(super) fn removed(&self, (key, node): (&Key, &Node<V>), now: Timestamp) -> bool {
        self.forget(key, node);
        let taken = Taken::new(key, node, now);
        let was_live = taken.was_live;
        self.finish(taken);
        was_live
    }

    /// Takes an entry out of the map under its owner's lock, and leaves its key in the index and
    /// the [rest](Self::finish) to the caller.
    pub(super) fn take<'a>(
        &self,
        map: &'a Map<'_, V>,
        owner: &Owner,
        key: &Key,
    ) -> Option<Taken<'a, V>> {
        // Before the removal: a call that finds nothing after it comes later.
        let now = self.now();
        // The index may still have a key that was inserted for another owner since.
        let (key, node) = map.remove_if(key, |_, node| node.is_owned_by(owner)).ok()??;
        Some(Taken::new(key, node, now))
    }

    /// Gives back the room of an entry that was taken, and reports its end. Outside of all locks:
    /// it calls the application's code.
    pub(super) fn finish(&self, Taken { key, node, was_live }: Taken<'_, V>) {
        let bytes = self.capacity.weigh(node.value());
        self.capacity.give_back(Room { entries: 1, bytes });
        if was_live {
            self.changes.changed(key);
        } else if let Some(callback) = self.on_expired.get() {
            callback(key);
        }
    }

    /// Removes an entry if it has expired.
    pub(super) fn reap(&self, key: &Key, now: Timestamp) {
        let map = self.map();
        let expired = map.remove_if(key, |_, node| node.state(now) == State::Expired);
        if let Ok(Some(taken)) = expired {
            self.removed(taken, now);
        }
    }

    /// Takes the key of a removed entry out of its owner's index. Takes the owner's lock.
    pub(super) fn forget(&self, key: &Key, node: &Node<V>) {
        let Some(owner) = node.owner() else { return };
        let mut shard = self.owners.lock(owner);
        // The key may have been inserted again since; then it is in the index by right.
        if self.map().get(key).is_none_or(|node| !node.is_owned_by(owner)) {
            shard.remove(owner, key);
        }
    }

    /// Has an entry cleaned when it ends.
    pub(super) fn file(&self, key: &Key, ends: u64) {
        if ends >= Timestamp::NEVER {
            return;
        }
        let now = self.now().as_millis();
        let due = lock(&self.stripe().1.wheel).file(key.prefix(), ends, now);
        self.signal.wake_by(due);
    }
}
