//! Former keys: what they keep alive, how many there are, and what they cost.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Owner, Rename, Renamed, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{Redis, RedisCluster};

use support::{LONG, cluster_url, entry, insert, prefix, store, value};

/// So many former keys lead on.
const LEAD_ON: usize = 16;
const RENAMINGS: usize = 40;

async fn rename(store: &RedisStore, from: &Key, to: Key, grace: Duration) -> Renamed {
    let mut rename = Rename::new();
    rename.grace = grace;
    store.rename(from, to, rename).await.unwrap()
}

fn moved() -> Renamed {
    Renamed::Moved { removed: Vec::new() }
}

/// Keys that the store allows the owner.
fn keys(store: &RedisStore, owner: &Owner, count: usize) -> Vec<Key> {
    let keys = (0..).map(|number| Key::of(format!("{number}")));
    keys.filter(|key| store.places(key, Some(owner))).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_by_a_former_key_keeps_nothing_alive() {
    let (server, cluster) = (Redis::start(), RedisCluster::start());
    for url in [server.url(), cluster_url(&cluster)] {
        let builder = RedisStore::builder(url).prefix(prefix()).slide_after(0.0);
        let store = builder.open().await.unwrap();
        let owner = Owner::from("owner");
        let of_owner = keys(&store, &owner, 3);
        // With an owner, within a slot; without one, between slots.
        let anybodys = [Key::of("a"), Key::of("b"), Key::of("c")];
        for (keys, owner) in [(&of_owner[..], Some(owner)), (&anybodys[..], None)] {
            let expiry = Expiry::idle_within(Duration::from_secs(60), LONG);
            let entry = NewEntry::new(Vec::new(), expiry).owner(owner);
            let _ = store.insert(keys[0], entry).await.unwrap();
            assert_eq!(rename(&store, &keys[0], keys[1], LONG).await, moved());
            assert_eq!(rename(&store, &keys[1], keys[2], LONG).await, moved());
            let before = store.get(&keys[2], Access::PEEK).await.unwrap().unwrap().deadlines;
            tokio::time::sleep(Duration::from_millis(20)).await;
            for former in &keys[..2] {
                let found = store.get(former, Access::SLIDE).await.unwrap().unwrap();
                assert_eq!((found.key, found.deadlines), (keys[2], before));
            }
            let after = store.get(&keys[2], Access::PEEK).await.unwrap().unwrap().deadlines;
            assert_eq!(after, before);
            let used = store.get(&keys[2], Access::SLIDE).await.unwrap().unwrap().deadlines;
            assert!(used.last_used() > before.last_used(), "a use by its own key counts");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_renamings_the_last_former_keys_lead_on() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let owner = Owner::from("owner");
    let keys = keys(&store, &owner, RENAMINGS + 1);
    let large = "value".repeat(2_000);
    let _ = store.insert(keys[0], entry(&large).owner(owner.clone())).await.unwrap();
    let monitor = server.monitor();
    let mut costs = Vec::new();
    for pair in keys.windows(2) {
        monitor.clear();
        assert_eq!(rename(&store, &pair[0], pair[1], LONG).await, moved());
        costs.push(monitor.lines().len());
    }
    assert!(costs[LEAD_ON + 1..].iter().all(|cost| *cost == costs[RENAMINGS - 1]), "{costs:?}");
    let last = keys[RENAMINGS];
    for (number, key) in keys[..RENAMINGS].iter().enumerate() {
        let found = store.get(key, Access::SLIDE).await.unwrap();
        let leads_on = number >= RENAMINGS - LEAD_ON;
        assert_eq!(found.map(|found| found.key), leads_on.then_some(last), "{number}");
        let renamed = rename(&store, key, Key::of("other"), LONG).await;
        assert_eq!(renamed, if leads_on { Renamed::Superseded } else { Renamed::Absent });
    }
    // The entry, its former keys, and the index. None of them has the value.
    let names = server.cli(&["KEYS", "*"]);
    assert_eq!(names.lines().count(), LEAD_ON + 2, "{names}");
    let sizes = names.lines().map(|name| server.cli(&["MEMORY", "USAGE", name]));
    let mut sizes: Vec<u64> = sizes.map(|size| size.parse().unwrap()).collect();
    sizes.sort_unstable();
    assert!(sizes[LEAD_ON] < 400, "{sizes:?}");
    assert_eq!(store.count().await.unwrap(), 1);

    // What leads nowhere is free.
    insert(&store, keys[3], "another").await;
    assert_eq!(value(&store, &last).await.as_deref(), Some(large.as_str()));
    // Without a grace, all are left behind.
    assert_eq!(rename(&store, &last, keys[5], Duration::ZERO).await, moved());
    assert!(store.get(&keys[RENAMINGS - 1], Access::PEEK).await.unwrap().is_none());
    assert_eq!(server.cli(&["KEYS", "*"]).lines().count(), 3, "two entries and the index");
}

/// An entry that is removed takes its former keys with it, however it is.
#[tokio::test(flavor = "multi_thread")]
async fn former_keys_end_with_what_is_removed() {
    let (server, cluster) = (Redis::start(), RedisCluster::start());
    for url in [server.url(), cluster_url(&cluster)] {
        let store = store(url).await;
        let owner = Owner::from("owner");
        let keys = keys(&store, &owner, 7);
        let names = || {
            let nodes = cluster.nodes().iter().chain([&server]);
            let names = nodes.flat_map(|node| {
                let names = node.cli(&["KEYS", "*"]);
                names.lines().filter(|name| !name.is_empty()).map(String::from).collect::<Vec<_>>()
            });
            names.collect::<Vec<_>>()
        };
        let _ = store.insert(keys[0], entry("").owner(owner.clone())).await.unwrap();
        for pair in keys[..4].windows(2) {
            assert_eq!(rename(&store, &pair[0], pair[1], LONG).await, moved());
        }
        assert!(store.remove(&keys[1]).await.unwrap());
        // Replicas are told a little later.
        let begun = tokio::time::Instant::now();
        while !names().is_empty() && begun.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(names(), [""; 0]);

        let _ = store.insert(keys[0], entry("").owner(owner.clone())).await.unwrap();
        let _ = store.insert(keys[4], entry("").owner(owner.clone())).await.unwrap();
        for (from, to) in [(0, 1), (1, 2), (4, 5), (5, 6)] {
            assert_eq!(rename(&store, &keys[from], keys[to], LONG).await, moved());
        }
        let mut removed = store.remove_owner(&owner, None).await.unwrap();
        removed.sort_unstable();
        let mut expected = vec![keys[2], keys[6]];
        expected.sort_unstable();
        assert_eq!(removed, expected);
        let begun = tokio::time::Instant::now();
        while !names().is_empty() && begun.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(names(), [""; 0]);
    }
}
