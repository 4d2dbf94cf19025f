//! Insertion: within an owner's limit, and in the place of another entry.

use super::capacity::Room;
use super::inner::{Inner, Map, Taken};
use super::node::{Node, State, deadlines};
use super::owners::{Member, Shard};
use crate::sync::yield_now;
use crate::{
    AtLimit, Deadlines, EntryTimes, Expiry, InsertOutcome, Key, NewEntry, Owner, OwnerLimit,
    Predecessor, Result, Timestamp,
};

/// What is inserted, apart from its value.
struct New {
    key: Key,
    expiry: Expiry,
    owner: Option<Owner>,
    limit: Option<OwnerLimit>,
    replaces: Option<Predecessor>,
    times: Option<EntryTimes>,
}

/// The live entry that is replaced.
struct Old {
    key: Key,
    version: u64,
    weight: usize,
}

/// The entry that is to be replaced is not the one that the caller has seen.
struct Conflict;

/// Why an attempt did nothing.
enum Undone<V> {
    Refused(InsertOutcome),
    /// Something was changed meanwhile: the value, for the next attempt.
    Again(V),
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// See [`Store::insert`](crate::Store::insert).
    ///
    /// An insertion that also removes entries places the new node invisibly first. Taking the old
    /// node out of the map, if it still is the one that was looked at, decides. Then what is beyond
    /// the owner's limit goes, and the new node is shown: a call that finds it in between waits.
    pub(super) fn insert(&self, key: Key, entry: NewEntry<V>) -> Result<InsertOutcome> {
        let NewEntry { mut value, expiry, owner, limit, replaces, times } = entry;
        limit.iter().try_for_each(OwnerLimit::check)?;
        let weight = self.capacity.weigh(&value);
        self.capacity.check_weight(weight)?;
        let now = self.now();
        if times.is_some_and(|times| times.deadlines.expires_at().is_some_and(|end| end <= now)) {
            return Ok(InsertOutcome::Expired);
        }
        let new = New { key, expiry, owner, limit, replaces, times };
        let map = self.map();
        loop {
            let Ok(old) = self.find_old(&map, new.replaces.as_ref()) else {
                return Ok(InsertOutcome::Conflict);
            };
            let freed = old.as_ref().map_or(0, |old| old.weight);
            let room =
                Room { entries: usize::from(old.is_none()), bytes: weight.saturating_sub(freed) };
            if self.capacity.is_bounded() && self.find(&map, &new.key).is_some() {
                // Before room is made for it, which may remove others.
                return Ok(InsertOutcome::Occupied);
            }
            // Before any lock: what it removes may belong to any owner.
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
                    self.reap(&new.key, self.now());
                    yield_now();
                }
            }
        }
    }

    /// The entry that is to be replaced, if it is live. An error if the caller has seen another.
    fn find_old(
        &self,
        map: &Map<'_, V>,
        replaces: Option<&Predecessor>,
    ) -> Result<Option<Old>, Conflict> {
        let Some(replaces) = replaces else { return Ok(None) };
        let found = self.find(map, &replaces.key);
        let old = found.map(|found| Old {
            key: replaces.key,
            version: found.node.version(),
            weight: self.capacity.weigh(found.node.value()),
        });
        match replaces.seen {
            Some(seen) if old.as_ref().is_none_or(|old| old.version != seen.number()) => {
                Err(Conflict)
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
            let mut shard = new.owner.as_ref().map(|owner| self.owners.lock(owner));
            self.place(map, new, value, old, shard.as_deref_mut(), &mut taken)
        };
        let live = taken.iter().filter(|taken| taken.was_live);
        let removed = live.map(|taken| *taken.key).collect();
        taken.into_iter().for_each(|taken| self.finish(taken));
        if let Some((key, node)) = placed? {
            self.forget(key, node);
            self.changes.changed(key);
        }
        Ok(removed)
    }

    /// What is done under the owner's lock, with no call of the application's code once the new
    /// node is in the map. Returns what it replaced; the owner's entries that it removed are added
    /// to `taken`.
    fn place<'a>(
        &self,
        map: &'a Map<'_, V>,
        new: &New,
        value: V,
        old: Option<&Old>,
        mut shard: Option<&mut Shard>,
        taken: &mut Vec<Taken<'a, V>>,
    ) -> Result<Option<(&'a Key, &'a Node<V>)>, Undone<V>> {
        if old.is_none()
            && let Some(replaces) = &new.replaces
            && self.find(map, &replaces.key).is_some()
        {
            return Err(Undone::Again(value));
        }
        let now = self.now();
        let (deadlines, created) = new.times(now);
        let mut surplus = Vec::new();
        let mut owner = None;
        if let (Some(shard), Some(name)) = (shard.as_deref_mut(), &new.owner) {
            if let Some(limit) = new.limit {
                let refused = Undone::Refused(InsertOutcome::LimitReached);
                surplus = self.surplus(map, shard, name, limit, old, taken).ok_or(refused)?;
            }
            owner = Some(shard.intern(name));
        }
        let mut node = Node::new(value, deadlines, owner.clone(), self.next_version());
        let ends = node.ends();
        let hides = old.is_some() || !surplus.is_empty();
        let shown = hides.then(|| node.hide());
        let placed = map.try_insert(new.key, node).map_err(|occupied| {
            match occupied.current.state(now) {
                State::Live => Undone::Refused(InsertOutcome::Occupied),
                _ => Undone::Again(occupied.not_inserted.into_value()),
            }
        })?;
        // From here on by the time at each moment: the new node is in its place, so a call that
        // does not find it comes before.
        let mut replaced = None;
        if let Some(old) = old {
            let removed = map.remove_if(&old.key, |_, node| {
                node.version() == old.version && node.state(self.now()) == State::Live
            });
            replaced = removed.ok().flatten();
            if replaced.is_none() {
                map.remove(&new.key);
                return Err(Undone::Again(placed.value().clone()));
            }
        }
        if let (Some(shard), Some(owner)) = (shard, owner) {
            shard.insert(&owner, Member { created, key: new.key });
            for key in surplus {
                taken.extend(self.take(map, &owner, &key));
                shard.remove(&owner, &key);
            }
        }
        if let Some(shown) = shown {
            placed.publish(shown);
        }
        self.file(&new.key, ends);
        Ok(replaced)
    }

    /// Which of the owner's entries must go so that one more is within the limit; `None` if the
    /// new one is refused. What it finds expired goes at once.
    ///
    /// It looks at no more entries than the limit, at those that must go, and once at each that
    /// is expired.
    fn surplus<'a>(
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
        let (mut live, mut surplus, mut gone) = (0, Vec::new(), Vec::new());
        for Member { key, .. } in shard.members(owner).rev() {
            if old.is_some_and(|old| old.key == key) {
                continue;
            }
            if self.find(map, &key).is_none_or(|found| !found.node.is_owned_by(owner)) {
                gone.push(key);
                continue;
            }
            live += 1;
            if live < max {
                continue;
            }
            match limit.at_limit() {
                AtLimit::Refuse => break,
                AtLimit::RemoveOldest => surplus.push(key),
            }
        }
        for key in gone {
            taken.extend(self.take(map, owner, &key));
            shard.remove(owner, &key);
        }
        if live < max || limit.at_limit() == AtLimit::RemoveOldest {
            surplus.reverse();
            return Some(surplus);
        }
        None
    }
}

impl New {
    /// The deadlines, and when it was inserted.
    fn times(&self, now: Timestamp) -> (Deadlines, Timestamp) {
        match &self.times {
            Some(times) => (times.deadlines, times.created.map_or(now, |created| created.min(now))),
            None => (deadlines(self.expiry, now), now),
        }
    }
}
