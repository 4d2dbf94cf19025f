//! The owner index: which keys belong to whom, oldest first.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::hash::OwnHash;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Key, Owner};

/// Owners in shards, each behind a lock that is held across a whole operation on an owner.
///
/// That lock is what makes the operations of one owner atomic: who inserts,
/// renames, lists or removes by owner holds it from the first look at the index
/// to the last change of the map. Reading an entry and removing one by its key
/// never wait for it.
pub(super) struct Owners {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

const SHARDS: usize = 64;

#[derive(Default)]
pub(super) struct Shard(HashMap<Arc<Owner>, Keys>);

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn lock(&self, owner: &Owner) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of(owner)])
    }

    /// The locks for moving an entry from one owner to another, taken in the order of their
    /// shards so that no two callers wait for each other.
    ///
    /// An entry without an owner has a lock by its key: of those who move it, one does.
    pub(super) fn lock_both(
        &self,
        key: &Key,
        one: Option<&Owner>,
        other: Option<&Owner>,
    ) -> Locked<'_> {
        let first = one.map_or(key.prefix() as usize % SHARDS, |owner| self.shard_of(owner));
        let mut shards = vec![first];
        shards.extend(other.map(|owner| self.shard_of(owner)));
        shards.sort_unstable();
        shards.dedup();
        let guards = shards.into_iter().map(|shard| (shard, lock(&self.shards[shard]))).collect();
        Locked { owners: self, guards }
    }

    fn shard_of(&self, owner: &Owner) -> usize {
        self.hasher.hash_one(owner) as usize % SHARDS
    }
}

/// The locked shards of up to two owners.
pub(super) struct Locked<'a> {
    owners: &'a Owners,
    guards: Vec<(usize, MutexGuard<'a, Shard>)>,
}

impl Locked<'_> {
    /// The shard of one of the owners it was made for.
    pub(super) fn shard(&mut self, owner: &Owner) -> Option<&mut Shard> {
        let shard = self.owners.shard_of(owner);
        self.guards.iter_mut().find(|(index, _)| *index == shard).map(|(_, guard)| &mut **guard)
    }
}

impl Shard {
    /// The owner's keys, oldest first.
    pub(super) fn keys(&self, owner: &Owner) -> Vec<Key> {
        self.0
            .get(owner)
            .map(|keys| keys.order.iter().flatten().copied().collect())
            .unwrap_or_default()
    }

    /// The one copy of the owner's name that its entries share.
    pub(super) fn intern(&self, owner: &Owner) -> Arc<Owner> {
        match self.0.get_key_value(owner) {
            Some((owner, _)) => Arc::clone(owner),
            None => Arc::new(owner.clone()),
        }
    }

    pub(super) fn push(&mut self, owner: &Arc<Owner>, key: Key) {
        self.0.entry(Arc::clone(owner)).or_default().push(key);
    }

    pub(super) fn remove(&mut self, owner: &Owner, key: &Key) {
        if let Some(keys) = self.0.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(owner);
            }
        }
    }

    /// Puts a key into the place of another, so that it keeps its age.
    pub(super) fn rename(&mut self, owner: &Owner, from: &Key, to: Key) {
        if let Some(keys) = self.0.get_mut(owner) {
            keys.rename(from, to);
        }
    }
}

/// Keys in order of age, where removing one costs little however many there are.
#[derive(Default)]
struct Keys {
    /// Gaps are keys that were removed; closed when they outnumber the keys.
    order: Vec<Option<Key>>,
    gaps: usize,
    /// Where each key stands; only once there are enough that a search would be slow.
    places: HashMap<Key, usize, OwnHash>,
}

const SEARCHED_MAX: usize = 32;

impl Keys {
    fn is_empty(&self) -> bool {
        self.order.len() == self.gaps
    }

    fn push(&mut self, key: Key) {
        self.order.push(Some(key));
        if !self.places.is_empty() {
            self.places.insert(key, self.order.len() - 1);
        } else if self.order.len() > SEARCHED_MAX {
            self.index();
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(place) = self.place(key) else {
            return;
        };
        self.places.remove(key);
        self.order[place] = None;
        self.gaps += 1;
        if self.gaps > self.order.len() / 2 {
            self.order.retain(Option::is_some);
            self.gaps = 0;
            self.index();
        }
    }

    fn rename(&mut self, from: &Key, to: Key) {
        let Some(place) = self.place(from) else {
            return;
        };
        self.order[place] = Some(to);
        if self.places.remove(from).is_some() {
            self.places.insert(to, place);
        }
    }

    fn place(&self, key: &Key) -> Option<usize> {
        if self.places.is_empty() {
            self.order.iter().position(|place| place.as_ref() == Some(key))
        } else {
            self.places.get(key).copied()
        }
    }

    fn index(&mut self) {
        self.places = HashMap::default();
        if self.order.len() > SEARCHED_MAX {
            let places = self.order.iter().enumerate();
            self.places = places.filter_map(|(place, key)| Some(((*key)?, place))).collect();
        } else {
            self.order.shrink_to_fit();
        }
    }
}

/// Keys that are all different, for a set of those to leave alone.
pub(super) type KeySet = HashSet<Key, OwnHash>;

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_order_of_age_through_removals_and_renamings_of_many() {
        let mut keys = Keys::default();
        let mut expected: Vec<Key> = Vec::new();
        for number in 0..500u32 {
            let key = Key::of(number.to_le_bytes());
            keys.push(key);
            expected.push(key);
            if number % 3 == 0 {
                let gone = expected.remove(expected.len() / 2);
                keys.remove(&gone);
            }
            if number % 5 == 0 && !expected.is_empty() {
                let place = expected.len() / 3;
                let to = Key::of([number as u8, 1, 2]);
                keys.rename(&expected[place], to);
                expected[place] = to;
            }
            let order: Vec<Key> = keys.order.iter().flatten().copied().collect();
            assert_eq!(order, expected);
        }
        for key in expected.iter().rev() {
            keys.remove(key);
        }
        assert!(keys.is_empty() && keys.places.is_empty());
    }
}
