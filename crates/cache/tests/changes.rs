//! Waiting for changes of what a store elsewhere holds: with a near cache, and without copies.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(all(not(kvolt_shuttle), feature = "near"))]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use kvolt_cache::{
    Access, AnyStore, Changes, Expiry, Insert, Key, ManualClock, MemoryStore, NearCache, NewEntry,
    Owner, Rename, Replace, Store, Watch, Watched,
};
use kvolt_testkit::{Fixture, Pushes, PushingStore};

type Remote = PushingStore<MemoryStore<String>>;

const BOUND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(1_000);

/// A store somewhere else, and a server that waits for changes in it.
struct Lab {
    time: ManualClock,
    pushes: Pushes,
    remote: Remote,
    store: AnyStore<String>,
    changes: Arc<Changes>,
}

impl Lab {
    /// With a near cache, and without copies.
    async fn both() -> [Self; 2] {
        let near = Self::new(|remote, time| {
            let near = NearCache::builder(remote).bound(BOUND).clock(time.clock());
            AnyStore::new(near.build().unwrap())
        });
        let watched = Self::new(|remote, time| {
            let watched = Watched::builder(remote).bound(BOUND).clock(time.clock());
            AnyStore::new(watched.build().unwrap())
        });
        [near.await, watched.await]
    }

    async fn new(store: impl FnOnce(Remote, &ManualClock) -> AnyStore<String>) -> Self {
        let time = ManualClock::new();
        let memory = MemoryStore::builder().clock(time.clock()).build();
        let (remote, pushes) = PushingStore::new(memory, time.clock());
        let store = store(remote.clone(), &time);
        let changes = store.changes().unwrap();
        assert_eq!(changes.complete_for(), Duration::ZERO, "nothing was heard yet");
        pushes.beat().await;
        Self { time, pushes, remote, store, changes }
    }

    /// An entry that is waited for.
    async fn watched(&self, name: &str) -> (Key, Watch) {
        let key = Key::of(name);
        let entry = NewEntry::new(String::from(name), Expiry::idle(IDLE)).owner(Owner::from("ada"));
        assert!(matches!(self.remote.insert(key, entry).await, Ok(Insert::Inserted { .. })));
        self.pushes.beat().await;
        let watch = self.changes.watch(key);
        assert!(self.store.get(&key, Access::PEEK).await.unwrap().is_some());
        (key, watch)
    }
}

/// Whether it was told since this was last asked.
fn was_told(watch: &mut Watch) -> bool {
    pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

async fn told(watch: &mut Watch) {
    tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("it is told");
}

async fn change_each(store: &impl Store<String>, keys: &[Key; 4]) {
    let seen = store.get(&keys[0], Access::PEEK).await.unwrap().unwrap().version;
    let replaced = store.replace(&keys[0], seen, String::from("new"), None).await.unwrap();
    assert!(matches!(replaced, Replace::Replaced(_)));
    let _ = store.rename(&keys[1], Key::of("elsewhere"), Rename::new()).await.unwrap();
    assert!(store.remove(&keys[2]).await.unwrap());
    assert_eq!(store.remove_owner(&Owner::from("ada"), Some(&keys[0])).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_by_another_is_told() {
    for lab in Lab::both().await {
        let (replaced, mut replaced_watch) = lab.watched("replaced").await;
        let (renamed, mut renamed_watch) = lab.watched("renamed").await;
        let (removed, mut removed_watch) = lab.watched("removed").await;
        let (owned, mut owned_watch) = lab.watched("removed by its owner").await;
        let (_, mut cleared_watch) = lab.watched("elsewhere, later").await;
        assert!(!was_told(&mut replaced_watch), "nothing was changed");
        assert!(lab.remote.remove(&Key::of("elsewhere, later")).await.unwrap());
        told(&mut cleared_watch).await;
        change_each(&lab.remote, &[replaced, renamed, removed, owned]).await;
        for watch in [&mut replaced_watch, &mut renamed_watch, &mut removed_watch, &mut owned_watch]
        {
            told(watch).await;
        }
        let found = lab.store.get(&replaced, Access::PEEK).await.unwrap().unwrap();
        assert_eq!(found.value, "new", "no copy from before");
        lab.pushes.beat().await;
        for watch in [&mut renamed_watch, &mut removed_watch, &mut cleared_watch] {
            assert!(!was_told(watch), "once");
        }
        lab.remote.clear().await.unwrap();
        told(&mut cleared_watch).await;
    }
}

#[tokio::test]
async fn a_change_by_this_process_is_told_before_it_is_pushed() {
    for lab in Lab::both().await {
        let (replaced, mut replaced_watch) = lab.watched("replaced").await;
        let (renamed, mut renamed_watch) = lab.watched("renamed").await;
        let (removed, mut removed_watch) = lab.watched("removed").await;
        let (owned, mut owned_watch) = lab.watched("removed by its owner").await;
        let mut cleared_watch = lab.changes.watch(Key::of("cleared"));
        lab.pushes.hold();
        change_each(&lab.store, &[replaced, renamed, removed, owned]).await;
        for watch in [&mut replaced_watch, &mut renamed_watch, &mut removed_watch, &mut owned_watch]
        {
            assert!(was_told(watch), "{:?}", watch.key());
        }
        assert!(!was_told(&mut cleared_watch), "of others nothing is told");
        lab.store.clear().await.unwrap();
        assert!(was_told(&mut cleared_watch));
    }
}

#[tokio::test]
async fn a_use_is_no_change() {
    for lab in Lab::both().await {
        let (key, mut watch) = lab.watched("one").await;
        lab.time.advance(IDLE / 2);
        assert!(lab.store.get(&key, Access::SLIDE).await.unwrap().is_some());
        assert!(lab.remote.get(&key, Access::SLIDE).await.unwrap().is_some());
        lab.pushes.beat().await;
        assert!(!was_told(&mut watch));
    }
}

#[tokio::test]
async fn what_is_known_is_complete_for_the_bound_and_not_longer() {
    for lab in Lab::both().await {
        assert_eq!(lab.changes.complete_for(), BOUND);
        lab.time.advance(BOUND / 4);
        assert_eq!(lab.changes.complete_for(), BOUND * 3 / 4);
        lab.pushes.beat().await;
        assert_eq!(lab.changes.complete_for(), BOUND, "it was heard again");
        lab.pushes.hold();
        lab.time.advance(BOUND);
        assert_eq!(lab.changes.complete_for(), Duration::ZERO);
        lab.pushes.release();
        lab.pushes.beat().await;
        assert_eq!(lab.changes.complete_for(), BOUND);
    }
}

#[tokio::test]
async fn who_waits_is_woken_when_nothing_is_heard_any_more_and_when_it_is_again() {
    for lab in Lab::both().await {
        let (key, mut watch) = lab.watched("one").await;
        assert!(!was_told(&mut watch));
        lab.pushes.cut();
        told(&mut watch).await;
        assert_eq!(lab.changes.complete_for(), Duration::ZERO, "one has to look oneself");
        assert!(lab.remote.remove(&key).await.unwrap(), "of which nothing is told");
        assert!(!was_told(&mut watch));
        lab.pushes.heal();
        lab.pushes.beat().await;
        told(&mut watch).await;
        assert_eq!(lab.changes.complete_for(), BOUND);
        assert!(lab.store.get(&key, Access::PEEK).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn who_waits_is_woken_when_the_last_who_listens_is_gone() {
    for lab in Lab::both().await {
        let (_, mut watch) = lab.watched("one").await;
        let Lab { store, changes, pushes, .. } = lab;
        let clone = store.clone();
        drop(store);
        pushes.beat().await;
        assert!(!was_told(&mut watch), "there is another");
        drop(clone);
        told(&mut watch).await;
        assert_eq!(changes.complete_for(), Duration::ZERO);
        assert!(!pushes.is_watched());
    }
}

#[tokio::test]
async fn with_a_bound_of_zero_nobody_listens() {
    let (remote, pushes) =
        PushingStore::new(MemoryStore::<String>::new(), ManualClock::new().clock());
    let near = NearCache::builder(remote.clone()).bound(Duration::ZERO).build().unwrap();
    let watched = Watched::builder(remote).bound(Duration::ZERO).build().unwrap();
    assert!(near.changes().is_none() && watched.changes().is_none());
    tokio::task::yield_now().await;
    assert!(!pushes.is_watched() && !watched.is_hearing());
}

#[test]
fn what_can_not_work_is_refused_when_it_is_built() {
    let build = |bound| {
        let store = MemoryStore::<String>::new();
        let (remote, _) = PushingStore::new(store, ManualClock::new().clock());
        Watched::builder(remote).bound(bound).build()
    };
    assert!(build(BOUND).unwrap_err().to_string().contains("Tokio"));
    assert!(build(Duration::from_millis(1)).unwrap_err().is_misconfigured());
}

/// The laws, on what passes everything on.
#[derive(Clone)]
struct Passed(ManualClock);

impl Fixture for Passed {
    type Store = Watched<String, Remote>;

    async fn store(&self) -> Self::Store {
        let store = MemoryStore::builder().clock(self.0.clock()).build();
        let (remote, _) = PushingStore::new(store, self.0.clock());
        Watched::builder(remote).clock(self.0.clock()).build().unwrap()
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    async fn clean(&self, store: &Self::Store) {
        store.store().inner().clean();
    }

    fn rounds(&self) -> usize {
        10
    }
}

mod laws {
    use super::*;

    kvolt_testkit::conformance_suite!(
        Passed(ManualClock::new()),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}
