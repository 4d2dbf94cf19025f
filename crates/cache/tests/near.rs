//! The near cache: the laws, and what it promises about the age of its answers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(all(not(kvolt_shuttle), feature = "near"))]

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Access, Expiry, Insert, Key, ManualClock, MemoryStore, NearCache, NewEntry, Owner, Rename,
    Replace, Store,
};
use kvolt_testkit::{Call, Faults, FaultyStore, Fixture, Pushes, PushingStore};

type Remote = PushingStore<FaultyStore<MemoryStore<String>>>;

const BOUND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(1_000);

/// A store somewhere else, with what a test does to it, and a server with a near cache on it.
struct Lab {
    time: ManualClock,
    faults: Faults,
    pushes: Pushes,
    remote: Remote,
    near: NearCache<String, Remote>,
}

impl Lab {
    /// A near cache that hears.
    async fn new() -> Self {
        let lab = Self::deaf().await;
        lab.pushes.beat().await;
        assert!(lab.near.is_hearing());
        lab
    }

    /// A near cache that has not heard yet.
    async fn deaf() -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let (store, faults) = FaultyStore::new(store);
        let (remote, pushes) = PushingStore::new(store, time.clock());
        let near = NearCache::builder(remote.clone()).bound(BOUND).clock(time.clock());
        Self { time, faults, pushes, remote, near: near.build().unwrap() }
    }

    async fn insert(&self, name: &str) -> Key {
        let key = Key::of(name);
        let entry = NewEntry::new(String::from(name), Expiry::idle(IDLE)).owner(Owner::from("ada"));
        assert!(matches!(self.remote.insert(key, entry).await, Ok(Insert::Inserted { .. })));
        self.pushes.beat().await;
        key
    }

    /// One that the near cache has a copy of.
    async fn copied(&self, name: &str) -> Key {
        let key = self.insert(name).await;
        assert!(self.read(&key).await.is_some());
        assert!(self.is_copied(&key));
        key
    }

    async fn read(&self, key: &Key) -> Option<String> {
        self.near.get(key, Access::SLIDE).await.unwrap().map(|entry| entry.value)
    }

    fn is_copied(&self, key: &Key) -> bool {
        self.near.get_ready(key, Access::PEEK, &mut |_| {}).is_some()
    }

    fn asked(&self) -> usize {
        self.faults.count(Call::Get)
    }
}

#[tokio::test]
async fn most_reads_ask_nobody() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    let asked = lab.asked();
    for _ in 0..100 {
        assert_eq!(lab.read(&key).await.as_deref(), Some("one"));
    }
    assert_eq!(lab.asked(), asked);
}

#[tokio::test]
async fn a_change_elsewhere_reaches_the_copies_when_it_is_pushed() {
    let lab = Lab::new().await;
    let (removed, replaced, renamed) =
        (lab.copied("removed").await, lab.copied("replaced").await, lab.copied("renamed").await);
    assert!(lab.remote.remove(&removed).await.unwrap());
    let entry = lab.remote.get(&replaced, Access::PEEK).await.unwrap().unwrap();
    let changed = lab.remote.replace(&replaced, entry.version, String::from("new"), None).await;
    assert!(matches!(changed.unwrap(), Replace::Replaced(_)));
    let _ = lab.remote.rename(&renamed, Key::of("elsewhere"), Rename::new()).await.unwrap();
    lab.pushes.beat().await;
    assert_eq!(lab.read(&removed).await, None);
    assert_eq!(lab.read(&replaced).await.as_deref(), Some("new"));
    assert_eq!(lab.read(&renamed).await, None);
}

#[tokio::test]
async fn a_removal_that_is_never_pushed_is_seen_within_the_bound() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.hold();
    assert!(lab.remote.remove(&key).await.unwrap());
    lab.time.advance(BOUND - Duration::from_millis(2));
    assert!(lab.read(&key).await.is_some(), "as old as an answer may be");
    lab.time.advance(Duration::from_millis(2));
    assert_eq!(lab.read(&key).await, None, "by now the store is asked");
    assert!(!lab.near.is_hearing());
}

#[tokio::test]
async fn what_changed_while_nothing_was_heard_is_not_believed_afterwards() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.cut();
    assert!(lab.remote.remove(&key).await.unwrap());
    while lab.near.is_hearing() {
        tokio::task::yield_now().await;
    }
    lab.pushes.heal();
    lab.pushes.beat().await;
    assert!(lab.near.is_hearing());
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn what_is_read_while_nothing_is_heard_is_not_kept() {
    let lab = Lab::deaf().await;
    let key = Key::of("one");
    let entry = NewEntry::new(String::from("one"), Expiry::idle(IDLE));
    assert!(matches!(lab.near.insert(key, entry).await, Ok(Insert::Inserted { .. })));
    for asked in 1..=3 {
        assert!(lab.read(&key).await.is_some());
        assert_eq!(lab.asked(), asked);
    }
    assert_eq!(lab.near.copies(), 0);
}

#[tokio::test]
async fn a_removal_that_lands_while_a_copy_is_fetched_wins() {
    let lab = Arc::new(Lab::new().await);
    let key = lab.insert("one").await;
    // The store has answered, and the answer is on its way.
    lab.faults.only(&[Call::Get]);
    lab.faults.hold_answers();
    let reading = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.read(&key).await }
    });
    lab.faults.until_waiting(1).await;
    assert!(lab.remote.inner().inner().remove(&key).await.unwrap());
    lab.pushes.tell(key);
    lab.pushes.beat().await;
    lab.faults.release();
    assert!(reading.await.unwrap().is_some(), "it began before the removal");
    assert!(!lab.is_copied(&key));
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn what_this_server_did_it_sees_at_once() {
    let lab = Lab::new().await;
    lab.pushes.hold();
    let near = &lab.near;
    let removed = lab.insert_held("removed").await;
    assert!(near.remove(&removed).await.unwrap());
    assert_eq!(lab.read(&removed).await, None);
    let replaced = lab.insert_held("replaced").await;
    let seen = near.get(&replaced, Access::PEEK).await.unwrap().unwrap().version;
    let changed = near.replace(&replaced, seen, String::from("new"), None).await.unwrap();
    assert!(matches!(changed, Replace::Replaced(_)));
    assert_eq!(lab.read(&replaced).await.as_deref(), Some("new"));
    let (from, to) = (lab.insert_held("from").await, Key::of("to"));
    let mut rename = Rename::new();
    rename.grace = IDLE;
    let _ = near.rename(&from, to, rename).await.unwrap();
    assert_eq!(near.get(&from, Access::PEEK).await.unwrap().unwrap().key, to);
    assert!(lab.read(&to).await.is_some());
    assert!(lab.is_copied(&to));
    assert!(near.remove(&from).await.unwrap(), "by the former key");
    assert_eq!(lab.read(&to).await, None);
    let one = lab.insert_held("one of ada's").await;
    assert_eq!(near.remove_owner(&Owner::from("ada"), None).await.unwrap().len(), 2);
    assert_eq!(lab.read(&one).await, None);
}

impl Lab {
    /// As `copied`, while nothing is pushed.
    async fn insert_held(&self, name: &str) -> Key {
        let key = Key::of(name);
        let entry = NewEntry::new(String::from(name), Expiry::idle(IDLE)).owner(Owner::from("ada"));
        assert!(matches!(self.near.insert(key, entry).await, Ok(Insert::Inserted { .. })));
        assert!(self.read(&key).await.is_some());
        assert!(self.is_copied(&key));
        key
    }
}

#[tokio::test]
async fn a_strict_read_asks_the_store() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.hold();
    assert!(lab.remote.remove(&key).await.unwrap());
    assert!(lab.near.get(&key, Access::SLIDE.strict()).await.unwrap().is_none());
    assert!(lab.near.get(&key, Access::PEEK.strict_if(true)).await.unwrap().is_none());
    assert!(Access::PEEK.strict().strict_if(false).is_strict(), "strictness only adds up");
}

#[tokio::test]
async fn when_the_store_can_not_be_asked_it_is_an_error_and_no_old_answer() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.faults.only(&[Call::Get]);
    lab.faults.fail_all(true);
    assert!(lab.read(&key).await.is_some(), "within the bound nobody has to be asked");
    lab.time.advance(BOUND);
    let error = lab.near.get(&key, Access::SLIDE).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn many_who_look_for_the_same_ask_once() {
    let lab = Arc::new(Lab::new().await);
    let key = lab.insert("one").await;
    let missing = Key::of("missing");
    for key in [key, missing] {
        let asked = lab.asked();
        lab.faults.only(&[Call::Get]);
        lab.faults.hold_answers();
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let lab = Arc::clone(&lab);
                tokio::spawn(async move { lab.read(&key).await })
            })
            .collect();
        lab.faults.until_waiting(1).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        lab.faults.release();
        for reader in readers {
            assert_eq!(reader.await.unwrap().is_some(), key != missing);
        }
        assert_eq!(lab.asked() - asked, 1);
    }
}

#[tokio::test]
async fn who_gives_up_leaves_the_question_to_the_others() {
    let lab = Arc::new(Lab::new().await);
    let key = lab.insert("one").await;
    lab.faults.only(&[Call::Get]);
    lab.faults.hold_answers();
    let first = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.read(&key).await }
    });
    lab.faults.until_waiting(1).await;
    let second = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.read(&key).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    let _ = first.await;
    lab.faults.release();
    assert!(second.await.unwrap().is_some());
    assert!(lab.is_copied(&key));
}

#[tokio::test]
async fn a_use_is_told_once_a_tenth_of_the_idle_time_has_passed() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    let asked = lab.asked();
    lab.time.advance(IDLE * 7 / 100);
    lab.pushes.beat().await;
    assert!(lab.read(&key).await.is_some());
    assert_eq!(lab.asked(), asked, "not yet");
    lab.time.advance(IDLE * 4 / 100);
    lab.pushes.beat().await;
    assert!(lab.is_copied(&key), "looking is not use");
    assert!(lab.read(&key).await.is_some());
    assert_eq!(lab.asked(), asked + 1);
    let entry = lab.remote.get(&key, Access::PEEK).await.unwrap().unwrap();
    assert_eq!(entry.deadlines.last_used(), Some(lab.time.clock().now()));
}

#[tokio::test]
async fn a_session_in_use_does_not_end_and_one_out_of_use_does() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    for _ in 0..100 {
        lab.time.advance(IDLE / 20);
        lab.pushes.beat().await;
        assert!(lab.read(&key).await.is_some());
    }
    lab.time.advance(IDLE);
    lab.pushes.beat().await;
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn copies_are_bounded() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (remote, pushes) = PushingStore::new(store, time.clock());
    let near = NearCache::builder(remote).copies_max(10).clock(time.clock()).build().unwrap();
    pushes.beat().await;
    for number in 0..100 {
        let key = Key::of(format!("{number}"));
        let entry = NewEntry::new(String::new(), Expiry::idle(IDLE));
        let _ = near.insert(key, entry).await.unwrap();
        assert!(near.get(&key, Access::SLIDE).await.unwrap().is_some());
    }
    assert_eq!(near.copies(), 10);
}

#[tokio::test]
async fn a_bound_of_zero_asks_every_time_and_listens_to_nobody() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (remote, pushes) = PushingStore::new(store, time.clock());
    let near = NearCache::builder(remote).bound(Duration::ZERO).build().unwrap();
    let key = Key::of("one");
    let _ = near.insert(key, NewEntry::new(String::new(), Expiry::idle(IDLE))).await.unwrap();
    assert!(near.get(&key, Access::SLIDE).await.unwrap().is_some());
    assert!(!near.is_hearing() && !pushes.is_watched());
    assert_eq!(near.copies(), 0);
}

#[test]
fn what_can_not_work_is_refused_when_it_is_built() {
    let time = ManualClock::new();
    let build = |bound| {
        let store = MemoryStore::<String>::builder().clock(time.clock()).build();
        let (remote, _) = PushingStore::new(store, time.clock());
        NearCache::builder(remote).bound(bound).build()
    };
    assert!(build(BOUND).unwrap_err().to_string().contains("Tokio"));
    assert!(build(Duration::from_millis(1)).unwrap_err().is_misconfigured());
}

/// The laws, with another server's near cache and one's own: what one does the other has to see.
#[derive(Clone)]
struct Near {
    time: ManualClock,
    pushes: Arc<std::sync::Mutex<Vec<Pushes>>>,
}

impl Near {
    fn new() -> Self {
        Self { time: ManualClock::new(), pushes: Arc::default() }
    }
}

impl Fixture for Near {
    type Store = NearCache<String, PushingStore<MemoryStore<String>>>;

    async fn store(&self) -> Self::Store {
        let store = MemoryStore::builder().clock(self.time.clock()).build();
        let (remote, pushes) = PushingStore::new(store, self.time.clock());
        let near = NearCache::builder(remote).clock(self.time.clock()).build().unwrap();
        pushes.beat().await;
        self.pushes.lock().unwrap().push(pushes);
        near
    }

    async fn advance(&self, by: Duration) {
        self.time.advance(by);
        let pushes = self.pushes.lock().unwrap().clone();
        for pushes in pushes {
            pushes.beat().await;
        }
    }

    async fn clean(&self, store: &Self::Store) {
        store.store().inner().clean();
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 10
    }

    fn rounds(&self) -> usize {
        25
    }
}

mod laws {
    use super::Near;

    kvolt_testkit::conformance_suite!(
        Near::new(),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}
