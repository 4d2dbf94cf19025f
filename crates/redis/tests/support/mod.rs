//! Helpers of the tests.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kvolt_cache::{
    Deadlines, Entry, Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner, RemoveOutcome,
    Result, Store, Target,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Redis, RedisCluster, RedisSentinel};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// A namespace that was not used before.
pub(crate) fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The runtime of all laws, which lives as long as the process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime starts")
    })
}

/// The commands that the README gives for a user, for all namespaces of these tests.
pub(crate) fn acl_lines(user: &str) -> Vec<Vec<String>> {
    acl_lines_for(user, "test*")
}

/// The ACL rule of the README, for this namespace.
pub(crate) fn acl_lines_for(user: &str, namespace: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let beginning = format!("ACL SETUSER {user} ");
    let lines = readme.lines().filter(|line| line.starts_with(&beginning));
    let keys = format!("~{namespace}");
    let words = |line: &str| line.replace("~shop", &keys).split(' ').map(String::from).collect();
    let lines: Vec<_> = lines.map(words).collect();
    assert!(!lines.is_empty(), "the README has it");
    lines
}

/// A connection as an application makes one. The driver's own limit on replies could end a call
/// earlier than the store's.
pub(crate) async fn connection(url: &str) -> ConnectionManager {
    let config = ConnectionManagerConfig::new().set_response_timeout(None);
    redis::Client::open(url).unwrap().get_connection_manager_with_config(config).await.unwrap()
}

/// A store in a namespace of its own.
pub(crate) async fn store(url: impl Into<String>) -> RedisStore {
    RedisStore::open(url, &namespace()).await.unwrap()
}

/// A store on which every use is written.
pub(crate) async fn sliding(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url, &namespace()).slide_after(0.0).open().await.unwrap()
}

/// The key of a session's id.
pub(crate) fn id(store: &RedisStore, name: impl AsRef<[u8]>) -> Key {
    Key::from_id(Key::of(name).id(), store.namespace())
}

/// A key of an id, in the slot of the owner's entries.
pub(crate) fn id_of(store: &RedisStore, name: impl AsRef<[u8]>, owner: &Owner) -> Key {
    store.place(id(store, name), Some(owner))
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn entry(value: &str) -> NewEntry<Vec<u8>> {
    NewEntry::new(value.as_bytes().to_vec(), Expiry::idle(LONG))
}

pub(crate) fn inserted() -> InsertOutcome {
    InsertOutcome::Inserted { removed: Vec::new() }
}

pub(crate) async fn insert(store: &RedisStore, key: Key, value: &str) {
    assert_eq!(store.insert(key, entry(value)).await.unwrap(), inserted());
}

pub(crate) async fn get(store: &RedisStore, key: &Key) -> Option<Entry<Vec<u8>>> {
    store.get(key, Freshness::Strict).await.unwrap()
}

pub(crate) async fn value(store: &RedisStore, key: &Key) -> Option<String> {
    Some(String::from_utf8(get(store, key).await?.value).unwrap())
}

pub(crate) async fn touch(store: &RedisStore, key: &Key) -> Option<Deadlines> {
    store.touch(Target::new(key)).await.unwrap()
}

pub(crate) async fn remove(store: &RedisStore, key: &Key) -> RemoveOutcome {
    store.remove(Target::new(key), None).await.unwrap()
}

/// The keys of the owner's entries.
pub(crate) async fn list(store: &RedisStore, owner: &Owner) -> Vec<Key> {
    let listing = store.list(owner).await.unwrap();
    assert_eq!(listing.unreadable, []);
    listing.entries.iter().map(|entry| entry.key).collect()
}

/// Calls until it is answered without an error, and returns the answer and how long that took.
pub(crate) async fn until_ok<T, F: Future<Output = Result<T>>>(
    mut call: impl FnMut() -> F,
) -> (T, Duration) {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return (answer, begun.elapsed()),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it comes back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Awaits what comes soon.
pub(crate) async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Awaits what comes soon, by a condition that waits itself.
pub(crate) async fn soon_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn cluster_url(cluster: &RedisCluster) -> String {
    let host = |node: &Redis| format!("127.0.0.1:{}", node.port());
    let hosts: Vec<String> = cluster.nodes().iter().map(host).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

pub(crate) fn sentinel_url(sentinel: &RedisSentinel) -> String {
    let hosts = sentinel.sentinel_addresses().join(",");
    format!("redis+sentinel://{hosts}/{}", sentinel.master_name())
}

/// The only name in the server that ends like this.
pub(crate) fn name_of(server: &Redis, end: &str) -> String {
    let names = server.cli(&["KEYS", &format!("*{end}")]);
    assert_eq!(names.lines().count(), 1, "{names}");
    names
}
