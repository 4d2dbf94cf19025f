//! Moving an entry to a new key.

use std::sync::Arc;

use super::inner::{Inner, check_owner};
use crate::clock::millis;
use crate::sync::read;
use crate::{Key, Owner, Rename, Renamed, Result, Timestamp};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// See [`Store::rename`](crate::Store::rename).
    ///
    /// The new node is placed invisibly first; taking the old one out of the
    /// map, if it still is the one that was copied, decides; then the new one
    /// is shown. Readers of the former key find the new node by then, and wait
    /// out the instant in between.
    pub(super) fn rename(&self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
        check_owner(rename.owner.as_ref())?;
        let _moving = read(&self.moving);
        loop {
            let now = self.clock.now();
            let Some(owner) = self.owner_of(from) else {
                return Ok(self.absent_or_superseded(from, now));
            };
            if !self.is_free(&to, now) {
                return Ok(Renamed::Occupied);
            }
            self.reap(&to, now);
            // Taken before the locks, since making room may need those of other owners.
            let grows = self.growth(from, &rename);
            self.make_room(0, grows)?;
            let renamed = self.try_rename(from, to, &rename, owner);
            self.capacity.release(0, grows);
            if let Some(renamed) = renamed {
                if let Renamed::Moved { removed } = &renamed {
                    [from, &to]
                        .into_iter()
                        .chain(removed)
                        .for_each(|key| self.changes.changed(key));
                }
                return Ok(renamed);
            }
        }
    }

    /// One attempt; `None` if the entry was changed in the middle of it.
    fn try_rename(
        &self,
        from: &Key,
        to: Key,
        rename: &Rename<V>,
        owner: Option<Arc<Owner>>,
    ) -> Option<Renamed> {
        let new_owner = rename.owner.as_ref().or(owner.as_deref());
        let mut locked = self.owners.lock_both(from, owner.as_deref(), new_owner);
        let now = self.clock.now();
        let map = self.map.pin();
        let old = map.get(from).filter(|old| old.owner() == owner.as_ref())?;
        if !old.is_live(now) {
            return Some(Renamed::Absent);
        }
        let value = match &rename.value {
            Some((seen, _)) if seen.number() != old.version() => return Some(Renamed::Conflict),
            Some((_, value)) => value.clone(),
            None => old.value().clone(),
        };
        let mut surplus = Vec::new();
        let mut interned = None;
        if let Some(new_owner) = new_owner {
            let shard = locked.shard(new_owner)?;
            match self.surplus(shard, new_owner, rename.limit, Some(from), now) {
                Some(keys) => surplus = keys,
                None => return Some(Renamed::LimitReached),
            }
            interned = Some(shard.intern(new_owner));
        }

        let weight_before = self.capacity.weigh(old.value());
        let weight_after = self.capacity.weigh(&value);
        let version = self.next_version();
        let successor = old.successor(value, interned.clone(), rename.expiry, version, now);
        let (successor, idle_ends) = successor.pending();
        if self.place(to, successor).is_err() {
            return Some(Renamed::Occupied);
        }
        let new = map.get(&to)?;
        if !rename.grace.is_zero() {
            let ends =
                now.as_millis().saturating_add(millis(rename.grace)).min(Timestamp::NEVER - 1);
            self.former.insert(*from, to, ends);
        }
        // Whoever removes the old node, by this renaming or by another call, decides.
        let taken = map.remove_if(from, |_, node| node.version() == old.version());
        let Ok(Some((_, old))) = taken else {
            self.former.remove(from);
            map.remove(&to);
            return None;
        };
        let (final_ends, sealed) = old.seal();
        if sealed {
            // Somebody saw it expired: then it was, and new deadlines must not revive it.
            self.former.remove(from);
            map.remove(&to);
            if let (Some(owner), Some(shard)) =
                (&owner, owner.as_deref().and_then(|owner| locked.shard(owner)))
            {
                shard.remove(owner, from);
            }
            self.capacity.release(1, weight_before);
            drop(locked);
            self.tell_expired(from);
            return Some(Renamed::Absent);
        }
        new.publish(if rename.expiry.is_none() { final_ends } else { idle_ends });
        self.capacity.exchange(weight_before, weight_after);

        let (mut removed, mut ended) = (Vec::new(), Vec::new());
        match (&owner, &interned) {
            (Some(owner), Some(new_owner)) if owner == new_owner => {
                locked.shard(owner)?.rename(owner, from, to);
            }
            (owner, new_owner) => {
                if let Some(owner) = owner {
                    locked.shard(owner)?.remove(owner, from);
                }
                if let Some(new_owner) = new_owner {
                    locked.shard(new_owner)?.push(new_owner, to);
                }
            }
        }
        if let Some(new_owner) = &interned
            && let Some(shard) = locked.shard(new_owner)
        {
            removed = self.remove_surplus(shard, new_owner, surplus, &mut ended);
        }
        drop(locked);
        ended.iter().for_each(|key| self.tell_expired(key));
        self.file(&to, new.ends());
        if let Some(step) = self.former.get(from) {
            let due = self.former.file(from, step.ends, now.as_millis());
            self.signal.wake_by(due);
        }
        Some(Renamed::Moved { removed })
    }

    /// By how many bytes the entry's weight will grow.
    fn growth(&self, from: &Key, rename: &Rename<V>) -> usize {
        let Some((_, value)) = &rename.value else {
            return 0;
        };
        let before = self.map.pin().get(from).map_or(0, |old| self.capacity.weigh(old.value()));
        self.capacity.weigh(value).saturating_sub(before)
    }

    /// Whose entry it is, if there is one: `Some(None)` for nobody's.
    fn owner_of(&self, key: &Key) -> Option<Option<Arc<Owner>>> {
        self.map.pin().get(key).filter(|node| !node.is_pending()).map(|node| node.owner().cloned())
    }

    fn is_free(&self, key: &Key, now: Timestamp) -> bool {
        let taken = self.map.pin().get(key).is_some_and(|node| !node.has_ended(now));
        !taken && !self.leads_on(key, now)
    }

    fn absent_or_superseded(&self, from: &Key, now: Timestamp) -> Renamed {
        if self.leads_on(from, now) { Renamed::Superseded } else { Renamed::Absent }
    }
}
