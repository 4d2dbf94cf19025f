//! Operations on all of an owner's entries, and on all entries.

use std::collections::BinaryHeap;

use super::inner::Inner;
use super::node::State;
use super::owners::Member;
use crate::sync::yield_now;
use crate::{Cursor, Entry, EntryList, EntryPage, Error, Key, Owner, Result};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) fn list(&self, owner: &Owner) -> Vec<Entry<V>> {
        let map = self.map();
        // Looked up under the lock: an insertion that replaces an entry would hide both in between.
        let found: Vec<_> = {
            let shard = self.owners.lock(owner);
            let found = shard.members(owner).filter_map(|Member { created, key }| {
                let found = self.find(&map, &key)?;
                found.node.is_owned_by(owner).then_some((found, created))
            });
            found.collect()
        };
        found.into_iter().map(|(found, created)| found.to_entry().created(created)).collect()
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
        let live = taken.iter().filter(|taken| taken.was_live);
        let removed = live.map(|taken| *taken.key).collect();
        taken.into_iter().for_each(|taken| self.finish(taken));
        removed
    }

    pub(super) fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        let after = match after {
            None => None,
            Some(cursor) => match <[u8; Key::LEN]>::try_from(cursor.as_bytes()) {
                Ok(bytes) => Some(Key::from_bytes(bytes)),
                Err(_) => {
                    return Err(Error::misconfigured("the cursor is not from a memory store"));
                }
            },
        };
        let max_entries = max_entries.max(1);
        let now = self.now();
        let map = self.map();
        // The keys that come next in order, so that an entry is met once however the map moves.
        let mut nearest = BinaryHeap::new();
        for (key, node) in map.iter() {
            // One that is undecided is looked up again below.
            if after.is_some_and(|after| *key <= after) || node.state(now) == State::Expired {
                continue;
            }
            if nearest.len() < max_entries {
                nearest.push(*key);
            } else if let Some(mut farthest) = nearest.peek_mut()
                && *key < *farthest
            {
                *farthest = *key;
            }
        }
        let keys = nearest.into_sorted_vec();
        let next = (keys.len() == max_entries)
            .then(|| keys.last().map(|key| Cursor::from_bytes(*key.as_bytes())))
            .flatten();
        let entries = keys.iter().filter_map(|key| {
            let found = self.find(&map, key)?;
            let created = found.node.owner().and_then(|owner| {
                let shard = self.owners.lock(owner);
                shard.created(owner, key)
            });
            Some(found.to_entry().created(created))
        });
        Ok(EntryPage::new(EntryList::new(entries.collect(), Vec::new()), next))
    }

    pub(super) fn clear(&self) {
        // Twice: an insertion that replaces an entry which the first pass has yet to meet may put
        // the new one where that pass has been. It is in the map before the old one leaves it.
        (0..2).for_each(|_| self.clear_once());
        self.changes.all_changed();
    }

    fn clear_once(&self) {
        let map = self.map();
        for (key, _) in map.iter() {
            loop {
                let now = self.now();
                match map.remove_if(key, |_, node| !node.is_pending()) {
                    Ok(Some(taken)) => {
                        self.removed(taken, now);
                        break;
                    }
                    Ok(None) => break,
                    Err(_) => yield_now(),
                }
            }
        }
    }
}
