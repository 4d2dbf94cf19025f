//! The store in memory under a model checker, which runs the shipping code and
//! decides at every atomic operation and lock which thread goes on.
//!
//! Run with `RUSTFLAGS="--cfg kvolt_shuttle" cargo test -p kvolt-cache --release
//! --test model_check`; `cargo xtask test` does. The map is a library and its
//! operations are single steps here; everything around them is explored.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(kvolt_shuttle)]

mod pairs;

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    AfterRead, AtLimit, Entry, Expiry, Freshness, InsertOutcome, Key, ManualClock, MemoryStore,
    NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome, Store, Timestamp,
    Version,
};
use shuttle::sync::Mutex;
use shuttle::thread;

const IDLE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

/// Explores schedules at random and by priority (PCT, which finds bugs that need few switches).
fn check_runs(runs: usize, body: impl Fn() + Send + Sync + 'static) {
    let body = Arc::new(body);
    let random = Arc::clone(&body);
    shuttle::check_random(move || random(), runs);
    shuttle::check_pct(move || body(), runs, 3);
}

fn check(body: impl Fn() + Send + Sync + 'static) {
    check_runs(10_000, body);
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

    /// With one entry, `a`, of the owner `o`, a tick before its deadline.
    fn close_to_the_deadline() -> Arc<Self> {
        let lab = Self::new();
        lab.insert(&key("a"), Some("o"));
        lab.time.advance(IDLE - TICK);
        Arc::new(lab)
    }

    fn insert(&self, key: &Key, owner_name: Option<&str>) {
        let entry = NewEntry::new(0, Expiry::idle(IDLE)).maybe_owner(owner_name.map(owner));
        assert!(matches!(now(self.store.insert(*key, entry)), InsertOutcome::Inserted { .. }));
    }

    /// Inserts an entry of the owner `o` in the place of another.
    fn insert_replacing(&self, old: &Key, seen: Option<Version>, new: Key) -> InsertOutcome {
        let entry = NewEntry::new(1, Expiry::idle(IDLE)).owner(owner("o"));
        now(self.store.insert(new, entry.replaces(Predecessor::new(*old).seen(seen))))
    }

    fn get(&self, key: &Key) -> Option<Entry<u32>> {
        now(self.store.get(key, Freshness::Strict))
    }

    fn value(&self, key: &Key) -> Option<u32> {
        self.get(key).map(|entry| entry.value)
    }

    fn list(&self, name: &str) -> Vec<(Key, u32)> {
        let listing = now(self.store.list(&owner(name)));
        listing.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn scan(&self) -> Vec<(Key, u32)> {
        let page = now(self.store.scan(None, 10));
        page.listing.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn remove(&self, key: &Key) -> bool {
        now(self.store.remove(key.into(), None)) == RemoveOutcome::Removed
    }

    /// Whether it was live.
    fn slide(&self, key: &Key) -> bool {
        self.store.read(key, |_| (AfterRead::Slide, ())).is_some()
    }

    /// Whether it was live, and then is incremented once.
    fn increment(&self, key: &Key) -> bool {
        self.slide(key);
        let Some(mut entry) = self.get(key) else { return false };
        loop {
            match now(self.store.replace(key.into(), entry.version, entry.value + 1, None)) {
                ReplaceOutcome::Replaced(_) => return true,
                ReplaceOutcome::Conflict(newer) => entry = newer,
                ReplaceOutcome::Absent => return false,
            }
        }
    }

    fn try_increment(&self, key: &Key) {
        let _ = self.increment(key);
    }

    /// Passes the deadline of `a`: if one read does not find it then, no later one does.
    fn pass_the_deadline(&self) {
        self.time.advance(TICK);
        if self.value(&key("a")).is_none() {
            (0..3).for_each(|_| assert_eq!(self.value(&key("a")), None));
        }
    }
}

/// The store in memory never waits.
fn now<T>(operation: impl Future<Output = kvolt_cache::Result<T>>) -> T {
    pollster::block_on(operation).unwrap()
}

fn key(name: &str) -> Key {
    Key::of(name)
}

fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
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

#[test]
fn removal_is_never_undone() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let threads = vec![
            spawn(&lab, |lab| {
                lab.slide(&key("a"));
            }),
            spawn(&lab, |lab| lab.try_increment(&key("a"))),
            spawn(&lab, |lab| {
                assert!(lab.remove(&key("a")));
                assert_eq!(lab.value(&key("a")), None);
                lab.time.advance(TICK);
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
        let threads = (0..3).map(|_| spawn(&lab, |lab| assert!(lab.increment(&key("a")))));
        join(threads.collect());
        assert_eq!(lab.value(&key("a")), Some(3));
    });
}

#[test]
fn slide_during_an_update_is_not_lost() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        lab.time.advance(IDLE / 2);
        let threads = vec![
            spawn(&lab, |lab| assert!(lab.slide(&key("a")))),
            spawn(&lab, |lab| {
                let seen = lab.get(&key("a")).unwrap().version;
                let replaced = now(lab.store.replace((&key("a")).into(), seen, 7, None));
                assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
            }),
        ];
        join(threads);
        lab.time.advance(IDLE - TICK);
        assert_eq!(lab.value(&key("a")), Some(7));
    });
}

#[test]
fn late_slide_does_not_revive_an_expired_entry() {
    check(|| {
        let lab = Lab::close_to_the_deadline();
        let threads = vec![
            spawn(&lab, |lab| {
                lab.slide(&key("a"));
            }),
            spawn(&lab, |lab| lab.try_increment(&key("a"))),
            spawn(&lab, Lab::pass_the_deadline),
        ];
        join(threads);
    });
}

/// A change of what was read before, as an update at the end of a long request is.
#[test]
fn late_update_does_not_revive_an_expired_entry() {
    for expiry in [None, Some(Expiry::idle(IDLE))] {
        check(move || {
            let lab = Lab::close_to_the_deadline();
            let seen = lab.get(&key("a")).unwrap().version;
            let threads = vec![
                spawn(&lab, |lab| {
                    lab.slide(&key("a"));
                }),
                spawn(&lab, move |lab| {
                    drop(now(lab.store.replace((&key("a")).into(), seen, 7, expiry)));
                }),
                spawn(&lab, Lab::pass_the_deadline),
            ];
            join(threads);
            lab.time.advance(TICK);
            // A use ends, whatever it finds.
            lab.slide(&key("a"));
        });
    }
}

#[test]
fn visitor_decides_on_the_entry_that_is_slid() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let seen = lab.get(&key("a")).unwrap().version;
        lab.time.advance(IDLE / 2);
        let answers = Arc::new(Mutex::new(None));
        let threads = vec![
            spawn(&lab, move |lab| {
                drop(now(lab.store.replace((&key("a")).into(), seen, 7, None)));
            }),
            spawn(&lab, {
                let answers = Arc::clone(&answers);
                // Only the value from before the change may slide.
                move |lab| {
                    let slides =
                        |value| if value == 0 { AfterRead::Slide } else { AfterRead::Keep };
                    *answers.lock().unwrap() =
                        lab.store.read(&key("a"), |entry| (slides(*entry.value), *entry.value));
                }
            }),
        ];
        join(threads);
        let answer = answers.lock().unwrap().unwrap();
        let last_used = lab.get(&key("a")).unwrap().deadlines.last_used().unwrap();
        let slid = lab.time.clock().now() == last_used;
        assert_eq!(slid, answer == 0, "the last answer, {answer}, counts");
    });
}

#[test]
fn one_of_several_insertions_succeeds() {
    check(|| {
        let lab = Arc::new(Lab::new());
        let inserted = Arc::new(Mutex::new(0));
        let threads = (0..3).map(|number| {
            let inserted = Arc::clone(&inserted);
            spawn(&lab, move |lab| {
                let entry = NewEntry::new(number, Expiry::idle(IDLE)).owner(owner("o"));
                if matches!(now(lab.store.insert(key("a"), entry)), InsertOutcome::Inserted { .. })
                {
                    *inserted.lock().unwrap() += 1;
                }
            })
        });
        join(threads.collect());
        assert_eq!(*inserted.lock().unwrap(), 1);
        assert_eq!((lab.store.len(), lab.list("o").len()), (1, 1));
    });
}

#[test]
fn one_of_several_logins_over_a_session_succeeds() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        let seen = Some(lab.get(&key("a")).unwrap().version);
        let inserted = Arc::new(Mutex::new(Vec::new()));
        let mut threads: Vec<_> = ["b", "c"]
            .into_iter()
            .map(|new| {
                let inserted = Arc::clone(&inserted);
                spawn(&lab, move |lab| match lab.insert_replacing(&key("a"), seen, key(new)) {
                    InsertOutcome::Inserted { .. } => inserted.lock().unwrap().push(key(new)),
                    refused => assert_eq!(refused, InsertOutcome::Conflict),
                })
            })
            .collect();
        // In one step: a list shows the old one or the new one.
        threads.push(spawn(&lab, |lab| assert_eq!(lab.list("o").len(), 1)));
        // And a read that does not find the old one finds the new one.
        threads.push(spawn(&lab, |lab| {
            if lab.value(&key("a")).is_none() {
                let new = ["b", "c"].iter().filter_map(|new| lab.value(&key(new)));
                assert_eq!(new.count(), 1);
            }
        }));
        join(threads);
        let inserted = inserted.lock().unwrap().clone();
        assert_eq!((lab.scan(), lab.store.len()), (vec![(inserted[0], 1)], 1));
        assert_eq!(lab.list("o"), lab.scan());
    });
}

#[test]
fn update_and_login_over_a_session_take_turns() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        let seen = Some(lab.get(&key("a")).unwrap().version);
        let (updated, replaced) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(None)));
        let threads = vec![
            spawn(&lab, {
                let updated = Arc::clone(&updated);
                move |lab| *updated.lock().unwrap() = lab.increment(&key("a"))
            }),
            spawn(&lab, {
                let replaced = Arc::clone(&replaced);
                move |lab| {
                    let inserted = lab.insert_replacing(&key("a"), seen, key("b"));
                    *replaced.lock().unwrap() = Some(inserted);
                }
            }),
        ];
        join(threads);
        let replaced = replaced.lock().unwrap().take().unwrap();
        match *updated.lock().unwrap() {
            true => {
                assert_eq!((replaced, lab.value(&key("a"))), (InsertOutcome::Conflict, Some(1)))
            }
            false => assert_eq!((lab.value(&key("a")), lab.value(&key("b"))), (None, Some(1))),
        }
        assert_eq!(lab.store.len(), 1);
    });
}

#[test]
fn login_over_a_session_does_not_undo_its_removal() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), None);
        let seen = Some(lab.get(&key("a")).unwrap().version);
        let removed = Arc::new(Mutex::new(false));
        let threads = vec![
            spawn(&lab, move |lab| drop(lab.insert_replacing(&key("a"), seen, key("b")))),
            spawn(&lab, {
                let removed = Arc::clone(&removed);
                move |lab| {
                    *removed.lock().unwrap() = lab.remove(&key("a"));
                    assert_eq!(lab.value(&key("a")), None);
                }
            }),
            // Its new key may be removed too, before it is shown or after.
            spawn(&lab, |lab| {
                lab.remove(&key("b"));
            }),
        ];
        join(threads);
        assert_eq!(lab.value(&key("a")), None);
        if *removed.lock().unwrap() {
            assert_eq!(lab.value(&key("b")), None);
        }
        assert_eq!(lab.store.len(), lab.scan().len());
        assert_eq!(lab.list("o"), lab.scan());
    });
}

#[test]
fn removing_an_owner_misses_nothing() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.insert(&key("b"), Some("o"));
        let seen = Some(lab.get(&key("a")).unwrap().version);
        let login = Arc::new(Mutex::new(None));
        let threads = vec![
            spawn(&lab, {
                let login = Arc::clone(&login);
                move |lab| {
                    let inserted = lab.insert_replacing(&key("a"), seen, key("c"));
                    *login.lock().unwrap() = Some(inserted);
                }
            }),
            spawn(&lab, |lab| lab.insert(&key("d"), Some("o"))),
            spawn(&lab, |lab| lab.try_increment(&key("b"))),
            spawn(&lab, |lab| {
                drop(now(lab.store.remove_owner(&owner("o"), None)));
                for gone in ["a", "b", "c"] {
                    assert_eq!(lab.value(&key(gone)), None, "{gone}");
                }
            }),
        ];
        join(threads);
        for gone in ["a", "b", "c"] {
            assert_eq!(lab.value(&key(gone)), None, "{gone}");
        }
        let left = lab.list("o");
        assert_eq!((left.len(), &left), (lab.store.len(), &lab.scan()));
        assert!(left.iter().all(|(left, _)| *left == key("d")));
    });
}

#[test]
fn removing_an_owner_leaves_others_alone() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("one"));
        lab.time.advance(IDLE * 2);
        let threads = vec![
            spawn(&lab, |lab| lab.store.clean()),
            spawn(&lab, |lab| drop(now(lab.store.remove_owner(&owner("one"), None)))),
            spawn(&lab, |lab| {
                lab.insert(&key("a"), Some("other"));
                assert!(lab.list("one").is_empty());
            }),
        ];
        join(threads);
        assert!(lab.value(&key("a")).is_some(), "nothing removes the other's");
        assert_eq!((lab.list("one").len(), lab.list("other").len()), (0, 1));
    });
}

#[test]
fn limit_of_an_owner_is_exact() {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        check(move || {
            let lab = Arc::new(Lab::new());
            let limit = OwnerLimit::new(2, at_limit);
            let threads = ["a", "b", "c"].map(|name| {
                spawn(&lab, move |lab| {
                    let entry = NewEntry::new(0, Expiry::idle(IDLE)).owner(owner("o"));
                    drop(now(lab.store.insert(key(name), entry.limit(limit))));
                    assert!(lab.list("o").len() <= 2);
                })
            });
            join(threads.into());
            assert_eq!((lab.list("o").len(), lab.store.len()), (2, 2));
        });
    }
}

#[test]
fn small_insertion_fits_beside_a_refused_large_one() {
    check(|| {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock());
        let store = store.max_bytes(10_000, |value: &u32| *value as usize).build();
        let insert = |store: &MemoryStore<u32>, name, weight| {
            pollster::block_on(store.insert(key(name), NewEntry::new(weight, Expiry::idle(IDLE))))
        };
        assert!(insert(&store, "a", 6_000).is_ok());
        let lab = Arc::new(Lab { time, store });
        let threads = vec![
            spawn(&lab, move |lab| assert!(insert(&lab.store, "b", 9_000).unwrap_err().is_full())),
            spawn(&lab, move |lab| assert!(insert(&lab.store, "c", 1_000).is_ok())),
        ];
        join(threads);
        assert_eq!(lab.store.len(), 2);
    });
}

#[test]
fn cleaning_takes_only_expired_entries() {
    check(|| {
        let lab = Lab::close_to_the_deadline();
        let threads = vec![
            spawn(&lab, |lab| {
                lab.slide(&key("a"));
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
        assert_eq!((lab.store.len(), lab.list("o").len()), (1, 1));
    });
}

#[test]
fn removal_past_the_deadline_is_never_undone() {
    let removals: [fn(&Lab); 3] = [
        |lab| {
            lab.remove(&key("a"));
        },
        |lab| drop(now(lab.store.remove_owner(&owner("o"), None))),
        |lab| now(lab.store.clear()),
    ];
    for removal in removals {
        check(move || {
            let lab = Lab::close_to_the_deadline();
            let threads = vec![
                spawn(&lab, |lab| {
                    let Some(seen) = lab.get(&key("a")) else { return };
                    let new = Some(Expiry::idle(IDLE));
                    drop(now(lab.store.replace((&key("a")).into(), seen.version, 7, new)));
                }),
                spawn(&lab, move |lab| {
                    lab.time.advance(TICK);
                    removal(lab);
                    (0..3).for_each(|_| assert_eq!(lab.value(&key("a")), None));
                }),
            ];
            join(threads);
        });
    }
}

type Act = fn(&Lab, Version, &Mutex<u32>);

/// Counts how often an entry is reported as expired, or removed by a call.
fn entry_ends_once(acts: Vec<Act>) {
    check(move || {
        let lab = Lab::close_to_the_deadline();
        let seen = lab.get(&key("a")).unwrap().version;
        let ends = Arc::new(Mutex::new(0));
        let expired = Arc::clone(&ends);
        assert!(lab.store.on_expired(Arc::new(move |_| *expired.lock().unwrap() += 1)));
        let threads = acts.iter().map(|act| {
            let (act, ends) = (*act, Arc::clone(&ends));
            spawn(&lab, move |lab| act(lab, seen, &ends))
        });
        join(threads.collect());
        lab.time.advance(IDLE * 10);
        lab.store.clean();
        assert_eq!((lab.store.len(), *ends.lock().unwrap()), (0, 1));
    });
}

fn remove(lab: &Lab, _: Version, ends: &Mutex<u32>) {
    let removed = lab.remove(&key("a"));
    *ends.lock().unwrap() += u32::from(removed);
}

#[test]
fn entry_ends_once_when_all_find_it() {
    entry_ends_once(vec![
        |lab, _, _| {
            lab.slide(&key("a"));
        },
        remove,
        |lab, _, _| {
            lab.time.advance(IDLE);
            lab.store.clean();
        },
        |lab, _, ends| {
            let removed = now(lab.store.remove_owner(&owner("o"), None));
            *ends.lock().unwrap() += removed.len() as u32;
        },
    ]);
}

#[test]
fn entry_ends_once_when_it_is_changed() {
    entry_ends_once(vec![
        |lab, seen, _| {
            let new = Some(Expiry::idle(IDLE));
            drop(now(lab.store.replace((&key("a")).into(), seen, 7, new)));
        },
        |lab, seen, ends| {
            let new = lab.insert_replacing(&key("a"), Some(seen), key("b"));
            if matches!(new, InsertOutcome::Inserted { .. }) {
                // Replaced; the new one ends in its place.
                let removed = lab.remove(&key("b"));
                *ends.lock().unwrap() += u32::from(removed);
            }
        },
        |lab, _, _| lab.pass_the_deadline(),
        remove,
    ]);
}

#[test]
fn clearing_misses_nothing() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        lab.insert(&key("b"), None);
        let threads = vec![
            spawn(&lab, |lab| drop(lab.insert_replacing(&key("b"), None, key("c")))),
            spawn(&lab, |lab| lab.try_increment(&key("a"))),
            spawn(&lab, |lab| {
                now(lab.store.clear());
                for gone in ["a", "b"] {
                    assert_eq!(lab.value(&key(gone)), None, "{gone}");
                }
            }),
        ];
        join(threads);
        let left = lab.scan();
        assert_eq!((left.len(), &lab.list("o")), (lab.store.len(), &left));
    });
}

/// With the version that was seen, the login is refused after the clear, and cleared before it.
#[test]
fn clearing_misses_no_login_over_a_session() {
    check(|| {
        let lab = Arc::new(Lab::new());
        lab.insert(&key("a"), Some("o"));
        let seen = Some(lab.get(&key("a")).unwrap().version);
        let threads = vec![
            spawn(&lab, move |lab| drop(lab.insert_replacing(&key("a"), seen, key("b")))),
            spawn(&lab, |lab| now(lab.store.clear())),
        ];
        join(threads);
        assert_eq!((lab.scan(), lab.store.len()), (Vec::new(), 0));
    });
}
