//! What the sequential laws are written with.

use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Entry, Expiry, Insert, Key, NewEntry, Owner, OwnerLimit, Rename, Renamed,
    Replace, Store, Timestamp, Version,
};

use super::Fixture;

/// Long enough that nothing that lives so long ends during a law.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// An expiry that does not come during a law.
pub(super) const LIVES: Expiry = Expiry::idle(LONG);

/// A fresh store and the time, with the calls that a law makes.
///
/// The store must not fail: every call here panics if it does.
pub(super) struct Lab<'a, F: Fixture> {
    fixture: &'a F,
    pub(super) store: F::Store,
}

impl<'a, F: Fixture> Lab<'a, F> {
    pub(super) async fn new(fixture: &'a F) -> Self {
        Self { fixture, store: fixture.store().await }
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
            self.peek(&Key::of("never made")).await;
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

    /// Inserts, and then lets a tick pass so that no two entries are of the same age.
    pub(super) async fn insert_for(
        &self,
        owner: Option<&Owner>,
        key: Key,
        value: &str,
        expiry: Expiry,
    ) {
        let entry = NewEntry::new(String::from(value), expiry).owner(owner.cloned());
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

    pub(super) async fn try_insert(&self, key: Key, entry: NewEntry<String>) -> Insert {
        self.store.insert(key, entry).await.expect("insert works")
    }

    pub(super) async fn peek(&self, key: &Key) -> Option<Entry<String>> {
        self.store.get(key, Access::PEEK).await.expect("get works")
    }

    pub(super) async fn slide(&self, key: &Key) -> Option<Entry<String>> {
        self.store.get(key, Access::SLIDE).await.expect("get works")
    }

    pub(super) async fn value(&self, key: &Key) -> Option<String> {
        self.peek(key).await.map(|entry| entry.value)
    }

    pub(super) async fn version(&self, key: &Key) -> Version {
        self.peek(key).await.expect("the entry is there").version
    }

    pub(super) async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: &str,
        expiry: Option<Expiry>,
    ) -> Replace<String> {
        self.store.replace(key, seen, String::from(value), expiry).await.expect("replace works")
    }

    pub(super) async fn replace_now(&self, key: &Key, value: &str, expiry: Option<Expiry>) {
        let seen = self.version(key).await;
        let replaced = self.replace(key, seen, value, expiry).await;
        assert!(matches!(replaced, Replace::Replaced(_)), "the version is current: {replaced:?}");
    }

    pub(super) async fn rename(&self, from: &Key, to: Key, rename: Rename<String>) -> Renamed {
        self.store.rename(from, to, rename).await.expect("rename works")
    }

    pub(super) async fn rename_now(&self, from: &Key, to: Key, rename: Rename<String>) {
        assert_eq!(self.rename(from, to, rename).await, moved(), "nothing is in the way");
    }

    pub(super) async fn remove(&self, key: &Key) -> bool {
        self.store.remove(key).await.expect("remove works")
    }

    pub(super) async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        sorted(self.store.remove_owner(owner, keep).await.expect("remove_owner works"))
    }

    pub(super) async fn count(&self) -> u64 {
        self.store.count().await.expect("count works")
    }

    pub(super) async fn clear(&self) {
        self.store.clear().await.expect("clear works");
    }

    /// The keys of the owner's entries, in the order of the list.
    pub(super) async fn list(&self, owner: &Owner) -> Vec<Key> {
        let entries = self.store.list(owner).await.expect("list works");
        for entry in &entries {
            assert_eq!(entry.owner.as_ref(), Some(owner), "a list has only the owner's");
        }
        entries.iter().map(|entry| entry.key).collect()
    }

    /// The keys of all entries, sorted, by a scan with pages of this size.
    pub(super) async fn scan(&self, entries_max: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut after = None;
        for _ in 0..100_000 {
            let page = self.store.scan(after.as_ref(), entries_max).await.expect("scan works");
            keys.extend(page.entries.iter().map(|entry| entry.key));
            after = page.next;
            if after.is_none() {
                return sorted(keys);
            }
        }
        panic!("a scan comes to an end");
    }

    pub(super) async fn last_used(&self, key: &Key) -> Timestamp {
        let entry = self.peek(key).await.expect("the entry is there");
        entry.deadlines.last_used().expect("it has an idle time")
    }

    /// Asserts that to every operation there is nothing under the key.
    pub(super) async fn assert_absent(&self, key: &Key, owner: Option<&Owner>) {
        let name = "never made";
        let to = self.key(name, owner);
        let any = Version::from_number(1);
        assert!(self.peek(key).await.is_none(), "nothing to peek at");
        assert!(self.slide(key).await.is_none(), "nothing to slide");
        let mut ready = false;
        if let Some(found) = self.store.get_ready(key, Access::PEEK, &mut |_| ready = true) {
            assert!(!found.expect("get_ready works") && !ready, "nothing ready");
        }
        let replaced = self.replace(key, any, name, Some(LIVES)).await;
        assert!(matches!(replaced, Replace::Absent), "nothing to replace: {replaced:?}");
        let renamed = self.rename(key, to, grace(LONG)).await;
        assert_eq!(renamed, Renamed::Absent, "nothing to rename");
        assert!(!self.remove(key).await, "nothing to remove");
        assert!(self.peek(key).await.is_none(), "none of these made an entry");
        assert!(self.peek(&to).await.is_none(), "none of these made an entry");
        assert!(!self.scan(10).await.contains(key), "nothing to scan");
        if let Some(owner) = owner {
            assert!(!self.list(owner).await.contains(key), "nothing to list");
        }
    }
}

/// A key that the store accepts for the owner; without one, within one step of all others without one.
pub(super) fn key(store: &impl Store<String>, name: &str, owner: Option<&Owner>) -> Key {
    (0..100_000u32)
        .map(|salt| Key::of(format!("{name}, {salt}")))
        .find(|key| match owner {
            Some(_) => store.places(key, owner),
            None => store.reaches(&Key::of("anchor"), key),
        })
        .expect("a store places some keys for every owner")
}

pub(super) fn inserted() -> Insert {
    Insert::Inserted { removed: Vec::new() }
}

pub(super) fn moved() -> Renamed {
    Renamed::Moved { removed: Vec::new() }
}

pub(super) fn grace(grace: Duration) -> Rename<String> {
    let mut rename = Rename::new();
    rename.grace = grace;
    rename
}

pub(super) fn with_expiry(expiry: Expiry) -> Rename<String> {
    let mut rename = Rename::new();
    rename.expiry = Some(expiry);
    rename
}

pub(super) fn to_owner(owner: &Owner) -> Rename<String> {
    let mut rename = Rename::new();
    rename.owner = Some(owner.clone());
    rename
}

pub(super) fn with_value(seen: Version, value: &str) -> Rename<String> {
    let mut rename = Rename::new();
    rename.value = Some((seen, String::from(value)));
    rename
}

pub(super) fn limit(entries_max: u32, at_limit: AtLimit) -> OwnerLimit {
    OwnerLimit { entries_max, at_limit }
}

pub(super) fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys
}
