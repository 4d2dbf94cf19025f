//! The recorder and the checker, tested together: each store here breaks a promise in a way that
//! stores in the wild do, and a run on it has to show that.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Cursor, Deadlines, Entry, EntryList, EntryPage, Error, Expiry, Freshness, InsertOutcome, Key,
    MemoryStore, Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target,
    Version,
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
    /// A touch reads, and then writes back whatever it read.
    TouchIsAnUpsert,
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
    /// The entry that an insertion replaces stays.
    ReplacedStays,
    /// The entry that an insertion replaces is removed a moment later.
    ReplacedIsRemovedLate,
    /// An insertion is shown before the entry that it replaces is removed.
    ReplacesInTwoSteps,
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
    /// Now and then a list has one entry under the key of another.
    ListMixesUp,
    /// An insertion is acknowledged and, now and then, not done.
    InsertIsLost,
}

#[derive(Clone)]
struct Broken {
    fault: Fault,
    inner: MemoryStore<Value>,
    known: Arc<Mutex<HashMap<Key, NewEntry<Value>>>>,
    copies: Arc<Mutex<HashMap<Key, Entry<Value>>>>,
    lists: Arc<Mutex<HashMap<Owner, EntryList<Value>>>>,
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
    fn namespace(&self) -> &Namespace {
        Store::<Value>::namespace(&self.inner)
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<Value>>> {
        if self.strikes(Fault::ErrorIsAbsence, 100) {
            return Ok(None);
        }
        if self.is(Fault::CopiesWithoutFence) {
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
        if let (Fault::MixesUp, Some(entry)) = (self.fault, &found) {
            let mut recent = self.recent.lock().unwrap();
            if self.strikes(Fault::MixesUp, 100)
                && let Some(mut another) = recent.pop_front()
            {
                // Under the key that was asked for: its secret is another, so it is refused.
                another.key = *key;
                return Ok(Some(another));
            }
            recent.push_back(entry.clone());
            recent.truncate(64);
        }
        Ok(found)
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        if self.is(Fault::TouchIsAnUpsert) {
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
        if self.strikes(Fault::InsertIsLost, 100) {
            return Ok(InsertOutcome::Inserted { removed: Vec::new() });
        }
        self.known.lock().unwrap().insert(key, entry.clone());
        let replaced = entry.replaces.as_ref().map(|replaces| replaces.key);
        let by_steps =
            [Fault::ReplacedStays, Fault::ReplacedIsRemovedLate, Fault::ReplacesInTwoSteps];
        if !by_steps.contains(&self.fault) {
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
            match self.fault {
                Fault::ReplacedIsRemovedLate => drop(tokio::spawn(remove)),
                Fault::ReplacesInTwoSteps => drop(remove.await?),
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
        if self.strikes(Fault::ReplaceIsLost, 50) {
            return Ok(ReplaceOutcome::Replaced(seen));
        }
        if self.is(Fault::CompareThenSet)
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
        if self.strikes(Fault::ReplaceIsRepeated, 20) {
            // The driver sends the command again, and is told of a conflict with itself.
            return self.inner.replace(at, seen, value, expiry).await;
        }
        if self.is(Fault::ReplaceCreates) && matches!(replaced, ReplaceOutcome::Absent) {
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
        if self.is(Fault::RemoveIsLate) {
            let (inner, key) = (self.inner.clone(), *at.key);
            tokio::spawn(async move {
                gap().await;
                Store::<Value>::remove(&inner, Target::new(&key), seen).await
            });
            return Ok(found);
        }
        if self.is(Fault::RemoveLooksFirst) {
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
        if self.is(Fault::ListIsOld) {
            let before = self.lists.lock().unwrap().insert(owner.clone(), listing.clone());
            return Ok(before.unwrap_or(listing));
        }
        if self.strikes(Fault::ListMisses, 20) {
            listing.entries.pop();
        }
        if self.strikes(Fault::ListMixesUp, 5)
            && let [first, .., last] = &mut listing.entries[..]
        {
            std::mem::swap(&mut first.key, &mut last.key);
        }
        Ok(listing)
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let keep = keep.filter(|_| !self.is(Fault::RemoveOwnerKeepsNone));
        if !self.is(Fault::RemoveOwnerLists) && !self.is(Fault::RemoveOwnerMisses) {
            let removed = Store::<Value>::remove_owner(&self.inner, owner, keep).await?;
            removed.iter().for_each(|key| self.drop_copy(key));
            return Ok(removed);
        }
        let mut keys = Vec::new();
        let listing: EntryList<Value> = self.inner.list(owner).await?;
        let mut entries = listing.entries;
        gap().await;
        if self.is(Fault::RemoveOwnerMisses) {
            entries.pop();
        }
        for entry in entries.iter().filter(|entry| keep != Some(&entry.key)) {
            // Exactly what was listed: what was changed since is another version.
            let (at, seen) = (Target::new(&entry.key), Some(entry.version));
            if Store::<Value>::remove(&self.inner, at, seen).await? == RemoveOutcome::Removed {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    async fn scan(&self, _: Option<&Cursor>, _: usize) -> Result<EntryPage<Value>> {
        Err(Error::misconfigured("no history scans"))
    }

    async fn clear(&self) -> Result<()> {
        Err(Error::misconfigured("no history clears"))
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
    a_touch_that_upserts_is_found: TouchIsAnUpsert is Resurrection;
    a_replacement_that_creates_is_found: ReplaceCreates is Resurrection;
    a_compare_then_set_is_found: CompareThenSet is LostUpdate;
    a_lost_replacement_is_found: ReplaceIsLost is LostUpdate;
    a_repeated_replacement_is_found: ReplaceIsRepeated is DoubleUpdate;
    a_removal_that_misses_one_is_found: RemoveOwnerMisses is Resurrection;
    a_removal_of_what_was_listed_is_found: RemoveOwnerLists is Resurrection;
    a_removal_that_keeps_none_is_found: RemoveOwnerKeepsNone is FalseAbsence;
    a_late_removal_is_found: RemoveIsLate is Resurrection;
    a_removal_that_looks_first_is_found: RemoveLooksFirst is EndedTwice;
    a_lost_rotation_is_found: ReplaceIsLost is FalseAbsence;
    a_login_that_leaves_the_old_is_found: ReplacedStays is Resurrection;
    a_login_that_ends_the_old_late_is_found: ReplacedIsRemovedLate is Resurrection;
    a_login_in_two_steps_is_found: ReplacesInTwoSteps is Resurrection;
    copies_without_a_fence_are_found: CopiesWithoutFence is Resurrection;
    an_old_list_is_found: ListIsOld is Resurrection;
    a_list_that_misses_one_is_found: ListMisses is FalseAbsence;
    an_error_that_is_told_as_absence_is_found: ErrorIsAbsence is FalseAbsence;
    a_mix_up_is_found: MixesUp is FalseAbsence;
    a_mix_up_in_a_list_is_found: ListMixesUp is WrongSession;
    a_lost_insertion_is_found: InsertIsLost is FalseAbsence;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_is_broken() {
    let report = run(Fault::None, 1).await;
    assert!(report.is_clean(), "{report}");
}
