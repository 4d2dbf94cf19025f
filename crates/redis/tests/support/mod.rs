//! What the tests share.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt_cache::{Access, Codec, Coded, Expiry, Insert, Key, NewEntry, Result, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{Redis, RedisCluster, RedisSentinel};
use kvolt_testkit::Fixture;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// A prefix that nobody has had before.
pub(crate) fn prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn sealing() -> Encrypted<Json> {
    Encrypted::new(Json, EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32])))
}

/// The runtime of all laws, which lives as long as the process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime starts")
    })
}

/// The commands that the README gives for a user.
pub(crate) fn acl_lines(user: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let beginning = format!("ACL SETUSER {user} ");
    let lines = readme.lines().filter(|line| line.starts_with(&beginning));
    // Each test has a prefix of its own.
    let words =
        |line: &str| line.replace("~kvolt:*", "~test*").split(' ').map(String::from).collect();
    let lines: Vec<_> = lines.map(words).collect();
    assert!(!lines.is_empty(), "the README has it");
    lines
}

/// A store of its own, with the shortest time limit that a busy machine keeps.
pub(crate) async fn store(url: impl Into<String>) -> RedisStore {
    RedisStore::builder(url).prefix(prefix()).open().await.unwrap()
}

pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn entry(value: &str) -> NewEntry<Vec<u8>> {
    NewEntry::new(value.as_bytes().to_vec(), Expiry::idle(LONG))
}

pub(crate) async fn insert(store: &RedisStore, key: Key, value: &str) {
    let inserted = store.insert(key, entry(value)).await.unwrap();
    assert_eq!(inserted, Insert::Inserted { removed: Vec::new() });
}

pub(crate) async fn value(store: &RedisStore, key: &Key) -> Option<String> {
    let entry = store.get(key, Access::PEEK).await.unwrap()?;
    Some(String::from_utf8(entry.value).unwrap())
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

pub(crate) fn cluster_url(cluster: &RedisCluster) -> String {
    let host = |node: &Redis| format!("127.0.0.1:{}", node.port());
    let hosts: Vec<String> = cluster.nodes().iter().map(host).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

pub(crate) fn sentinel_url(sentinel: &RedisSentinel) -> String {
    let hosts = sentinel.sentinel_addresses().join(",");
    format!("redis+sentinel://{hosts}/{}", sentinel.master_name())
}

/// A store on a server that runs, under a prefix of its own, with values by a codec.
#[derive(Clone)]
pub(crate) struct On<C> {
    pub(crate) url: String,
    pub(crate) codec: C,
    /// How often the concurrent laws are tried: 5 times, or as `KVOLT_ROUNDS` says.
    pub(crate) rounds: usize,
}

impl<C> On<C> {
    pub(crate) fn new(url: impl Into<String>, codec: C) -> Self {
        let rounds = std::env::var("KVOLT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        Self { url: url.into(), codec, rounds: rounds.unwrap_or(5) }
    }
}

impl<C: Codec<String> + Clone> Fixture for On<C> {
    type Store = Coded<String, RedisStore, C>;

    async fn store(&self) -> Self::Store {
        let builder = RedisStore::builder(self.url.as_str()).prefix(prefix());
        // A law holds however busy the machine is.
        let store = builder.timeout(Duration::from_secs(20)).open().await.expect("it opens");
        Coded::new(store, self.codec.clone())
    }

    // The server's clock can't be moved.
    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 16
    }

    fn rounds(&self) -> usize {
        self.rounds
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // Its threads do what the store waits for; the laws wait in each other.
        let _context = runtime().enter();
        pollster::block_on(future)
    }
}

/// Runs every law, many at a time as most of them sleep, and panics if any is broken.
pub(crate) fn all_laws_hold<F: Fixture>(fixture: F) {
    assert_eq!(kvolt_testkit::conformance::broken_laws_on_a_real_clock(&fixture, 16), []);
}
