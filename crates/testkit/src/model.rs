//! The laws, executed one call at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Deadlines, Entry, Expiry, Insert, Key, NewEntry, Owner, OwnerLimit, Rename,
    Renamed, Replace, Timestamp, Version,
};

/// What a [`Store`](kvolt_cache::Store) has to answer, in its simplest form: one caller, and the
/// time as an argument.
///
/// Each operation first drops what has ended at `now`; what is left is live.
/// The time must not go back from one call to the next.
///
/// Where the contract leaves a choice, the model takes one and says so:
/// an entry that comes to an owner by renaming is the owner's youngest; when an
/// entry is renamed twice, the first former key leads to it no longer than the
/// second does.
#[derive(Debug, Clone)]
pub struct Model<V> {
    entries: BTreeMap<Key, Slot<V>>,
    former: BTreeMap<Key, Former>,
    /// The source of versions, identities and ages.
    counter: u64,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    /// The same for as long as the entry lives, whatever its key.
    identity: u64,
    value: V,
    version: u64,
    owner: Option<Owner>,
    /// When it came to its owner: greater is younger.
    age: u64,
    idle: Option<(Duration, Timestamp)>,
    absolute: Option<Timestamp>,
}

/// A former key in its grace. It leads to an entry, not to a key.
#[derive(Debug, Clone, Copy)]
struct Former {
    identity: u64,
    ends: Timestamp,
}

impl<V: Clone> Model<V> {
    /// A model that holds nothing.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), former: BTreeMap::new(), counter: 0 }
    }

    /// See [`Store::get`](kvolt_cache::Store::get).
    pub fn get(&mut self, now: Timestamp, key: &Key, access: Access) -> Option<Entry<V>> {
        self.drop_ended(now);
        let (found, slot) = self.resolve_mut(key)?;
        if access.slides()
            && found == *key
            && let Some((timeout, ends)) = &mut slot.idle
        {
            *ends = now.saturating_add(*timeout).max(*ends);
        }
        Some(slot.entry(found))
    }

    /// See [`Store::insert`](kvolt_cache::Store::insert).
    pub fn insert(&mut self, now: Timestamp, key: Key, entry: NewEntry<V>) -> Insert {
        if let Some(refusal) = self.insert_refusals(now, &key, &entry).into_iter().next() {
            return refusal;
        }
        let removed = self.remove_surplus(entry.owner.as_ref(), entry.limit, None);
        let identity = self.next();
        let (idle, absolute) = deadlines(now, entry.expiry);
        let slot = Slot {
            identity,
            value: entry.value,
            version: identity,
            owner: entry.owner,
            age: identity,
            idle,
            absolute,
        };
        self.entries.insert(key, slot);
        Insert::Inserted { removed }
    }

    /// Every refusal that is right for this insertion; none if it has to be made.
    ///
    /// Where more than one reason holds, the contract doesn't say which one is told.
    pub fn insert_refusals(
        &mut self,
        now: Timestamp,
        key: &Key,
        entry: &NewEntry<V>,
    ) -> Vec<Insert> {
        self.drop_ended(now);
        let mut refusals = Vec::new();
        if self.resolve(key).is_some() {
            refusals.push(Insert::Occupied);
        }
        if self.is_limit_reached(entry.owner.as_ref(), entry.limit, None) {
            refusals.push(Insert::LimitReached);
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
    ) -> Replace<V> {
        self.drop_ended(now);
        let version = self.next();
        let Some((key, slot)) = self.resolve_mut(key) else {
            return Replace::Absent;
        };
        if slot.version != seen.number() {
            return Replace::Conflict(slot.entry(key));
        }
        slot.value = value;
        slot.version = version;
        if let Some(expiry) = expiry {
            (slot.idle, slot.absolute) = deadlines(now, expiry);
        }
        Replace::Replaced(Version::from_number(version))
    }

    /// See [`Store::rename`](kvolt_cache::Store::rename).
    pub fn rename(&mut self, now: Timestamp, from: &Key, to: Key, rename: Rename<V>) -> Renamed {
        if let Some(refusal) = self.rename_refusals(now, from, &to, &rename).into_iter().next() {
            return refusal;
        }
        let owner = self.owner_after(from, &rename);
        let removed = self.remove_surplus(owner.as_ref(), rename.limit, Some(from));
        let number = self.next();
        let Some(mut slot) = self.entries.remove(from) else {
            return Renamed::Absent;
        };
        if let Some((_, value)) = rename.value {
            slot.value = value;
        }
        slot.version = number;
        if slot.owner != owner {
            slot.owner = owner;
            slot.age = number;
        }
        if let Some(expiry) = rename.expiry {
            (slot.idle, slot.absolute) = deadlines(now, expiry);
        }
        let ends = now.saturating_add(rename.grace);
        for former in self.former.values_mut().filter(|former| former.identity == slot.identity) {
            former.ends = former.ends.min(ends);
        }
        self.former.insert(*from, Former { identity: slot.identity, ends });
        self.entries.insert(to, slot);
        self.drop_former(now);
        Renamed::Moved { removed }
    }

    /// Every refusal that is right for this renaming; none if it has to be done.
    pub fn rename_refusals(
        &mut self,
        now: Timestamp,
        from: &Key,
        to: &Key,
        rename: &Rename<V>,
    ) -> Vec<Renamed> {
        self.drop_ended(now);
        let mut refusals = Vec::new();
        match self.entries.get(from) {
            Some(slot) => {
                let stale = |(seen, _): &(Version, V)| -> bool { seen.number() != slot.version };
                if rename.value.as_ref().is_some_and(stale) {
                    refusals.push(Renamed::Conflict);
                }
                let owner = self.owner_after(from, rename);
                if self.is_limit_reached(owner.as_ref(), rename.limit, Some(from)) {
                    refusals.push(Renamed::LimitReached);
                }
            }
            None if self.resolve(from).is_some() => refusals.push(Renamed::Superseded),
            None => refusals.push(Renamed::Absent),
        }
        if self.resolve(to).is_some() {
            refusals.push(Renamed::Occupied);
        }
        refusals
    }

    /// See [`Store::remove`](kvolt_cache::Store::remove).
    pub fn remove(&mut self, now: Timestamp, key: &Key) -> bool {
        self.drop_ended(now);
        let removed = self.resolve(key).and_then(|key| self.entries.remove(&key)).is_some();
        self.drop_former(now);
        removed
    }

    /// See [`Store::list`](kvolt_cache::Store::list).
    pub fn list(&mut self, now: Timestamp, owner: &Owner) -> Vec<Entry<V>> {
        self.drop_ended(now);
        let keys = self.keys_of(owner);
        keys.iter().filter_map(|key| Some(self.entries.get(key)?.entry(*key))).collect()
    }

    /// See [`Store::remove_owner`](kvolt_cache::Store::remove_owner).
    pub fn remove_owner(&mut self, now: Timestamp, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        self.drop_ended(now);
        let keep = keep.and_then(|keep| self.resolve(keep));
        let mut keys = self.keys_of(owner);
        keys.retain(|key| Some(*key) != keep);
        for key in &keys {
            self.entries.remove(key);
        }
        self.drop_former(now);
        keys
    }

    /// Every live entry, in the order of the keys.
    pub fn entries(&mut self, now: Timestamp) -> Vec<Entry<V>> {
        self.drop_ended(now);
        self.entries.iter().map(|(key, slot)| slot.entry(*key)).collect()
    }

    /// Drops the entries that have ended, as every operation does first, and returns their keys.
    pub fn clean(&mut self, now: Timestamp) -> Vec<Key> {
        let ended = self.entries.iter().filter(|(_, slot)| slot.has_ended(now));
        let ended: Vec<_> = ended.map(|(key, _)| *key).collect();
        if !ended.is_empty() {
            self.drop_ended(now);
        }
        ended
    }

    /// See [`Store::clear`](kvolt_cache::Store::clear).
    pub fn clear(&mut self) {
        self.entries.clear();
        self.former.clear();
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn drop_ended(&mut self, now: Timestamp) {
        self.entries.retain(|_, slot| !slot.has_ended(now));
        self.drop_former(now);
    }

    /// Former keys end with their grace, or with what they lead to.
    fn drop_former(&mut self, now: Timestamp) {
        if self.former.is_empty() {
            return;
        }
        let live: BTreeSet<u64> = self.entries.values().map(|slot| slot.identity).collect();
        self.former.retain(|_, former| now < former.ends && live.contains(&former.identity));
    }

    /// The key itself where an entry has it, or the successor of a former key.
    fn resolve(&self, key: &Key) -> Option<Key> {
        if self.entries.contains_key(key) {
            return Some(*key);
        }
        let former = self.former.get(key)?;
        self.entries.iter().find(|(_, slot)| slot.identity == former.identity).map(|(key, _)| *key)
    }

    fn resolve_mut(&mut self, key: &Key) -> Option<(Key, &mut Slot<V>)> {
        let key = self.resolve(key)?;
        self.entries.get_mut(&key).map(|slot| (key, slot))
    }

    fn owner_after(&self, from: &Key, rename: &Rename<V>) -> Option<Owner> {
        let kept = || self.entries.get(from).and_then(|slot| slot.owner.clone());
        rename.owner.clone().or_else(kept)
    }

    fn keys_of(&self, owner: &Owner) -> Vec<Key> {
        let owned = self.entries.iter().filter(|(_, slot)| slot.owner.as_ref() == Some(owner));
        let mut keys: Vec<_> = owned.map(|(key, slot)| (slot.age, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn others_of(&self, owner: &Owner, except: Option<&Key>) -> Vec<Key> {
        let mut keys = self.keys_of(owner);
        keys.retain(|key| Some(key) != except);
        keys
    }

    fn is_limit_reached(
        &self,
        owner: Option<&Owner>,
        limit: Option<OwnerLimit>,
        except: Option<&Key>,
    ) -> bool {
        let (Some(owner), Some(limit)) = (owner, limit) else {
            return false;
        };
        match limit.at_limit {
            AtLimit::Refuse => self.others_of(owner, except).len() >= limit.entries_max as usize,
            AtLimit::RemoveOldest => limit.entries_max == 0,
        }
    }

    /// Makes room for one more of the owner's.
    fn remove_surplus(
        &mut self,
        owner: Option<&Owner>,
        limit: Option<OwnerLimit>,
        except: Option<&Key>,
    ) -> Vec<Key> {
        let (Some(owner), Some(limit)) = (owner, limit) else {
            return Vec::new();
        };
        let mut keys = self.others_of(owner, except);
        keys.truncate((keys.len() + 1).saturating_sub(limit.entries_max as usize));
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

impl<V> Slot<V> {
    fn has_ended(&self, now: Timestamp) -> bool {
        let ends = [self.idle.map(|(_, ends)| ends), self.absolute];
        ends.into_iter().flatten().any(|ends| ends <= now)
    }
}

impl<V: Clone> Slot<V> {
    fn entry(&self, key: Key) -> Entry<V> {
        let version = Version::from_number(self.version);
        let deadlines = Deadlines::new(self.idle, self.absolute);
        Entry::new(key, self.value.clone(), version, self.owner.clone(), deadlines)
    }
}

fn deadlines(now: Timestamp, expiry: Expiry) -> (Option<(Duration, Timestamp)>, Option<Timestamp>) {
    let idle = expiry.idle_timeout().map(|timeout| (timeout, now.saturating_add(timeout)));
    (idle, expiry.lifetime().map(|lifetime| now.saturating_add(lifetime)))
}
