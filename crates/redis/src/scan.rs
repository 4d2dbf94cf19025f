//! Pages of all entries.
//!
//! `SCAN` may return a key twice, and walks each server in an order of its
//! own. So the keys are gone through in their own order: a pass by `SCAN`
//! over all masters gathers the smallest ones after the cursor, and pages are
//! cut from what was gathered. What is kept for the next page is only a
//! shortcut: a store that does not have it any more makes another pass.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kvolt_cache::{Cursor, Entry, EntryList, EntryPage, Error, Key, Owner, Result};

use crate::RedisStore;
use crate::names;
use crate::pass::{Pass, all_at_once};
use crate::reply;
use crate::script::Call;
use crate::store::fresh;

/// How many keys one pass keeps: 3 MB.
const MAX_GATHERED: usize = 100_000;
/// How many passes are kept.
const MAX_SNAPSHOTS: usize = 4;
/// How many entries are read at once.
const READ: usize = 100;

/// What the last passes gathered.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<VecDeque<Arc<Snapshot>>>);

struct Snapshot {
    id: u64,
    keys: Vec<Key>,
    /// Whether there may be more after the last one.
    has_more: bool,
}

impl RedisStore {
    pub(crate) async fn scan_now(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> Result<EntryPage<Vec<u8>>> {
        let (after, id) = match after {
            Some(cursor) => {
                let (key, id) = parse(cursor)?;
                (Some(key), Some(id))
            }
            None => (None, None),
        };
        let snapshot = match id.and_then(|id| self.snapshots().of(id)) {
            Some(snapshot) => snapshot,
            None => self.gather(after).await?,
        };
        let first = after.map_or(0, |after| snapshot.keys.partition_point(|key| *key <= after));
        let rest = &snapshot.keys[first..];
        let keys = &rest[..rest.len().min(max_entries.max(1))];
        let mut listing = EntryList::new(Vec::with_capacity(keys.len()), Vec::new());
        for keys in keys.chunks(READ) {
            let reads = keys.iter().map(|key| self.clone().read_whole(*key));
            for found in self.in_time(all_at_once(reads)).await? {
                match found {
                    Ok(entry) => listing.entries.extend(entry),
                    Err(key) => listing.unreadable.push(key),
                }
            }
        }
        let next = match keys.last() {
            Some(last) if keys.len() < rest.len() => Some(cursor(last, snapshot.id)),
            // The next page begins with another pass.
            Some(last) if snapshot.has_more => Some(cursor(last, 0)),
            _ => None,
        };
        Ok(EntryPage::new(listing, next))
    }

    /// An entry, and when it was inserted; or its key, if it can't be read.
    async fn read_whole(self, key: Key) -> Result<Result<Option<Entry<Vec<u8>>>, Key>> {
        let entry = match self.get_now(&key).await {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Ok(None)),
            Err(error) if error.is_corrupt() => return Ok(Err(key)),
            Err(error) => return Err(error),
        };
        let Some(owner) = entry.owner.as_ref().map(Owner::as_str) else {
            return Ok(Ok(Some(entry)));
        };
        let index = self.index_beside(&key, owner.as_bytes());
        let member = self.names().member(&key);
        let call = Call::plain("ZSCORE", names::part_of(&key), &index).arg(member);
        let score = match self.server().call(&call).await {
            Ok((score, _)) => reply::score(score),
            // The entry lies apart from its index.
            Err(fault) if fault.is_wrong_type() => None,
            Err(fault) => return Err(fault.into_error()),
        };
        Ok(Ok(Some(entry.created(score))))
    }

    async fn gather(&self, after: Option<Key>) -> Result<Arc<Snapshot>> {
        let mut keys = BTreeSet::new();
        let mut has_more = false;
        let mut pass = Pass::new(self.names().entries());
        while let Some(page) = pass.next(self).await? {
            for key in page.names.iter().filter_map(|name| self.names().parse_key(name)) {
                if after.is_none_or(|after| key > after) {
                    keys.insert(key);
                }
                if keys.len() > MAX_GATHERED {
                    keys.pop_last();
                    has_more = true;
                }
            }
        }
        let snapshot = Snapshot { id: fresh()?.max(1), keys: keys.into_iter().collect(), has_more };
        Ok(self.snapshots().keep(snapshot))
    }
}

impl Snapshots {
    fn of(&self, id: u64) -> Option<Arc<Snapshot>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|snapshot| snapshot.id == id).cloned()
    }

    fn keep(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_SNAPSHOTS {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&snapshot));
        snapshot
    }
}

/// The last key of a page, and the pass that it was cut from.
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
