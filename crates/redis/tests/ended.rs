//! Who asks for it is told what has expired, and how many entries there are.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Owner, Rename, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis, RedisBuilder, RedisCluster, RedisSentinel};

use support::{LONG, cluster_url, entry, insert, prefix, sentinel_url, soon, until_ok};

type Told = Arc<Mutex<Vec<Key>>>;

fn listen(store: &RedisStore, told: &Told) -> bool {
    let told = Arc::clone(told);
    store.on_expired(Arc::new(move |key| told.lock().unwrap().push(*key)))
}

/// How many connections listen there. Sentinels do, too, but to something else.
fn listeners(server: &Redis) -> usize {
    let by_event = server.cli(&["PUBSUB", "NUMSUB", "__keyevent@0__:expired"]);
    let by_event = by_event.lines().last().and_then(|count| count.parse().ok());
    let clients = server.cli(&["CLIENT", "LIST"]);
    by_event.unwrap_or(0) + clients.lines().filter(|client| !client.contains(" psub=0 ")).count()
}

fn ending(lifetime: Duration) -> NewEntry<Vec<u8>> {
    NewEntry::new(Vec::new(), Expiry::after(lifetime))
}

/// By two stores under one prefix, which have asked already.
async fn tells_once(stores: &[RedisStore; 2], told: &Told) {
    let [store, other] = stores;
    let soon_ended = Duration::from_millis(1_500);
    let owner = Owner::from("owner");
    let place = |name: &str| {
        let keys = (0..).map(|salt| Key::of(format!("{name}, {salt}")));
        keys.into_iter().find(|key| store.places(key, Some(&owner))).unwrap()
    };
    let mut expected = Vec::new();
    for number in 0..60 {
        let key = Key::of(format!("plain {number}"));
        let _ = store.insert(key, ending(soon_ended)).await.unwrap();
        expected.push(key);
    }
    let idle = place("idle");
    let entry = NewEntry::new(Vec::new(), Expiry::idle(soon_ended)).owner(owner.clone());
    let _ = other.insert(idle, entry).await.unwrap();
    let (former, renamed) = (place("former"), place("renamed"));
    let _ = store.insert(former, ending(soon_ended).owner(owner.clone())).await.unwrap();
    let mut rename = Rename::new();
    rename.grace = Duration::from_millis(200);
    let _ = other.rename(&former, renamed, rename.clone()).await.unwrap();
    expected.extend([idle, renamed]);

    // In a cluster from one slot to another, too.
    let (left, lives) = (Key::of("left"), Key::of("lives"));
    let _ = store.insert(left, ending(LONG)).await.unwrap();
    let _ = store.rename(&left, lives, rename).await.unwrap();
    let removed = Key::of("removed");
    let _ = store.insert(removed, ending(soon_ended)).await.unwrap();
    assert!(store.remove(&removed).await.unwrap());
    let revoked = place("revoked");
    let _ = store.insert(revoked, ending(soon_ended).owner(owner.clone())).await.unwrap();
    assert_eq!(store.remove_owner(&owner, Some(&renamed)).await.unwrap().len(), 2);
    expected.retain(|key| *key != idle);

    soon("all are told", || told.lock().unwrap().len() >= expected.len()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut told = told.lock().unwrap().clone();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected, "each once, and nothing else");
    assert!(store.get(&lives, Access::PEEK).await.unwrap().is_some());
}

async fn tells_once_on(server: &RedisBuilder, user: Option<&str>, assumes: bool) {
    let server = server.try_start().unwrap();
    let mut url = server.url();
    if let Some(user) = user {
        for line in support::acl_lines(user) {
            server.cli(&line.iter().map(String::as_str).collect::<Vec<_>>());
        }
        url = server.url_as(user, "password");
    }
    let (prefix, told) = (prefix(), Told::default());
    let open = async || {
        let builder = RedisStore::builder(&url).prefix(&prefix);
        let builder = if assumes { builder.assume_expired_events() } else { builder };
        builder.open().await.unwrap()
    };
    let stores = [open().await, open().await];
    assert!(stores.iter().all(|store| listen(store, &told)));
    assert!(!listen(&stores[0].clone(), &told), "one who listens is enough");
    soon("both listen", || listeners(&server) == 2).await;
    tells_once(&stores, &told).await;
    drop(stores);
    soon("nobody listens any more", || listeners(&server) == 0).await;
}

fn notifying(flags: &str) -> RedisBuilder {
    Redis::builder().config("notify-keyspace-events", flags)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_told_once_by_one_of_several_stores() {
    tells_once_on(&notifying("Ex"), Some("told"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_told_by_names_too() {
    tells_once_on(&notifying("AK"), None, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_told_on_other_servers_too() {
    tells_once_on(&notifying("Ex").flavour(Flavour::Redis62), Some("told"), false).await;
    tells_once_on(&notifying("AKE").flavour(Flavour::Valkey9), None, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_told_in_a_cluster() {
    let cluster = RedisCluster::of(notifying("Ex"));
    let (prefix, told) = (prefix(), Told::default());
    let open = || RedisStore::builder(cluster_url(&cluster)).prefix(&prefix).open();
    let stores = [open().await.unwrap(), open().await.unwrap()];
    assert!(stores.iter().all(|store| listen(store, &told)));
    let masters = cluster.masters();
    let all = || masters.iter().map(|master| listeners(&cluster.nodes()[*master])).sum::<usize>();
    soon("both listen to all", || all() == 2 * masters.len()).await;
    tells_once(&stores, &told).await;
}

/// The master that takes over is listened to.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_told_after_a_failover() {
    let sentinel = RedisSentinel::of(notifying("Ex"));
    let store = support::store(sentinel_url(&sentinel)).await;
    let told = Told::default();
    assert!(listen(&store, &told));
    let on = |master: usize| listeners(&sentinel.stores()[master]) == 1;
    let before = sentinel.master();
    soon("it listens", || on(before)).await;
    let after = sentinel.fail_over();
    soon("it listens to the new master", || on(after)).await;
    let key = Key::of("key");
    let ((), _) = until_ok(async || {
        let _ = store.insert(key, ending(Duration::from_millis(300))).await?;
        Ok(())
    })
    .await;
    soon("it is told", || *told.lock().unwrap() == [key]).await;
}

/// A listener whose connection is cut listens again.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_comes_back() {
    let server = notifying("Ex").start();
    let store = support::store(server.url()).await;
    let told = Told::default();
    assert!(listen(&store, &told));
    soon("it listens", || listeners(&server) == 1).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    soon("it listens again", || listeners(&server) == 1).await;
    let key = Key::of("key");
    let _ = store.insert(key, ending(Duration::from_millis(100))).await.unwrap();
    soon("it is told", || *told.lock().unwrap() == [key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_server_that_does_not_notify_says_so() {
    for server in [Redis::builder(), notifying("KEg"), notifying("x")] {
        let server = server.start();
        let store = support::store(server.url()).await;
        assert!(!listen(&store, &Told::default()));
    }
    let server = notifying("Ex").start();
    for line in support::acl_lines("app") {
        server.cli(&line.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let store = support::store(server.url_as("app", "password")).await;
    assert!(!listen(&store, &Told::default()), "it may not be asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_has_each_entry_once_and_no_former_key() {
    let (server, cluster) = (Redis::start(), RedisCluster::start());
    for url in [server.url(), cluster_url(&cluster)] {
        let store = support::store(url.clone()).await;
        let other = support::store(url).await;
        assert_eq!(store.count().await.unwrap(), 0);
        let owner = Owner::from("owner");
        let keys = (0..).map(|number| Key::of(format!("{number}")));
        let keys: Vec<Key> = keys.filter(|key| store.places(key, Some(&owner))).take(4).collect();
        let _ = store.insert(keys[0], entry("").owner(owner.clone())).await.unwrap();
        let mut rename = Rename::new();
        rename.grace = LONG;
        for pair in keys.windows(2) {
            let _ = store.rename(&pair[0], pair[1], rename.clone()).await.unwrap();
        }
        for number in 0..2_500 {
            insert(&store, Key::of(format!("plain {number}")), "value").await;
        }
        insert(&other, Key::of("other"), "value").await;
        assert!(store.remove(&Key::of("plain 7")).await.unwrap());
        assert_eq!(store.count().await.unwrap(), 2_500);
        assert_eq!(other.count().await.unwrap(), 1);
        let monitor = server.monitor();
        store.count().await.unwrap();
        // Of nothing, to see whether the server is a master.
        assert!(monitor.count(" \"val\"") <= 1, "no value is read");
    }
}
