//! Going through all entries.
//!
//! `SCAN` may return a key twice, and walks each server in an order of its
//! own. So the keys are gone through in their own order: a pass by `SCAN`
//! over all masters gathers the smallest ones after the cursor, and pages are
//! cut from what was gathered. What is kept for the next page is only a
//! shortcut, and who has it no longer makes another pass.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kvolt_cache::{Cursor, Entry, Error, Key, Page, Result};
use redis::Value;

use crate::RedisStore;
use crate::cluster::Map;
use crate::names::{self, Name};
use crate::node::Node;
use crate::owners::entries;
use crate::reply;
use crate::script::{self, Call};
use crate::server::Server;
use crate::store::fresh;

/// How many keys one pass keeps: 3 MB.
const GATHERED_MAX: usize = 100_000;
/// How many passes are kept.
const SNAPSHOTS_MAX: usize = 4;
/// How many names the server looks at in one step.
const STEP: usize = 1_000;
/// How many entries are read in one step.
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
        entries_max: usize,
    ) -> Result<Page<Vec<u8>>> {
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
        let keys = &rest[..rest.len().min(entries_max.max(1))];
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ) {
            found.extend(self.within(self.read_all(keys)).await?);
        }
        let next = match keys.last() {
            Some(last) if keys.len() < rest.len() => Some(cursor(last, snapshot.id)),
            // The next page begins with another pass.
            Some(last) if snapshot.has_more => Some(cursor(last, 0)),
            _ => None,
        };
        Ok(Page::new(found, next))
    }

    /// The live entries among these.
    async fn read_all(&self, keys: &[Key]) -> Result<Vec<Entry<Vec<u8>>>> {
        let mut found = Vec::new();
        for (part, keys) in self.by_part(keys) {
            let names: Vec<String> = keys.iter().map(|key| self.names().key(key)).collect();
            let answer = self.server().call_raw(&Call::read(&script::PEEK, part, &names)).await?;
            found.extend(entries(reply::array(answer).unwrap_or_default())?);
        }
        Ok(found)
    }

    /// The keys by what one step reaches.
    pub(crate) fn by_part(&self, keys: &[Key]) -> Vec<(u16, Vec<Key>)> {
        if !self.server().is_in_parts() {
            return vec![(0, keys.to_vec())];
        }
        let mut parts = std::collections::BTreeMap::<u16, Vec<Key>>::new();
        for key in keys {
            parts.entry(names::part_of(key)).or_default().push(*key);
        }
        parts.into_iter().collect()
    }

    async fn gather(&self, after: Option<Key>) -> Result<Arc<Snapshot>> {
        let mut keys = BTreeSet::new();
        let mut has_more = false;
        let mut pass = Pass::default();
        while let Some(page) = pass.next(self).await? {
            for name in page.names {
                let Name::Key(key) = name else { continue };
                if after.is_none_or(|after| key > after) {
                    keys.insert(key);
                }
                if keys.len() > GATHERED_MAX {
                    keys.pop_last();
                    has_more = true;
                }
            }
        }
        let snapshot = Snapshot { id: fresh()?.max(1), keys: keys.into_iter().collect(), has_more };
        Ok(self.snapshots().keep(snapshot))
    }

    async fn step(&self, node: &Node, cursor: &str) -> Result<(String, Vec<Name>)> {
        let mut command = redis::cmd("SCAN");
        let pattern = format!("{}*", self.names().beginning());
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        let strange = || Error::misconfigured("the server answered SCAN with something else");
        let answer: Value = Server::ask(node, &command).await?;
        let mut answer = reply::array(answer).ok_or_else(strange)?.into_iter();
        let next = answer.next().and_then(reply::text).ok_or_else(strange)?;
        let names = answer.next().and_then(reply::array).ok_or_else(strange)?;
        let names = names.into_iter().filter_map(reply::bytes);
        Ok((next, names.filter_map(|name| self.names().parse(&name)).collect()))
    }
}

/// Goes through all names under the prefix, on all masters. Every name that is there the whole
/// time comes, perhaps more than once.
///
/// In a cluster that moves slots meanwhile, it begins again.
#[derive(Default)]
pub(crate) struct Pass {
    /// The masters that are left, the current one last, and its cursor.
    masters: Vec<Arc<Node>>,
    cursor: Option<String>,
    topology: Option<Arc<Map>>,
    begun: u32,
}

/// Some names, and whose they are.
pub(crate) struct SomeNames {
    pub(crate) names: Vec<Name>,
    pub(crate) node: Arc<Node>,
    /// How often the pass has begun.
    pub(crate) begun: u32,
}

/// How often a pass begins at the most.
const BEGUN_MAX: u32 = 4;

impl Pass {
    /// Some names; `None` at the end.
    pub(crate) async fn next(&mut self, store: &RedisStore) -> Result<Option<SomeNames>> {
        if self.masters.is_empty() {
            if self.begun == 0 && !store.server().is_in_parts() {
                // Even if there is nothing: not by what a replica says.
                let nothing = [format!("{}:beat", store.names().mark(0))];
                store
                    .within(store.server().call_raw(&Call::read(&script::PEEK, 0, &nothing)))
                    .await?;
            }
            let masters = store.within(store.server().masters()).await?;
            let topology = store.server().topology();
            if self.begun > 0 && topology == self.topology {
                return Ok(None);
            }
            if self.begun == BEGUN_MAX {
                return Err(Error::unavailable(
                    "the cluster is moving slots; this can be done once it has settled",
                ));
            }
            self.begun += 1;
            (self.masters, self.topology) = (masters, topology);
        }
        let Some(node) = self.masters.last().cloned() else { return Ok(None) };
        let cursor = self.cursor.take().unwrap_or_else(|| String::from("0"));
        let (next, names) = store.within(store.step(&node, &cursor)).await?;
        if next == "0" {
            self.masters.pop();
        } else {
            self.cursor = Some(next);
        }
        Ok(Some(SomeNames { names, node, begun: self.begun }))
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
        if kept.len() == SNAPSHOTS_MAX {
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
