//! What the store in memory promises beyond the contract: capacity, cleaning, its end.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(not(kvolt_shuttle))]

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::memory::{AtCapacity, Cleaning};
use kvolt_cache::{
    Access, Expiry, Insert, Key, ManualClock, MemoryStore, NewEntry, Owner, Rename, Replace,
    Result, Store,
};
use pollster::block_on;

fn key(number: u64) -> Key {
    Key::of(number.to_le_bytes())
}

fn insert<V: Clone + Send + Sync + 'static>(
    store: &MemoryStore<V>,
    number: u64,
    value: V,
    lives: Duration,
) -> Result<()> {
    let inserted = block_on(store.insert(key(number), NewEntry::new(value, Expiry::idle(lives))))?;
    assert!(matches!(inserted, Insert::Inserted { .. }));
    Ok(())
}

fn is_there<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>, number: u64) -> bool {
    store.read(&key(number), Access::PEEK, |_| ()).is_some()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_full_store_says_so_and_takes_more_once_something_has_gone_or_expired() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).entries_max(3).build();
    for number in 0..3 {
        insert(&store, number, (), MINUTE * (number as u32 + 1)).unwrap();
    }
    let error = insert(&store, 9, (), MINUTE).unwrap_err();
    assert!(error.is_full() && !error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("3 entries"), "{error}");
    assert!(!is_there(&store, 9));

    block_on(store.remove(&key(2))).unwrap();
    insert(&store, 4, (), MINUTE * 9).unwrap();
    time.advance(MINUTE);
    insert(&store, 5, (), MINUTE * 9).unwrap();
    assert!(!is_there(&store, 0) && is_there(&store, 1) && is_there(&store, 4));
    assert!(insert(&store, 6, (), MINUTE).unwrap_err().is_full());
    assert_eq!(store.len(), 3);
}

#[test]
fn a_store_that_evicts_takes_what_ends_first_and_knows_what_was_used() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .entries_max(3)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    for number in 0..3 {
        insert(&store, number, (), MINUTE * 3).unwrap();
        time.advance(Duration::from_secs(1));
    }
    // The first is used again, so the second ends first.
    store.read(&key(0), Access::SLIDE, |_| ());
    insert(&store, 3, (), MINUTE * 3).unwrap();
    assert!(!is_there(&store, 1));
    insert(&store, 4, (), MINUTE * 30).unwrap();
    assert!(!is_there(&store, 2) && is_there(&store, 0) && is_there(&store, 3));
    assert_eq!(store.len(), 3);
}

#[test]
fn a_hundred_thousand_insertions_into_a_store_that_evicts_keep_those_that_end_last() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .entries_max(1_000)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    for number in 0..100_000 {
        insert(&store, number, (), MINUTE * 30).unwrap();
        time.advance(Duration::from_millis(1));
    }
    assert_eq!(store.len(), 1_000);
    assert!((99_000..100_000).all(|number| is_there(&store, number)));
}

#[test]
fn bytes_are_bounded_by_what_the_application_weighs() {
    let time = ManualClock::new();
    let weigh = |value: &String| value.capacity();
    let store = MemoryStore::builder().clock(time.clock()).bytes_max(10_000, weigh).build();
    insert(&store, 0, "x".repeat(9_000), MINUTE).unwrap();
    assert!(insert(&store, 1, "x".repeat(1_000), MINUTE).unwrap_err().is_full());
    insert(&store, 1, "x".repeat(100), MINUTE).unwrap();

    let entry = block_on(store.get(&key(1), Access::PEEK)).unwrap().unwrap();
    let grown = block_on(store.replace(&key(1), entry.version, "x".repeat(2_000), None));
    assert!(grown.unwrap_err().is_full());
    let shrunk = block_on(store.replace(&key(1), entry.version, String::new(), None)).unwrap();
    assert!(matches!(shrunk, Replace::Replaced(_)));

    let mut rename = Rename::new();
    rename.value = Some((
        block_on(store.get(&key(1), Access::PEEK)).unwrap().unwrap().version,
        "x".repeat(2_000),
    ));
    assert!(block_on(store.rename(&key(1), key(9), rename)).unwrap_err().is_full());
    assert!(is_there(&store, 1) && !is_there(&store, 9));

    block_on(store.clear()).unwrap();
    insert(&store, 2, "x".repeat(9_000), MINUTE).unwrap();
    assert!(insert(&store, 3, "x".repeat(20_000), MINUTE).unwrap_err().is_full());
}

#[test]
fn capacity_is_exact_when_many_insert_at_once() {
    let store = MemoryStore::builder().entries_max(100).cleaning(Cleaning::Manual).build();
    let insert_some = |thread: u64| {
        let numbers = (0..100).map(|number| thread * 1_000 + number);
        numbers.filter(|number| insert(&store, *number, (), MINUTE).is_ok()).count()
    };
    let inserted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|thread| scope.spawn(move || insert_some(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((inserted, store.len()), (100, 100));
}

#[test]
fn cleaning_reclaims_what_has_expired_and_what_was_in_the_index() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let value = Arc::new(());
    for number in 0..10_000 {
        let entry = NewEntry::new(Arc::clone(&value), Expiry::idle(MINUTE)).owner(Owner::from("o"));
        let _ = block_on(store.insert(key(number), entry)).unwrap();
    }
    time.advance(MINUTE / 2);
    for number in 0..100 {
        store.read(&key(number), Access::SLIDE, |_| ());
    }
    store.clean();
    assert_eq!(store.len(), 10_000);
    time.advance(MINUTE * 3 / 4);
    store.clean();
    assert_eq!(store.len(), 100);
    time.advance(MINUTE);
    store.clean();
    assert_eq!(store.len(), 0);
    assert!(block_on(store.list(&Owner::from("o"))).unwrap().is_empty());
    drop(store);
    assert_eq!(Arc::strong_count(&value), 1, "values are dropped with the store");
}

#[test]
fn setting_and_removing_over_and_over_does_not_pile_up() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    insert(&store, 1_000_000, (), MINUTE).unwrap();
    for round in 0..300_000 {
        insert(&store, round % 10, (), MINUTE * 60 * 24).unwrap();
        block_on(store.remove(&key(round % 10))).unwrap();
        if round % 50_000 == 0 {
            store.clean();
        }
    }
    store.clean();
    // What was filed before the wheel was made anew still comes due.
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!(store.len(), 0);
}

/// The one test here that lets real time pass: the thread sleeps by the system's clock.
#[test]
fn a_store_cleans_itself_and_its_thread_ends_with_it() {
    let store = MemoryStore::new();
    insert(&store, 1, (), Duration::from_millis(1)).unwrap();
    insert(&store, 2, (), MINUTE).unwrap();
    let until = |done: &dyn Fn() -> bool| {
        for _ in 0..1_000 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not within ten seconds");
    };
    until(&|| store.len() == 1);
    drop(store);
    #[cfg(target_os = "linux")]
    until(&|| {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        !threads
            .flatten()
            .filter_map(|task| name(task).ok())
            .any(|name| name.trim() == "kvolt-clean")
    });
}
