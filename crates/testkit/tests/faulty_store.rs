//! The store that fails on purpose does so exactly as its controls say.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvolt_cache::{
    AfterRead, Expiry, Freshness, InsertOutcome, Key, NewEntry, RemoveOutcome, Store, Target,
};
use kvolt_testkit::{Call, Faults, FaultyStore, ManualClock, ModelStore};
use pollster::block_on;

type Faulty = FaultyStore<ModelStore<String>>;

fn faulty() -> (Faulty, Faults) {
    FaultyStore::new(ModelStore::new(ManualClock::new().clock()))
}

fn entry() -> NewEntry<String> {
    NewEntry::new(String::from("value"), Expiry::after(Duration::from_secs(60)))
}

fn key() -> Key {
    Key::of("key")
}

fn is_there(store: &Faulty) -> bool {
    block_on(store.inner().get(&key(), Freshness::Strict)).expect("it never fails").is_some()
}

#[test]
fn failed_call_changes_nothing() {
    let (store, faults) = faulty();
    faults.fail_next(2);
    for _ in 0..2 {
        assert!(block_on(store.insert(key(), entry())).unwrap_err().is_unavailable());
        assert!(!is_there(&store));
    }
    assert!(matches!(block_on(store.insert(key(), entry())), Ok(InsertOutcome::Inserted { .. })));
    assert_eq!(faults.count(Call::Insert), 3);
    faults.fail_all(true);
    for _ in 0..5 {
        assert!(block_on(store.remove(Target::new(&key()), None)).is_err());
    }
    faults.fail_all(false);
    assert_eq!(block_on(store.remove(Target::new(&key()), None)).unwrap(), RemoveOutcome::Removed);
    assert_eq!((faults.count(Call::Remove), faults.count_all()), (6, 9));
}

#[test]
fn a_lost_answer_is_of_a_call_that_took_effect() {
    let (store, faults) = faulty();
    faults.lose_next_answers(1);
    assert!(block_on(store.insert(key(), entry())).unwrap_err().is_unavailable());
    assert!(is_there(&store));
    faults.lose_all_answers(true);
    assert!(block_on(store.remove(Target::new(&key()), None)).is_err());
    assert!(!is_there(&store));
    faults.reset();
    assert_eq!(block_on(store.remove(Target::new(&key()), None)).unwrap(), RemoveOutcome::Absent);
    assert_eq!(faults.count_all(), 1, "the count starts again");
}

#[test]
fn faults_can_be_limited_to_some_calls() {
    let (store, faults) = faulty();
    faults.only(&[Call::Get]);
    faults.fail_all(true);
    assert!(block_on(store.insert(key(), entry())).is_ok());
    assert!(block_on(store.get(&key(), Freshness::Strict)).is_err());
    let ready = store.get_ready(&key(), Freshness::Strict, &mut |_| AfterRead::Keep);
    assert!(
        ready.is_some_and(|ready| ready.is_err()),
        "the short way goes through the same faults"
    );
}

#[test]
fn ready_answer_can_be_withheld() {
    let (store, faults) = faulty();
    let _ = block_on(store.insert(key(), entry())).unwrap();
    let ready = || {
        store
            .get_ready(&key(), Freshness::Strict, &mut |_| AfterRead::Keep)
            .map(|found| found.unwrap())
    };
    assert_eq!(ready(), Some(true));
    faults.answers_at_once(false);
    assert_eq!(ready(), None);
    faults.answers_at_once(true);
    faults.hold_calls();
    assert_eq!(ready(), None);
    assert_eq!(faults.count(Call::GetReady), 3);
}

#[test]
fn a_held_call_waits_before_it_does_anything_and_a_held_answer_after_it() {
    for (hold, done) in [(Faults::hold_calls as fn(&Faults), false), (Faults::hold_answers, true)] {
        let (store, faults) = faulty();
        hold(&faults);
        let (send, receive) = mpsc::channel();
        let calling = store.clone();
        let thread = thread::spawn(move || {
            let answer = block_on(calling.insert(key(), entry()));
            send.send(()).unwrap();
            answer
        });
        block_on(faults.until_waiting(1));
        assert_eq!(is_there(&store), done);
        assert!(receive.try_recv().is_err(), "it is held");
        faults.release();
        assert!(matches!(thread.join().unwrap(), Ok(InsertOutcome::Inserted { .. })));
        assert!(is_there(&store));
        assert_eq!(faults.waiting(), 0);
    }
}

#[test]
fn a_held_call_that_is_dropped_waits_no_longer_and_has_done_nothing() {
    let (store, faults) = faulty();
    faults.hold_calls();
    let mut call = Box::pin(store.insert(key(), entry()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    assert_eq!(faults.waiting(), 1);
    drop(call);
    assert_eq!(faults.waiting(), 0);
    faults.release();
    assert!(!is_there(&store));
}

#[test]
fn a_store_without_faults_passes_on_everything() {
    let (store, _) = faulty();
    let time = ManualClock::new();
    let (passing, faults) = FaultyStore::new(ModelStore::new(time.clock()));
    let ops = kvolt_testkit::ops_from_bytes(&[42, 7, 3, 250, 17, 99, 18, 5, 61, 0, 200].repeat(20));
    block_on(kvolt_testkit::check_ops(&passing, &time, &ops)).unwrap();
    assert!(faults.count_all() > 20);
    assert!(!is_there(&store));
}
