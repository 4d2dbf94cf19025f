//! The recorder and the checker, tested together: each store here breaks a promise in a way that
//! stores in the wild do, and a run on it has to show that.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Access, Cursor, Entry, Error, Expiry, Insert, Key, MemoryStore, NewEntry, Owner, Page, Rename,
    Renamed, Replace, Result, Store, Version,
};
use kvolt_histories::checker::{Kind, Report, Rules, check};
use kvolt_histories::{Ledger, Plan, Process, record};
use kvolt_session::Record;

type Value = Record<Ledger>;

/// How a store breaks its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// None: the proof that the rest of this wrapper is sound.
    None,
    /// A slide reads, and then writes back whatever it read.
    SlideIsAnUpsert,
    /// A replacement of what is not there makes it.
    ReplaceCreates,
    /// A replacement compares, and then sets.
    CompareThenSet,
    /// A replacement is acknowledged and, now and then, not done.
    ReplaceIsLost,
    /// A replacement whose answer is lost is done again on what it has made of the entry.
    ReplaceIsRepeated,
    /// Removing by owner misses the youngest.
    RemoveOwnerMisses,
    /// Removing by owner removes what a list had a moment before.
    RemoveOwnerLists,
    /// Removing all others removes all.
    RemoveOwnerKeepsNone,
    /// A removal is acknowledged and done a moment later.
    RemoveIsLate,
    /// A removal looks first, and says what it saw.
    RemoveLooksFirst,
    /// A renaming is an insertion and a removal.
    RenameIsInsertAndRemove,
    /// A renaming leaves the former key as it was.
    RenameIsACopy,
    /// The grace of a former key is forgotten.
    NoGrace,
    /// Reads come from copies that are dropped by whoever changes something, without a fence.
    CopiesWithoutFence,
    /// Lists come from a snapshot of a moment ago.
    ListIsOld,
    /// A list leaves out what is being changed.
    ListMisses,
    /// What failed is said not to be there.
    ErrorIsAbsence,
    /// Now and then another entry is returned.
    MixesUp,
    /// An insertion is acknowledged and, now and then, not done.
    InsertIsLost,
}

#[derive(Clone)]
struct Broken {
    fault: Fault,
    inner: MemoryStore<Value>,
    known: Arc<Mutex<HashMap<Key, NewEntry<Value>>>>,
    copies: Arc<Mutex<HashMap<Key, Entry<Value>>>>,
    lists: Arc<Mutex<HashMap<Owner, Vec<Entry<Value>>>>>,
    recent: Arc<Mutex<VecDeque<Entry<Value>>>>,
    calls: Arc<AtomicU64>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            inner: MemoryStore::new(),
            known: Arc::default(),
            copies: Arc::default(),
            lists: Arc::default(),
            recent: Arc::default(),
            calls: Arc::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// True once in so many calls, for this fault.
    fn strikes(&self, fault: Fault, times: u64) -> bool {
        self.is(fault) && self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(times)
    }

    fn drop_copy(&self, key: &Key) {
        self.copies.lock().unwrap().remove(key);
    }
}

/// Lets others do something between two halves of what ought to be one step.
async fn gap() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl Store<Value> for Broken {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<Value>>> {
        if self.strikes(Fault::ErrorIsAbsence, 100) {
            return Ok(None);
        }
        if self.is(Fault::CopiesWithoutFence) {
            if let Some(copy) = self.copies.lock().unwrap().get(key).cloned() {
                return Ok(Some(copy));
            }
            let found = self.inner.get(key, access).await?;
            gap().await;
            if let Some(entry) = &found {
                self.copies.lock().unwrap().insert(*key, entry.clone());
            }
            return Ok(found);
        }
        let found = self.inner.get(key, access).await?;
        if let (Fault::MixesUp, Some(entry)) = (self.fault, &found) {
            let mut recent = self.recent.lock().unwrap();
            recent.push_back(entry.clone());
            if recent.len() > 64 {
                let mut another = recent.pop_front();
                if self.strikes(Fault::MixesUp, 100) {
                    // Under the key that was asked for: what comes under another one is refused.
                    another.iter_mut().for_each(|another| another.key = *key);
                    return Ok(another);
                }
            }
        }
        if self.is(Fault::SlideIsAnUpsert) && access.slides() {
            gap().await;
            let known = self.known.lock().unwrap().get(key).cloned();
            if let (Some(entry), Some(known)) = (&found, known) {
                let again = NewEntry::new(entry.value.clone(), known.expiry);
                let _ = self.inner.insert(*key, again.owner(entry.owner.clone())).await?;
            }
        }
        Ok(found)
    }

    async fn insert(&self, key: Key, entry: NewEntry<Value>) -> Result<Insert> {
        if self.strikes(Fault::InsertIsLost, 100) {
            return Ok(Insert::Inserted { removed: Vec::new() });
        }
        self.known.lock().unwrap().insert(key, entry.clone());
        self.inner.insert(key, entry).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: Value,
        expiry: Option<Expiry>,
    ) -> Result<Replace<Value>> {
        if self.strikes(Fault::ReplaceIsLost, 50) {
            return Ok(Replace::Replaced(seen));
        }
        if self.is(Fault::CompareThenSet)
            && let Some(now) = self.inner.get(key, Access::PEEK).await?
            && now.version == seen
        {
            loop {
                gap().await;
                let Some(now) = self.inner.get(key, Access::PEEK).await? else {
                    return Ok(Replace::Absent);
                };
                let set = self.inner.replace(key, now.version, value.clone(), expiry).await?;
                if matches!(set, Replace::Replaced(_)) {
                    return Ok(set);
                }
            }
        }
        let replaced = self.inner.replace(key, seen, value.clone(), expiry).await?;
        self.drop_copy(key);
        if self.strikes(Fault::ReplaceIsRepeated, 20) {
            // The driver sends the command again, and is told of a conflict with itself.
            return self.inner.replace(key, seen, value, expiry).await;
        }
        if self.is(Fault::ReplaceCreates) && matches!(replaced, Replace::Absent) {
            let entry = self.known.lock().unwrap().get(key).cloned();
            if let Some(mut entry) = entry {
                entry.value = value;
                let _ = self.inner.insert(*key, entry).await?;
                return Ok(Replace::Replaced(Version::from_number(1)));
            }
        }
        Ok(replaced)
    }

    async fn rename(&self, from: &Key, to: Key, mut rename: Rename<Value>) -> Result<Renamed> {
        self.drop_copy(from);
        if self.is(Fault::NoGrace) {
            rename.grace = Duration::ZERO;
        }
        if self.is(Fault::RenameIsInsertAndRemove) || self.is(Fault::RenameIsACopy) {
            let Some(now) = self.inner.get(from, Access::PEEK).await? else {
                return Ok(Renamed::Absent);
            };
            gap().await;
            let value = rename.value.map_or(now.value, |(_, value)| value);
            let entry = NewEntry::new(value, Expiry::idle(Duration::from_secs(3_600)));
            let entry = entry.owner(rename.owner.or(now.owner));
            let _ = self.inner.insert(to, entry).await?;
            if self.is(Fault::RenameIsInsertAndRemove) {
                self.inner.remove(from).await?;
            }
            return Ok(Renamed::Moved { removed: Vec::new() });
        }
        self.inner.rename(from, to, rename).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        if self.is(Fault::RemoveIsLate) {
            let found = self.inner.get(key, Access::PEEK).await?.is_some();
            let (inner, key) = (self.inner.clone(), *key);
            tokio::spawn(async move {
                gap().await;
                Store::<Value>::remove(&inner, &key).await
            });
            return Ok(found);
        }
        if self.is(Fault::RemoveLooksFirst) {
            let found = self.inner.get(key, Access::PEEK).await?.is_some();
            gap().await;
            self.inner.remove(key).await?;
            return Ok(found);
        }
        let removed = self.inner.remove(key).await;
        self.drop_copy(key);
        removed
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<Value>>> {
        let mut entries = self.inner.list(owner).await?;
        if self.is(Fault::ListIsOld) {
            let before = self.lists.lock().unwrap().insert(owner.clone(), entries.clone());
            return Ok(before.unwrap_or(entries));
        }
        if self.strikes(Fault::ListMisses, 20) {
            entries.pop();
        }
        Ok(entries)
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let keep = keep.filter(|_| !self.is(Fault::RemoveOwnerKeepsNone));
        if !self.is(Fault::RemoveOwnerLists) && !self.is(Fault::RemoveOwnerMisses) {
            let removed = self.inner.remove_owner(owner, keep).await?;
            removed.iter().for_each(|key| self.drop_copy(key));
            return Ok(removed);
        }
        let mut keys = Vec::new();
        let mut entries = self.inner.list(owner).await?;
        gap().await;
        if self.is(Fault::RemoveOwnerMisses) {
            entries.pop();
        }
        for entry in entries {
            // By exactly the key that was listed: a former key is not followed.
            let now = self.inner.get(&entry.key, Access::PEEK).await?;
            let same = now.is_some_and(|now| now.key == entry.key);
            if same && keep != Some(&entry.key) && self.inner.remove(&entry.key).await? {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    async fn scan(&self, _: Option<&Cursor>, _: usize) -> Result<Page<Value>> {
        Err(Error::misconfigured("nobody scans here"))
    }

    async fn clear(&self) -> Result<()> {
        Err(Error::misconfigured("nobody clears here"))
    }
}

async fn run(fault: Fault, seed: u64) -> Report {
    let rules = Rules::default();
    let store = Broken::new(fault);
    let processes = vec![Process::new(store.clone(), rules.grace).unwrap(); 2];
    let plan =
        Plan { seed, time: Duration::from_millis(1_200), ops_max: 40_000, ..Plan::default() };
    let recording = record(processes, &plan, None).await;
    check(&recording.history, &rules)
}

/// Runs until it is found; a race may miss a run.
async fn found(fault: Fault, kind: Kind) {
    let mut kinds = Vec::new();
    for seed in 1..=4 {
        let report = run(fault, seed).await;
        if report.kinds().contains(&kind) {
            return;
        }
        kinds.extend(report.kinds());
    }
    panic!("{fault:?} was not found as {kind:?}, only as {kinds:?}");
}

macro_rules! found {
    ($($name:ident: $fault:ident is $kind:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                found(Fault::$fault, Kind::$kind).await;
            }
        )+
    };
}

found! {
    an_upsert_on_slide_is_found: SlideIsAnUpsert is Resurrection;
    a_replacement_that_creates_is_found: ReplaceCreates is Resurrection;
    a_compare_then_set_is_found: CompareThenSet is LostUpdate;
    a_lost_replacement_is_found: ReplaceIsLost is LostUpdate;
    a_repeated_replacement_is_found: ReplaceIsRepeated is DoubleUpdate;
    a_removal_that_misses_one_is_found: RemoveOwnerMisses is Resurrection;
    a_removal_of_what_was_listed_is_found: RemoveOwnerLists is Resurrection;
    a_removal_that_keeps_none_is_found: RemoveOwnerKeepsNone is FalseAbsence;
    a_late_removal_is_found: RemoveIsLate is Resurrection;
    a_removal_that_looks_first_is_found: RemoveLooksFirst is EndedTwice;
    a_renaming_in_two_steps_is_found: RenameIsInsertAndRemove is ListedTwice;
    a_renaming_that_copies_is_found: RenameIsACopy is Resurrection;
    a_forgotten_grace_is_found: NoGrace is FalseAbsence;
    copies_without_a_fence_are_found: CopiesWithoutFence is Resurrection;
    an_old_list_is_found: ListIsOld is Resurrection;
    a_list_that_misses_one_is_found: ListMisses is FalseAbsence;
    an_error_that_is_told_as_absence_is_found: ErrorIsAbsence is FalseAbsence;
    a_mix_up_is_found: MixesUp is WrongSession;
    a_lost_insertion_is_found: InsertIsLost is FalseAbsence;
}

// A grace that a store makes too long is no fault that shows: whose token is still accepted is in the
// session's record. A store's own laws find it.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_is_broken() {
    let report = run(Fault::None, 1).await;
    assert!(report.is_clean(), "{report}");
}
