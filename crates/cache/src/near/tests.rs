//! The near cache under a model checker: `tests/model_check/main.rs` has the command.
#![cfg(kvolt_shuttle)]

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::{Mutex, MutexGuard};
use shuttle::thread;

use super::*;
use crate::{Clock, Error, ManualClock, Timestamp};

const BOUND: Duration = Duration::from_millis(1_000);
const IDLE: Duration = Duration::from_millis(60_000);

/// A remote store with one entry. A change and its notification are in one queue, in order.
struct Remote {
    namespace: Namespace,
    time: ManualClock,
    state: Mutex<State>,
    /// How many reads and how many touches are in flight.
    asked: [AtomicUsize; 2],
}

struct State {
    value: Option<u32>,
    version: u64,
    idle: Duration,
    /// A touch earlier than this after the last use changes nothing.
    slack: Duration,
    used: Timestamp,
    /// Changes that were not pushed yet.
    queue: VecDeque<Key>,
    /// When the removal had returned.
    removed: Option<Timestamp>,
}

impl State {
    fn deadlines(&self) -> Deadlines {
        Deadlines::new(Some((self.idle, self.used.saturating_add(self.idle))), None)
    }
}

impl Remote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics")
    }

    /// As another process does it.
    fn take(&self, key: &Key) {
        let mut state = self.state();
        state.value = None;
        state.queue.push_back(*key);
        state.removed = Some(self.time.clock().now());
    }

    /// As another process does it.
    fn set(&self, key: &Key, value: u32, idle: Duration) {
        let mut state = self.state();
        (state.value, state.idle, state.used) = (Some(value), idle, self.time.clock().now());
        state.version += 1;
        state.queue.push_back(*key);
    }

    /// A question on its way, its answer, and the answer on its way.
    fn answer<T>(&self, which: usize, answer: impl FnOnce(&mut State) -> T) -> T {
        let asked = self.asked[which].fetch_add(1, Ordering::SeqCst) + 1;
        assert!(asked <= 2, "{asked} questions in flight");
        thread::yield_now();
        let answer = answer(&mut self.state());
        thread::yield_now();
        self.asked[which].fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

fn no<T>() -> Result<T> {
    Err(Error::misconfigured("not in this model"))
}

impl Store<u32> for Remote {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }
    fn clock(&self) -> Clock {
        self.time.clock()
    }
    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<u32>>> {
        let now = self.time.clock().now();
        Ok(self.answer(0, |state| {
            let version = Version::from_number(state.version);
            state.value.map(|value| Entry::new(*key, value, version, None, state.deadlines(), now))
        }))
    }
    async fn touch(&self, _: Target<'_>) -> Result<Option<Deadlines>> {
        let now = self.time.clock().now();
        Ok(self.answer(1, |state| {
            if now.since(state.used) > state.slack {
                state.used = now;
            }
            state.value.map(|_| state.deadlines())
        }))
    }
    async fn insert(&self, _: Key, _: NewEntry<u32>) -> Result<InsertOutcome> {
        no()
    }
    async fn replace(
        &self,
        _: Target<'_>,
        _: Version,
        _: u32,
        _: Option<Expiry>,
    ) -> Result<ReplaceOutcome<u32>> {
        no()
    }
    async fn remove(&self, at: Target<'_>, _: Option<Version>) -> Result<RemoveOutcome> {
        self.take(at.key);
        thread::yield_now();
        Ok(RemoveOutcome::Removed)
    }
    async fn list(&self, _: &Owner) -> Result<EntryList<u32>> {
        no()
    }
    async fn remove_owner(&self, _: &Owner, _: Option<&Key>) -> Result<Vec<Key>> {
        no()
    }
    async fn scan(&self, _: Option<&Cursor>, _: usize) -> Result<EntryPage<u32>> {
        no()
    }
    async fn clear(&self) -> Result<()> {
        no()
    }
    async fn count(&self) -> Result<u64> {
        no()
    }
}

impl ChangeFeed for Remote {
    async fn run(&self, _: Duration, _: &dyn ChangeObserver) -> Error {
        Error::misconfigured("the model pushes by hand")
    }
}

type Near = NearCache<u32, Remote>;

fn near() -> (Arc<Near>, Key) {
    let time = ManualClock::new();
    let clock = time.clock();
    let state = State {
        value: Some(1),
        version: 1,
        idle: IDLE,
        slack: Duration::ZERO,
        used: clock.now(),
        queue: VecDeque::new(),
        removed: None,
    };
    let (namespace, state) = (Namespace::memory(), Mutex::new(state));
    let remote = Remote { namespace, time, state, asked: Default::default() };
    let (store, state) = (Arc::new(remote), Arc::new(super::State::new(BOUND, 10, clock)));
    let near = NearCache { store, state, task: Arc::new(SubscriptionTask(None)) };
    beat(&near);
    (Arc::new(near), Key::of("one"))
}

/// One round of the change feed: a question, the changes that were pushed before its answer, the
/// answer.
fn beat(near: &Near) {
    let (local, asked) = (&*near.state, near.state.now());
    let (pushed, store_time) = {
        let mut state = near.store().state();
        (std::mem::take(&mut state.queue), near.store().time.clock().now())
    };
    pushed.iter().for_each(|key| local.changed(key));
    local.confirmed(asked, store_time);
}

fn entry(near: &Near, key: &Key, freshness: Freshness) -> Option<Entry<u32>> {
    block_on(near.get(key, freshness)).expect("the store works")
}

fn read(near: &Near, key: &Key) -> Option<u32> {
    entry(near, key, Freshness::Bounded).map(|entry| entry.value)
}

fn touch(near: &Near, key: &Key) -> Option<Deadlines> {
    block_on(near.touch(key.into())).expect("the store works")
}

fn reads(near: &Near, key: &Key) {
    let _ = read(near, key);
}

fn touches(near: &Near, key: &Key) {
    let _ = touch(near, key);
}

/// For how long the entry has been absent when this is called, if it has been.
fn gone_for(near: &Near) -> Option<Duration> {
    near.store().state().removed.map(|removed| near.state.now().since(removed))
}

/// A read, with the bound checked: what it shows existed at most the bound before it began.
fn checked_read(near: &Near, key: &Key) {
    let was_gone = gone_for(near).is_some_and(|gone| gone > BOUND);
    let found = read(near, key);
    assert!(!(was_gone && found.is_some()), "a removal is seen within the bound");
}

fn check(body: impl Fn() + Send + Sync + 'static) {
    let body = Arc::new(body);
    let random = Arc::clone(&body);
    shuttle::check_random(move || random(), 20_000);
    shuttle::check_pct(move || body(), 20_000, 3);
}

fn spawn(near: &Arc<Near>, act: impl FnOnce(&Near) + Send + 'static) -> thread::JoinHandle<()> {
    let near = Arc::clone(near);
    thread::spawn(move || act(&near))
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("it held");
    }
}

#[test]
fn a_removal_is_seen_within_the_bound() {
    check(|| {
        let (near, key) = near();
        let reader = move |near: &Near| (0..3).for_each(|_| checked_read(near, &key));
        join(vec![
            spawn(&near, reader),
            spawn(&near, reader),
            spawn(&near, move |near| near.store().take(&key)),
            spawn(&near, |near| (0..2).for_each(|_| beat(near))),
            spawn(&near, |near| {
                (0..3).for_each(|_| near.store().time.advance(BOUND * 7 / 10));
            }),
        ]);
        beat(&near);
        assert_eq!(read(&near, &key), None, "all was pushed");
        assert_eq!(read(&near, &key), None);
    });
}

#[test]
fn no_copy_is_older_than_its_push() {
    check(|| {
        let (near, key) = near();
        let reader = move |near: &Near| (0..2).for_each(|_| reads(near, &key));
        join(vec![
            spawn(&near, reader),
            spawn(&near, reader),
            spawn(&near, move |near| {
                near.store().set(&key, 2, IDLE);
                beat(near);
                assert_eq!(read(near, &key), Some(2));
            }),
        ]);
        assert_eq!(read(&near, &key), Some(2));
    });
}

#[test]
fn a_notified_task_finds_no_older_copy() {
    check(|| {
        let (near, key) = near();
        let mut watch = near.state.changes.watch(key);
        join(vec![
            spawn(&near, move |near| reads(near, &key)),
            spawn(&near, move |near| {
                near.store().set(&key, 2, IDLE);
                beat(near);
            }),
            spawn(&near, move |near| {
                for _ in 0..10 {
                    let mut context = Context::from_waker(Waker::noop());
                    if pin!(watch.changed()).poll(&mut context).is_ready() {
                        assert_eq!(read(near, &key), Some(2));
                        return;
                    }
                    thread::yield_now();
                }
            }),
        ]);
    });
}

#[test]
fn copies_from_before_an_interruption_are_not_used() {
    check(|| {
        let (near, key) = near();
        let reader = move |near: &Near| (0..2).for_each(|_| reads(near, &key));
        join(vec![
            spawn(&near, reader),
            spawn(&near, move |near| {
                // The connection is lost with what it would have pushed.
                near.state.disconnect();
                near.store().take(&key);
                near.store().state().queue.clear();
                beat(near);
                assert_eq!(read(near, &key), None);
            }),
        ]);
        assert_eq!(read(&near, &key), None);
    });
}

#[test]
fn a_strict_read_sees_every_earlier_change() {
    check(|| {
        let (near, key) = near();
        let strict = move |near: &Near| {
            for _ in 0..2 {
                let was_gone = gone_for(near).is_some();
                let found = entry(near, &key, Freshness::Strict);
                assert!(!(was_gone && found.is_some()), "an older question answered");
            }
        };
        let bounded = move |near: &Near| reads(near, &key);
        join(vec![
            spawn(&near, strict),
            spawn(&near, strict),
            spawn(&near, strict),
            spawn(&near, bounded),
            spawn(&near, move |near| near.store().take(&key)),
        ]);
    });
}

#[test]
fn a_call_that_is_given_up_holds_no_other_up() {
    check(|| {
        let (near, key) = near();
        let strict = move |near: &Near| {
            assert_eq!(entry(near, &key, Freshness::Strict).map(|entry| entry.value), Some(1));
        };
        let given_up = move |near: &Near| {
            let mut reading = pin!(near.get(&key, Freshness::Strict));
            let _ = reading.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        };
        join(vec![
            spawn(&near, strict),
            spawn(&near, strict),
            spawn(&near, given_up),
            spawn(&near, given_up),
            spawn(&near, strict),
        ]);
        assert!(entry(&near, &key, Freshness::Bounded).is_some_and(|entry| entry.is_copy));
    });
}

#[test]
fn own_changes_are_seen_at_once() {
    check(|| {
        let (near, key) = near();
        reads(&near, &key);
        let reader = move |near: &Near| reads(near, &key);
        let toucher = move |near: &Near| touches(near, &key);
        join(vec![
            spawn(&near, reader),
            spawn(&near, toucher),
            spawn(&near, move |near| {
                assert_eq!(
                    block_on(near.remove(Target::new(&key), None)).ok(),
                    Some(RemoveOutcome::Removed)
                );
                assert_eq!(read(near, &key), None);
                assert_eq!(touch(near, &key), None);
            }),
        ]);
        assert_eq!(read(&near, &key), None, "though nothing was pushed");
    });
}

#[test]
fn a_touch_of_a_removed_entry_drops_the_copy() {
    check(|| {
        let (near, key) = near();
        let toucher = move |near: &Near| {
            let was_gone = gone_for(near).is_some();
            match touch(near, &key) {
                Some(_) => assert!(!was_gone, "an older question answered"),
                None => assert_eq!(read(near, &key), None, "though nothing was pushed"),
            }
        };
        join(vec![
            spawn(&near, toucher),
            spawn(&near, toucher),
            spawn(&near, toucher),
            spawn(&near, move |near| reads(near, &key)),
            spawn(&near, move |near| near.store().take(&key)),
        ]);
        beat(&near);
        assert_eq!(read(&near, &key), None);
    });
}

/// A read, with what it shows compared with a strict read before it.
fn later_read(near: &Near, key: &Key) {
    let strict = entry(near, key, Freshness::Strict).map(|entry| entry.value);
    assert!(read(near, key) >= strict, "an older copy answered");
}

#[test]
fn a_touch_puts_no_older_copy_back() {
    check(|| {
        let (near, key) = near();
        reads(&near, &key);
        join(vec![
            spawn(&near, move |near| touches(near, &key)),
            spawn(&near, move |near| later_read(near, &key)),
            spawn(&near, move |near| near.store().set(&key, 2, IDLE)),
        ]);
    });
}

#[test]
fn an_older_answer_replaces_no_copy() {
    check(|| {
        let (near, key) = near();
        join(vec![
            spawn(&near, move |near| reads(near, &key)),
            spawn(&near, move |near| later_read(near, &key)),
            spawn(&near, move |near| near.store().set(&key, 2, IDLE)),
        ]);
    });
}

#[test]
fn a_touch_that_moved_nothing_is_not_repeated_at_once() {
    shuttle::check_random(
        || {
            let (near, key) = near();
            near.store().state().slack = IDLE / 4;
            reads(&near, &key);
            let is_due = |after: Duration| {
                near.store().time.advance(after);
                beat(&near);
                let copy = entry(&near, &key, Freshness::Bounded).expect("it is live");
                copy.is_copy && copy.slide_due
            };
            assert!(!is_due(IDLE * 7 / 100));
            assert!(is_due(IDLE * 3 / 100));
            let used = touch(&near, &key).and_then(|deadlines| deadlines.last_used());
            assert!(used < Some(near.state.now()), "it moved");
            assert!(!is_due(IDLE / 33));
            assert!(is_due(IDLE / 500));
        },
        1,
    );
}

#[test]
fn a_touched_copy_never_outlives_its_entry() {
    check(|| {
        let (near, key) = near();
        let toucher = move |near: &Near| {
            near.store().time.advance(IDLE / 10);
            touches(near, &key);
        };
        join(vec![
            spawn(&near, toucher),
            spawn(&near, toucher),
            spawn(&near, move |near| reads(near, &key)),
            spawn(&near, move |near| {
                near.store().set(&key, 2, IDLE / 4);
                beat(near);
                reads(near, &key);
            }),
        ]);
        beat(&near);
        let end = near.store().state().deadlines().expires_at();
        let copied = entry(&near, &key, Freshness::Bounded).expect("it is live").deadlines;
        assert!(copied.expires_at() <= end, "{copied:?} and {end:?}");
    });
}
