//! End-to-end tests of the recorder and the checker: each store here breaks a promise as
//! real stores do, and the checker must detect it.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Error, Expiry, Freshness, InsertOutcome,
    Key, MemoryStore, Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome, Result, Store,
    Target, Version,
};
use kvolt_histories::checker::{Kind, Report, Rules, check};
use kvolt_histories::{Ledger, Plan, Process, record};
use kvolt_session::Record;

type Value = Record<Ledger>;

/// How a store breaks its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// No defect: proves that the wrapper itself is correct.
    None,
    /// A touch reads an entry and then writes it back unconditionally.
    TouchIsAnUpsert,
    /// A replacement creates a missing entry.
    ReplaceCreates,
    /// A replacement compares, and then sets.
    CompareThenSet,
    /// Some replacements are acknowledged but not performed.
    ReplaceIsLost,
    /// A replacement whose answer is lost is retried on its own result.
    ReplaceIsRepeated,
    /// Removing by owner misses the newest entry.
    RemoveOwnerMisses,
    /// Removing by owner removes the entries of an earlier list.
    RemoveOwnerLists,
    /// Removing all others removes all.
    RemoveOwnerKeepsNone,
    /// A removal is acknowledged before it takes effect.
    RemoveIsLate,
    /// A removal reads first, and reports what it read.
    RemoveReadsFirst,
    /// An insertion does not remove its predecessor.
    ReplacedStays,
    /// An insertion is acknowledged before its predecessor is removed.
    ReplacedIsRemovedLate,
    /// An insertion is visible before its predecessor is removed.
    ReplacesInTwoSteps,
    /// Reads return copies that only writers invalidate, without a fence.
    CopiesWithoutFence,
    /// Lists come from an earlier snapshot.
    ListIsOld,
    /// A list omits entries that are being changed.
    ListMisses,
    /// An error is reported as an absence.
    ErrorIsAbsence,
    /// Some reads return another entry.
    MixesUp,
    /// Some lists contain an entry under another key.
    ListMixesUp,
    /// Some insertions are acknowledged but not performed.
    InsertIsLost,
}

#[derive(Clone)]
struct Broken {
    defect: Defect,
    inner: MemoryStore<Value>,
    known: Arc<Mutex<HashMap<Key, NewEntry<Value>>>>,
    copies: Arc<Mutex<HashMap<Key, Entry<Value>>>>,
    lists: Arc<Mutex<HashMap<Owner, EntryList<Value>>>>,
    recent: Arc<Mutex<VecDeque<Entry<Value>>>>,
    calls: Arc<AtomicU64>,
}

impl Broken {
    fn new(defect: Defect) -> Self {
        Self {
            defect,
            inner: MemoryStore::new(),
            known: Arc::default(),
            copies: Arc::default(),
            lists: Arc::default(),
            recent: Arc::default(),
            calls: Arc::default(),
        }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Returns true once in this many calls, if this is the defect.
    fn strikes(&self, defect: Defect, times: u64) -> bool {
        self.is(defect) && self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(times)
    }

    fn drop_copy(&self, key: &Key) {
        self.copies.lock().unwrap().remove(key);
    }
}

/// Lets other tasks run between two halves of a step that should be atomic.
async fn gap() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl Store<Value> for Broken {
    fn namespace(&self) -> &Namespace {
        Store::<Value>::namespace(&self.inner)
    }

    fn clock(&self) -> Clock {
        Store::<Value>::clock(&self.inner)
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<Value>>> {
        if self.strikes(Defect::ErrorIsAbsence, 100) {
            return Ok(None);
        }
        if self.is(Defect::CopiesWithoutFence) {
            if let Some(copy) = self.copies.lock().unwrap().get(key).cloned() {
                return Ok(Some(copy));
            }
            let found = self.inner.get(key, freshness).await?;
            gap().await;
            if let Some(entry) = &found {
                self.copies.lock().unwrap().insert(*key, entry.clone());
            }
            return Ok(found);
        }
        let found = self.inner.get(key, freshness).await?;
        if let (Defect::MixesUp, Some(entry)) = (self.defect, &found) {
            let mut recent = self.recent.lock().unwrap();
            if self.strikes(Defect::MixesUp, 100)
                && let Some(mut another) = recent.pop_front()
            {
                // Under the requested key; its secret differs, so the manager rejects it.
                another.key = *key;
                return Ok(Some(another));
            }
            recent.push_back(entry.clone());
            recent.truncate(64);
        }
        Ok(found)
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        if self.is(Defect::TouchIsAnUpsert) {
            let found = self.inner.get(at.key, Freshness::Strict).await?;
            gap().await;
            let known = self.known.lock().unwrap().get(at.key).cloned();
            if let (Some(entry), Some(known)) = (found, known) {
                let again = NewEntry::new(entry.value, known.expiry).maybe_owner(entry.owner);
                let _ = self.inner.insert(*at.key, again).await?;
            }
        }
        self.inner.touch(at).await
    }

    async fn insert(&self, key: Key, mut entry: NewEntry<Value>) -> Result<InsertOutcome> {
        if self.strikes(Defect::InsertIsLost, 100) {
            return Ok(InsertOutcome::Inserted { removed: Vec::new() });
        }
        self.known.lock().unwrap().insert(key, entry.clone());
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let by_steps =
            [Defect::ReplacedStays, Defect::ReplacedIsRemovedLate, Defect::ReplacesInTwoSteps];
        if !by_steps.contains(&self.defect) {
            let inserted = self.inner.insert(key, entry).await;
            replaced.iter().for_each(|key| self.drop_copy(key));
            return inserted;
        }
        let replaces = entry.replaces.take();
        let inserted = self.inner.insert(key, entry).await?;
        if let (Some(replaces), InsertOutcome::Inserted { .. }) = (replaces, &inserted) {
            let remove = {
                let inner = self.inner.clone();
                async move {
                    gap().await;
                    let at = Target::new(&replaces.key);
                    Store::<Value>::remove(&inner, at, replaces.seen).await
                }
            };
            match self.defect {
                Defect::ReplacedIsRemovedLate => drop(tokio::spawn(remove)),
                Defect::ReplacesInTwoSteps => drop(remove.await?),
                _ => {}
            }
        }
        Ok(inserted)
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Value,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Value>> {
        if self.strikes(Defect::ReplaceIsLost, 50) {
            return Ok(ReplaceOutcome::Replaced(seen));
        }
        if self.is(Defect::CompareThenSet)
            && let Some(now) = self.inner.get(at.key, Freshness::Strict).await?
            && now.version == seen
        {
            loop {
                gap().await;
                let Some(now) = self.inner.get(at.key, Freshness::Strict).await? else {
                    return Ok(ReplaceOutcome::Absent);
                };
                let set = self.inner.replace(at, now.version, value.clone(), expiry).await?;
                if matches!(set, ReplaceOutcome::Replaced(_)) {
                    return Ok(set);
                }
            }
        }
        let replaced = self.inner.replace(at, seen, value.clone(), expiry).await?;
        self.drop_copy(at.key);
        if self.strikes(Defect::ReplaceIsRepeated, 20) {
            // The driver retries the command, and gets a conflict with its own first
            // attempt.
            return self.inner.replace(at, seen, value, expiry).await;
        }
        if self.is(Defect::ReplaceCreates) && matches!(replaced, ReplaceOutcome::Absent) {
            let entry = self.known.lock().unwrap().get(at.key).cloned();
            if let Some(mut entry) = entry {
                entry.value = value;
                entry.replaces = None;
                let _ = self.inner.insert(*at.key, entry).await?;
                return Ok(ReplaceOutcome::Replaced(Version::from_number(1)));
            }
        }
        Ok(replaced)
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        let found = self.inner.get(at.key, Freshness::Strict).await?;
        let found = if found.is_some() { RemoveOutcome::Removed } else { RemoveOutcome::Absent };
        if self.is(Defect::RemoveIsLate) {
            let (inner, key) = (self.inner.clone(), *at.key);
            tokio::spawn(async move {
                gap().await;
                Store::<Value>::remove(&inner, Target::new(&key), seen).await
            });
            return Ok(found);
        }
        if self.is(Defect::RemoveReadsFirst) {
            gap().await;
            let _ = Store::<Value>::remove(&self.inner, at, seen).await?;
            return Ok(found);
        }
        let removed = Store::<Value>::remove(&self.inner, at, seen).await;
        self.drop_copy(at.key);
        removed
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<Value>> {
        let mut listing: EntryList<Value> = self.inner.list(owner).await?;
        if self.is(Defect::ListIsOld) {
            let before = self.lists.lock().unwrap().insert(owner.clone(), listing.clone());
            return Ok(before.unwrap_or(listing));
        }
        if self.strikes(Defect::ListMisses, 20) {
            listing.entries.pop();
        }
        if self.strikes(Defect::ListMixesUp, 5)
            && let [first, .., last] = &mut listing.entries[..]
        {
            std::mem::swap(&mut first.key, &mut last.key);
        }
        Ok(listing)
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let keep = keep.filter(|_| !self.is(Defect::RemoveOwnerKeepsNone));
        if !self.is(Defect::RemoveOwnerLists) && !self.is(Defect::RemoveOwnerMisses) {
            let removed = Store::<Value>::remove_owner(&self.inner, owner, keep).await?;
            removed.iter().for_each(|key| self.drop_copy(key));
            return Ok(removed);
        }
        let mut keys = Vec::new();
        let listing: EntryList<Value> = self.inner.list(owner).await?;
        let mut entries = listing.entries;
        gap().await;
        if self.is(Defect::RemoveOwnerMisses) {
            entries.pop();
        }
        for entry in entries.iter().filter(|entry| keep != Some(&entry.key)) {
            // Removes exactly the listed version; a later change has another version.
            let (at, seen) = (Target::new(&entry.key), Some(entry.version));
            if Store::<Value>::remove(&self.inner, at, seen).await? == RemoveOutcome::Removed {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    async fn scan(&self, _: Option<&Cursor>, _: usize) -> Result<EntryPage<Value>> {
        Err(Error::misconfigured("histories never scan"))
    }

    async fn clear(&self) -> Result<()> {
        Err(Error::misconfigured("histories never clear"))
    }
    async fn count(&self) -> Result<u64> {
        Err(Error::misconfigured("histories never count"))
    }
}

async fn run(defect: Defect, seed: u64) -> Report {
    let rules = Rules::default();
    let store = Broken::new(defect);
    let processes = vec![Process::new(store.clone(), rules.grace).unwrap(); 2];
    let plan =
        Plan { seed, time: Duration::from_millis(1_200), ops_max: 40_000, ..Plan::default() };
    let recording = record(processes, &plan, None).await;
    check(&recording.history, &rules)
}

/// Repeats runs until the checker finds the violation; one run may miss a race.
async fn is_detected(defect: Defect, kind: Kind) {
    let mut kinds = Vec::new();
    for seed in 1..=4 {
        let report = run(defect, seed).await;
        if report.kinds().contains(&kind) {
            return;
        }
        kinds.extend(report.kinds());
    }
    panic!("{defect:?} was not detected as {kind:?}, only as {kinds:?}");
}

macro_rules! detected {
    ($($name:ident: $defect:ident is $kind:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                is_detected(Defect::$defect, Kind::$kind).await;
            }
        )+
    };
}

detected! {
    upserting_touch_is_detected: TouchIsAnUpsert is Resurrection;
    creating_replacement_is_detected: ReplaceCreates is Resurrection;
    compare_then_set_is_detected: CompareThenSet is LostUpdate;
    lost_replacement_is_detected: ReplaceIsLost is LostUpdate;
    repeated_replacement_is_detected: ReplaceIsRepeated is DoubleUpdate;
    incomplete_owner_removal_is_detected: RemoveOwnerMisses is Resurrection;
    owner_removal_by_list_is_detected: RemoveOwnerLists is Resurrection;
    excessive_owner_removal_is_detected: RemoveOwnerKeepsNone is FalseAbsence;
    late_removal_is_detected: RemoveIsLate is Resurrection;
    read_before_removal_is_detected: RemoveReadsFirst is EndedTwice;
    lost_rotation_is_detected: ReplaceIsLost is FalseAbsence;
    login_without_removal_is_detected: ReplacedStays is Resurrection;
    login_with_late_removal_is_detected: ReplacedIsRemovedLate is Resurrection;
    login_in_two_steps_is_detected: ReplacesInTwoSteps is Resurrection;
    copies_without_fence_are_detected: CopiesWithoutFence is Resurrection;
    old_list_is_detected: ListIsOld is Resurrection;
    incomplete_list_is_detected: ListMisses is FalseAbsence;
    error_as_absence_is_detected: ErrorIsAbsence is FalseAbsence;
    mixed_up_read_is_detected: MixesUp is FalseAbsence;
    mixed_up_list_is_detected: ListMixesUp is WrongSession;
    lost_insertion_is_detected: InsertIsLost is FalseAbsence;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correct_store_has_no_violations() {
    let report = run(Defect::None, 1).await;
    assert!(report.is_clean(), "{report}");
}
