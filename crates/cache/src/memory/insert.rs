//! Insertion: within an owner's limit, and in the place of another entry.

use std::sync::Arc;

use super::capacity::Room;
use super::inner::{Inner, Map};
use super::node::{Node, deadlines_of};
use super::owners::{Member, Shard};
use super::remove::Taken;
use crate::sync::yield_now;
use crate::{AtLimit, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Result};

/// An entry without its value, and its key.
struct New {
    key: Key,
    entry: NewEntry<()>,
}

/// The live entry that is replaced.
struct Old {
    key: Key,
    version: u64,
    weight: usize,
}

/// Why an attempt changed nothing.
enum Undone<V> {
    Refused(InsertOutcome),
    /// Another call has changed an entry meanwhile. Holds the value for the next attempt.
    Again(V),
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// See [`Store::insert`](crate::Store::insert).
    ///
    /// An insertion that also removes entries first puts the new node into the map as pending.
    /// Then it takes the old node out of the map, if it still is the one that was read: this step
    /// decides. Then it removes the entries beyond the owner's limit, and publishes the new node.
    /// A call that finds the pending node in between waits.
    pub(crate) fn insert(self: &Arc<Self>, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        self.ensure_cleaner();
        let NewEntry { mut value, expiry, owner, limit, replaces, times } = entry;
        limit.iter().try_for_each(OwnerLimit::check)?;
        let weight = self.capacity.weigh(&value);
        self.capacity.check_weight(weight)?;
        let now = self.now();
        if times.is_some_and(|times| times.deadlines.expires_at().is_some_and(|end| end <= now)) {
            return Ok(InsertOutcome::Expired);
        }
        let new = New { key, entry: NewEntry { value: (), expiry, owner, limit, replaces, times } };
        let map = self.map();
        loop {
            let old = match self.find_old(&map, &new) {
                Ok(old) => old,
                Err(conflict) => return Ok(conflict),
            };
            let freed = old.as_ref().map_or(0, |old| old.weight);
            let room =
                Room { entries: usize::from(old.is_none()), bytes: weight.saturating_sub(freed) };
            if self.capacity.is_bounded() && self.find(&map, &new.key).is_some() {
                // Before `make_room`, which may evict others.
                return Ok(InsertOutcome::Occupied);
            }
            // Before any lock: the entries that it evicts may belong to any owner.
            self.make_room(room, old.as_ref().map(|old| &old.key))?;
            match self.try_insert(&map, &new, value, old.as_ref()) {
                Ok(removed) => {
                    let bytes = freed.saturating_sub(weight);
                    self.capacity.give_back(Room { entries: 0, bytes });
                    return Ok(InsertOutcome::Inserted { removed });
                }
                Err(undone) => {
                    self.capacity.give_back(room);
                    match undone {
                        Undone::Refused(refused) => return Ok(refused),
                        Undone::Again(unplaced) => value = unplaced,
                    }
                    // Outside of the owner's lock: an expired entry may have another owner.
                    self.reclaim_if_expired(&new.key, self.now());
                    yield_now();
                }
            }
        }
    }

    /// The entry to replace, if it is live; a conflict if it does not have the expected version.
    fn find_old(&self, map: &Map<'_, V>, new: &New) -> Result<Option<Old>, InsertOutcome> {
        let Some(replaces) = &new.entry.replaces else { return Ok(None) };
        let old = self.find(map, &replaces.key).map(|found| Old {
            key: replaces.key,
            version: found.node.version,
            weight: self.capacity.weigh(&found.node.value),
        });
        match replaces.seen {
            Some(seen) if old.as_ref().is_none_or(|old| old.version != seen.number()) => {
                Err(InsertOutcome::Conflict)
            }
            _ => Ok(old),
        }
    }

    /// One attempt. Returns the keys that were removed at the owner's limit.
    fn try_insert(
        &self,
        map: &Map<'_, V>,
        new: &New,
        value: V,
        old: Option<&Old>,
    ) -> Result<Vec<Key>, Undone<V>> {
        let mut taken = Vec::new();
        let placed = {
            let mut shard = new.entry.owner.as_ref().map(|owner| self.owners.lock(owner));
            self.place(map, new, value, old, shard.as_deref_mut(), &mut taken)
        };
        let removed = self.finish_all(taken);
        if let Some((key, node)) = placed? {
            self.remove_from_index(key, node);
            self.changes.changed(key);
        }
        Ok(removed)
    }

    /// The part of an attempt that runs under the owner's lock. Once the new node is in the map, it
    /// calls none of the application's code. Returns the node that it replaced, and adds the
    /// owner's entries that it removed to `taken`.
    fn place<'a>(
        &self,
        map: &'a Map<'_, V>,
        New { key, entry }: &New,
        value: V,
        old: Option<&Old>,
        mut shard: Option<&mut Shard>,
        taken: &mut Vec<Taken<'a, V>>,
    ) -> Result<Option<(&'a Key, &'a Node<V>)>, Undone<V>> {
        if old.is_none()
            && let Some(replaces) = &entry.replaces
            && self.find(map, &replaces.key).is_some()
        {
            return Err(Undone::Again(value));
        }
        let now = self.now();
        let deadlines = match &entry.times {
            Some(times) => times.deadlines,
            None => deadlines_of(entry.expiry, now),
        };
        let mut surplus = Vec::new();
        let mut owner = None;
        if let (Some(shard), Some(name)) = (shard.as_deref_mut(), &entry.owner) {
            if let Some(limit) = entry.limit {
                let refused = Undone::Refused(InsertOutcome::LimitReached);
                surplus = self.over_limit(map, shard, name, limit, old, taken).ok_or(refused)?;
            }
            owner = Some(shard.intern(name));
        }
        let mut node = Node::new(value, deadlines, owner.clone(), self.next_version());
        let ends = node.ends();
        let is_pending = old.is_some() || !surplus.is_empty();
        let word = is_pending.then(|| node.hide());
        let placed =
            map.try_insert(*key, node).map_err(|occupied| match occupied.current.state(now) {
                Ok(()) => Undone::Refused(InsertOutcome::Occupied),
                Err(_) => Undone::Again(occupied.not_inserted.value),
            })?;
        // From here on, each step reads the time again: the new node is in its place, so a call
        // that does not find it comes before.
        let mut replaced = None;
        if let Some(old) = old {
            let removed = map.remove_if(&old.key, |_, node| {
                node.version == old.version && node.state(self.now()).is_ok()
            });
            replaced = removed.ok().flatten();
            if replaced.is_none() {
                map.remove(key);
                return Err(Undone::Again(placed.value.clone()));
            }
        }
        if let (Some(shard), Some(owner)) = (shard, owner) {
            let created = entry.times.and_then(|times| times.created);
            let created = created.map_or(now, |created| created.min(now));
            shard.insert(&owner, Member { created, key: *key });
            for key in surplus {
                taken.extend(self.take(map, &owner, &key));
                shard.remove(&owner, &key);
            }
        }
        if let Some(word) = word {
            placed.publish(word);
        }
        self.file(key, ends);
        Ok(replaced)
    }

    /// The owner's entries that must be removed so that one more is within the limit, oldest
    /// first; `None` if the new entry is refused. Removes the expired entries that it finds.
    ///
    /// It reads as many live entries as the limit allows, those that must be removed, and each
    /// expired entry once.
    fn over_limit<'a>(
        &self,
        map: &'a Map<'_, V>,
        shard: &mut Shard,
        owner: &Owner,
        limit: OwnerLimit,
        old: Option<&Old>,
        taken: &mut Vec<Taken<'a, V>>,
    ) -> Option<Vec<Key>> {
        let max = limit.max_entries() as usize;
        if shard.len(owner) < max {
            return Some(Vec::new());
        }
        let mut gone = Vec::new();
        let mut is_live = |key: &Key| {
            let found = self.find(map, key);
            let is_live = found.is_some_and(|found| found.node.is_owned_by(owner));
            if !is_live {
                gone.push(*key);
            }
            is_live
        };
        let is_other = |key: &Key| old.is_none_or(|old| old.key != *key);
        let mut over = Vec::new();
        let is_refused = match limit.at_limit() {
            AtLimit::Refuse => {
                let keys = shard.members(owner).map(|member| member.key).filter(is_other);
                keys.filter(&mut is_live).nth(max - 1).is_some()
            }
            AtLimit::RemoveOldest => {
                let keys = shard.by_age(owner).into_iter().map(|member| member.key);
                over.extend(keys.filter(is_other).filter(&mut is_live));
                over.truncate((over.len() + 1).saturating_sub(max));
                false
            }
        };
        for key in gone {
            taken.extend(self.take(map, owner, &key));
            shard.remove(owner, &key);
        }
        (!is_refused).then_some(over)
    }
}
