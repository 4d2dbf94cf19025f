//! The store in memory under a model checker, which runs the shipping code and
//! decides at every atomic operation and lock which thread goes on.
//!
//! Run with `RUSTFLAGS="--cfg kvolt_shuttle" cargo test -p kvolt-cache --release
//! --test model_check`; `cargo xtask test` does. The map is a library and its
//! operations are single steps here; everything around them is explored.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(kvolt_shuttle)]

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Expiry, Insert, Key, ManualClock, MemoryStore, NewEntry, Owner, OwnerLimit,
    Rename, Renamed, Replace, Store, Version,
};
use shuttle::sync::Mutex;
use shuttle::thread;

const IDLE: Duration = Duration::from_millis(100);

/// Explores schedules at random and by priority (PCT, which finds bugs that need few switches).
fn check(body: impl Fn() + Send + Sync + 'static) {
    let body = Arc::new(body);
    let random = Arc::clone(&body);
    shuttle::check_random(move || random(), 20_000);
    shuttle::check_pct(move || body(), 20_000, 3);
}

struct Lab {
    time: ManualClock,
    store: MemoryStore<u32>,
}

impl Lab {
    fn new() -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        Self { time, store }
    }

    fn insert(&self, key: &Key, owner: Option<&str>) {
        let entry = NewEntry::new(0, Expiry::idle(IDLE)).owner(owner.map(Owner::from));
        assert!(matches!(now(self.store.insert(*key, entry)), Insert::Inserted { .. }));
    }

    fn value(&self, key: &Key) -> Option<u32> {
        self.store.read(key, Access::PEEK, |entry| *entry.value)
    }
}

/// The store in memory never waits.
fn now<T>(operation: impl Future<Output = kvolt_cache::Result<T>>) -> T {
    pollster::block_on(operation).unwrap()
}

fn key(name: &str) -> Key {
    Key::of(name)
}

fn spawn(lab: &Arc<Lab>, act: impl FnOnce(&Lab) + Send + 'static) -> thread::JoinHandle<()> {
    let lab = Arc::clone(lab);
    thread::spawn(move || act(&lab))
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

fn increment(lab: &Lab, key: &Key) -> bool {
    let Some(mut entry) = now(lab.store.get(key, Access::SLIDE)) else { return false };
    loop {
        match now(lab.store.replace(key, entry.version, entry.value + 1, None)) {
            Replace::Replaced(_) => return true,
            Replace::Conflict(newer) => entry = newer,
            Replace::Absent => return false,
        }
    }
}

fn try_increment(lab: &Lab, key: &Key) {
    let _ = increment(lab, key);
}

fn slide(lab: &Lab) {
    let _ = lab.store.read(&key("a"), Access::SLIDE, |_| ());
}

#[test]
fn nothing_in_flight_revives_what_was_removed() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let threads = vec![
            spawn(&lab, |lab| slide(lab)),
            spawn(&lab, |lab| try_increment(lab, &key("a"))),
            spawn(&lab, |lab| {
                assert!(now(lab.store.remove(&key("a"))));
                assert_eq!(lab.value(&key("a")), None);
                lab.time.advance(Duration::from_millis(1));
                assert_eq!(lab.value(&key("a")), None);
            }),
        ];
        join(threads);
        assert_eq!(lab.value(&key("a")), None);
        assert_eq!(lab.store.len(), 0);
    });
}

#[test]
fn no_update_is_lost() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let threads = (0..3).map(|_| spawn(&lab, |lab| assert!(increment(lab, &key("a")))));
        join(threads.collect());
        assert_eq!(lab.value(&key("a")), Some(3));
    });
}

#[test]
fn a_slide_during_an_update_is_not_lost() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        lab.time.advance(IDLE / 2);
        let threads = vec![
            spawn(&lab, |lab| assert!(lab.store.read(&key("a"), Access::SLIDE, |_| ()).is_some())),
            spawn(&lab, |lab| {
                let entry = now(lab.store.get(&key("a"), Access::PEEK)).unwrap();
                let replaced = now(lab.store.replace(&key("a"), entry.version, 7, None));
                assert!(matches!(replaced, Replace::Replaced(_)));
            }),
        ];
        join(threads);
        lab.time.advance(IDLE - Duration::from_millis(1));
        assert_eq!(lab.value(&key("a")), Some(7));
    });
}

#[test]
fn a_late_slide_does_not_revive_what_a_reader_saw_expired() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        lab.time.advance(IDLE - Duration::from_millis(1));
        let threads = vec![
            spawn(&lab, |lab| slide(lab)),
            spawn(&lab, |lab| try_increment(lab, &key("a"))),
            spawn(&lab, |lab| {
                lab.time.advance(Duration::from_millis(1));
                if lab.value(&key("a")).is_none() {
                    for _ in 0..3 {
                        assert_eq!(lab.value(&key("a")), None);
                    }
                }
            }),
        ];
        join(threads);
    });
}

#[test]
fn of_several_insertions_one_succeeds() {
    check(|| {
        let lab = Arc::new(Lab::new());
        let inserted = Arc::new(Mutex::new(0));
        let threads = (0..3).map(|number| {
            let inserted = Arc::clone(&inserted);
            spawn(&lab, move |lab| {
                let entry = NewEntry::new(number, Expiry::idle(IDLE)).owner(Owner::from("o"));
                if matches!(now(lab.store.insert(key("a"), entry)), Insert::Inserted { .. }) {
                    *inserted.lock().unwrap() += 1;
                }
            })
        });
        join(threads.collect());
        assert_eq!(*inserted.lock().unwrap(), 1);
        assert_eq!((lab.store.len(), now(lab.store.list(&Owner::from("o"))).len()), (1, 1));
    });
}

#[test]
fn one_renaming_succeeds_and_no_update_is_lost_by_it() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        let moved = Arc::new(Mutex::new(Vec::new()));
        let mut threads: Vec<_> = ["b", "c"]
            .into_iter()
            .map(|to| {
                let moved = Arc::clone(&moved);
                spawn(&lab, move |lab| {
                    let mut rename = Rename::new();
                    rename.grace = IDLE;
                    match now(lab.store.rename(&key("a"), key(to), rename)) {
                        Renamed::Moved { .. } => moved.lock().unwrap().push(to),
                        outcome => assert_eq!(outcome, Renamed::Superseded),
                    }
                })
            })
            .collect();
        threads.push(spawn(&lab, |lab| assert!(increment(lab, &key("a")))));
        // In its grace the former key always leads to the entry.
        threads.push(spawn(&lab, |lab| assert!(lab.value(&key("a")).is_some())));
        join(threads);
        let moved = moved.lock().unwrap();
        assert_eq!(moved.len(), 1);
        assert_eq!((lab.value(&key(moved[0])), lab.value(&key("a"))), (Some(1), Some(1)));
        let list = now(lab.store.list(&Owner::from("o")));
        assert_eq!((list.len(), list[0].key, lab.store.len()), (1, key(moved[0]), 1));
    });
}

#[test]
fn a_renaming_that_loses_takes_no_grace_from_the_one_that_wins() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let rename = |to: &'static str, grace| {
            spawn(&lab, move |lab| {
                let mut rename = Rename::new();
                rename.grace = grace;
                let outcome = now(lab.store.rename(&key("a"), key(to), rename));
                let lost = matches!(outcome, Renamed::Superseded | Renamed::Absent);
                assert!(lost || matches!(outcome, Renamed::Moved { .. }), "{outcome:?}");
            })
        };
        join(vec![rename("b", IDLE), rename("c", Duration::ZERO)]);
        let moved = lab.value(&key("b")).is_some();
        assert_eq!(
            lab.value(&key("a")).is_some(),
            moved,
            "it leads to where it was moved with a grace"
        );
        assert_eq!(lab.value(&key("c")).is_some(), !moved);
    });
}

#[test]
fn a_renaming_does_not_save_an_entry_from_its_removal() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let mut rename = Rename::new();
        rename.grace = IDLE;
        let threads = vec![
            spawn(&lab, move |lab| drop(now(lab.store.rename(&key("a"), key("b"), rename)))),
            spawn(&lab, |lab| {
                assert!(now(lab.store.remove(&key("a"))));
                assert_eq!((lab.value(&key("a")), lab.value(&key("b"))), (None, None));
            }),
        ];
        join(threads);
        assert_eq!((lab.value(&key("a")), lab.value(&key("b")), lab.store.len()), (None, None, 0));
    });
}

#[test]
fn removing_an_owner_misses_nothing_that_was_there_before() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.insert(&key("b"), Some("o"));
        let threads = vec![
            spawn(&lab, |lab| drop(now(lab.store.rename(&key("a"), key("c"), Rename::new())))),
            spawn(&lab, |lab| lab.insert(&key("d"), Some("o"))),
            spawn(&lab, |lab| try_increment(lab, &key("b"))),
            spawn(&lab, |lab| {
                drop(now(lab.store.remove_owner(&Owner::from("o"), None)));
                for gone in ["a", "b", "c"] {
                    assert_eq!(lab.value(&key(gone)), None, "{gone}");
                }
            }),
        ];
        join(threads);
        for gone in ["a", "b", "c"] {
            assert_eq!(lab.value(&key(gone)), None, "{gone}");
        }
        let listed: Vec<Key> =
            now(lab.store.list(&Owner::from("o"))).iter().map(|entry| entry.key).collect();
        let left = if lab.value(&key("d")).is_some() { vec![key("d")] } else { vec![] };
        assert_eq!(listed, left);
        assert_eq!(lab.store.len(), left.len());
    });
}

#[test]
fn the_limit_of_an_owner_is_exact() {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        check(move || {
            let lab = Arc::new(Lab::new());
            let limit = OwnerLimit { entries_max: 2, at_limit };
            let threads = ["a", "b", "c"].map(|name| {
                spawn(&lab, move |lab| {
                    let entry = NewEntry::new(0, Expiry::idle(IDLE)).owner(Owner::from("o"));
                    drop(now(lab.store.insert(key(name), entry.limit(limit))));
                    assert!(now(lab.store.list(&Owner::from("o"))).len() <= 2);
                })
            });
            join(threads.into());
            assert_eq!((now(lab.store.list(&Owner::from("o"))).len(), lab.store.len()), (2, 2));
        });
    }
}

#[test]
fn cleaning_takes_only_what_has_expired() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.time.advance(IDLE - Duration::from_millis(1));
        let threads = vec![
            spawn(&lab, |lab| {
                lab.store.read(&key("a"), Access::SLIDE, |_| ());
            }),
            spawn(&lab, |lab| {
                lab.time.advance(IDLE);
                lab.store.clean();
                if lab.value(&key("a")).is_none() {
                    // Gone, so its place is free.
                    lab.insert(&key("a"), Some("o"));
                }
            }),
        ];
        join(threads);
        assert!(lab.value(&key("a")).is_some());
        assert_eq!((lab.store.len(), now(lab.store.list(&Owner::from("o"))).len()), (1, 1));
    });
}

#[test]
fn a_removal_that_comes_too_late_is_one_all_the_same() {
    let removals: [fn(&Lab); 3] = [
        |lab| {
            let _live = now(lab.store.remove(&key("a")));
        },
        |lab| drop(now(lab.store.remove_owner(&Owner::from("o"), None))),
        |lab| now(lab.store.clear()),
    ];
    for removal in removals {
        check(move || {
            let lab = Arc::new(Lab::new());
            lab.insert(&key("a"), Some("o"));
            lab.time.advance(IDLE - Duration::from_millis(1));
            let threads = vec![
                spawn(&lab, |lab| {
                    let Some(seen) = now(lab.store.get(&key("a"), Access::PEEK)) else { return };
                    let new = Some(Expiry::idle(IDLE));
                    let _ = now(lab.store.replace(&key("a"), seen.version, 7, new));
                }),
                spawn(&lab, move |lab| {
                    lab.time.advance(Duration::from_millis(1));
                    removal(lab);
                    for _ in 0..3 {
                        assert_eq!(lab.value(&key("a")), None);
                    }
                }),
            ];
            join(threads);
        });
    }
}

/// Counts how often an entry is told to have ended; `removed` are those that a call removed.
fn one_end(lab: &Arc<Lab>, acts: Vec<fn(&Lab, &Mutex<u32>)>) {
    let (ends, removed) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let told = Arc::clone(&ends);
    assert!(lab.store.on_expired(Arc::new(move |_| *told.lock().unwrap() += 1)));
    let threads = acts.into_iter().map(|act| {
        let removed = Arc::clone(&removed);
        spawn(lab, move |lab| act(lab, &removed))
    });
    join(threads.collect());
    lab.time.advance(IDLE * 10);
    lab.store.clean();
    assert_eq!(lab.store.len(), 0);
    assert_eq!(*ends.lock().unwrap() + *removed.lock().unwrap(), 1, "it ends once");
}

fn remove(lab: &Lab, removed: &Mutex<u32>) {
    let live = now(lab.store.remove(&key("a")));
    *removed.lock().unwrap() += u32::from(live);
}

#[test]
fn an_entry_that_has_ended_is_told_once_and_one_that_was_removed_is_not() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.time.advance(IDLE - Duration::from_millis(1));
        let acts: Vec<fn(&Lab, &Mutex<u32>)> = vec![
            |lab, _| slide(lab),
            remove,
            |lab, _| {
                lab.time.advance(IDLE);
                lab.store.clean();
            },
            |lab, removed| {
                let owner = now(lab.store.remove_owner(&Owner::from("o"), None));
                *removed.lock().unwrap() += owner.len() as u32;
            },
        ];
        one_end(&lab, acts);
    });
}

#[test]
fn an_entry_that_ends_while_it_is_changed_is_told_once() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let seen = now(lab.store.get(&key("a"), Access::PEEK)).unwrap().version;
        assert_eq!(seen, Version::from_number(1));
        lab.time.advance(IDLE - Duration::from_millis(1));
        let acts: Vec<fn(&Lab, &Mutex<u32>)> = vec![
            |lab, _| {
                let (seen, new) = (Version::from_number(1), Some(Expiry::idle(IDLE)));
                let _ = now(lab.store.replace(&key("a"), seen, 7, new));
            },
            |lab, _| {
                let mut rename = Rename::new();
                rename.expiry = Some(Expiry::idle(IDLE));
                let _ = now(lab.store.rename(&key("a"), key("b"), rename));
            },
            |lab, _| {
                lab.time.advance(Duration::from_millis(1));
                let _ = lab.value(&key("a"));
            },
            remove,
        ];
        one_end(&lab, acts);
    });
}

#[test]
fn clearing_misses_nothing_that_was_there_before() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.insert(&key("b"), None);
        let threads = vec![
            spawn(&lab, |lab| drop(now(lab.store.rename(&key("b"), key("c"), Rename::new())))),
            spawn(&lab, |lab| try_increment(lab, &key("a"))),
            spawn(&lab, |lab| {
                now(lab.store.clear());
                for gone in ["a", "b", "c"] {
                    assert_eq!(lab.value(&key(gone)), None, "{gone}");
                }
            }),
        ];
        join(threads);
        assert_eq!(lab.store.len(), 0);
    });
}
