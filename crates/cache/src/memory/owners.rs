//! The owner index: which keys belong to which owner, oldest first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::hash::OwnHash;
use crate::sync::{Apart, Mutex, MutexGuard, lock};
use crate::{Key, Owner, OwnerLimit, Timestamp};

/// Owners in shards, each behind a lock that is held across a whole operation on an owner.
///
/// That lock makes the operations of one owner atomic: an insertion, a listing or a removal by
/// owner holds it from its first look at the index to its last change of the map. Reading an
/// entry, changing it and removing it by its key never wait for it.
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
    /// The owner's keys, oldest first: those of expired entries too.
    pub(super) fn members(&self, owner: &Owner) -> impl DoubleEndedIterator<Item = Member> {
        self.0.get(owner).into_iter().flat_map(Keys::members)
    }

    /// How many keys the owner has, those of expired entries included.
    pub(super) fn len(&self, owner: &Owner) -> usize {
        self.0.get(owner).map_or(0, Keys::len)
    }

    pub(super) fn created(&self, owner: &Owner, key: &Key) -> Option<Timestamp> {
        self.0.get(owner)?.created(key)
    }

    /// The one copy of the owner's name that its entries share.
    pub(super) fn intern(&self, owner: &Owner) -> Arc<Owner> {
        match self.0.get_key_value(owner) {
            Some((owner, _)) => Arc::clone(owner),
            None => Arc::new(owner.clone()),
        }
    }

    /// Adds a key after all that are as old or older.
    pub(super) fn insert(&mut self, owner: &Arc<Owner>, member: Member) {
        self.0.entry(Arc::clone(owner)).or_default().insert(member);
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

/// Keys by age. Up to [`MAX_FEW`] of them are searched one by one; more are in a tree, so that
/// adding and removing one costs little at any number.
#[derive(Default)]
struct Keys {
    few: Vec<Member>,
    many: Option<Box<Many>>,
}

const MAX_FEW: usize = OwnerLimit::MAX as usize + 1;

/// Where a key stands: among those that were inserted at the same moment, by a number.
type Place = (Timestamp, u64);

#[derive(Default)]
struct Many {
    order: BTreeMap<Place, Key>,
    places: HashMap<Key, Place, OwnHash>,
    next: u64,
}

impl Keys {
    fn len(&self) -> usize {
        self.few.len() + self.many.as_ref().map_or(0, |many| many.order.len())
    }

    fn members(&self) -> impl DoubleEndedIterator<Item = Member> {
        let many = self.many.iter().flat_map(|many| &many.order);
        let many = many.map(|((created, _), key)| Member { created: *created, key: *key });
        self.few.iter().copied().chain(many)
    }

    fn created(&self, key: &Key) -> Option<Timestamp> {
        match &self.many {
            Some(many) => many.places.get(key).map(|(created, _)| *created),
            None => self.few.iter().find(|member| member.key == *key).map(|member| member.created),
        }
    }

    fn insert(&mut self, member: Member) {
        self.remove(&member.key);
        if self.many.is_none() && self.few.len() < MAX_FEW {
            if self.few.is_empty() {
                self.few.reserve_exact(1);
            }
            let place = self.few.partition_point(|other| other.created <= member.created);
            self.few.insert(place, member);
            return;
        }
        let many = self.many.get_or_insert_default();
        std::mem::take(&mut self.few).into_iter().for_each(|member| many.insert(member));
        many.insert(member);
    }

    fn remove(&mut self, key: &Key) {
        match &mut self.many {
            Some(many) => {
                if let Some(place) = many.places.remove(key) {
                    many.order.remove(&place);
                }
            }
            None => {
                if let Some(place) = self.few.iter().position(|member| member.key == *key) {
                    self.few.remove(place);
                }
            }
        }
    }
}

impl Many {
    fn insert(&mut self, Member { created, key }: Member) {
        let place = (created, self.next);
        self.next += 1;
        self.order.insert(place, key);
        self.places.insert(key, place);
    }
}

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_order_of_age_at_any_number() {
        let mut keys = Keys::default();
        let mut expected: Vec<Member> = Vec::new();
        for number in 0..500u64 {
            // Two at each moment, and every seventh as a restored entry, older than the others.
            let created = if number % 7 == 0 { number / 3 } else { 1_000 + number / 2 };
            let member = Member {
                created: Timestamp::from_millis(created),
                key: Key::of(number.to_le_bytes()),
            };
            keys.insert(member);
            let place = expected.partition_point(|other| other.created <= member.created);
            expected.insert(place, member);
            if number % 3 == 2 {
                let gone = expected.remove(expected.len() / 2);
                keys.remove(&gone.key);
                assert_eq!(keys.created(&gone.key), None);
            }
            assert_eq!(keys.members().collect::<Vec<_>>(), expected);
            assert!(keys.members().rev().eq(expected.iter().rev().copied()));
            assert_eq!(keys.len(), expected.len());
            let middle = expected[expected.len() / 2];
            assert_eq!(keys.created(&middle.key), Some(middle.created));
        }
        assert!(keys.many.is_some(), "both forms were used");
        for member in expected.iter().rev() {
            keys.remove(&member.key);
        }
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn key_that_is_inserted_again_has_its_new_age() {
        let mut keys = Keys::default();
        let [one, other] = ["one", "other"].map(Key::of);
        for (created, key) in [(1, one), (2, other), (3, one)] {
            keys.insert(Member { created: Timestamp::from_millis(created), key });
        }
        assert!(keys.members().map(|member| member.key).eq([other, one]));
    }
}
