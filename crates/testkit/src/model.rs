//! The laws, executed one call at a time.

use std::collections::BTreeMap;

use kvolt_cache::{
    AtLimit, Deadlines, Entry, Expiry, InsertOutcome, Key, NewEntry, Owner, OwnerLimit,
    RemoveOutcome, ReplaceOutcome, Timestamp, Version,
};

/// The contract of [`Store`](kvolt_cache::Store) in its simplest form: a sequential program with the
/// time as an argument.
///
/// Each operation first drops the entries that have ended at `now`, so that the others are live.
/// The time must not go back from one call to the next.
///
/// The contract leaves one choice: of an owner's entries that were created in the same millisecond,
/// the model treats the one that was inserted first as the oldest.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, Key, NewEntry, Timestamp};
/// use kvolt_testkit::Model;
///
/// let (mut model, key) = (Model::new(), Key::of("greeting"));
/// let at = Timestamp::from_millis;
/// let _ = model.insert(at(0), key, NewEntry::new("hello", Expiry::after(Duration::from_millis(9))));
/// assert!(model.get(at(8), &key).is_some());
/// assert!(model.get(at(9), &key).is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Model<V> {
    entries: BTreeMap<Key, Slot<V>>,
    /// The source of versions. It also gives the order of insertions.
    counter: u64,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    value: V,
    version: u64,
    owner: Option<Owner>,
    created: Timestamp,
    /// The number of the insertion.
    inserted: u64,
    deadlines: Deadlines,
}

impl<V: Clone> Model<V> {
    /// A model that holds nothing.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), counter: 0 }
    }

    /// See [`Store::get`](kvolt_cache::Store::get).
    pub fn get(&mut self, now: Timestamp, key: &Key) -> Option<Entry<V>> {
        self.drop_ended(now);
        self.entries.get(key).map(|slot| slot.entry(*key, now))
    }

    /// See [`Store::touch`](kvolt_cache::Store::touch).
    pub fn touch(&mut self, now: Timestamp, key: &Key) -> Option<Deadlines> {
        self.drop_ended(now);
        let slot = self.entries.get_mut(key)?;
        slot.deadlines = used(slot.deadlines, now);
        Some(slot.deadlines)
    }

    /// See [`Store::insert`](kvolt_cache::Store::insert).
    pub fn insert(&mut self, now: Timestamp, key: Key, entry: NewEntry<V>) -> InsertOutcome {
        if let Some(refusal) = self.insert_refusals(now, &key, &entry).into_iter().next() {
            return refusal;
        }
        if let Some(replaces) = &entry.replaces {
            self.entries.remove(&replaces.key);
        }
        let removed = self.remove_surplus(entry.owner.as_ref(), entry.limit);
        let number = self.next();
        let slot = Slot {
            value: entry.value,
            version: number,
            owner: entry.owner,
            created: entry.times.and_then(|times| times.created).unwrap_or(now),
            inserted: number,
            deadlines: entry
                .times
                .map_or_else(|| deadlines(now, entry.expiry), |times| times.deadlines),
        };
        self.entries.insert(key, slot);
        InsertOutcome::Inserted { removed }
    }

    /// Every refusal that is right for this insertion; none if it must be done.
    ///
    /// Where more than one reason holds, the contract doesn't say which one is the answer.
    pub fn insert_refusals(
        &mut self,
        now: Timestamp,
        key: &Key,
        entry: &NewEntry<V>,
    ) -> Vec<InsertOutcome> {
        self.drop_ended(now);
        let mut refusals = Vec::new();
        if self.entries.contains_key(key) {
            refusals.push(InsertOutcome::Occupied);
        }
        if let Some(replaces) = &entry.replaces
            && let Some(seen) = replaces.seen
            && self.entries.get(&replaces.key).is_none_or(|slot| slot.version != seen.number())
        {
            refusals.push(InsertOutcome::Conflict);
        }
        if let (Some(owner), Some(limit)) = (&entry.owner, entry.limit)
            && limit.at_limit() == AtLimit::Refuse
        {
            let mut others = self.keys_of(owner);
            others.retain(|key| entry.replaces.as_ref().is_none_or(|old| old.key != *key));
            if others.len() >= limit.max_entries() as usize {
                refusals.push(InsertOutcome::LimitReached);
            }
        }
        if entry.times.is_some_and(|times| has_ended(times.deadlines, now)) {
            refusals.push(InsertOutcome::Expired);
        }
        refusals
    }

    /// See [`Store::replace`](kvolt_cache::Store::replace).
    pub fn replace(
        &mut self,
        now: Timestamp,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> ReplaceOutcome<V> {
        self.drop_ended(now);
        let version = self.next();
        let Some(slot) = self.entries.get_mut(key) else {
            return ReplaceOutcome::Absent;
        };
        if slot.version != seen.number() {
            return ReplaceOutcome::Conflict(slot.entry(*key, now));
        }
        slot.value = value;
        slot.version = version;
        if let Some(expiry) = expiry {
            slot.deadlines = deadlines(now, expiry);
        }
        ReplaceOutcome::Replaced(Version::from_number(version))
    }

    /// See [`Store::remove`](kvolt_cache::Store::remove).
    pub fn remove(&mut self, now: Timestamp, key: &Key, seen: Option<Version>) -> RemoveOutcome {
        self.drop_ended(now);
        let Some(slot) = self.entries.get(key) else {
            return RemoveOutcome::Absent;
        };
        if seen.is_some_and(|seen| seen.number() != slot.version) {
            return RemoveOutcome::Conflict;
        }
        self.entries.remove(key);
        RemoveOutcome::Removed
    }

    /// See [`Store::list`](kvolt_cache::Store::list).
    pub fn list(&mut self, now: Timestamp, owner: &Owner) -> Vec<Entry<V>> {
        self.drop_ended(now);
        let keys = self.keys_of(owner);
        keys.iter().filter_map(|key| Some(self.entries.get(key)?.listed(*key, now))).collect()
    }

    /// See [`Store::remove_owner`](kvolt_cache::Store::remove_owner).
    pub fn remove_owner(&mut self, now: Timestamp, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        self.drop_ended(now);
        let mut keys = self.keys_of(owner);
        keys.retain(|key| Some(key) != keep);
        for key in &keys {
            self.entries.remove(key);
        }
        keys
    }

    /// Every live entry, in the order of the keys.
    pub fn entries(&mut self, now: Timestamp) -> Vec<Entry<V>> {
        self.drop_ended(now);
        self.entries.iter().map(|(key, slot)| slot.listed(*key, now)).collect()
    }

    /// Drops the entries that have ended, as every operation does first, and returns their keys.
    pub fn clean(&mut self, now: Timestamp) -> Vec<Key> {
        let ended = self.entries.iter().filter(|(_, slot)| has_ended(slot.deadlines, now));
        let ended: Vec<_> = ended.map(|(key, _)| *key).collect();
        self.drop_ended(now);
        ended
    }

    /// See [`Store::clear`](kvolt_cache::Store::clear).
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn drop_ended(&mut self, now: Timestamp) {
        self.entries.retain(|_, slot| !has_ended(slot.deadlines, now));
    }

    /// The keys of the owner's entries, oldest first.
    fn keys_of(&self, owner: &Owner) -> Vec<Key> {
        let owned = self.entries.iter().filter(|(_, slot)| slot.owner.as_ref() == Some(owner));
        let mut keys: Vec<_> =
            owned.map(|(key, slot)| (slot.created, slot.inserted, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, _, key)| key).collect()
    }

    /// Makes room for one more of the owner's.
    fn remove_surplus(&mut self, owner: Option<&Owner>, limit: Option<OwnerLimit>) -> Vec<Key> {
        let (Some(owner), Some(limit)) = (owner, limit) else {
            return Vec::new();
        };
        let mut keys = self.keys_of(owner);
        keys.truncate((keys.len() + 1).saturating_sub(limit.max_entries() as usize));
        for key in &keys {
            self.entries.remove(key);
        }
        keys
    }
}

impl<V: Clone> Default for Model<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone> Slot<V> {
    fn entry(&self, key: Key, now: Timestamp) -> Entry<V> {
        let version = Version::from_number(self.version);
        Entry::new(key, self.value.clone(), version, self.owner.clone(), self.deadlines, now)
            .slide_due(used(self.deadlines, now) != self.deadlines)
    }

    fn listed(&self, key: Key, now: Timestamp) -> Entry<V> {
        self.entry(key, now).created(self.owner.is_some().then_some(self.created))
    }
}

fn has_ended(deadlines: Deadlines, now: Timestamp) -> bool {
    deadlines.expires_at().is_some_and(|ends| ends <= now)
}

/// The deadlines after a use.
fn used(deadlines: Deadlines, now: Timestamp) -> Deadlines {
    let (Some(timeout), Some(last)) = (deadlines.idle_timeout(), deadlines.last_used()) else {
        return deadlines;
    };
    let ends = last.max(now).saturating_add(timeout);
    Deadlines::new(Some((timeout, ends)), deadlines.absolute())
}

fn deadlines(now: Timestamp, expiry: Expiry) -> Deadlines {
    let idle = expiry.idle_timeout().map(|timeout| (timeout, now.saturating_add(timeout)));
    Deadlines::new(idle, expiry.lifetime().map(|lifetime| now.saturating_add(lifetime)))
}
