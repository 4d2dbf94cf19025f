//! Pages of all entries, and their count.
//!
//! `SCAN` may return a key twice, and each server has an order of its own. So pages are in the
//! order of the keys: one pass with `SCAN` over all masters gathers the smallest keys after the
//! cursor, and pages are cut from them. The gathered keys are kept for the next pages; a store that
//! no longer has them makes another pass.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use kvolt_cache::{Cursor, EntryList, EntryPage, Error, Key, Result};

use crate::RedisStore;
use crate::arguments::random_version;
use crate::concurrent::join_all;
use crate::names;
use crate::pass::Pass;
use crate::reply;
use crate::script::Call;
use crate::snapshots::Snapshot;

/// How many keys one pass gathers: 3 MB.
const MAX_GATHERED: usize = 100_000;
/// How many entries are read at the same time.
const MAX_READS: usize = 100;
/// How many keys a count remembers, to count those once that `SCAN` returns twice: 5 MB. Further
/// ones may be counted twice while the server resizes its table.
const MAX_COUNTED_ONCE: usize = 100_000;

impl RedisStore {
    pub(crate) async fn scan_now(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> Result<EntryPage<Vec<u8>>> {
        let (after, id) = after.map(parse).transpose()?.unzip();
        let snapshot = match id.and_then(|id| self.inner.snapshots.get(id)) {
            Some(snapshot) => snapshot,
            None => self.gather(after).await?,
        };
        let first = after.map_or(0, |after| snapshot.keys.partition_point(|key| *key <= after));
        let rest = &snapshot.keys[first..];
        let keys = &rest[..rest.len().min(max_entries.max(1))];
        let mut list = EntryList::new(Vec::with_capacity(keys.len()), Vec::new());
        for keys in keys.chunks(MAX_READS) {
            let reads = keys.iter().map(|key| self.clone().read_with_creation(*key));
            for found in self.in_time(join_all(reads)).await? {
                list.entries.extend(found.entries);
                list.unreadable.extend(found.unreadable);
            }
        }
        let next = match keys.last() {
            Some(last) if keys.len() < rest.len() => Some(cursor(last, snapshot.id)),
            // The next page needs another pass.
            Some(last) if snapshot.has_more => Some(cursor(last, 0)),
            _ => None,
        };
        Ok(EntryPage::new(list, next))
    }

    /// The entry under a key, with its creation.
    async fn read_with_creation(self, key: Key) -> Result<EntryList<Vec<u8>>> {
        let entry = match self.get_now(&key).await {
            Err(error) if error.is_corrupt() => return Ok(EntryList::new(Vec::new(), vec![key])),
            entry => entry?,
        };
        let owner = entry.as_ref().and_then(|entry| entry.owner.as_ref());
        let Some(index) = owner.map(|owner| self.index_beside(&key, owner.as_str().as_bytes()))
        else {
            return Ok(EntryList::new(entry.into_iter().collect(), Vec::new()));
        };
        let member = self.inner.names.member(&key);
        let call = Call::plain("ZSCORE", names::part_of(&key), &index).arg(member);
        let score = match self.inner.servers.call(&call).await {
            // The entry is in another slot than its index.
            Err(fault) if fault.code() == Some("WRONGTYPE") => None,
            score => reply::score(score?.0),
        };
        let entries = entry.into_iter().map(|entry| entry.created(score)).collect();
        Ok(EntryList::new(entries, Vec::new()))
    }

    async fn gather(&self, after: Option<Key>) -> Result<Arc<Snapshot>> {
        let mut gathered = BTreeSet::new();
        let mut has_more = false;
        let mut pass = Pass::new(self.inner.names.entries());
        while let Some(keys) = pass.next_keys(self).await? {
            for key in keys.into_iter().filter(|key| after.is_none_or(|after| *key > after)) {
                gathered.insert(key);
                if gathered.len() > MAX_GATHERED {
                    gathered.pop_last();
                    has_more = true;
                }
            }
        }
        let (id, keys) = (random_version()?.max(1), gathered.into_iter().collect());
        Ok(self.inner.snapshots.keep(Snapshot { id, keys, has_more }))
    }

    /// Counts names, without reading entries.
    pub(crate) async fn count_now(&self) -> Result<u64> {
        let mut pass = Pass::new(self.inner.names.entries());
        let (mut count, mut attempt) = (0, 0);
        let mut seen = HashSet::new();
        while let Some(keys) = pass.next_keys(self).await? {
            if pass.attempt > attempt {
                (count, attempt) = (0, pass.attempt);
                seen.clear();
            }
            for key in keys {
                let is_new = if seen.len() < MAX_COUNTED_ONCE {
                    seen.insert(key)
                } else {
                    !seen.contains(&key)
                };
                count += u64::from(is_new);
            }
        }
        Ok(count)
    }
}

/// The last key of a page, and the snapshot that it was cut from.
fn cursor(key: &Key, id: u64) -> Cursor {
    let mut bytes = key.as_bytes().to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    Cursor::from_bytes(bytes)
}

fn parse(cursor: &Cursor) -> Result<(Key, u64)> {
    let parts = cursor.as_bytes().split_first_chunk::<32>();
    let parts = parts.and_then(|(key, id)| Some((key, <[u8; 8]>::try_from(id).ok()?)));
    let (key, id) =
        parts.ok_or_else(|| Error::misconfigured("the cursor is not one of this store's"))?;
    Ok((Key::from_bytes(*key), u64::from_be_bytes(id)))
}
