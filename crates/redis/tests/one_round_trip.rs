//! What a call costs: how many commands, and how often it waits for the server.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Owner, Rename, Store, Version};
use kvolt_redis::RedisStore;
use kvolt_servers::{Proxy, Redis};

use support::{LONG, entry, prefix};

/// A server, and a store behind a proxy that counts.
async fn counted(slide_after: f64) -> (Redis, Proxy, RedisStore) {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url())).prefix(prefix());
    let store = builder.slide_after(slide_after).open().await.unwrap();
    // What each script costs once, the first time.
    let (key, owner) = (Key::of("warm"), Owner::from("warm"));
    let _ = store.insert(key, entry("").owner(owner.clone())).await.unwrap();
    let _ = store.get(&key, Access::SLIDE).await.unwrap();
    let _ = store.replace(&key, Version::from_number(0), Vec::new(), None).await.unwrap();
    let mut rename = Rename::new();
    rename.grace = LONG;
    let _ = store.rename(&key, Key::of("warmer"), rename).await.unwrap();
    let _ = store.list(&owner).await.unwrap();
    let _ = store.remove(&Key::of("warmer")).await.unwrap();
    let _ = store.remove_owner(&owner, None).await.unwrap();
    (server, proxy, store)
}

/// How many round trips the call made.
async fn turns<T>(proxy: &Proxy, call: impl Future<Output = kvolt_cache::Result<T>>) -> u64 {
    let before = proxy.counts();
    call.await.unwrap();
    let after = proxy.counts();
    assert_eq!(after.connections, before.connections, "no connection is made for it");
    (after - before).round_trips
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_slide_is_one_command_and_one_round_trip() {
    let (server, proxy, store) = counted(0.0).await;
    let (key, owner) = (Key::of("key"), Owner::from("owner"));
    let expiry = Expiry::idle_within(Duration::from_secs(60), LONG);
    let _ = store.insert(key, NewEntry::new(Vec::new(), expiry).owner(owner)).await.unwrap();
    let before = store.get(&key, Access::PEEK).await.unwrap().unwrap().deadlines.last_used();
    tokio::time::sleep(Duration::from_millis(20)).await;

    let monitor = server.monitor();
    assert_eq!(turns(&proxy, store.get(&key, Access::SLIDE)).await, 1);
    let lines = monitor.lines();
    let sent = lines.iter().filter(|line| !line.contains(" lua]")).count();
    assert_eq!(sent, 1, "{lines:#?}");
    assert_eq!(monitor.count("pexpireat"), 1, "it slid: {lines:#?}");
    let after = store.get(&key, Access::PEEK).await.unwrap().unwrap().deadlines.last_used();
    assert!(after > before);

    // Whoever erases its type allocates it.
    let size = size_of_val(&store.get(&key, Access::SLIDE));
    assert!(size < 8_192, "the future of a read has {size} bytes");

    assert_eq!(turns(&proxy, store.get(&key, Access::PEEK)).await, 1);
    assert_eq!(turns(&proxy, store.get(&Key::of("absent"), Access::SLIDE)).await, 1);
}

/// Entries without a lifetime slide for long before the owner's index has to be touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_slide_is_one_round_trip_without_a_lifetime_too() {
    let (_server, proxy, store) = counted(0.0).await;
    const READS: u64 = 150;
    for attempt in 0..5 {
        let (key, owner) = (Key::of(format!("{attempt}")), Owner::new(format!("{attempt}")));
        let entry = NewEntry::new(Vec::new(), Expiry::idle(Duration::from_millis(400)));
        let _ = store.insert(key, entry.owner(owner.clone())).await.unwrap();
        let before = proxy.counts();
        let mut reads = 0;
        while reads < READS && store.get(&key, Access::SLIDE).await.unwrap().is_some() {
            reads += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if reads < READS {
            // The machine was so busy that it ended.
            continue;
        }
        let all = (proxy.counts() - before).round_trips;
        assert_eq!(store.list(&owner).await.unwrap().len(), 1, "the index is still there");
        assert!((READS + 1..READS + 3).contains(&all), "one in thirty idle times, and not {all}");
        return;
    }
    panic!("the machine is too busy");
}

/// A read that would move the deadline too little writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_slide_that_is_not_due_writes_nothing() {
    let (server, _proxy, store) = counted(0.5).await;
    let key = Key::of("key");
    let entry = NewEntry::new(Vec::new(), Expiry::idle(Duration::from_millis(600)));
    let _ = store.insert(key, entry).await.unwrap();
    let monitor = server.monitor();
    for _ in 0..5 {
        assert!(store.get(&key, Access::SLIDE).await.unwrap().is_some());
    }
    assert_eq!(monitor.count("pexpireat"), 0, "{:#?}", monitor.lines());
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..5 {
        assert!(store.get(&key, Access::SLIDE).await.unwrap().is_some());
    }
    assert_eq!(monitor.count("pexpireat"), 1, "{:#?}", monitor.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_calls_cost_what_the_readme_says() {
    let (_server, proxy, store) = counted(0.1).await;
    let owner = Owner::from("owner");
    let [plain, one, other, third] = ["plain", "one", "other", "third"].map(Key::of);
    let owned = || entry("").owner(owner.clone());
    assert_eq!(turns(&proxy, store.insert(plain, entry(""))).await, 1);
    assert_eq!(turns(&proxy, store.insert(one, owned())).await, 1);
    let seen = store.get(&one, Access::PEEK).await.unwrap().unwrap().version;
    assert_eq!(turns(&proxy, store.replace(&one, seen, Vec::new(), None)).await, 1);
    let mut login = Rename::new();
    login.owner = Some(owner.clone());
    assert_eq!(turns(&proxy, store.rename(&plain, other, login)).await, 1, "a login");
    let mut rotate = Rename::new();
    rotate.grace = LONG;
    assert_eq!(turns(&proxy, store.rename(&one, third, rotate)).await, 2, "asks for the owner");
    assert_eq!(turns(&proxy, store.get(&one, Access::SLIDE)).await, 2, "by a former key");
    assert_eq!(turns(&proxy, store.list(&owner)).await, 2);
    assert_eq!(turns(&proxy, store.remove(&other)).await, 2, "and out of the index");
    assert_eq!(turns(&proxy, store.remove_owner(&owner, None)).await, 3, "and a former key");
    assert_eq!(turns(&proxy, store.remove_owner(&owner, None)).await, 1);
}

/// However many callers there are, they share a connection, and none waits for another's answer.
#[tokio::test(flavor = "multi_thread")]
async fn callers_share_one_connection() {
    let (_server, proxy, store) = counted(0.1).await;
    let key = Key::of("key");
    let _ = store.insert(key, entry("")).await.unwrap();
    proxy.delay(Duration::from_millis(50));
    let begun = tokio::time::Instant::now();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&key, Access::PEEK).await.unwrap().is_some() })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(proxy.connections(), 1);
}
