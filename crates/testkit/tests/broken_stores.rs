//! The suite, tested: each store here breaks the contract in one way that stores in the wild do,
//! and a law has to say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kvolt_cache::{
    Access, Cursor, Entry, Expiry, Insert, Key, NewEntry, OnExpired, Owner, Page, Rename, Renamed,
    Replace, Result, Store, Version,
};
use kvolt_testkit::conformance::broken_laws;
use kvolt_testkit::{Fixture, ManualClock, ModelStore, check_ops, ops_from_bytes};

/// How a store breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A slide reads, and then writes back whatever it read, as session libraries do.
    SlideIsAnUpsert,
    /// A replacement of what is not there makes it.
    ReplaceCreates,
    /// A replacement compares, and then sets.
    CompareThenSet,
    /// Entries end a while after their deadline, when somebody cleans up.
    ExpiryIsLate,
    /// A peek prolongs, too.
    PeekSlides,
    /// Removing by owner removes what a list had a moment before.
    RemoveOwnerLists,
    /// The youngest of an owner's entries is not removed.
    RemoveOwnerMisses,
    /// The key to keep is compared as it is, without following a former key.
    KeepsOnlyByTheCurrentKey,
    /// The limit is looked at before the insertion.
    LimitIsChecked,
    /// A renaming is an insertion and a removal, with a new lifetime.
    RenameIsInsertAndRemove,
    /// The grace of a former key is forgotten.
    NoGrace,
    /// A slide by a former key slides its successor.
    FormerKeySlides,
    /// The owners' lists have no order.
    ListIsUnordered,
    /// A scan starts anew when it goes on.
    ScanRepeats,
    /// Insertion overwrites.
    InsertOverwrites,
    /// A count stops where a page ends.
    CountsOnePage,
    /// What was removed is told as what has ended.
    RemovalIsToldAsEnd,
    /// A former key is told as an entry that has ended.
    RenamingIsToldAsEnd,
    /// What has ended is told by each of two who clean.
    EndIsToldTwice,
}

#[derive(Clone)]
struct Broken {
    fault: Fault,
    inner: ModelStore<String>,
    time: ManualClock,
    /// What was once inserted, for those who write it back.
    known: Arc<Mutex<HashMap<Key, NewEntry<String>>>>,
    /// Who asked for what has ended.
    told: Arc<OnceLock<OnExpired>>,
}

impl Broken {
    fn new(fault: Fault, time: &ManualClock) -> Self {
        let inner = ModelStore::new(time.clock());
        let (known, told) = (Arc::default(), Arc::default());
        Self { fault, inner, time: time.clone(), known, told }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn tell_end(&self, key: &Key) {
        if let Some(told) = self.told.get() {
            told(key);
        }
    }

    fn late(&self, expiry: Expiry) -> Expiry {
        let late = |duration: Duration| duration.saturating_add(Duration::from_millis(1));
        match (expiry.idle_timeout(), expiry.lifetime()) {
            _ if !self.is(Fault::ExpiryIsLate) => expiry,
            (Some(idle), Some(lifetime)) => Expiry::idle_within(late(idle), late(lifetime)),
            (Some(idle), None) => Expiry::idle(late(idle)),
            (None, lifetime) => Expiry::after(late(lifetime.unwrap_or_default())),
        }
    }
}

/// Lets other threads do something between two halves of what ought to be one step.
fn gap() {
    for _ in 0..3 {
        std::thread::yield_now();
    }
}

impl Store<String> for Broken {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<String>>> {
        let access = if self.is(Fault::PeekSlides) { Access::SLIDE } else { access };
        let found = self.inner.get(key, access).await?;
        if self.is(Fault::FormerKeySlides)
            && let Some(entry) = &found
        {
            return self.inner.get(&entry.key, access).await;
        }
        if self.is(Fault::SlideIsAnUpsert) && access.slides() {
            gap();
            let known = self.known.lock().expect("nobody panicked").get(key).cloned();
            if let (Some(entry), Some(known)) = (&found, known) {
                let again = NewEntry::new(entry.value.clone(), known.expiry);
                let _ = self.inner.insert(*key, again.owner(entry.owner.clone())).await?;
            }
        }
        Ok(found)
    }

    async fn insert(&self, key: Key, mut entry: NewEntry<String>) -> Result<Insert> {
        entry.expiry = self.late(entry.expiry);
        self.known.lock().expect("nobody panicked").insert(key, entry.clone());
        if self.is(Fault::InsertOverwrites) {
            self.inner.remove(&key).await?;
        }
        if self.is(Fault::LimitIsChecked)
            && let (Some(owner), Some(limit)) = (&entry.owner, entry.limit.take())
        {
            let counted = self.inner.list(owner).await?.len();
            gap();
            if counted < limit.entries_max as usize {
                return self.inner.insert(key, entry).await;
            }
            entry.limit = Some(limit);
        }
        self.inner.insert(key, entry).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: String,
        expiry: Option<Expiry>,
    ) -> Result<Replace<String>> {
        let expiry = expiry.map(|expiry| self.late(expiry));
        if self.is(Fault::CompareThenSet)
            && let Some(now) = self.inner.get(key, Access::PEEK).await?
            && now.version == seen
        {
            loop {
                gap();
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
        if self.is(Fault::ReplaceCreates) && matches!(replaced, Replace::Absent) {
            let entry = NewEntry::new(value, expiry.unwrap_or(Expiry::after(Duration::MAX)));
            let _ = self.inner.insert(*key, entry).await?;
            return Ok(Replace::Replaced(Version::from_number(1)));
        }
        Ok(replaced)
    }

    async fn rename(&self, from: &Key, to: Key, mut rename: Rename<String>) -> Result<Renamed> {
        rename.expiry = rename.expiry.map(|expiry| self.late(expiry));
        if self.is(Fault::NoGrace) {
            rename.grace = Duration::ZERO;
        }
        if self.is(Fault::RenameIsInsertAndRemove) {
            let Some(now) = self.inner.get(from, Access::PEEK).await? else {
                return Ok(Renamed::Absent);
            };
            gap();
            let expiry = rename.expiry.unwrap_or(Expiry::idle(Duration::from_secs(3_600)));
            let value = rename.value.map_or(now.value, |(_, value)| value);
            let entry = NewEntry::new(value, expiry).owner(rename.owner.or(now.owner));
            if self.inner.insert(to, entry).await? == Insert::Occupied {
                return Ok(Renamed::Occupied);
            }
            self.inner.remove(from).await?;
            return Ok(Renamed::Moved { removed: Vec::new() });
        }
        if self.is(Fault::RenamingIsToldAsEnd) {
            self.tell_end(from);
        }
        self.inner.rename(from, to, rename).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        if self.is(Fault::RemovalIsToldAsEnd) {
            self.tell_end(key);
        }
        self.inner.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<String>>> {
        let mut entries = self.inner.list(owner).await?;
        if self.is(Fault::ListIsUnordered) {
            entries.sort_by_key(|entry| entry.key);
        }
        Ok(entries)
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        if self.is(Fault::KeepsOnlyByTheCurrentKey)
            && let Some(key) = keep
        {
            let now = self.inner.get(key, Access::PEEK).await?;
            let current = now.is_some_and(|now| now.key == *key);
            return self.inner.remove_owner(owner, keep.filter(|_| current)).await;
        }
        if !self.is(Fault::RemoveOwnerLists) && !self.is(Fault::RemoveOwnerMisses) {
            return self.inner.remove_owner(owner, keep).await;
        }
        let mut keys = Vec::new();
        if let Some(keep) = keep {
            let kept = self.inner.get(keep, Access::PEEK).await?;
            return self.inner.remove_owner(owner, kept.map(|kept| kept.key).as_ref()).await;
        }
        let mut entries = self.inner.list(owner).await?;
        gap();
        if self.is(Fault::RemoveOwnerMisses) {
            entries.pop();
        }
        for entry in entries {
            // By exactly the key that was listed: a former key is not followed.
            let now = self.inner.get(&entry.key, Access::PEEK).await?;
            if now.is_some_and(|now| now.key == entry.key) && self.inner.remove(&entry.key).await? {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<String>> {
        let page = self.inner.scan(after, entries_max).await?;
        if self.is(Fault::ScanRepeats)
            && let Some(cursor) = after
        {
            let last = cursor.as_bytes().try_into().map(Key::from_bytes).expect("a model store's");
            let mut entries = page.entries;
            entries.extend(self.inner.get(&last, Access::PEEK).await?);
            return Ok(Page::new(entries, page.next));
        }
        Ok(page)
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    async fn count(&self) -> Result<u64> {
        if self.is(Fault::CountsOnePage) {
            return Ok(self.inner.scan(None, 3).await?.entries.len() as u64);
        }
        self.inner.count().await
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        let twice = self.is(Fault::EndIsToldTwice);
        let _ = self.told.set(Arc::clone(&told));
        self.inner.on_expired(Arc::new(move |key| {
            told(key);
            if twice {
                told(key);
            }
        }))
    }
}

#[derive(Clone)]
struct Breaking(Fault, ManualClock);

impl Fixture for Breaking {
    type Store = Broken;

    async fn store(&self) -> Broken {
        Broken::new(self.0, &self.1)
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by);
    }

    fn rounds(&self) -> usize {
        100
    }
}

fn laws_broken_by(fault: Fault) -> Vec<&'static str> {
    let broken = broken_laws(&Breaking(fault, ManualClock::new()));
    broken.into_iter().map(|broken| broken.law).collect()
}

macro_rules! found {
    ($($name:ident: $fault:ident breaks $law:ident;)+) => {
        $(
            #[test]
            fn $name() {
                let broken = laws_broken_by(Fault::$fault);
                assert!(broken.contains(&stringify!($law)), "only {broken:?}");
            }
        )+
    };
}

found! {
    an_upsert_on_slide_is_found: SlideIsAnUpsert breaks a_read_in_flight_never_revives_a_removed_entry;
    a_replacement_that_creates_is_found: ReplaceCreates breaks replace_never_creates;
    a_compare_then_set_is_found: CompareThenSet breaks no_update_is_lost;
    a_late_expiry_is_found: ExpiryIsLate breaks an_entry_is_there_until_its_deadline_and_absent_from_it_on;
    a_peek_that_slides_is_found: PeekSlides breaks a_peek_moves_nothing;
    a_removal_of_what_was_listed_is_found: RemoveOwnerLists breaks a_renaming_never_escapes_remove_owner;
    a_removal_that_misses_is_found: RemoveOwnerMisses breaks remove_owner_removes_all_of_the_owner_and_nothing_else;
    a_keep_that_follows_no_former_key_is_found: KeepsOnlyByTheCurrentKey breaks remove_owner_keeps_the_one_that_is_named;
    a_limit_that_is_checked_first_is_found: LimitIsChecked breaks a_limit_holds_under_concurrent_insertions;
    a_renaming_in_two_steps_is_found: RenameIsInsertAndRemove breaks of_concurrent_renamings_one_moves;
    a_forgotten_grace_is_found: NoGrace breaks a_former_key_leads_to_the_successor;
    a_former_key_that_slides_is_found: FormerKeySlides breaks a_read_by_a_former_key_keeps_nothing_alive;
    a_list_without_order_is_found: ListIsUnordered breaks a_list_has_the_oldest_first;
    a_scan_that_repeats_is_found: ScanRepeats breaks a_scan_has_each_live_entry_once;
    an_insertion_that_overwrites_is_found: InsertOverwrites breaks insert_makes_an_entry_only_where_nothing_is;
    a_count_of_one_page_is_found: CountsOnePage breaks a_count_has_each_live_entry_once;
    a_removal_that_is_told_as_an_end_is_found: RemovalIsToldAsEnd breaks what_has_ended_is_told_once_and_nothing_else_is;
    a_former_key_that_is_told_as_an_end_is_found: RenamingIsToldAsEnd breaks what_has_ended_is_told_once_and_nothing_else_is;
    an_end_that_is_told_twice_is_found: EndIsToldTwice breaks what_has_ended_is_told_once_and_nothing_else_is;
}

/// Bytes that look random and are the same each time.
fn bytes(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..400).map(|_| next()).collect()
}

#[test]
fn operations_against_the_model_find_what_is_wrong_sequentially() {
    use Fault::{
        ExpiryIsLate, FormerKeySlides, InsertOverwrites, KeepsOnlyByTheCurrentKey, ListIsUnordered,
        NoGrace, PeekSlides, RemoveOwnerMisses, RenameIsInsertAndRemove, ReplaceCreates,
        ScanRepeats,
    };
    let sequential = [
        ExpiryIsLate,
        FormerKeySlides,
        InsertOverwrites,
        KeepsOnlyByTheCurrentKey,
        ListIsUnordered,
        NoGrace,
        PeekSlides,
        RemoveOwnerMisses,
        RenameIsInsertAndRemove,
        ReplaceCreates,
        ScanRepeats,
    ];
    for fault in sequential {
        let diverges = |seed| {
            let time = ManualClock::new();
            let store = Broken::new(fault, &time);
            pollster::block_on(check_ops(&store, &store.time, &ops_from_bytes(&bytes(seed)))).err()
        };
        let found = (0..500).find_map(diverges);
        assert!(found.is_some(), "{fault:?} was not found");
    }
}
