//! The map and the operations on one key.

use std::sync::{Arc, OnceLock};

use papaya::{Compute, HashMap, Operation};

use super::capacity::Capacity;
use super::cleaner::Signal;
use super::former::FormerKeys;
use super::hash::OwnHash;
use super::node::Node;
use super::owners::{Owners, Shard};
use super::wheel::Wheel;
use crate::sync::{AtomicU64, Mutex, Ordering, RwLock, lock};
use crate::{
    Access, AtLimit, Changes, Clock, Error, Expiry, Insert, Key, NewEntry, OnExpired, Owner,
    OwnerLimit, Replace, Result, Timestamp, Version,
};

/// What all clones of a store share.
pub(super) struct Inner<V> {
    pub(super) map: HashMap<Key, Node<V>, OwnHash>,
    pub(super) former: FormerKeys,
    pub(super) owners: Owners,
    pub(super) wheel: Mutex<Wheel>,
    pub(super) capacity: Capacity<V>,
    pub(super) clock: Clock,
    /// Held for reading while an entry moves, for writing by `clear`.
    pub(super) moving: RwLock<()>,
    /// Unique among all states of all entries, so that no key ever sees a version again.
    versions: AtomicU64,
    pub(super) signal: Arc<Signal>,
    /// Told after a change was made. Reading and sliding never touch it.
    pub(super) changes: Arc<Changes>,
    pub(super) on_expired: OnceLock<OnExpired>,
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) fn new(capacity: Capacity<V>, clock: Clock, signal: Arc<Signal>) -> Self {
        Self {
            map: HashMap::with_hasher(OwnHash),
            former: FormerKeys::new(),
            owners: Owners::new(),
            wheel: Mutex::new(Wheel::default()),
            capacity,
            clock,
            moving: RwLock::new(()),
            versions: AtomicU64::new(1),
            signal,
            changes: Arc::default(),
            on_expired: OnceLock::new(),
        }
    }

    pub(super) fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
        let NewEntry { value, expiry, owner, limit } = entry;
        check_owner(owner.as_ref())?;
        let weight = self.capacity.weigh(&value);
        self.make_room(1, weight)?;
        let inserted = match owner {
            None => self.insert_free(key, value, expiry),
            Some(owner) => self.insert_owned(key, value, expiry, &owner, limit),
        };
        match inserted {
            Placed::Inserted { removed, ends } => {
                self.file(&key, ends);
                removed.iter().for_each(|key| self.changes.changed(key));
                Ok(Insert::Inserted { removed })
            }
            Placed::Occupied => {
                self.capacity.release(1, weight);
                Ok(Insert::Occupied)
            }
            Placed::LimitReached => {
                self.capacity.release(1, weight);
                Ok(Insert::LimitReached)
            }
        }
    }

    fn insert_free(&self, key: Key, value: V, expiry: Expiry) -> Placed {
        let mut node = Node::new(value, expiry, None, self.next_version(), self.clock.now());
        loop {
            let ends = node.ends();
            match self.place(key, node) {
                Ok(()) => return Placed::Inserted { removed: Vec::new(), ends },
                Err(unplaced) if self.vacate(&key) => node = unplaced,
                Err(_) => return Placed::Occupied,
            }
        }
    }

    fn insert_owned(
        &self,
        key: Key,
        value: V,
        expiry: Expiry,
        owner: &Owner,
        limit: Option<OwnerLimit>,
    ) -> Placed {
        let mut value = Some(value);
        loop {
            let mut shard = self.owners.lock(owner);
            let now = self.clock.now();
            let Some(surplus) = self.surplus(&mut shard, owner, limit, None, now) else {
                return Placed::LimitReached;
            };
            let Some(unplaced) = value.take() else { return Placed::Occupied };
            let owner = shard.intern(owner);
            let node =
                Node::new(unplaced, expiry, Some(Arc::clone(&owner)), self.next_version(), now);
            let ends = node.ends();
            match self.place(key, node) {
                Ok(()) => {
                    shard.push(&owner, key);
                    let mut ended = Vec::new();
                    let removed = self.remove_surplus(&mut shard, &owner, surplus, &mut ended);
                    drop(shard);
                    ended.iter().for_each(|key| self.tell_expired(key));
                    return Placed::Inserted { removed, ends };
                }
                Err(node) => {
                    // An expired entry may have another owner, whose lock must not be taken
                    // under this one.
                    drop(shard);
                    if !self.vacate(&key) {
                        return Placed::Occupied;
                    }
                    value = Some(node.value().clone());
                }
            }
        }
    }

    /// Puts a node under a key where nothing is, or gives it back.
    pub(super) fn place(&self, key: Key, node: Node<V>) -> Result<(), Node<V>> {
        let map = self.map.pin();
        if self.former.is_empty() {
            return map.try_insert(key, node).map(drop).map_err(|occupied| occupied.not_inserted);
        }
        if self.leads_on(&key, self.clock.now()) {
            return Err(node);
        }
        // Former keys that led to an entry that is gone must not lead to this one: it is not
        // shown before they are forgotten.
        let (node, idle_ends) = node.pending();
        match map.try_insert(key, node) {
            Ok(node) => {
                self.former.forget(&key);
                node.publish(idle_ends);
                Ok(())
            }
            Err(occupied) => {
                occupied.not_inserted.publish(idle_ends);
                Err(occupied.not_inserted)
            }
        }
    }

    /// Makes way under a key for a new entry. `false` if a live one, or a former key, has it.
    pub(super) fn vacate(&self, key: &Key) -> bool {
        let now = self.clock.now();
        if self.leads_on(key, now) {
            return false;
        }
        match self.map.pin().get(key) {
            Some(node) if !node.has_ended(now) => return false,
            _ => {}
        }
        self.reap(key, now);
        true
    }

    /// Which of the owner's entries have to go so that one more is within the limit, `except`
    /// not counted; `None` if the new one is to be refused.
    pub(super) fn surplus(
        &self,
        shard: &mut Shard,
        owner: &Owner,
        limit: Option<OwnerLimit>,
        except: Option<&Key>,
        now: Timestamp,
    ) -> Option<Vec<Key>> {
        let Some(limit) = limit else {
            return Some(Vec::new());
        };
        let map = self.map.pin();
        let mut live = shard.keys(owner);
        live.retain(|key| {
            Some(key) != except && map.get(key).is_some_and(|node| node.is_live(now))
        });
        let entries_max = limit.entries_max as usize;
        if live.len() < entries_max {
            return Some(Vec::new());
        }
        match limit.at_limit {
            AtLimit::RemoveOldest if entries_max > 0 => {
                live.truncate(live.len() + 1 - entries_max);
                Some(live)
            }
            _ => None,
        }
    }

    pub(super) fn remove_surplus(
        &self,
        shard: &mut Shard,
        owner: &Owner,
        mut surplus: Vec<Key>,
        ended: &mut Vec<Key>,
    ) -> Vec<Key> {
        surplus.retain(|key| {
            let removed = self.unlink(key, ended);
            shard.remove(owner, key);
            removed
        });
        surplus
    }

    pub(super) fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<Replace<V>> {
        loop {
            let now = self.clock.now();
            let Some(key) = self.resolve(key, now) else {
                return Ok(Replace::Absent);
            };
            let map = self.map.pin();
            let Some(node) = map.get(&key) else { continue };
            let grows =
                self.capacity.weigh(&value) as isize - self.capacity.weigh(node.value()) as isize;
            self.make_room(0, grows.max(0) as usize)?;
            let version = self.next_version();
            let replaced = map.compute(key, |current| match current {
                Some((_, node)) if !node.is_live(now) => Operation::Abort(Refused::Absent),
                Some((_, node)) if node.version() != seen.number() => {
                    Operation::Abort(Refused::Conflict)
                }
                Some((_, node)) => Operation::Insert(node.successor(
                    value.clone(),
                    node.owner().cloned(),
                    expiry,
                    version,
                    now,
                )),
                None => Operation::Abort(Refused::Moved),
            });
            match replaced {
                Compute::Updated { old: (_, old), new: (_, new) } => {
                    self.capacity.release(0, (-grows).max(0) as usize);
                    let (idle_ends, sealed) = old.seal();
                    if expiry.is_none() {
                        new.inherit(idle_ends);
                    } else if sealed {
                        // Somebody saw it expired between the look at the time and the change:
                        // then it was, and restarting its deadlines must not revive it.
                        self.unlink_version(&key, version);
                        return Ok(Replace::Absent);
                    } else {
                        self.file(&key, new.ends());
                    }
                    self.changes.changed(&key);
                    return Ok(Replace::Replaced(Version::from_number(version)));
                }
                Compute::Aborted(refused) => {
                    self.capacity.release(0, grows.max(0) as usize);
                    match refused {
                        Refused::Absent => return Ok(Replace::Absent),
                        Refused::Conflict => {
                            match self.get(&key, Access::PEEK, |entry| entry.to_entry()) {
                                Some(entry) => return Ok(Replace::Conflict(entry)),
                                None => return Ok(Replace::Absent),
                            }
                        }
                        Refused::Moved => {}
                    }
                }
                // The closure does nothing else.
                Compute::Inserted(..) | Compute::Removed(..) => return Ok(Replace::Absent),
            }
        }
    }

    pub(super) fn remove(&self, key: &Key) -> bool {
        loop {
            let now = self.clock.now();
            let map = self.map.pin();
            if let Some((key, node)) = map.remove_entry(key) {
                let live = node.is_live(now);
                self.removed(key, node, now);
                return live;
            }
            let Some(successor) = self.successor(key, now) else {
                return false;
            };
            // The entry may move on between the two looks; then the former key leads there.
            if let Some((successor, node)) = map.remove_entry(&successor) {
                let live = node.is_pending() || node.is_live(now);
                self.former.remove(key);
                self.removed(successor, node, now);
                return live;
            }
        }
    }

    /// After a call took an entry out of the map, be it live or not any more.
    fn removed(&self, key: &Key, node: &Node<V>, now: Timestamp) {
        let ended = node.has_ended(now);
        self.forget(key, node);
        match ended {
            true => self.tell_expired(key),
            false => self.changes.changed(key),
        }
    }

    /// Removes an entry whose owner's lock the caller holds, and leaves the index to it. Whether
    /// it was live.
    ///
    /// One that had ended is added to `ended`, to be told outside of the lock.
    pub(super) fn unlink(&self, key: &Key, ended: &mut Vec<Key>) -> bool {
        let now = self.clock.now();
        let map = self.map.pin();
        let Some(node) = map.remove(key) else {
            return false;
        };
        self.capacity.release(1, self.capacity.weigh(node.value()));
        if node.has_ended(now) {
            ended.push(*key);
        }
        node.is_live(now)
    }

    /// Removes what was put in the place of an entry that had ended.
    fn unlink_version(&self, key: &Key, version: u64) {
        let map = self.map.pin();
        if let Ok(Some((key, node))) = map.remove_if(key, |_, node| node.version() == version) {
            self.forget(key, node);
            self.tell_expired(key);
        }
    }

    /// Removes an entry if it has expired.
    pub(super) fn reap(&self, key: &Key, now: Timestamp) {
        let map = self.map.pin();
        if let Ok(Some((key, node))) = map.remove_if(key, |_, node| node.has_ended(now)) {
            self.forget(key, node);
            self.tell_expired(key);
        }
    }

    /// Gives back what a removed entry held. Takes its owner's lock.
    pub(super) fn forget(&self, key: &Key, node: &Node<V>) {
        self.capacity.release(1, self.capacity.weigh(node.value()));
        if let Some(owner) = node.owner() {
            let mut shard = self.owners.lock(owner);
            // The key may have been inserted again since; then it is in the index by right.
            if self.map.pin().get(key).is_none_or(|node| node.owner() != Some(owner)) {
                shard.remove(owner, key);
            }
        }
    }

    /// Of an entry that ended at a deadline and was taken out of the map by who calls this.
    pub(super) fn tell_expired(&self, key: &Key) {
        if let Some(told) = self.on_expired.get() {
            told(key);
        }
    }

    /// Has an entry cleaned when it ends.
    pub(super) fn file(&self, key: &Key, ends: u64) {
        if ends >= Timestamp::NEVER {
            return;
        }
        let due = lock(&self.wheel).file(key.prefix(), ends, self.clock.now().as_millis());
        self.signal.wake_by(due);
    }
}

enum Placed {
    Inserted { removed: Vec<Key>, ends: u64 },
    Occupied,
    LimitReached,
}

enum Refused {
    Absent,
    Conflict,
    /// Not where it was found a moment ago.
    Moved,
}

pub(super) fn check_owner(owner: Option<&Owner>) -> Result<()> {
    match owner {
        Some(owner) if owner.as_str().len() > Owner::LEN_MAX => Err(Error::misconfigured(format!(
            "an owner of {} bytes; at most {} are allowed",
            owner.as_str().len(),
            Owner::LEN_MAX
        ))),
        _ => Ok(()),
    }
}
