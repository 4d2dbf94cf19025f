//! Waiting for changes of a remote store's entries: with copies, and without.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(all(not(kvolt_shuttle), feature = "near"))]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kvolt_cache::{
    Changes, Expiry, Freshness, InsertOutcome, Key, ManualClock, MemoryStore, NearCache, NewEntry,
    Notice, Owner, OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome, Store, Target, Watch,
};
use kvolt_testkit::{Pushes, PushingStore};

type Remote = PushingStore<MemoryStore<String>>;

const BOUND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(1_000);

/// A remote store, and a server that waits for changes in it.
struct Lab {
    time: ManualClock,
    pushes: Pushes,
    remote: Remote,
    near: NearCache<String, Remote>,
    changes: Arc<Changes>,
}

impl Lab {
    /// With copies, and without.
    async fn both() -> [Self; 2] {
        [Self::new(10).await, Self::new(0).await]
    }

    async fn new(max_copies: usize) -> Self {
        let time = ManualClock::new();
        let memory = MemoryStore::builder().clock(time.clock()).build();
        let (remote, pushes) = PushingStore::new(memory);
        let near = NearCache::builder(remote.clone()).max_copies(max_copies);
        let near = near.bound(BOUND).build().unwrap();
        let changes = near.changes().unwrap();
        assert_eq!(changes.current_for(), Duration::ZERO, "the store has proven nothing yet");
        pushes.beat().await;
        Self { time, pushes, remote, near, changes }
    }

    /// An entry with a watch.
    async fn watched(&self, name: &str) -> (Key, Watch) {
        let key = Key::of(name);
        insert(&self.remote, name, entry(name)).await;
        self.pushes.beat().await;
        let watch = self.changes.watch(key);
        assert!(self.near.get(&key, Freshness::Bounded).await.unwrap().is_some());
        (key, watch)
    }

    /// One watched entry for each way in which an entry changes.
    async fn targets(&self) -> ([Key; 5], [Watch; 5]) {
        let (mut keys, mut watches) = (Vec::new(), Vec::new());
        for name in ["over the limit", "replaced", "removed", "succeeded", "removed by its owner"] {
            let (key, watch) = self.watched(name).await;
            keys.push(key);
            watches.push(watch);
        }
        (keys.try_into().unwrap(), watches.try_into().unwrap())
    }
}

fn ada() -> Owner {
    Owner::new("ada").unwrap()
}

fn entry(value: &str) -> NewEntry<String> {
    NewEntry::new(String::from(value), Expiry::idle(IDLE)).owner(ada())
}

async fn insert(store: &impl Store<String>, name: &str, entry: NewEntry<String>) {
    let inserted = store.insert(Key::of(name), entry).await;
    assert!(matches!(inserted, Ok(InsertOutcome::Inserted { .. })), "{inserted:?}");
}

/// The notification since the last call, if there is one.
fn notice(watch: &mut Watch) -> Option<Notice> {
    match pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(notice) => Some(notice),
        Poll::Pending => None,
    }
}

async fn notified(watch: &mut Watch) -> Notice {
    tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("it is notified")
}

/// Changes each of the [targets](Lab::targets).
async fn change_each(store: &impl Store<String>, keys: &[Key; 5]) {
    let [_, replaced, removed, succeeded, _] = keys;
    let seen = store.get(replaced, Freshness::Strict).await.unwrap().unwrap().version;
    let outcome =
        store.replace(Target::new(replaced), seen, String::from("new"), None).await.unwrap();
    assert!(matches!(outcome, ReplaceOutcome::Replaced(_)));
    assert_eq!(store.remove(Target::new(removed), None).await.unwrap(), RemoveOutcome::Removed);
    insert(store, "successor", entry("").replaces(Predecessor::new(*succeeded))).await;
    insert(store, "at the limit", entry("").limit(OwnerLimit::remove_oldest(4))).await;
    assert_eq!(store.remove_owner(&ada(), Some(replaced)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn changes_by_other_processes_are_notified() {
    for lab in Lab::both().await {
        let (keys, mut watches) = lab.targets().await;
        assert!(watches.iter_mut().all(|watch| notice(watch).is_none()), "nothing was changed");
        change_each(&lab.remote, &keys).await;
        for watch in &mut watches {
            assert_eq!(notified(watch).await, Notice::Changed);
        }
        let found = lab.near.get(&keys[1], Freshness::Bounded).await.unwrap().unwrap();
        assert_eq!(found.value, "new", "no copy from before");
        lab.pushes.beat().await;
        for watch in &mut watches {
            let _ = notice(watch);
            assert_eq!(notice(watch), None, "once");
        }
        lab.remote.clear().await.unwrap();
        assert_eq!(notified(&mut watches[0]).await, Notice::Changed);
    }
}

#[tokio::test]
async fn own_changes_are_notified_without_a_push() {
    for lab in Lab::both().await {
        let (keys, mut watches) = lab.targets().await;
        let mut other = lab.changes.watch(Key::of("another"));
        lab.pushes.hold();
        change_each(&lab.near, &keys).await;
        for watch in &mut watches {
            assert_eq!(notice(watch), Some(Notice::Changed), "{:?}", watch.key());
        }
        assert_eq!(notice(&mut other), None);
        lab.near.clear().await.unwrap();
        assert_eq!(notice(&mut other), Some(Notice::Changed));
    }
}

/// The memory store notifies its own registry, so that its callers need not.
#[tokio::test]
async fn a_store_in_memory_notifies_its_own_changes() {
    let store = MemoryStore::new();
    let changes = store.changes().unwrap();
    let names = ["over the limit", "replaced", "removed", "succeeded", "removed by its owner"];
    for name in names {
        insert(&store, name, entry(name)).await;
    }
    let keys = names.map(Key::of);
    let mut watches = keys.map(|key| changes.watch(key));
    change_each(&store, &keys).await;
    for watch in &mut watches {
        assert_eq!(notice(watch), Some(Notice::Changed), "{:?}", watch.key());
    }
    store.clear().await.unwrap();
    assert_eq!(notice(&mut watches[1]), Some(Notice::Changed));
}

#[tokio::test]
async fn a_use_is_no_change() {
    for lab in Lab::both().await {
        let (key, mut watch) = lab.watched("one").await;
        lab.time.advance(IDLE / 2);
        lab.pushes.hold();
        assert!(lab.near.get(&key, Freshness::Bounded).await.unwrap().is_some());
        assert!(lab.near.touch(Target::new(&key)).await.unwrap().is_some());
        assert_eq!(notice(&mut watch), None);
    }
}

#[tokio::test]
async fn notifications_are_complete_for_the_bound() {
    for lab in Lab::both().await {
        assert_eq!(lab.changes.current_for(), BOUND);
        lab.time.advance(BOUND / 4);
        assert_eq!(lab.changes.current_for(), BOUND * 3 / 4);
        lab.pushes.beat().await;
        assert_eq!(lab.changes.current_for(), BOUND, "the store has proven it again");
        lab.pushes.hold();
        lab.time.advance(BOUND);
        assert_eq!(lab.changes.current_for(), Duration::ZERO);
        lab.pushes.release();
        lab.pushes.beat().await;
        assert_eq!(lab.changes.current_for(), BOUND);
    }
}

#[tokio::test]
async fn an_interruption_is_notified_once_at_each_end() {
    for lab in Lab::both().await {
        let (key, mut watch) = lab.watched("one").await;
        lab.pushes.cut();
        assert_eq!(notified(&mut watch).await, Notice::Interrupted);
        assert_eq!(lab.changes.current_for(), Duration::ZERO, "the caller must poll");
        // Several attempts to listen fail meanwhile: no attempt wakes every waiting task.
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::time::resume();
        assert_eq!(notice(&mut watch), None);
        assert_eq!(
            lab.remote.remove(Target::new(&key), None).await.unwrap(),
            RemoveOutcome::Removed
        );
        assert_eq!(notice(&mut watch), None, "the removal is not pushed");
        lab.pushes.heal();
        lab.pushes.beat().await;
        assert_eq!(notified(&mut watch).await, Notice::Interrupted);
        assert_eq!(lab.changes.current_for(), BOUND);
        assert!(lab.near.get(&key, Freshness::Bounded).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_last_clone_notifies_when_it_is_dropped() {
    for lab in Lab::both().await {
        let (_, mut watch) = lab.watched("one").await;
        let Lab { near, changes, pushes, .. } = lab;
        let clone = near.clone();
        drop(near);
        pushes.beat().await;
        assert_eq!(notice(&mut watch), None, "there is another");
        drop(clone);
        assert_eq!(notified(&mut watch).await, Notice::Interrupted);
        assert_eq!(changes.current_for(), Duration::ZERO);
        assert!(!pushes.is_watched());
    }
}

#[tokio::test]
async fn a_bound_of_zero_notifies_own_changes() {
    let memory = MemoryStore::<String>::new();
    let (remote, pushes) = PushingStore::new(memory);
    let near = NearCache::builder(remote).bound(Duration::ZERO).build().unwrap();
    let changes = near.changes().unwrap();
    let mut watch = changes.watch(Key::of("one"));
    insert(&near, "one", entry("one")).await;
    assert_eq!(near.remove_owner(&ada(), None).await.unwrap().len(), 1);
    assert_eq!(notice(&mut watch), Some(Notice::Changed));
    assert_eq!(changes.current_for(), Duration::ZERO);
    assert!(!pushes.is_watched());
}
