//! What the store in memory promises beyond the contract: capacity, cleaning, its end.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(not(kvolt_shuttle))]

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use kvolt_cache::memory::{AtCapacity, Cleaning};
use kvolt_cache::{
    Access, AtLimit, Expiry, Insert, Key, ManualClock, MemoryStore, NewEntry, Owner, OwnerLimit,
    Rename, Renamed, Replace, Result, Store, Watch,
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

/// The keys that a store says have ended, by their numbers below ten.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<u64>>>);

impl Ended {
    fn of<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>) -> Self {
        let ended = Self::default();
        let told = ended.clone();
        assert!(store.on_expired(Arc::new(move |ended| {
            told.0.lock().unwrap().extend((0..10).find(|number| key(*number) == *ended));
        })));
        ended
    }

    /// Those that were told since this was last asked.
    fn told(&self) -> Vec<u64> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        told.sort_unstable();
        told
    }
}

#[test]
fn what_has_ended_is_told_once_whoever_finds_it() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let ended = Ended::of(&store);
    let owner = Owner::from("o");
    let insert_all = || {
        for number in 0..8 {
            let entry = NewEntry::new((), Expiry::idle(MINUTE)).owner(owner.clone());
            let inserted = block_on(store.insert(key(number), entry)).unwrap();
            assert!(matches!(inserted, Insert::Inserted { .. }));
        }
        time.advance(MINUTE);
    };
    insert_all();
    assert!(!is_there(&store, 0));
    assert!(ended.told().is_empty(), "nobody has reclaimed any");
    insert(&store, 1, (), MINUTE * 9).unwrap();
    assert_eq!(ended.told(), [1], "by an insertion in its place");
    assert!(!block_on(store.remove(&key(2))).unwrap());
    assert_eq!(ended.told(), [2], "by a removal that comes too late");
    assert_eq!(block_on(store.rename(&key(1), key(3), Rename::new())).unwrap(), MOVED);
    assert_eq!(ended.told(), [3], "by a renaming in its place");
    assert!(block_on(store.remove_owner(&owner, None)).unwrap().is_empty());
    assert_eq!(ended.told(), [0, 4, 5, 6, 7], "by a removal of all of the owner's");
    assert!(block_on(store.remove(&key(3))).unwrap());

    insert_all();
    block_on(store.clear()).unwrap();
    assert_eq!(ended.told(), [0, 1, 2, 3, 4, 5, 6, 7], "by a clear");
    insert_all();
    time.advance(MINUTE);
    store.clean();
    assert_eq!(ended.told(), [0, 1, 2, 3, 4, 5, 6, 7], "by the cleaning");
    store.clean();
    assert_eq!((ended.told(), store.len()), (vec![], 0));
}

const MOVED: Renamed = Renamed::Moved { removed: Vec::new() };

#[test]
fn what_was_removed_renamed_replaced_or_evicted_is_not_told_as_ended() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .entries_max(3)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    let ended = Ended::of(&store);
    for number in 0..3 {
        insert(&store, number, (), MINUTE * 30).unwrap();
    }
    let mut rename = Rename::new();
    rename.grace = MINUTE;
    assert_eq!(block_on(store.rename(&key(0), key(4), rename)).unwrap(), MOVED);
    let seen = block_on(store.get(&key(1), Access::PEEK)).unwrap().unwrap().version;
    let replaced = block_on(store.replace(&key(1), seen, (), Some(Expiry::idle(MINUTE)))).unwrap();
    assert!(matches!(replaced, Replace::Replaced(_)));
    assert!(block_on(store.remove(&key(2))).unwrap());
    insert(&store, 5, (), MINUTE * 30).unwrap();
    insert(&store, 6, (), MINUTE * 30).unwrap();
    assert!(!is_there(&store, 1), "evicted, since it would have ended first");
    time.advance(MINUTE * 2);
    store.clean();
    assert!(ended.told().is_empty());
    assert_eq!(block_on(store.count()).unwrap(), 3);

    time.advance(MINUTE * 30);
    insert(&store, 7, (), MINUTE).unwrap();
    assert_eq!(ended.told().len(), 1, "what makes room by having ended is told");
    store.clean();
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!(ended.told().len(), 3, "the others");
    assert_eq!(store.len(), 0);
}

#[test]
fn one_is_told_what_has_ended() {
    let store = MemoryStore::<()>::new();
    let clone = store.clone();
    assert!(store.on_expired(Arc::new(|_| {})));
    assert!(!clone.on_expired(Arc::new(|_| {})), "it is one store");
    assert!(MemoryStore::<()>::new().on_expired(Arc::new(|_| {})), "of another store");
}

#[test]
fn a_count_has_no_former_keys() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    for number in 0..5 {
        insert(&store, number, (), MINUTE).unwrap();
    }
    let mut rename = Rename::new();
    rename.grace = MINUTE;
    assert_eq!(block_on(store.rename(&key(0), key(9), rename)).unwrap(), MOVED);
    assert!(block_on(store.remove(&key(1))).unwrap());
    assert_eq!(block_on(store.count()).unwrap(), 4);
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!(block_on(store.count()).unwrap(), 0);
}

fn was_told(watch: &mut Watch) -> bool {
    pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn every_change_of_what_is_waited_for_is_told_and_no_use_is() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .entries_max(4)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    let changes = store.changes().unwrap();
    let mut watches: Vec<_> = (0..10).map(|number| changes.watch(key(number))).collect();
    let mut told = || {
        let told = |(number, watch)| was_told(watch).then_some(number);
        watches.iter_mut().enumerate().filter_map(told).collect::<Vec<_>>()
    };
    let owned = |number, entries_max| {
        let limit = OwnerLimit { entries_max, at_limit: AtLimit::RemoveOldest };
        let entry = NewEntry::new((), Expiry::idle(MINUTE * 9)).owner(Owner::from("o"));
        let _ = block_on(store.insert(key(number), entry.limit(limit))).unwrap();
    };
    owned(0, 9);
    time.advance(MINUTE);
    store.read(&key(0), Access::SLIDE, |_| ());
    assert_eq!(told(), [] as [usize; 0], "neither what was made nor what was used");
    let seen = block_on(store.get(&key(0), Access::SLIDE)).unwrap().unwrap().version;
    let _ = block_on(store.replace(&key(0), seen, (), None)).unwrap();
    assert_eq!(told(), [0], "replaced");
    let late = block_on(store.replace(&key(0), seen, (), None)).unwrap();
    assert!(matches!(late, Replace::Conflict(_)) && told().is_empty(), "nothing was changed");
    let mut rename = Rename::new();
    rename.grace = MINUTE;
    assert_eq!(block_on(store.rename(&key(0), key(1), rename)).unwrap(), MOVED);
    assert_eq!(told(), [0, 1], "renamed");
    store.read(&key(0), Access::SLIDE, |_| ());
    assert!(told().is_empty(), "read by a former key");
    let seen = block_on(store.get(&key(1), Access::PEEK)).unwrap().unwrap().version;
    let _ = block_on(store.replace(&key(0), seen, (), None)).unwrap();
    assert_eq!(told(), [1], "replaced by a former key");
    owned(2, 1);
    assert_eq!(told(), [1], "removed at the limit");
    assert!(block_on(store.remove(&key(2))).unwrap());
    assert_eq!(told(), [2], "removed");
    owned(3, 9);
    assert_eq!(block_on(store.remove_owner(&Owner::from("o"), None)).unwrap(), [key(3)]);
    assert_eq!(told(), [3], "removed with all of the owner's");
    insert(&store, 4, (), MINUTE).unwrap();
    for number in 5..9 {
        insert(&store, number, (), MINUTE * 2).unwrap();
    }
    assert_eq!(told(), [4], "evicted");
    block_on(store.clear()).unwrap();
    assert_eq!(told().len(), 10, "cleared");
}

/// The one test here that lets real time pass: the thread sleeps by the system's clock.
#[test]
fn a_store_cleans_itself_and_its_thread_ends_with_it() {
    let store = MemoryStore::new();
    let ended = Ended::of(&store);
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
    until(&|| ended.told() == [1]);
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
