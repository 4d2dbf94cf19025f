//! Removal by key, by owner, and of all entries.

use super::capacity::Room;
use super::inner::{Inner, Map};
use super::node::{Node, NotLive};
use crate::sync::yield_now;
use crate::{Key, Owner, RemoveOutcome, Timestamp, Version};

/// An entry that a call has taken out of the map.
pub(super) struct Taken<'a, V> {
    pub(super) key: &'a Key,
    node: &'a Node<V>,
    pub(super) was_live: bool,
}

impl<'a, V> Taken<'a, V> {
    fn new(key: &'a Key, node: &'a Node<V>, now: Timestamp) -> Self {
        // A change that has sealed the node finds it gone and gives up: undecided means expired.
        Self { key, node, was_live: node.state(now).is_ok() }
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(crate) fn remove(&self, key: &Key, seen: Option<Version>) -> RemoveOutcome {
        let map = self.map();
        let is_seen = |node: &Node<V>| seen.is_none_or(|seen| seen.number() == node.version);
        loop {
            let now = self.now();
            match map.remove_if(key, |_, node| is_seen(node) && !node.is_pending()) {
                Ok(Some(taken)) if self.removed(taken, now) => return RemoveOutcome::Removed,
                Ok(_) => return RemoveOutcome::Absent,
                Err((_, node)) if is_seen(node) => yield_now(),
                Err((_, node)) => match node.state(now) {
                    Ok(()) => return RemoveOutcome::Conflict,
                    Err(NotLive::Expired) => return RemoveOutcome::Absent,
                    Err(NotLive::Undecided) => yield_now(),
                },
            }
        }
    }

    pub(super) fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        let map = self.map();
        let taken: Vec<_> = {
            let mut shard = self.owners.lock(owner);
            let keys: Vec<Key> = shard.members(owner).map(|member| member.key).collect();
            let gone = keys.into_iter().filter(|key| Some(key) != keep);
            let taken = gone.filter_map(|key| {
                let taken = self.take(&map, owner, &key);
                shard.remove(owner, &key);
                taken
            });
            taken.collect()
        };
        self.finish_all(taken)
    }

    pub(crate) fn clear(&self) {
        // Twice: an insertion that replaces an entry which the first pass has yet to meet may put
        // the new one where that pass has been. It is in the map before the old one leaves it.
        for _ in 0..2 {
            for (key, _) in self.map().iter() {
                let _ = self.remove(key, None);
            }
        }
        self.changes.all_changed();
    }

    /// Removes an entry if it has expired.
    pub(super) fn reclaim_if_expired(&self, key: &Key, now: Timestamp) {
        let map = self.map();
        let is_expired = |_: &Key, node: &Node<V>| node.state(now) == Err(NotLive::Expired);
        if let Ok(Some(taken)) = map.remove_if(key, is_expired) {
            self.removed(taken, now);
        }
    }

    /// Completes the removal of an entry that the caller has taken out of the map. Returns whether
    /// it was live.
    pub(super) fn removed(&self, (key, node): (&Key, &Node<V>), now: Timestamp) -> bool {
        self.remove_from_index(key, node);
        let taken = Taken::new(key, node, now);
        let was_live = taken.was_live;
        self.finish(taken);
        was_live
    }

    /// Takes an entry out of the map under its owner's lock. The caller removes its key from the
    /// index, and calls [`finish_all`](Self::finish_all) after it has released the lock.
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

    /// Finishes entries that were taken, and returns the keys of those that were live.
    pub(super) fn finish_all(&self, taken: Vec<Taken<'_, V>>) -> Vec<Key> {
        let live = taken.iter().filter(|taken| taken.was_live);
        let removed = live.map(|taken| *taken.key).collect();
        taken.into_iter().for_each(|taken| self.finish(taken));
        removed
    }

    /// Gives back the room of an entry that was taken, and reports its end. The caller holds no
    /// lock, because this calls the application's code.
    fn finish(&self, Taken { key, node, was_live }: Taken<'_, V>) {
        let bytes = self.capacity.weigh(&node.value);
        self.capacity.give_back(Room { entries: 1, bytes });
        if was_live {
            self.changes.changed(key);
        } else if let Some(callback) = self.on_expired.get() {
            callback(key);
        }
    }

    /// Removes the key of a removed entry from its owner's index. Takes the owner's lock.
    pub(super) fn remove_from_index(&self, key: &Key, node: &Node<V>) {
        let Some(owner) = &node.owner else { return };
        let mut shard = self.owners.lock(owner);
        // If the key was inserted again since, it belongs in the index.
        if self.map().get(key).is_none_or(|node| !node.is_owned_by(owner)) {
            shard.remove(owner, key);
        }
    }
}
