//! A store on a connection of the application.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{Encoded, Error, Freshness, Key, NearCache, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Proxy, Redis, RedisCluster};
use redis::aio::ConnectionManagerConfig;

use support::{connection, entry, get, insert, namespace, remove, until_ok, value};

async fn store(url: &str) -> RedisStore {
    RedisStore::builder_on(connection(url).await, &namespace()).open().await.unwrap()
}

/// A connection that can't serve a store is rejected, and the error names the reason.
#[tokio::test]
async fn unfit_connection_is_rejected() {
    let server = Redis::start();
    let named = async |builder: kvolt_redis::RedisStoreBuilder, named: &str| {
        let error = builder.open().await.unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains(named), "{error}");
    };
    let on = async |url: &str| RedisStore::builder_on(connection(url).await, "shop");
    let url = server.url();
    named(on(&url).await.wait_replicas(1, Duration::from_millis(1)), "wait_replicas").await;
    named(on(&url).await.listen_url("redis+sentinel://a/main"), "listen_url").await;
    named(RedisStore::builder(&url, "shop").listen_url(&url), "listen_url").await;
    let cluster = RedisCluster::start();
    named(on(&cluster.nodes()[0].url()).await, "redis+cluster://").await;
    server.cli(&["ACL", "SETUSER", "reader", "on", ">password", "~*", "+@read", "+info"]);
    named(on(&server.url_as("reader", "password")).await, "permission").await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    named(on(&url).await, "is a replica").await;
}

/// A call whose reply is lost fails and is not sent again; the connection comes back by itself.
#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_comes_back() {
    let server = Redis::builder().config("appendonly", "yes").start();
    let proxy = Proxy::to(server.port());
    let store = store(&proxy.url(&server.url())).await;
    let key = Key::of("key");
    insert(&store, key, "kept").await;
    server.stop();
    let error = store.get(&key, Freshness::Strict).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    server.restart();
    let read = async || store.get(&key, Freshness::Strict).await;
    assert!(until_ok(read).await.0.is_some(), "an acknowledged write is there");
    proxy.drop_connections();
    assert!(until_ok(read).await.0.is_some());

    let scripts = || {
        let stats = server.cli(&["INFO", "commandstats"]);
        let calls = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
        calls.map(|line| line.split(['=', ',']).nth(1).unwrap().parse::<u32>().unwrap()).sum()
    };
    // So that the server has the script.
    insert(&store, Key::of("warm"), "").await;
    let before: u32 = scripts();
    proxy.hold_replies();
    let late = Key::of("late");
    let error = store.insert(late, entry("late")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    proxy.restore();
    proxy.drop_connections();
    until_ok(read).await;
    assert!(get(&store, &late).await.is_some());
    assert_eq!(scripts(), before + 1, "it was sent once");
}

/// The connection's own limit is shorter than the store's, and is named.
#[tokio::test]
async fn response_timeout_of_the_connection_is_named() {
    let server = Redis::start();
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(Duration::from_secs(1)));
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_connection_manager_with_config(config).await.unwrap();
    let builder = RedisStore::builder_on(connection, "shop").timeout(Duration::from_secs(60));
    let store = builder.open().await.unwrap();
    server.pause();
    let error = store.get(&Key::of("key"), Freshness::Strict).await.unwrap_err();
    server.resume();
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("response timeout"), "{error}");
}

/// A near cache opens one connection beside the application's, and needs to know where.
#[tokio::test(flavor = "multi_thread")]
async fn near_cache_needs_one_connection_beside() {
    let server = Redis::start();
    let url = server.url();
    let existing = connection(&url).await;
    let clients = || server.cli(&["CLIENT", "LIST"]).lines().count() - 1;
    assert_eq!(clients(), 1);
    let namespace = namespace();
    let builder = RedisStore::builder_on(existing.clone(), &namespace).listen_url(&url);
    let store = builder.open().await.unwrap();
    let near = NearCache::new(Encoded::<String, _, _>::new(store, Json)).unwrap();
    until(async || near.is_current()).await;
    assert_eq!(clients(), 2, "the application's connection, and the one that listens");
    let key = Key::of("key");
    let other = RedisStore::open(&url, &namespace).await.unwrap();
    insert(&other, key, "\"first\"").await;
    let read = async || near.get(&key, Freshness::Bounded).await.unwrap().map(|entry| entry.value);
    assert_eq!(read().await.as_deref(), Some("first"));
    assert_eq!(value(&other, &key).await.as_deref(), Some("\"first\""));
    let _ = remove(&other, &key).await;
    until(async || read().await.is_none()).await;
}

/// Waits until this is so, for as long as any machine takes.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
}

/// Without the URL, and if it leads to another server, the feed ends and says why.
#[tokio::test(flavor = "multi_thread")]
async fn feed_must_listen_to_the_same_server() {
    use kvolt_cache::{ChangeFeed, ChangeObserver, Timestamp};

    struct Never;
    impl ChangeObserver for Never {
        fn changed(&self, _: &Key) {}
        fn all_changed(&self) {}
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn confirmed(&self, _: Timestamp, _: Timestamp) {
            panic!("nothing is confirmed");
        }
    }
    let (server, other) = (Redis::start(), Redis::builder().flavour(Flavour::Redis7).start());
    let builder = async || RedisStore::builder_on(connection(&server.url()).await, "shop");
    let run =
        async |store: RedisStore| -> Error { store.run(Duration::from_millis(50), &Never).await };
    let error = run(builder().await.open().await.unwrap()).await;
    assert!(error.is_misconfigured() && error.to_string().contains("listen_url"), "{error}");
    let elsewhere = builder().await.listen_url(other.url()).open().await.unwrap();
    let error = run(elsewhere).await;
    assert!(error.is_unavailable(), "{error}");
}
