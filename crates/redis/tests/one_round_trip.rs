//! The cost of calls: commands and round trips.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{
    Expiry, Freshness, InsertOutcome, Key, NewEntry, OwnerLimit, Predecessor, Result, Store, Target,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Monitor, Proxy, Redis};

use support::{LONG, entry, get, id, namespace, owner, touch};

/// A server, and a store behind a proxy that counts.
struct Counted {
    monitor: Monitor,
    proxy: Proxy,
    store: RedisStore,
    server: Redis,
}

impl Counted {
    async fn new(slide_after: f64) -> Self {
        let server = Redis::start();
        let proxy = Proxy::to(server.port());
        let builder = RedisStore::builder(proxy.url(&server.url()), &namespace());
        let store = builder.slide_after(slide_after).open().await.unwrap();
        // The first call of each script costs one command more.
        let (key, owner) = (id(&store, "warm"), owner("warm"));
        let _ = store.insert(key, entry("").owner(owner.clone())).await.unwrap();
        let seen = get(&store, &key).await.unwrap().version;
        let at = Target::new(&key).owner(&owner);
        let _ = store.touch(at).await.unwrap();
        let _ = store.replace(at, seen, Vec::new(), None).await.unwrap();
        let _ = store.list(&owner).await.unwrap();
        let _ = store.remove(at, None).await.unwrap();
        let _ = store.insert(key, entry("").owner(owner.clone())).await.unwrap();
        let _ = store.remove_owner(&owner, None).await.unwrap();
        Self { monitor: server.monitor(), proxy, store, server }
    }

    /// Commands but `TIME`, and round trips, of a call.
    async fn cost<T>(&self, call: impl Future<Output = Result<T>>) -> (usize, u64) {
        self.monitor.clear();
        let before = self.proxy.counts();
        call.await.unwrap();
        let after = self.proxy.counts();
        assert_eq!(after.connections, before.connections, "no connection is made for it");
        let lines = self.monitor.lines();
        let is_sent = |line: &&String| !line.contains(" lua]") && !line.contains("\"TIME\"");
        (lines.iter().filter(is_sent).count(), (after - before).round_trips)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_is_one_plain_command() {
    let counted = Counted::new(0.0).await;
    let store = &counted.store;
    let (key, ada) = (id(store, "key"), owner("ada"));
    let expiry = Expiry::idle_within(Duration::from_secs(60), LONG);
    let _ = store.insert(key, NewEntry::new(Vec::new(), expiry).owner(ada.clone())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for key in [key, id(store, "absent")] {
        assert_eq!(counted.cost(store.get(&key, Freshness::Strict)).await, (1, 1));
        let lines = counted.monitor.lines();
        assert!(lines[0].contains("\"GETEX\"") && !lines[0].contains("lua"), "{lines:?}");
        assert!(lines.len() <= 2, "{lines:?}");
    }
    assert!(get(store, &key).await.unwrap().slide_due);
    assert_eq!(counted.cost(store.touch(Target::new(&key).owner(&ada))).await, (1, 1));
    assert_eq!(counted.monitor.count("pexpireat"), 1, "it slid: {:?}", counted.monitor.lines());

    // A caller that erases its type allocates it.
    let size = size_of_val(&store.get(&key, Freshness::Strict));
    assert!(size < 8_192, "the future of a read has {size} bytes");
}

/// The server's time is asked for once a second, and in the same write as a read.
#[tokio::test(flavor = "multi_thread")]
async fn time_is_asked_for_once_a_second() {
    let counted = Counted::new(0.1).await;
    let key = id(&counted.store, "key");
    let _ = counted.store.insert(key, entry("")).await.unwrap();
    counted.monitor.clear();
    let before = counted.proxy.counts();
    let begun = tokio::time::Instant::now();
    let mut reads = 0;
    while begun.elapsed() < Duration::from_millis(2_500) {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let store = counted.store.clone();
                tokio::spawn(async move { get(&store, &key).await.is_some() })
            })
            .collect();
        for reader in readers {
            assert!(reader.await.unwrap());
            reads += 1;
        }
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let times = counted.monitor.lines();
    let times = times.iter().filter(|line| line.contains("\"TIME\"")).count();
    assert!((1..=seconds).contains(&times), "{times} in {seconds} seconds and {reads} reads");
    assert!((counted.proxy.counts() - before).round_trips <= reads);
}

/// A slide that would move the deadline too little is not due, and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn early_slide_writes_nothing() {
    let counted = Counted::new(0.5).await;
    let (store, monitor) = (&counted.store, &counted.monitor);
    let key = id(store, "key");
    let _ = store.insert(key, NewEntry::new(Vec::new(), Expiry::idle(LONG))).await.unwrap();
    monitor.clear();
    for _ in 0..5 {
        assert!(!get(store, &key).await.unwrap().slide_due);
        assert!(touch(store, &key).await.is_some());
    }
    assert_eq!(monitor.count("pexpireat") + monitor.count("setrange"), 0);
    // As after a little more than half of it.
    let used = get(store, &key).await.unwrap().deadlines.last_used().unwrap();
    let used = used.saturating_sub(LONG / 2 + Duration::from_secs(1)).as_millis().to_string();
    let name = support::name_of(&counted.server, &key.to_string()[..24]);
    counted.server.cli(&["SETRANGE", &name, "21", &used]);
    monitor.clear();
    // Many see that it is due, and one slides it.
    for _ in 0..3 {
        assert!(touch(store, &key).await.is_some());
        assert!(!get(store, &key).await.unwrap().slide_due);
    }
    assert_eq!((monitor.count("pexpireat"), monitor.count("setrange")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cost_what_the_readme_says() {
    let counted = Counted::new(0.1).await;
    let store = &counted.store;
    let ada = owner("ada");
    let key = |name: &str| id(store, name);
    let owned = || entry("").owner(ada.clone());
    assert_eq!(counted.cost(store.insert(key("plain"), entry(""))).await, (1, 1));
    assert_eq!(counted.cost(store.insert(key("one"), owned())).await, (1, 1));
    let one = key("one");
    let at = Target::new(&one);
    for (expiry, at, cost) in [
        (None, at, 1),
        (Some(Expiry::idle(LONG)), at.owner(&ada), 1),
        (Some(Expiry::idle(LONG)), at, 2),
    ] {
        let seen = get(store, &one).await.unwrap().version;
        let replace = store.replace(at, seen, Vec::new(), expiry);
        assert_eq!(counted.cost(replace).await, (cost, cost as u64));
    }
    let login = owned().replaces(Predecessor::new(key("plain")));
    assert_eq!(counted.cost(store.insert(key("two"), login)).await, (1, 1), "a first login");
    let again = owned().replaces(Predecessor::new(key("two")).owner(ada.clone()));
    assert_eq!(counted.cost(store.insert(key("three"), again)).await, (1, 1), "a login again");
    let unknown = owned().replaces(Predecessor::new(key("three")));
    assert_eq!(
        counted.cost(store.insert(key("four"), unknown)).await,
        (2, 2),
        "asks for the owner"
    );
    assert_eq!(counted.cost(store.list(&ada)).await, (2, 2));
    assert_eq!(counted.cost(store.list(&owner("nobody"))).await, (1, 1));
    assert_eq!(counted.cost(store.remove(at.owner(&ada), None)).await, (1, 1));
    assert_eq!(counted.cost(store.remove(Target::new(&key("four")), None)).await, (2, 2));
    for number in 0..20 {
        let _ = store.insert(key(&format!("{number}")), owned()).await.unwrap();
    }
    assert_eq!(counted.cost(store.remove_owner(&ada, None)).await, (2, 2));
    assert_eq!(counted.cost(store.remove_owner(&ada, None)).await, (1, 1));
}

/// Review F1: a limit cost as much as there were sessions.
#[tokio::test(flavor = "multi_thread")]
async fn limit_costs_the_same_at_any_number() {
    let counted = Counted::new(0.1).await;
    let store = &counted.store;
    for max in [3, 64] {
        let ada = owner(&format!("{max}"));
        let new = |limit| {
            let value = NewEntry::new(vec![b'x'; 10_000], Expiry::idle(LONG));
            value.owner(ada.clone()).limit(limit)
        };
        let key = |number: u32| id(store, format!("{max}, {number}"));
        let oldest = OwnerLimit::remove_oldest(max);
        for number in 0..max {
            let insert = store.insert(key(number), new(oldest));
            assert_eq!(counted.cost(insert).await, (1, 1), "below the limit");
        }
        let before = counted.proxy.counts();
        let insert = store.insert(key(max), new(oldest));
        assert_eq!(counted.cost(insert).await, (2, 2), "at the limit");
        let bytes = counted.proxy.counts() - before;
        assert!(bytes.bytes_to_client < 5_000 && bytes.bytes_to_server < 30_000, "{bytes:?}");
        let refuse = store.insert(key(max + 1), new(OwnerLimit::refuse(max)));
        assert_eq!(counted.cost(refuse).await, (2, 2), "refused");
        assert!(get(store, &key(max + 1)).await.is_none());
        let own =
            new(OwnerLimit::refuse(max)).replaces(Predecessor::new(key(max)).owner(ada.clone()));
        assert_eq!(counted.cost(store.insert(key(max + 2), own)).await, (1, 1), "over one's own");
    }
}

/// However many callers there are, they share a connection, and none waits for another's answer.
#[tokio::test(flavor = "multi_thread")]
async fn callers_share_one_connection() {
    let counted = Counted::new(0.1).await;
    let key = Key::of("key");
    let inserted = counted.store.insert(key, entry("")).await.unwrap();
    assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
    counted.proxy.delay(Duration::from_millis(50));
    let begun = tokio::time::Instant::now();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let store = counted.store.clone();
            tokio::spawn(async move { get(&store, &key).await.is_some() })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(counted.proxy.connections(), 1);
}
