//! The near cache: the laws, and what it promises about the age of its answers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(all(not(kvolt_shuttle), feature = "near"))]

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    AfterRead, Deadlines, Entry, Expiry, Freshness, InsertOutcome, Key, ManualClock, MemoryStore,
    NearCache, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome, Store,
    Target,
};
use kvolt_testkit::{Call, Faults, FaultyStore, Fixture, Pushes, PushingStore};
use tokio::task::{JoinHandle, yield_now};

type Remote = PushingStore<FaultyStore<MemoryStore<String>>>;

const BOUND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(1_000);

/// A remote store, with what a test does to it, and a server with a near cache on it.
#[derive(Clone)]
struct Lab {
    time: ManualClock,
    faults: Faults,
    pushes: Pushes,
    remote: Remote,
    near: NearCache<String, Remote>,
}

impl Lab {
    /// A near cache that the store has proven to that it pushes.
    async fn new() -> Self {
        let lab = Self::deaf();
        lab.pushes.beat().await;
        assert!(lab.near.is_current());
        lab
    }

    fn deaf() -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let (store, faults) = FaultyStore::new(store);
        let (remote, pushes) = PushingStore::new(store);
        let near = NearCache::builder(remote.clone()).bound(BOUND);
        Self { time, faults, pushes, remote, near: near.build().unwrap() }
    }

    /// By another process.
    async fn insert(&self, name: &str) -> Key {
        insert(&self.remote, name, &ada()).await;
        self.pushes.beat().await;
        Key::of(name)
    }

    /// An entry that the near cache has a copy of.
    async fn copied(&self, name: &str) -> Key {
        let key = self.insert(name).await;
        assert!(self.read(&key).await.is_some());
        assert!(self.is_copied(&key));
        key
    }

    /// As [`copied`](Self::copied), by this process and without a push.
    async fn copied_unpushed(&self, name: &str) -> Key {
        let key = Key::of(name);
        insert(&self.near, name, &ada()).await;
        assert!(self.read(&key).await.is_some());
        assert!(self.is_copied(&key));
        key
    }

    async fn entry(&self, key: &Key) -> Option<Entry<String>> {
        self.near.get(key, Freshness::Bounded).await.unwrap()
    }

    async fn read(&self, key: &Key) -> Option<String> {
        self.entry(key).await.map(|entry| entry.value)
    }

    fn is_copied(&self, key: &Key) -> bool {
        self.near.get_ready(key, Freshness::Bounded, &mut |_| AfterRead::Keep).is_some()
    }

    /// Whether there is a copy that shows that a slide is due.
    fn is_due(&self, key: &Key) -> bool {
        let mut due = false;
        let mut visit = |entry: kvolt_cache::EntryRef<'_, String>| {
            due = entry.slide_due;
            AfterRead::Slide
        };
        self.near.get_ready(key, Freshness::Bounded, &mut visit).is_some() && due
    }

    async fn touch(&self, key: &Key) -> Option<Deadlines> {
        self.near.touch(Target::new(key)).await.unwrap()
    }

    async fn advance(&self, by: Duration) {
        self.time.advance(by);
        self.pushes.beat().await;
    }

    fn asked(&self, call: Call) -> usize {
        self.faults.count(call)
    }

    /// Calls of this kind reach the store, and their answers wait.
    fn hold(&self, call: Call) {
        self.faults.only(&[call]);
        self.faults.hold_answers();
    }

    fn spawn_read(&self, key: Key, freshness: Freshness) -> JoinHandle<Option<String>> {
        let near = self.near.clone();
        tokio::spawn(
            async move { near.get(&key, freshness).await.unwrap().map(|entry| entry.value) },
        )
    }
}

fn ada() -> Owner {
    Owner::new("ada").unwrap()
}

async fn insert(store: &impl Store<String>, name: &str, owner: &Owner) {
    let entry = NewEntry::new(String::from(name), Expiry::idle(IDLE)).owner(owner.clone());
    let inserted = store.insert(Key::of(name), entry).await;
    assert!(matches!(inserted, Ok(InsertOutcome::Inserted { .. })), "{inserted:?}");
}

async fn remove(store: &impl Store<String>, key: &Key) {
    assert_eq!(store.remove(Target::new(key), None).await.unwrap(), RemoveOutcome::Removed);
}

async fn replace(store: &impl Store<String>, key: &Key) {
    let seen = store.get(key, Freshness::Strict).await.unwrap().unwrap().version;
    let replaced = store.replace(Target::new(key), seen, String::from("new"), None).await.unwrap();
    assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
}

/// Lets other tasks go as far as they can.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_copy_answers_most_reads() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    let asked = lab.asked(Call::Get);
    for _ in 0..100 {
        assert_eq!(lab.read(&key).await.as_deref(), Some("one"));
    }
    assert_eq!(lab.asked(Call::Get), asked);
}

#[tokio::test]
async fn a_copy_says_that_it_is_one() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    let [read, copy] = [lab.entry(&key).await.unwrap(), lab.entry(&key).await.unwrap()];
    assert_eq!([read.is_copy, copy.is_copy], [false, true]);
    assert!(copy.read_at >= lab.time.clock().now(), "never behind the store's clock");
    assert!(copy.read_at.since(lab.time.clock().now()) <= Duration::from_millis(2));
    let strict = lab.near.get(&key, Freshness::Strict).await.unwrap().unwrap();
    assert!(!strict.is_copy);
}

#[tokio::test]
async fn a_pushed_change_reaches_the_copies() {
    let lab = Lab::new().await;
    let (removed, replaced) = (lab.copied("removed").await, lab.copied("replaced").await);
    remove(&lab.remote, &removed).await;
    replace(&lab.remote, &replaced).await;
    lab.pushes.beat().await;
    assert_eq!(lab.read(&removed).await, None);
    assert_eq!(lab.read(&replaced).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn an_unpushed_removal_is_seen_within_the_bound() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.hold();
    remove(&lab.remote, &key).await;
    lab.time.advance(BOUND - Duration::from_millis(2));
    assert!(lab.read(&key).await.is_some(), "as old as an answer may be");
    lab.time.advance(Duration::from_millis(2));
    assert_eq!(lab.read(&key).await, None, "by now the store is asked");
    assert!(!lab.near.is_current());
}

#[tokio::test]
async fn copies_from_before_an_interruption_are_not_used() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.cut();
    remove(&lab.remote, &key).await;
    while lab.near.is_current() {
        yield_now().await;
    }
    lab.pushes.heal();
    lab.pushes.beat().await;
    assert!(lab.near.is_current());
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn nothing_is_kept_before_the_store_has_pushed() {
    let lab = Lab::deaf();
    insert(&lab.near, "one", &ada()).await;
    for asked in 1..=3 {
        assert!(lab.read(&Key::of("one")).await.is_some());
        assert_eq!(lab.asked(Call::Get), asked);
    }
    assert_eq!(lab.near.copies(), 0);
}

#[tokio::test]
async fn a_removal_during_a_read_wins() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    // The store has answered, and the answer is on its way.
    lab.hold(Call::Get);
    let reading = lab.spawn_read(key, Freshness::Bounded);
    lab.faults.until_waiting(1).await;
    remove(lab.remote.inner().inner(), &key).await;
    lab.pushes.tell(key);
    lab.pushes.beat().await;
    lab.faults.release();
    assert!(reading.await.unwrap().is_some(), "it began before the removal");
    assert!(!lab.is_copied(&key));
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn own_changes_are_seen_at_once() {
    let lab = Lab::new().await;
    lab.pushes.hold();
    let removed = lab.copied_unpushed("removed").await;
    remove(&lab.near, &removed).await;
    assert_eq!(lab.read(&removed).await, None);
    let replaced = lab.copied_unpushed("replaced").await;
    replace(&lab.near, &replaced).await;
    assert_eq!(lab.read(&replaced).await.as_deref(), Some("new"));
    let one = lab.copied_unpushed("one of ada's").await;
    assert_eq!(lab.near.remove_owner(&ada(), None).await.unwrap().len(), 2);
    assert_eq!([lab.read(&one).await, lab.read(&replaced).await], [None, None]);
    let cleared = lab.copied_unpushed("cleared").await;
    lab.near.clear().await.unwrap();
    assert_eq!(lab.read(&cleared).await, None);
}

#[tokio::test]
async fn an_insertion_drops_the_copies_that_it_removes() {
    let lab = Lab::new().await;
    lab.pushes.hold();
    let oldest = lab.copied_unpushed("oldest").await;
    let old = lab.copied_unpushed("old").await;
    let entry = NewEntry::new(String::from("new"), Expiry::idle(IDLE)).owner(ada());
    let entry = entry.limit(OwnerLimit::remove_oldest(1)).replaces(Predecessor::new(old));
    let removed = match lab.near.insert(Key::of("new"), entry).await.unwrap() {
        InsertOutcome::Inserted { removed } => removed,
        refused => panic!("{refused:?}"),
    };
    assert_eq!(removed, [oldest]);
    assert_eq!([lab.read(&oldest).await, lab.read(&old).await], [None, None]);
    assert_eq!(lab.read(&Key::of("new")).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_strict_read_asks_the_store() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.hold();
    remove(&lab.remote, &key).await;
    assert!(lab.near.get_ready(&key, Freshness::Strict, &mut |_| AfterRead::Keep).is_none());
    assert!(lab.near.get(&key, Freshness::Strict).await.unwrap().is_none());
}

#[tokio::test]
async fn a_strict_read_joins_no_older_question() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    lab.hold(Call::Get);
    let older = lab.spawn_read(key, Freshness::Bounded);
    lab.faults.until_waiting(1).await;
    remove(&lab.remote, &key).await;
    let strict = lab.spawn_read(key, Freshness::Strict);
    lab.faults.until_waiting(2).await;
    lab.faults.release();
    assert!(older.await.unwrap().is_some(), "it began before the removal");
    assert_eq!(strict.await.unwrap(), None);
}

/// If a token was rotated meanwhile and does not match it, the manager asks the store again.
#[tokio::test]
async fn an_answer_to_an_older_question_says_that_it_may_be_old() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    lab.hold(Call::Get);
    let spawn = || {
        let near = lab.near.clone();
        tokio::spawn(async move { near.get(&key, Freshness::Bounded).await.unwrap().unwrap() })
    };
    let first = spawn();
    lab.faults.until_waiting(1).await;
    let joined = spawn();
    settle().await;
    lab.faults.release();
    assert!(!first.await.unwrap().is_copy);
    assert!(joined.await.unwrap().is_copy);
}

/// As of requests with junk secrets for an id that a client knows.
#[tokio::test]
async fn many_strict_reads_ask_twice_at_a_time() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    let asked = lab.asked(Call::Get);
    lab.hold(Call::Get);
    let reads: Vec<_> = (0..100).map(|_| lab.spawn_read(key, Freshness::Strict)).collect();
    lab.faults.until_waiting(2).await;
    settle().await;
    assert_eq!((lab.faults.waiting(), lab.asked(Call::Get) - asked), (2, 2));
    lab.faults.release();
    for read in reads {
        assert!(read.await.unwrap().is_some());
    }
    assert_eq!(lab.asked(Call::Get) - asked, 3, "98 of them asked together");
}

#[tokio::test]
async fn a_store_that_fails_is_an_error() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.faults.only(&[Call::Get]);
    lab.faults.fail_all(true);
    assert!(lab.read(&key).await.is_some(), "within the bound, the store is not asked");
    lab.time.advance(BOUND);
    let error = lab.near.get(&key, Freshness::Bounded).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn many_reads_of_one_key_ask_once() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    let missing = Key::of("missing");
    for key in [key, missing] {
        let asked = lab.asked(Call::Get);
        lab.hold(Call::Get);
        let reads: Vec<_> = (0..100).map(|_| lab.spawn_read(key, Freshness::Bounded)).collect();
        lab.faults.until_waiting(1).await;
        settle().await;
        lab.faults.release();
        for read in reads {
            assert_eq!(read.await.unwrap().is_some(), key != missing);
        }
        assert_eq!(lab.asked(Call::Get) - asked, 1);
    }
}

#[tokio::test]
async fn a_cancelled_read_leaves_its_question_to_others() {
    let lab = Lab::new().await;
    let key = lab.insert("one").await;
    lab.hold(Call::Get);
    let first = lab.spawn_read(key, Freshness::Bounded);
    lab.faults.until_waiting(1).await;
    let second = lab.spawn_read(key, Freshness::Bounded);
    yield_now().await;
    first.abort();
    let _ = first.await;
    lab.faults.release();
    assert!(second.await.unwrap().is_some());
    assert!(lab.is_copied(&key));
}

#[tokio::test]
async fn a_slide_is_due_after_a_tenth_of_the_idle_time() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.advance(IDLE * 7 / 100).await;
    assert!(lab.is_copied(&key) && !lab.is_due(&key));
    lab.advance(IDLE * 4 / 100).await;
    assert!(lab.is_due(&key));
    let before = lab.remote.get(&key, Freshness::Strict).await.unwrap().unwrap();
    let touched = lab.touch(&key).await.unwrap();
    let after = lab.remote.get(&key, Freshness::Strict).await.unwrap().unwrap();
    assert_eq!(touched, after.deadlines);
    assert_eq!(touched.last_used(), Some(lab.time.clock().now()));
    assert!(touched.expires_at() > before.deadlines.expires_at(), "looking is not use");
}

#[tokio::test]
async fn a_touch_prolongs_the_copy() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.advance(IDLE / 9).await;
    lab.pushes.hold();
    let touched = lab.touch(&key).await.unwrap();
    let asked = lab.asked(Call::Get);
    assert!(lab.is_copied(&key) && !lab.is_due(&key));
    assert_eq!(lab.entry(&key).await.unwrap().deadlines, touched);
    assert_eq!(lab.asked(Call::Get), asked);
}

#[tokio::test]
async fn a_touch_of_a_removed_entry_drops_the_copy() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.pushes.hold();
    remove(&lab.remote, &key).await;
    assert!(lab.is_copied(&key));
    assert_eq!(lab.touch(&key).await, None);
    assert!(!lab.is_copied(&key));
}

#[tokio::test]
async fn a_failed_touch_is_due_again() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.advance(IDLE / 9).await;
    lab.faults.only(&[Call::Touch]);
    lab.faults.fail_next(1);
    let failed = lab.near.touch(Target::new(&key)).await;
    assert!(failed.unwrap_err().is_unavailable());
    assert!(lab.is_due(&key), "the copy is as it was");
    assert!(lab.touch(&key).await.is_some());
}

#[tokio::test]
async fn many_touches_ask_twice_at_a_time() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    lab.hold(Call::Touch);
    let touches: Vec<_> = (0..100)
        .map(|_| {
            let lab = lab.clone();
            tokio::spawn(async move { lab.touch(&key).await })
        })
        .collect();
    lab.faults.until_waiting(2).await;
    settle().await;
    lab.faults.release();
    for touch in touches {
        assert!(touch.await.unwrap().is_some());
    }
    assert_eq!(lab.asked(Call::Touch), 3);
}

#[tokio::test]
async fn an_entry_in_use_lives_and_an_unused_one_ends() {
    let lab = Lab::new().await;
    let key = lab.copied("one").await;
    for _ in 0..100 {
        lab.advance(IDLE / 20).await;
        if lab.entry(&key).await.unwrap().slide_due {
            assert!(lab.touch(&key).await.is_some());
        }
    }
    lab.advance(IDLE).await;
    assert_eq!(lab.read(&key).await, None);
}

#[tokio::test]
async fn copies_are_bounded() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (remote, pushes) = PushingStore::new(store);
    let near = NearCache::builder(remote).max_copies(10).build().unwrap();
    pushes.beat().await;
    for number in 0..100 {
        let name = number.to_string();
        insert(&near, &name, &Owner::from(number)).await;
        assert!(near.get(&Key::of(&name), Freshness::Bounded).await.unwrap().is_some());
    }
    assert_eq!(near.copies(), 10);
}

#[tokio::test]
async fn a_bound_of_zero_asks_every_time_and_does_not_listen() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (remote, pushes) = PushingStore::new(store);
    let near = NearCache::builder(remote).bound(Duration::ZERO).build().unwrap();
    insert(&near, "one", &ada()).await;
    assert!(near.get(&Key::of("one"), Freshness::Bounded).await.unwrap().is_some());
    settle().await;
    assert!(!near.is_current() && !pushes.is_watched());
    assert_eq!(near.copies(), 0);
}

#[tokio::test]
async fn durations_without_end_are_accepted() {
    let time = ManualClock::new();
    let store = MemoryStore::<String>::builder().clock(time.clock()).build();
    let (remote, pushes) = PushingStore::new(store);
    let near = NearCache::builder(remote).bound(Duration::MAX).max_copies(usize::MAX);
    let near = near.build().unwrap();
    tokio::time::timeout(Duration::from_secs(10), pushes.beat()).await.expect("it listens");
    let changes = near.changes().unwrap();
    assert!(changes.current_for() > Duration::from_secs(1 << 40));
    for expiry in [Expiry::idle(Duration::MAX), Expiry::idle_within(Duration::MAX, Duration::MAX)] {
        let key = Key::of(format!("{expiry:?}"));
        let inserted = near.insert(key, NewEntry::new(String::new(), expiry)).await;
        assert!(matches!(inserted, Ok(InsertOutcome::Inserted { .. })));
        for is_copy in [false, true] {
            let read = near.get(&key, Freshness::Bounded).await.unwrap().unwrap();
            assert_eq!((read.is_copy, is_copy && read.slide_due), (is_copy, false));
            time.advance(BOUND);
        }
        assert!(near.touch(Target::new(&key)).await.unwrap().is_some());
    }
}

#[test]
fn impossible_settings_are_refused() {
    let time = ManualClock::new();
    let build = |bound| {
        let store = MemoryStore::<String>::builder().clock(time.clock()).build();
        let (remote, _) = PushingStore::new(store);
        NearCache::builder(remote).bound(bound).build()
    };
    assert!(build(BOUND).unwrap_err().to_string().contains("Tokio"));
    assert!(build(Duration::from_millis(1)).unwrap_err().is_misconfigured());
}

/// The laws, with copies and without.
#[derive(Clone)]
struct Near {
    time: ManualClock,
    pushes: Arc<std::sync::Mutex<Vec<Pushes>>>,
    max_copies: usize,
}

impl Near {
    fn new(max_copies: usize) -> Self {
        Self { time: ManualClock::new(), pushes: Arc::default(), max_copies }
    }
}

impl Fixture for Near {
    type Store = NearCache<String, PushingStore<MemoryStore<String>>>;

    async fn store(&self) -> Self::Store {
        let store = MemoryStore::builder().clock(self.time.clock()).build();
        let (remote, pushes) = PushingStore::new(store);
        let near = NearCache::builder(remote).max_copies(self.max_copies);
        let near = near.build().unwrap();
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
        if self.max_copies > 0 { idle / 10 } else { Duration::ZERO }
    }

    fn rounds(&self) -> usize {
        25
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // The laws call this from within a task, whose budget would be spent and never renewed.
        pollster::block_on(tokio::task::unconstrained(future))
    }
}

mod laws {
    use super::Near;

    kvolt_testkit::conformance_suite!(
        Near::new(1_000),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

mod laws_without_copies {
    use super::Near;

    kvolt_testkit::conformance_suite!(
        Near::new(0),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}
