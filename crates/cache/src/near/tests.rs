//! The near cache under a model checker: see `tests/model_check.rs` for how it is run.
#![cfg(kvolt_shuttle)]

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::thread;

use super::*;
use crate::{Error, ManualClock};

const BOUND: Duration = Duration::from_millis(1_000);

/// A store elsewhere, with one entry; a change and its push are in one queue, in order.
struct Remote {
    time: ManualClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    value: Option<u32>,
    version: u64,
    /// Changes that were not pushed yet.
    queue: VecDeque<Key>,
    /// When the removal had returned.
    removed: Option<Timestamp>,
}

impl Remote {
    fn remove(&self, key: &Key) {
        let mut state = self.state.lock().expect("nobody panics");
        state.value = None;
        state.queue.push_back(*key);
        state.removed = Some(self.time.clock().now());
    }

    fn set(&self, key: &Key, value: u32) {
        let mut state = self.state.lock().expect("nobody panics");
        state.value = Some(value);
        state.version += 1;
        state.queue.push_back(*key);
    }
}

fn no<T>() -> Result<T> {
    Err(Error::misconfigured("not in this model"))
}

impl Store<u32> for Remote {
    async fn get(&self, key: &Key, _: Access) -> Result<Option<Entry<u32>>> {
        thread::yield_now();
        let found = {
            let state = self.state.lock().expect("nobody panics");
            state.value.map(|value| {
                let deadlines = crate::Deadlines::new(None, None);
                Entry::new(*key, value, Version::from_number(state.version), None, deadlines)
            })
        };
        // The answer is on its way.
        thread::yield_now();
        Ok(found)
    }
    async fn insert(&self, _: Key, _: NewEntry<u32>) -> Result<Insert> {
        no()
    }
    async fn replace(
        &self,
        _: &Key,
        _: Version,
        _: u32,
        _: Option<Expiry>,
    ) -> Result<Replace<u32>> {
        no()
    }
    async fn rename(&self, _: &Key, _: Key, _: Rename<u32>) -> Result<Renamed> {
        no()
    }
    async fn remove(&self, _: &Key) -> Result<bool> {
        no()
    }
    async fn list(&self, _: &Owner) -> Result<Vec<Entry<u32>>> {
        no()
    }
    async fn remove_owner(&self, _: &Owner, _: Option<&Key>) -> Result<Vec<Key>> {
        no()
    }
    async fn scan(&self, _: Option<&Cursor>, _: usize) -> Result<Page<u32>> {
        no()
    }
    async fn clear(&self) -> Result<()> {
        no()
    }
}

impl Push for Remote {
    async fn watch(&self, _: Duration, _: &dyn Listener) -> Error {
        Error::misconfigured("the model pushes by hand")
    }
}

type Near = Inner<u32, Remote>;

fn near() -> (Arc<Near>, Key) {
    let time = ManualClock::new();
    let clock = time.clock();
    let state = State { value: Some(1), version: 1, ..State::default() };
    let near = Inner {
        store: Remote { time, state: Mutex::new(state) },
        trust: Trust::new(clock.clone(), BOUND),
        copies: Copies::new(10, clock.clone()),
        flights: Flights::new(),
        changes: Arc::new(Changes::pushed(clock, BOUND)),
    };
    (Arc::new(near), Key::of("one"))
}

/// What the connection that pushes does once: a question, what was pushed before its answer, the answer.
fn beat(near: &Near) {
    let asked = near.now();
    let (pushed, store_time) = {
        let mut state = near.store.state.lock().expect("nobody panics");
        (std::mem::take(&mut state.queue), near.store.time.clock().now())
    };
    pushed.iter().for_each(|key| Listener::changed(near, key));
    Listener::heard(near, asked, store_time);
}

fn read(near: &Near, key: &Key) -> Option<u32> {
    let mut copy = None;
    if near.look(key, Access::SLIDE, &mut |entry| copy = Some(*entry.value)) {
        return copy;
    }
    block_on(near.ask(key, Access::SLIDE)).expect("the store works").map(|entry| entry.value)
}

/// A read, with the bound checked: what it shows was there at most the bound before it began.
fn checked_read(near: &Near, key: &Key) {
    let began = near.now();
    let gone_before = {
        let state = near.store.state.lock().expect("nobody panics");
        state.removed.is_some_and(|removed| began.since(removed) > BOUND)
    };
    let found = read(near, key);
    assert!(!(gone_before && found.is_some()), "a removal is seen within the bound");
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
fn a_removal_is_seen_within_the_bound_whatever_is_in_flight() {
    check(|| {
        let (near, key) = near();
        beat(&near);
        let reader = |near: &Near| (0..3).for_each(|_| checked_read(near, &Key::of("one")));
        let threads = vec![
            spawn(&near, reader),
            spawn(&near, reader),
            spawn(&near, move |near| near.store.remove(&key)),
            spawn(&near, |near| (0..2).for_each(|_| beat(near))),
            spawn(&near, |near| {
                (0..3).for_each(|_| near.store.time.advance(BOUND * 7 / 10));
            }),
        ];
        join(threads);
        beat(&near);
        assert_eq!(read(&near, &key), None, "all was pushed");
        assert_eq!(read(&near, &key), None);
    });
}

#[test]
fn after_a_push_no_copy_is_older_than_it() {
    check(|| {
        let (near, key) = near();
        beat(&near);
        let reader = |near: &Near| {
            let _ = read(near, &Key::of("one"));
            let _ = read(near, &Key::of("one"));
        };
        let threads = vec![
            spawn(&near, reader),
            spawn(&near, reader),
            spawn(&near, move |near| {
                near.store.set(&key, 2);
                beat(near);
                assert_eq!(read(near, &Key::of("one")), Some(2));
            }),
        ];
        join(threads);
        assert_eq!(read(&near, &key), Some(2));
    });
}

#[test]
fn who_is_told_of_a_change_finds_no_copy_from_before() {
    check(|| {
        let (near, key) = near();
        beat(&near);
        let mut watch = near.changes.watch(key);
        let threads = vec![
            spawn(&near, |near| drop(read(near, &Key::of("one")))),
            spawn(&near, move |near| {
                near.store.set(&key, 2);
                beat(near);
            }),
            spawn(&near, move |near| {
                for _ in 0..10 {
                    let mut context = Context::from_waker(Waker::noop());
                    if pin!(watch.changed()).poll(&mut context).is_ready() {
                        assert_eq!(read(near, &Key::of("one")), Some(2));
                        return;
                    }
                    thread::yield_now();
                }
            }),
        ];
        join(threads);
    });
}

#[test]
fn what_was_copied_before_listening_was_lost_is_not_used_after_it() {
    check(|| {
        let (near, key) = near();
        beat(&near);
        let reader = |near: &Near| {
            let _ = read(near, &Key::of("one"));
            let _ = read(near, &Key::of("one"));
        };
        let threads = vec![
            spawn(&near, reader),
            spawn(&near, move |near| {
                // The connection is lost with what it would have pushed.
                near.deafen();
                near.store.remove(&key);
                near.store.state.lock().expect("nobody panics").queue.clear();
                beat(near);
                assert_eq!(read(near, &Key::of("one")), None);
            }),
        ];
        join(threads);
        assert_eq!(read(&near, &key), None);
    });
}
