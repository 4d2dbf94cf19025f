//! The helpers of the sequential laws.

use std::collections::BTreeSet;
use std::time::Duration;

use kvolt_cache::{
    AfterRead, Deadlines, Entry, EntryList, EntryRef, Expiry, Freshness, InsertOutcome, Key,
    NewEntry, Owner, Predecessor, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Timestamp,
    Version,
};

use super::Fixture;

/// Long enough that nothing that lives so long ends during a law.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// An expiry that does not come during a law.
pub(super) const LIVES: Expiry = Expiry::idle(LONG);

/// A version that no entry has.
pub(super) const NO_VERSION: Version = Version::from_number(u64::MAX);

/// A fresh store and the time, with the calls that a law makes.
///
/// The futures of the store are boxed: a law holds those of all of its calls, which without
/// optimization is more than a thread's stack for a store in several layers.
///
/// The store must not fail: every call here panics if it does.
pub(super) struct LawFixture<'a, F: Fixture> {
    fixture: &'a F,
    pub(super) store: F::Store,
}

impl<'a, F: Fixture> LawFixture<'a, F> {
    pub(super) async fn new(fixture: &'a F) -> Self {
        Self::with(fixture, fixture.store().await)
    }

    pub(super) const fn with(fixture: &'a F, store: F::Store) -> Self {
        Self { fixture, store }
    }

    /// Reports that the law, or a part of it, was not checked.
    pub(super) fn not_checked(&self, why: &'static str) {
        super::running::report_not_checked(why);
    }

    pub(super) fn ticks(&self, ticks: u32) -> Duration {
        self.fixture.tick() * ticks
    }

    pub(super) fn slack(&self, idle: Duration) -> Duration {
        self.fixture.slack(idle)
    }

    pub(super) async fn advance(&self, by: Duration) {
        if !by.is_zero() {
            self.fixture.advance(by).await;
        }
    }

    /// Cleans and lets time pass until it is done, or a minute of real time has passed for nothing.
    pub(super) async fn clean_until(&self, done: impl Fn() -> bool) {
        let ticks = 60_000 / self.fixture.tick().as_millis().max(1);
        for _ in 0..ticks.clamp(100, 600) {
            self.fixture.clean(&self.store).await;
            // Some stores clean when they are used.
            self.get(&Key::of("never made")).await;
            if done() {
                return;
            }
            self.advance(self.ticks(1)).await;
        }
    }

    /// A key under which the owner's entries may live.
    pub(super) fn key(&self, name: &str, owner: Option<&Owner>) -> Key {
        key(&self.store, name, owner)
    }

    pub(super) async fn insert(&self, key: Key, value: &str, expiry: Expiry) {
        self.insert_for(None, key, value, expiry).await;
    }

    /// Inserts an entry of an owner.
    pub(super) async fn insert_for(
        &self,
        owner: Option<&Owner>,
        key: Key,
        value: &str,
        expiry: Expiry,
    ) {
        let entry = NewEntry::new(String::from(value), expiry).maybe_owner(owner.cloned());
        assert_eq!(self.try_insert(key, entry).await, inserted(), "an insertion where nothing is");
    }

    /// Makes a key for the owner and an entry under it, and lets a tick pass so that no two
    /// entries are of the same age.
    pub(super) async fn one_more(&self, owner: &Owner, name: &str) -> Key {
        let key = self.key(name, Some(owner));
        self.insert_for(Some(owner), key, name, LIVES).await;
        self.advance(self.ticks(1)).await;
        key
    }

    pub(super) async fn try_insert(&self, key: Key, entry: NewEntry<String>) -> InsertOutcome {
        Box::pin(self.store.insert(key, entry)).await.expect("insert works")
    }

    /// Reads, past any copy. Nothing moves.
    pub(super) async fn get(&self, key: &Key) -> Option<Entry<String>> {
        let entry = self.read(key).await.expect("get works")?;
        assert!(!entry.is_copy, "a strict read is answered by the store");
        Some(entry)
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Option<Entry<String>>> {
        Box::pin(self.store.get(key, Freshness::Strict)).await
    }

    /// Reads as a request does, which then uses what it has found.
    pub(super) async fn use_entry(&self, key: &Key) -> Option<Entry<String>> {
        let mut shown = None;
        let mut visit = |entry: EntryRef<'_, String>| {
            shown = Some(entry.to_entry());
            AfterRead::Slide
        };
        let entry = match self.store.get_ready(key, Freshness::Bounded, &mut visit) {
            Some(found) => shown.filter(|_| found.expect("get_ready works")),
            None => Box::pin(self.store.get(key, Freshness::Bounded)).await.expect("get works"),
        }?;
        if entry.slide_due {
            self.touch_at(Target::new(key).owner(entry.owner.as_ref())).await?;
        }
        Some(entry)
    }

    /// Whether the store showed an entry without I/O.
    pub(super) fn shows_at_once(
        &self,
        key: &Key,
        visit: &mut dyn FnMut(EntryRef<'_, String>) -> AfterRead,
    ) -> bool {
        let shown = self.store.get_ready(key, Freshness::Bounded, visit);
        shown.is_some_and(|shown| shown.expect("get_ready works"))
    }

    pub(super) async fn touch(&self, key: &Key) -> Option<Deadlines> {
        self.touch_at(Target::new(key)).await
    }

    pub(super) async fn touch_at(&self, at: Target<'_>) -> Option<Deadlines> {
        Box::pin(self.store.touch(at)).await.expect("touch works")
    }

    pub(super) async fn value(&self, key: &Key) -> Option<String> {
        self.get(key).await.map(|entry| entry.value)
    }

    pub(super) async fn version(&self, key: &Key) -> Version {
        self.get(key).await.expect("the entry is there").version
    }

    pub(super) async fn deadlines(&self, key: &Key) -> Deadlines {
        self.get(key).await.expect("the entry is there").deadlines
    }

    pub(super) async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: &str,
        expiry: Option<Expiry>,
    ) -> ReplaceOutcome<String> {
        let value = String::from(value);
        Box::pin(self.store.replace(Target::new(key), seen, value, expiry))
            .await
            .expect("replace works")
    }

    pub(super) async fn replace_now(&self, key: &Key, value: &str, expiry: Option<Expiry>) {
        let seen = self.version(key).await;
        let replaced = self.replace(key, seen, value, expiry).await;
        assert!(
            matches!(replaced, ReplaceOutcome::Replaced(_)),
            "the version is current: {replaced:?}"
        );
    }

    pub(super) async fn remove(&self, key: &Key) -> RemoveOutcome {
        self.remove_if(key, None).await
    }

    pub(super) async fn remove_if(&self, key: &Key, seen: Option<Version>) -> RemoveOutcome {
        Box::pin(self.store.remove(Target::new(key), seen)).await.expect("remove works")
    }

    pub(super) async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        sorted(Box::pin(self.store.remove_owner(owner, keep)).await.expect("remove_owner works"))
    }

    pub(super) async fn count(&self) -> u64 {
        Box::pin(self.store.count()).await.expect("count works")
    }

    pub(super) async fn clear(&self) {
        Box::pin(self.store.clear()).await.expect("clear works");
    }

    /// The keys of the owner's entries, in the order of the list.
    pub(super) async fn list(&self, owner: &Owner) -> Vec<Key> {
        keys_of(&self.listing(owner).await)
    }

    /// The owner's entries, all of which must be readable.
    pub(super) async fn listing(&self, owner: &Owner) -> Vec<Entry<String>> {
        let listing = Box::pin(self.store.list(owner)).await.expect("list works");
        assert_eq!(listing.unreadable, [], "each entry can be read");
        assert_owned(&listing.entries, owner);
        listing.entries
    }

    /// The keys of all entries, sorted, by a scan with pages of this size.
    pub(super) async fn scan(&self, max_entries: usize) -> Vec<Key> {
        let listing = self.scan_all(max_entries).await;
        assert_eq!(listing.unreadable, [], "each entry can be read");
        sorted(keys_of(&listing.entries))
    }

    pub(super) async fn scan_all(&self, max_entries: usize) -> EntryList<String> {
        let (mut entries, mut unreadable, mut after) = (Vec::new(), Vec::new(), None);
        for _ in 0..100_000 {
            let page =
                Box::pin(self.store.scan(after.as_ref(), max_entries)).await.expect("scan works");
            entries.extend(page.listing.entries);
            unreadable.extend(page.listing.unreadable);
            after = page.next;
            if after.is_none() {
                return EntryList::new(entries, unreadable);
            }
        }
        panic!("a scan comes to an end");
    }

    pub(super) async fn last_used(&self, key: &Key) -> Timestamp {
        self.deadlines(key).await.last_used().expect("it has an idle time")
    }

    /// Asserts that to every operation there is nothing under the key.
    pub(super) async fn assert_absent(&self, key: &Key, owner: Option<&Owner>) {
        assert!(self.get(key).await.is_none(), "nothing to read");
        assert!(self.use_entry(key).await.is_none(), "nothing to use");
        for hint in [None, owner] {
            let touched = self.touch_at(Target::new(key).owner(hint)).await;
            assert_eq!(touched, None, "nothing to touch");
        }
        let replaced = self.replace(key, NO_VERSION, "never made", Some(LIVES)).await;
        assert!(matches!(replaced, ReplaceOutcome::Absent), "nothing to replace: {replaced:?}");
        assert_eq!(self.remove(key).await, RemoveOutcome::Absent, "nothing to remove");
        assert_eq!(
            self.remove_if(key, Some(NO_VERSION)).await,
            RemoveOutcome::Absent,
            "nothing to remove"
        );
        let to = self.key("never made", owner);
        let over = NewEntry::new(String::from("value"), LIVES)
            .maybe_owner(owner.cloned())
            .replaces(Predecessor::new(*key).owner(owner.cloned()).seen(NO_VERSION));
        assert_eq!(self.try_insert(to, over).await, InsertOutcome::Conflict, "nothing to replace");
        assert!(self.get(key).await.is_none(), "none of these made an entry");
        assert!(self.get(&to).await.is_none(), "none of these made an entry");
        assert!(!self.scan(10).await.contains(key), "nothing to scan");
        if let Some(owner) = owner {
            assert!(!self.list(owner).await.contains(key), "nothing to list");
        }
    }
}

/// A key that the store accepts for the owner. Some are made of an id, as sessions' keys are, and
/// some of a name.
pub(super) fn key(store: &impl Store<String>, name: &str, owner: Option<&Owner>) -> Key {
    let of_name = Key::of(name);
    let key = match of_name.as_bytes()[31] % 2 {
        0 => Key::from_id(of_name.id(), store.namespace()),
        _ => of_name,
    };
    store.place(key, owner)
}

/// An owner of this name.
pub(super) fn owner(name: impl AsRef<str>) -> Owner {
    Owner::new(name.as_ref()).expect("the name is valid")
}

pub(super) fn inserted() -> InsertOutcome {
    InsertOutcome::Inserted { removed: Vec::new() }
}

pub(super) fn keys_of(entries: &[Entry<String>]) -> Vec<Key> {
    entries.iter().map(|entry| entry.key).collect()
}

pub(super) fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys
}

fn assert_owned(entries: &[Entry<String>], owner: &Owner) {
    for entry in entries {
        assert_eq!(entry.owner.as_ref(), Some(owner), "a list has only the owner's");
        assert!(entry.created.is_some(), "a list has when each was made");
    }
    let keys: BTreeSet<Key> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!(keys.len(), entries.len(), "a list has each entry once");
    assert!(entries.is_sorted_by_key(|entry| entry.created), "a list has the oldest first");
}
