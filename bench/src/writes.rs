//! Putting entries in and taking them out, beside other maps and caches.

use std::sync::Mutex;

use kvolt::cache::{Expiry, NewEntry, RemoveOutcome, Store, Target};

use crate::cache::{All, IDLE, LIFETIME, by, value};
use crate::harness::{Contender, Race, Table, key, now};

pub(crate) fn run(all: &All, entries: u64, rounds: usize) {
    let floor = Mutex::new(all.floor.clone());
    let contenders = [
        pair(
            "papaya, no expiry",
            entries,
            |n| {
                all.papaya.pin().insert(key(n), value(n));
            },
            |n| {
                all.papaya.pin().remove(&key(n));
            },
        ),
        pair(
            "KVolt",
            entries,
            |n| {
                let entry = NewEntry::new(value(n), Expiry::idle_within(IDLE, LIFETIME));
                let _ = now(all.kvolt.insert(key(n), entry)).expect("there is room");
            },
            |n| {
                let removed = now(all.kvolt.remove(Target::new(&key(n)), None)).expect("it works");
                assert_eq!(removed, RemoveOutcome::Removed);
            },
        ),
        pair(
            "moka, time to live",
            entries,
            |n| all.moka_live.insert(key(n), value(n)),
            |n| all.moka_live.invalidate(&key(n)),
        ),
        pair(
            "moka, time to idle",
            entries,
            |n| all.moka_idle.insert(key(n), value(n)),
            |n| all.moka_idle.invalidate(&key(n)),
        ),
        pair(
            "quick_cache, no expiry",
            entries,
            |n| all.quick.insert(key(n), value(n)),
            |n| {
                all.quick.remove(&key(n));
            },
        ),
        pair(
            "dashmap, no expiry",
            entries,
            |n| {
                all.dashmap.insert(key(n), value(n));
            },
            |n| {
                all.dashmap.remove(&key(n));
            },
        ),
        pair(
            "`HashMap` in one mutex, no expiry",
            entries,
            |n| {
                floor.lock().expect("no panic").insert(key(n), value(n));
            },
            |n| {
                floor.lock().expect("no panic").remove(&key(n));
            },
        ),
    ];
    let insert = Table::new("cache", format!("insert beside {entries} entries"));
    let remove = Table::new("cache", format!("remove beside {entries} entries"));
    for threads in [1, 2] {
        let race = Race { column: by(threads), rounds, threads, ops: entries / 4 };
        race.run_pairs([&insert, &remove], &contenders);
    }
}

/// Inserts entries that were not there, and removes them again; each thread its own.
fn pair<'a>(
    name: &'static str,
    entries: u64,
    insert: impl Fn(u64) + Sync + 'a,
    remove: impl Fn(u64) + Sync + 'a,
) -> [Contender<'a>; 2] {
    let own = move |thread, ops| {
        let first = entries + thread as u64 * ops;
        first..first + ops
    };
    [
        Contender::new(name, move |thread, ops| {
            own(thread, ops).for_each(&insert);
            ops
        }),
        Contender::new(name, move |thread, ops| {
            own(thread, ops).for_each(&remove);
            ops
        }),
    ]
}
