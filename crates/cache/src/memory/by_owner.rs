//! Operations on all of an owner's entries, and on all entries.

use std::collections::BinaryHeap;

use super::inner::Inner;
use super::owners::KeySet;
use crate::sync::write;
use crate::{Cursor, Entry, Error, Key, Owner, Page, Result};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) fn list(&self, owner: &Owner) -> Vec<Entry<V>> {
        // Under the lock to the end: a renaming in between would hide an entry.
        let shard = self.owners.lock(owner);
        let now = self.clock.now();
        let map = self.map.pin();
        let live = |key: Key| {
            let node = map.get(&key).filter(|node| node.is_live(now))?;
            Some(node.view(&key).to_entry())
        };
        shard.keys(owner).into_iter().filter_map(live).collect()
    }

    pub(super) fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        let mut shard = self.owners.lock(owner);
        let keep = keep.and_then(|keep| self.resolve(keep, self.clock.now()));
        let (mut keys, mut ended) = (shard.keys(owner), Vec::new());
        keys.retain(|key| {
            if Some(*key) == keep {
                return false;
            }
            let live = self.unlink(key, &mut ended);
            shard.remove(owner, key);
            live
        });
        drop(shard);
        ended.iter().for_each(|key| self.tell_expired(key));
        keys.iter().for_each(|key| self.changes.changed(key));
        keys
    }

    pub(super) fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
        let after = match after {
            None => None,
            Some(cursor) => match <[u8; 32]>::try_from(cursor.as_bytes()) {
                Ok(bytes) => Some(Key::from_bytes(bytes)),
                Err(_) => {
                    return Err(Error::misconfigured("the cursor is not from a memory store"));
                }
            },
        };
        let entries_max = entries_max.max(1);
        let now = self.clock.now();
        let map = self.map.pin();
        // The keys that come next in order, so that an entry is met once however the map moves.
        let mut nearest = BinaryHeap::new();
        for (key, node) in map.iter() {
            if after.is_some_and(|after| *key <= after) || !node.is_live(now) {
                continue;
            }
            if nearest.len() < entries_max {
                nearest.push(*key);
            } else if let Some(mut farthest) = nearest.peek_mut()
                && *key < *farthest
            {
                *farthest = *key;
            }
        }
        let keys = nearest.into_sorted_vec();
        let next = (keys.len() == entries_max)
            .then(|| keys.last().map(|key| Cursor::from_bytes(*key.as_bytes())))
            .flatten();
        let entries = keys.iter().filter_map(|key| {
            map.get(key).filter(|node| node.is_live(now)).map(|node| node.view(key).to_entry())
        });
        Ok(Page::new(entries.collect(), next))
    }

    pub(super) fn clear(&self) {
        let no_moving = write(&self.moving);
        let now = self.clock.now();
        let map = self.map.pin();
        let mut ended: KeySet = map.iter().map(|(key, _)| *key).collect();
        ended.retain(|key| {
            let Some(node) = map.remove(key) else {
                return false;
            };
            self.forget(key, node);
            node.has_ended(now)
        });
        self.former.clear();
        drop(no_moving);
        ended.iter().for_each(|key| self.tell_expired(key));
        self.changes.all_changed();
    }
}
