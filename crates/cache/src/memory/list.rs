//! The entries of an owner, and all entries in pages.

use std::collections::BinaryHeap;

use super::inner::Inner;
use super::node::NotLive;
use super::owners::Member;
use crate::{Cursor, Entry, EntryList, EntryPage, Error, Key, Owner, Result};

impl<V: Clone> Inner<V> {
    pub(super) fn list(&self, owner: &Owner) -> Vec<Entry<V>> {
        let map = self.map();
        // Under the lock: otherwise an insertion could remove the old entry after it was read here
        // from the index, before the new one is in the index, and the list would have neither.
        let found: Vec<_> = {
            let shard = self.owners.lock(owner);
            let members = shard.by_age(owner).into_iter();
            let found = members.filter_map(|Member { created, key }| {
                let found = self.find(&map, &key)?;
                found.node.is_owned_by(owner).then_some((found, created))
            });
            found.collect()
        };
        found.into_iter().map(|(found, created)| found.to_entry().created(created)).collect()
    }

    pub(super) fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<V>> {
        let after = after.map(|cursor| cursor.as_bytes().try_into().map(Key::from_bytes));
        let after = after
            .transpose()
            .map_err(|_| Error::misconfigured("the cursor is not from a memory store"))?;
        let max_entries = max_entries.max(1);
        let now = self.now();
        let map = self.map();
        // The keys that come next in order, so that each entry is returned once, also if the map
        // is resized between two pages.
        let mut nearest = BinaryHeap::new();
        for (key, node) in map.iter() {
            // `find` below decides about an undecided entry.
            if after.is_some_and(|after| *key <= after) || node.state(now) == Err(NotLive::Expired)
            {
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
        let last = keys.last().filter(|_| keys.len() == max_entries);
        let next = last.map(|key| Cursor::from_bytes(*key.as_bytes()));
        let entries = keys.iter().filter_map(|key| {
            let found = self.find(&map, key)?;
            let owner = found.node.owner.as_ref();
            let created = owner.and_then(|owner| self.owners.lock(owner).created(owner, key));
            Some(found.to_entry().created(created))
        });
        Ok(EntryPage::new(EntryList::new(entries.collect(), Vec::new()), next))
    }
}
