//! The owner index: the keys of each owner.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::hash::OwnHash;
use crate::sync::{Apart, Mutex, MutexGuard, lock};
use crate::{Key, Owner, OwnerLimit, Timestamp};

/// The owners in shards, each behind a lock.
///
/// The lock makes the operations on one owner atomic: an insertion, a list or a removal by owner
/// holds it from its first reading of the index to its last change of the map. Reading an entry
/// and replacing its value never take it.
pub(super) struct Owners {
    shards: Box<[Apart<Mutex<Shard>>]>,
    hasher: RandomState,
}

const SHARDS: usize = 64;

#[derive(Default)]
pub(super) struct Shard(HashMap<Arc<Owner>, Keys>);

impl Owners {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Apart::default()).collect(), hasher: RandomState::new() }
    }

    pub(super) fn lock(&self, owner: &Owner) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(owner) as usize % SHARDS].0)
    }
}

impl Shard {
    /// The owner's keys in no order, those of expired entries included.
    pub(super) fn members(&self, owner: &Owner) -> impl Iterator<Item = Member> {
        self.0.get(owner).into_iter().flat_map(Keys::members)
    }

    /// The owner's keys, oldest first, those of expired entries included.
    pub(super) fn by_age(&self, owner: &Owner) -> Vec<Member> {
        let mut members: Vec<Member> = self.members(owner).collect();
        members.sort_by_key(|member| member.created);
        members
    }

    /// How many keys the owner has, those of expired entries included.
    pub(super) fn len(&self, owner: &Owner) -> usize {
        self.0.get(owner).map_or(0, Keys::len)
    }

    pub(super) fn created(&self, owner: &Owner, key: &Key) -> Option<Timestamp> {
        self.0.get(owner)?.created(key)
    }

    /// The copy of the owner's name that all its entries share.
    pub(super) fn intern(&self, owner: &Owner) -> Arc<Owner> {
        match self.0.get_key_value(owner) {
            Some((owner, _)) => Arc::clone(owner),
            None => Arc::new(owner.clone()),
        }
    }

    pub(super) fn insert(&mut self, owner: &Arc<Owner>, member: Member) {
        // Most owners have one entry.
        let new = || Keys::Few(Vec::with_capacity(1));
        self.0.entry(Arc::clone(owner)).or_insert_with(new).insert(member);
    }

    pub(super) fn remove(&mut self, owner: &Owner, key: &Key) {
        if let Some(keys) = self.0.get_mut(owner) {
            keys.remove(key);
            if keys.len() == 0 {
                self.0.remove(owner);
            }
        }
    }
}

/// A key of an owner, and when its entry was inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) created: Timestamp,
    pub(super) key: Key,
}

/// The keys of an owner. A few are searched one by one, in the order of insertion; more are in a
/// map, so that adding and removing one costs the same at any number.
enum Keys {
    /// Up to [`MAX_FEW`].
    Few(Vec<Member>),
    Many(HashMap<Key, Timestamp, OwnHash>),
}

const MAX_FEW: usize = OwnerLimit::MAX as usize + 1;

impl Keys {
    fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    fn members(&self) -> impl Iterator<Item = Member> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        let many = many.into_iter().flatten();
        let many = many.map(|(key, created)| Member { created: *created, key: *key });
        few.iter().copied().chain(many)
    }

    fn created(&self, key: &Key) -> Option<Timestamp> {
        match self {
            Self::Few(few) => few.iter().find(|one| one.key == *key).map(|one| one.created),
            Self::Many(many) => many.get(key).copied(),
        }
    }

    fn insert(&mut self, member: Member) {
        self.remove(&member.key);
        match self {
            Self::Few(few) if few.len() < MAX_FEW => few.push(member),
            Self::Few(few) => {
                let members = few.drain(..).chain([member]);
                *self = Self::Many(members.map(|one| (one.key, one.created)).collect());
            }
            Self::Many(many) => drop(many.insert(member.key, member.created)),
        }
    }

    fn remove(&mut self, key: &Key) {
        match self {
            Self::Few(few) => few.retain(|member| member.key != *key),
            Self::Many(many) => drop(many.remove(key)),
        }
    }
}

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_at_any_number() {
        let mut keys = Keys::Few(Vec::new());
        let mut expected: Vec<Member> = Vec::new();
        for number in 0..500u64 {
            let created = Timestamp::from_millis(number / 2);
            let member = Member { created, key: Key::of(number.to_le_bytes()) };
            keys.insert(member);
            expected.push(member);
            if number % 3 == 2 {
                let gone = expected.remove(expected.len() / 2);
                keys.remove(&gone.key);
                assert_eq!(keys.created(&gone.key), None);
            }
            assert_eq!(keys.len(), expected.len());
            let mut members: Vec<_> = keys.members().collect();
            members.sort_by_key(|member| (member.created, member.key));
            let mut sorted = expected.clone();
            sorted.sort_by_key(|member| (member.created, member.key));
            assert_eq!(members, sorted);
            let middle = expected[expected.len() / 2];
            assert_eq!(keys.created(&middle.key), Some(middle.created));
        }
        assert!(matches!(keys, Keys::Many(_)), "both forms were used");
        for member in expected.iter().rev() {
            keys.remove(&member.key);
        }
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn key_that_is_inserted_again_has_its_new_age() {
        let owner = Arc::new(Owner::from(1));
        let mut shard = Shard::default();
        let [one, other, restored] = ["one", "other", "restored"].map(Key::of);
        for (created, key) in [(1, one), (2, other), (3, one), (0, restored)] {
            shard.insert(&owner, Member { created: Timestamp::from_millis(created), key });
        }
        let by_age = shard.by_age(&owner);
        assert!(by_age.iter().map(|member| member.key).eq([restored, other, one]));
    }
}
