//! Found by the histories on the store in memory.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use kvolt_cache::{
    Access, Expiry, Insert, Key, MemoryStore, NewEntry, Owner, Rename, Renamed, Store,
};

/// Two renamings of one entry at once: the one that loses must not take away the grace of the one
/// that wins.
fn race(owner: Option<Owner>) {
    let store = MemoryStore::<u32>::new();
    for round in 0..10_000 {
        let key = |name: &str| Key::of(format!("{name} {round}"));
        let from = key("from");
        let entry = NewEntry::new(round, Expiry::idle(Duration::from_secs(600)));
        let inserted = pollster::block_on(store.insert(from, entry.owner(owner.clone())));
        assert!(matches!(inserted.unwrap(), Insert::Inserted { .. }));
        let barrier = Arc::new(Barrier::new(2));
        let rename = |to: Key, grace: Duration| {
            let (store, barrier) = (store.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                let mut rename = Rename::new();
                rename.grace = grace;
                barrier.wait();
                pollster::block_on(store.rename(&from, to, rename)).unwrap()
            })
        };
        let graceful = rename(key("graceful"), Duration::from_secs(60));
        let strict = rename(key("strict"), Duration::ZERO);
        let (graceful, strict) = (graceful.join().unwrap(), strict.join().unwrap());
        if matches!(graceful, Renamed::Moved { .. }) {
            let found = pollster::block_on(store.get(&from, Access::PEEK)).unwrap();
            let leads = found.map(|entry| entry.key == key("graceful"));
            assert_eq!(
                (leads, strict),
                (Some(true), Renamed::Superseded),
                "round {round}: moved with a grace of a minute, and the former key does not lead there"
            );
        }
    }
}

#[test]
fn the_loser_of_two_renamings_leaves_the_grace_of_the_winner() {
    race(None);
}

#[test]
fn and_so_does_that_of_an_entry_with_an_owner() {
    race(Some(Owner::from("ada")));
}
