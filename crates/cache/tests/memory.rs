//! The memory store beyond the contract: capacity, cleaning, its end.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(not(kvolt_shuttle))]

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use kvolt_cache::memory::{AtCapacity, Cleaning};
use kvolt_cache::{
    AfterRead, Entry, Expiry, Freshness, InsertOutcome, Key, ManualClock, MemoryStore, NewEntry,
    Owner, OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome, Result, Store, Version, Watch,
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
    assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
    Ok(())
}

fn get<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>, number: u64) -> Option<Entry<V>> {
    block_on(store.get(&key(number), Freshness::Strict)).unwrap()
}

fn is_live<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>, number: u64) -> bool {
    get(store, number).is_some()
}

fn slide<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>, number: u64) {
    assert!(store.read(&key(number), |_| (AfterRead::Slide, ())).is_some());
}

fn remove<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>, number: u64) -> RemoveOutcome {
    block_on(store.remove((&key(number)).into(), None)).unwrap()
}

fn replace<V: Clone + Send + Sync + 'static>(
    store: &MemoryStore<V>,
    number: u64,
    seen: Version,
    value: V,
    expiry: Option<Expiry>,
) -> Result<ReplaceOutcome<V>> {
    block_on(store.replace((&key(number)).into(), seen, value, expiry))
}

/// Inserts an entry in the place of another.
fn insert_over<V: Clone + Send + Sync + 'static>(
    store: &MemoryStore<V>,
    old: u64,
    number: u64,
    value: V,
) -> Result<InsertOutcome> {
    let entry = NewEntry::new(value, Expiry::idle(MINUTE * 30));
    block_on(store.insert(key(number), entry.replaces(Predecessor::new(key(old)))))
}

fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

const INSERTED: InsertOutcome = InsertOutcome::Inserted { removed: Vec::new() };

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn full_store_takes_more_once_something_has_gone() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).max_entries(3).build();
    for number in 0..3 {
        insert(&store, number, (), MINUTE * (number as u32 + 1)).unwrap();
    }
    let error = insert(&store, 9, (), MINUTE).unwrap_err();
    assert!(error.is_full() && !error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("3 entries"), "{error}");
    assert!(!is_live(&store, 9));

    assert_eq!(remove(&store, 2), RemoveOutcome::Removed);
    insert(&store, 4, (), MINUTE * 9).unwrap();
    time.advance(MINUTE);
    insert(&store, 5, (), MINUTE * 9).unwrap();
    assert!(!is_live(&store, 0) && is_live(&store, 1) && is_live(&store, 4));
    assert!(insert(&store, 6, (), MINUTE).unwrap_err().is_full());
    assert_eq!(store.len(), 3);
}

#[test]
fn eviction_takes_the_entry_that_ends_first() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .max_entries(3)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    for number in 0..3 {
        insert(&store, number, (), MINUTE * 3).unwrap();
        time.advance(Duration::from_secs(1));
    }
    // The first is used again, so the second ends first.
    slide(&store, 0);
    insert(&store, 3, (), MINUTE * 3).unwrap();
    assert!(!is_live(&store, 1));
    insert(&store, 4, (), MINUTE * 30).unwrap();
    assert!(!is_live(&store, 2) && is_live(&store, 0) && is_live(&store, 3));
    assert_eq!(store.len(), 3);
}

#[test]
fn eviction_keeps_the_entries_that_end_last() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .max_entries(1_000)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    for number in 0..100_000 {
        insert(&store, number, (), MINUTE * 30).unwrap();
        time.advance(Duration::from_millis(1));
    }
    assert_eq!(store.len(), 1_000);
    assert!((99_000..100_000).all(|number| is_live(&store, number)));
}

#[test]
fn bytes_are_bounded_by_their_weight() {
    let time = ManualClock::new();
    let weigh = |value: &String| value.capacity();
    let store = MemoryStore::builder().clock(time.clock()).max_bytes(10_000, weigh).build();
    insert(&store, 0, "x".repeat(9_000), MINUTE).unwrap();
    assert!(insert(&store, 1, "x".repeat(1_000), MINUTE).unwrap_err().is_full());
    insert(&store, 1, "x".repeat(100), MINUTE).unwrap();

    let entry = get(&store, 1).unwrap();
    let grown = replace(&store, 1, entry.version, "x".repeat(2_000), None);
    assert!(grown.unwrap_err().is_full());
    let shrunk = replace(&store, 1, entry.version, String::new(), None).unwrap();
    assert!(matches!(shrunk, ReplaceOutcome::Replaced(_)));

    assert!(insert_over(&store, 1, 9, "x".repeat(2_000)).unwrap_err().is_full());
    assert!(is_live(&store, 1) && !is_live(&store, 9));
    assert_eq!(insert_over(&store, 1, 9, "x".repeat(100)).unwrap(), INSERTED);

    block_on(store.clear()).unwrap();
    insert(&store, 2, "x".repeat(9_000), MINUTE).unwrap();
    assert!(insert(&store, 3, "x".repeat(20_000), MINUTE).unwrap_err().is_full());
}

#[test]
fn capacity_is_exact_when_many_insert_at_once() {
    let store = MemoryStore::builder().max_entries(100).cleaning(Cleaning::Manual).build();
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
fn cleaning_reclaims_expired_entries_and_their_index() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let value = Arc::new(());
    for number in 0..10_000 {
        let entry = NewEntry::new(Arc::clone(&value), Expiry::idle(MINUTE)).owner(owner("o"));
        let _ = block_on(store.insert(key(number), entry)).unwrap();
    }
    time.advance(MINUTE / 2);
    for number in 0..100 {
        slide(&store, number);
    }
    store.clean();
    assert_eq!(store.len(), 10_000);
    time.advance(MINUTE * 3 / 4);
    store.clean();
    assert_eq!(store.len(), 100);
    time.advance(MINUTE);
    store.clean();
    assert_eq!(store.len(), 0);
    assert!(block_on(store.list(&owner("o"))).unwrap().entries.is_empty());
    drop(store);
    assert_eq!(Arc::strong_count(&value), 1, "values are dropped with the store");
}

#[test]
fn removed_entries_do_not_pile_up() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    insert(&store, 1_000_000, (), MINUTE).unwrap();
    for round in 0..300_000 {
        insert(&store, round % 10, (), MINUTE * 60 * 24).unwrap();
        assert_eq!(remove(&store, round % 10), RemoveOutcome::Removed);
        if round % 50_000 == 0 {
            store.clean();
        }
    }
    store.clean();
    // An entry from before the compaction still comes due.
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!(store.len(), 0);
}

/// The number of a key at whose end the callback panics.
const PANICS: u64 = 99;

/// The keys that a store has reported as ended, by their numbers below ten.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<u64>>>);

impl Ended {
    fn of<V: Clone + Send + Sync + 'static>(store: &MemoryStore<V>) -> Self {
        let ended = Self::default();
        let reported = ended.clone();
        assert!(store.on_expired(Arc::new(move |ended| {
            if *ended == key(PANICS) {
                std::panic::resume_unwind(Box::new("of the application"));
            }
            reported.0.lock().unwrap().extend((0..10).find(|number| key(*number) == *ended));
        })));
        ended
    }

    /// The keys that were reported since the last call.
    fn reported(&self) -> Vec<u64> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        told.sort_unstable();
        told
    }
}

#[test]
fn expired_entry_is_reported_once() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let ended = Ended::of(&store);
    let owner = owner("o");
    let insert_all = || {
        for number in 0..8 {
            let entry = NewEntry::new((), Expiry::idle(MINUTE)).owner(owner.clone());
            let inserted = block_on(store.insert(key(number), entry)).unwrap();
            assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
        }
        time.advance(MINUTE);
    };
    insert_all();
    assert!(!is_live(&store, 0));
    assert!(ended.reported().is_empty(), "none is reclaimed yet");
    insert(&store, 1, (), MINUTE * 9).unwrap();
    assert_eq!(ended.reported(), [1], "by an insertion in its place");
    assert_eq!(remove(&store, 2), RemoveOutcome::Absent);
    assert_eq!(ended.reported(), [2], "by a removal that comes too late");
    assert_eq!(insert_over(&store, 1, 3, ()).unwrap(), INSERTED);
    assert_eq!(ended.reported(), [3], "by an insertion in its place, over another");
    assert!(block_on(store.remove_owner(&owner, None)).unwrap().is_empty());
    assert_eq!(ended.reported(), [0, 4, 5, 6, 7], "by a removal of all of the owner's");
    assert_eq!(remove(&store, 3), RemoveOutcome::Removed);

    insert_all();
    block_on(store.clear()).unwrap();
    assert_eq!(ended.reported(), [0, 1, 2, 3, 4, 5, 6, 7], "by a clear");
    insert_all();
    time.advance(MINUTE);
    store.clean();
    assert_eq!(ended.reported(), [0, 1, 2, 3, 4, 5, 6, 7], "by the cleaning");
    store.clean();
    assert_eq!((ended.reported(), store.len()), (vec![], 0));
}

#[test]
fn removed_replaced_and_evicted_entries_are_not_reported_as_expired() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .max_entries(3)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    let ended = Ended::of(&store);
    for number in 0..3 {
        insert(&store, number, (), MINUTE * 30).unwrap();
    }
    assert_eq!(insert_over(&store, 0, 4, ()).unwrap(), INSERTED);
    let seen = get(&store, 1).unwrap().version;
    let replaced = replace(&store, 1, seen, (), Some(Expiry::idle(MINUTE))).unwrap();
    assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
    assert_eq!(remove(&store, 2), RemoveOutcome::Removed);
    insert(&store, 5, (), MINUTE * 30).unwrap();
    insert(&store, 6, (), MINUTE * 30).unwrap();
    assert!(!is_live(&store, 1), "evicted, since it would have ended first");
    time.advance(MINUTE * 2);
    store.clean();
    assert!(ended.reported().is_empty());
    assert_eq!(block_on(store.count()).unwrap(), 3);

    time.advance(MINUTE * 30);
    insert(&store, 7, (), MINUTE).unwrap();
    assert_eq!(ended.reported().len(), 1, "an expired entry that makes room is reported");
    store.clean();
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!(ended.reported().len(), 3, "the others");
    assert_eq!(store.len(), 0);
}

#[test]
fn store_and_its_clones_have_one_callback() {
    let store = MemoryStore::<()>::new();
    let clone = store.clone();
    assert!(store.on_expired(Arc::new(|_| {})));
    assert!(!clone.on_expired(Arc::new(|_| {})), "it is one store");
    assert!(MemoryStore::<()>::new().on_expired(Arc::new(|_| {})), "of another store");
}

fn is_notified(watch: &mut Watch) -> bool {
    pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn every_change_notifies_and_no_use_does() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .max_entries(4)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    let changes = store.changes().unwrap();
    let mut watches: Vec<_> = (0..10).map(|number| changes.watch(key(number))).collect();
    let mut told = || {
        let told = |(number, watch)| is_notified(watch).then_some(number);
        watches.iter_mut().enumerate().filter_map(told).collect::<Vec<_>>()
    };
    let owned = |number, max_entries| {
        let limit = OwnerLimit::remove_oldest(max_entries);
        let entry = NewEntry::new((), Expiry::idle(MINUTE * 9)).owner(owner("o"));
        let _ = block_on(store.insert(key(number), entry.limit(limit))).unwrap();
    };
    owned(0, 9);
    time.advance(MINUTE);
    slide(&store, 0);
    assert_eq!(told(), [] as [usize; 0], "neither what was made nor what was used");
    let seen = get(&store, 0).unwrap().version;
    let _ = replace(&store, 0, seen, (), None).unwrap();
    assert_eq!(told(), [0], "replaced");
    let late = replace(&store, 0, seen, (), None).unwrap();
    assert!(
        matches!(late, ReplaceOutcome::Conflict(_)) && told().is_empty(),
        "nothing was changed"
    );
    assert_eq!(insert_over(&store, 0, 1, ()).unwrap(), INSERTED);
    assert_eq!(told(), [0], "replaced by another entry");
    assert_eq!(remove(&store, 1), RemoveOutcome::Removed);
    owned(1, 9);
    assert_eq!(told(), [1], "removed");
    owned(2, 1);
    assert_eq!(told(), [1], "removed at the limit");
    assert_eq!(remove(&store, 2), RemoveOutcome::Removed);
    assert_eq!(told(), [2], "removed");
    owned(3, 9);
    assert_eq!(block_on(store.remove_owner(&owner("o"), None)).unwrap(), [key(3)]);
    assert_eq!(told(), [3], "removed with all of the owner's");
    insert(&store, 4, (), MINUTE).unwrap();
    for number in 5..9 {
        insert(&store, number, (), MINUTE * 2).unwrap();
    }
    assert_eq!(told(), [4], "evicted");
    block_on(store.clear()).unwrap();
    assert_eq!(told().len(), 10, "cleared");
}

#[test]
fn too_heavy_value_evicts_nothing() {
    let store = MemoryStore::builder()
        .max_bytes(1_000_000, |value: &String| value.len())
        .at_capacity(AtCapacity::EvictNearestEnd)
        .cleaning(Cleaning::Manual)
        .build();
    for number in 0..1_000 {
        insert(&store, number, String::new(), MINUTE).unwrap();
    }
    let too_heavy = || "x".repeat(1_000_000);
    assert!(insert(&store, 1_000, too_heavy(), MINUTE).unwrap_err().is_full());
    let seen = get(&store, 7).unwrap().version;
    assert!(replace(&store, 7, seen, too_heavy(), None).unwrap_err().is_full());
    assert!(insert_over(&store, 7, 1_000, too_heavy()).unwrap_err().is_full());
    assert_eq!(store.len(), 1_000);
}

#[test]
fn growing_entry_never_evicts_itself() {
    let time = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(time.clock())
        .max_bytes(10_000, |value: &String| value.len())
        .at_capacity(AtCapacity::EvictNearestEnd)
        .build();
    // It ends first, so it would be the first to go.
    insert(&store, 0, String::new(), MINUTE).unwrap();
    for number in 1..5 {
        insert(&store, number, "x".repeat(1_000), MINUTE * 2).unwrap();
    }
    let seen = get(&store, 0).unwrap().version;
    let grown = replace(&store, 0, seen, "x".repeat(9_000), None).unwrap();
    assert!(matches!(grown, ReplaceOutcome::Replaced(_)));
    assert_eq!((get(&store, 0).unwrap().value.len(), store.len()), (9_000, 1));
    // Nor does the entry that makes its room for the one that replaces it.
    assert_eq!(insert_over(&store, 0, 9, "x".repeat(9_500)).unwrap(), INSERTED);
    assert_eq!(store.len(), 1);
    // Once the others expire, the entry still has its place among what ends first.
    time.advance(MINUTE * 60);
    store.clean();
    assert_eq!(store.len(), 0);
}

#[test]
fn occupied_key_evicts_nothing() {
    let store = MemoryStore::builder()
        .max_entries(2)
        .at_capacity(AtCapacity::EvictNearestEnd)
        .cleaning(Cleaning::Manual)
        .build();
    insert(&store, 0, 0, MINUTE).unwrap();
    insert(&store, 1, 1, MINUTE * 2).unwrap();
    let again = block_on(store.insert(key(1), NewEntry::new(2, Expiry::idle(MINUTE)))).unwrap();
    assert_eq!((again, store.len()), (InsertOutcome::Occupied, 2));
    assert_eq!((get(&store, 0).unwrap().value, get(&store, 1).unwrap().value), (0, 1));
}

#[test]
fn full_store_takes_a_login_over_a_session() {
    let store = MemoryStore::builder().max_entries(2).cleaning(Cleaning::Manual).build();
    insert(&store, 0, (), MINUTE).unwrap();
    insert(&store, 1, (), MINUTE).unwrap();
    assert_eq!(insert_over(&store, 0, 2, ()).unwrap(), INSERTED);
    assert!(insert_over(&store, 0, 3, ()).unwrap_err().is_full(), "there is none to replace");
    assert!(!is_live(&store, 0) && is_live(&store, 2));
    assert_eq!(remove(&store, 2), RemoveOutcome::Removed);
    insert(&store, 3, (), MINUTE).unwrap();
    assert!(insert(&store, 4, (), MINUTE).unwrap_err().is_full());
}

#[test]
fn limit_below_the_number_of_entries_removes_the_oldest() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let new = || NewEntry::new((), Expiry::idle(MINUTE * 9)).owner(owner("o"));
    for number in 0..1_000 {
        assert_eq!(block_on(store.insert(key(number), new())).unwrap(), INSERTED);
        time.advance(Duration::from_millis(1));
    }
    // Used or not: the age counts.
    slide(&store, 0);
    let refused = block_on(store.insert(key(1_000), new().limit(OwnerLimit::refuse(64)))).unwrap();
    assert_eq!(refused, InsertOutcome::LimitReached);
    let limited = new().limit(OwnerLimit::remove_oldest(64));
    let removed: Vec<Key> = (0..1_000 - 63).map(key).collect();
    assert_eq!(
        block_on(store.insert(key(1_000), limited)).unwrap(),
        InsertOutcome::Inserted { removed }
    );
    let left = block_on(store.list(&owner("o"))).unwrap().entries;
    assert!(left.iter().map(|entry| entry.key).eq((937..=1_000).map(key)));
}

#[test]
fn login_makes_the_youngest_entry() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let limited = || {
        let limit = OwnerLimit::remove_oldest(3);
        NewEntry::new((), Expiry::idle(MINUTE)).owner(owner("o")).limit(limit)
    };
    for number in 0..3 {
        assert_eq!(block_on(store.insert(key(number), limited())).unwrap(), INSERTED);
        time.advance(Duration::from_secs(1));
    }
    // The device that signed in first signs in again, over its session.
    let again = limited().replaces(Predecessor::new(key(0)));
    assert_eq!(block_on(store.insert(key(3), again)).unwrap(), INSERTED);
    let removed = block_on(store.insert(key(4), limited())).unwrap();
    assert_eq!(removed, InsertOutcome::Inserted { removed: vec![key(1)] });
}

#[test]
fn entry_from_a_store_with_a_fast_clock_is_no_younger_than_now() {
    let (ahead, time) = (ManualClock::new(), ManualClock::new());
    ahead.advance(MINUTE);
    let [from, to] = [&ahead, &time].map(|time| MemoryStore::builder().clock(time.clock()).build());
    let new = || NewEntry::new((), Expiry::idle(MINUTE * 9)).owner(owner("o"));
    let _ = block_on(from.insert(key(0), new())).unwrap();
    let entry = block_on(from.list(&owner("o"))).unwrap().entries.remove(0);
    let restored = block_on(to.insert(key(0), NewEntry::restored(entry))).unwrap();
    assert_eq!(restored, INSERTED);
    let limited = new().limit(OwnerLimit::remove_oldest(1));
    let removed = InsertOutcome::Inserted { removed: vec![key(0)] };
    assert_eq!(block_on(to.insert(key(1), limited)).unwrap(), removed);
}

#[test]
fn longest_durations_saturate() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (longest, far) = (Duration::MAX, Duration::from_secs(50 * 365 * 86_400));
    let expiries = [
        Expiry::after(longest),
        Expiry::idle(longest),
        Expiry::idle_within(longest, longest),
        Expiry::idle_within(MINUTE, longest),
    ];
    for (number, expiry) in (0..).zip(expiries) {
        let _ = block_on(store.insert(key(number), NewEntry::new(0, expiry))).unwrap();
        slide(&store, number);
        let entry = get(&store, number).unwrap();
        let replaced = replace(&store, number, entry.version, 1, Some(expiry)).unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
        assert!(block_on(store.touch((&key(number)).into())).unwrap().is_some());
        let entry = get(&store, number).unwrap();
        let _ = (entry.deadlines.expires_at(), entry.deadlines.last_used());
        let copy = NewEntry::restored(entry);
        assert_eq!(block_on(store.insert(key(number + 10), copy)).unwrap(), INSERTED);
    }
    time.advance(far);
    store.clean();
    assert_eq!(store.len(), 6, "those of a minute have expired");
    // To the end of time, at which what has no end is still there.
    time.advance(longest);
    time.advance(longest);
    store.clean();
    assert!(is_live(&store, 0) && !is_live(&store, 3));
    let _ = block_on(store.insert(key(3), NewEntry::new(0, Expiry::idle(longest)))).unwrap();
    slide(&store, 0);
}

#[test]
fn panicking_callback_costs_one_entry_and_no_cleaning() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let reported = Arc::new(Mutex::new(0));
    let count = Arc::clone(&reported);
    assert!(store.on_expired(Arc::new(move |_| {
        *count.lock().unwrap() += 1;
        std::panic::resume_unwind(Box::new("of the application"));
    })));
    for number in 0..10 {
        insert(&store, number, (), MINUTE).unwrap();
    }
    time.advance(MINUTE * 2);
    store.clean();
    assert_eq!((store.len(), *reported.lock().unwrap()), (0, 10));
}

#[test]
fn panic_of_the_application_leaves_no_call_waiting() {
    let armed = Arc::new(AtomicBool::new(false));
    let panics = Arc::clone(&armed);
    let weigh = move |value: &u32| {
        if *value == 0 && panics.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("of the application"));
        }
        1
    };
    let store = MemoryStore::builder().max_bytes(10_000, weigh).cleaning(Cleaning::Manual).build();
    let insert = |value: u32| {
        let limit = OwnerLimit::remove_oldest(1);
        let entry = NewEntry::new(value, Expiry::idle(MINUTE)).owner(owner("o")).limit(limit);
        block_on(store.insert(key(value.into()), entry)).unwrap()
    };
    assert_eq!(insert(0), INSERTED);
    armed.store(true, Ordering::SeqCst);
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| insert(1))).is_err());
    // The insertion had taken effect before the one that it removed was weighed.
    assert!(!is_live(&store, 0) && is_live(&store, 1));
    assert_eq!(insert(2), InsertOutcome::Inserted { removed: vec![key(1)] });
}

/// The one test here that lets real time pass: the thread sleeps by the system's clock.
#[test]
fn store_cleans_itself_and_its_thread_ends_with_it() {
    let store = MemoryStore::new();
    let ended = Ended::of(&store);
    // A panic of the application's code does not end the thread.
    insert(&store, PANICS, (), Duration::from_millis(1)).unwrap();
    insert(&store, 1, (), Duration::from_millis(200)).unwrap();
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
    until(&|| ended.reported() == [1]);
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
