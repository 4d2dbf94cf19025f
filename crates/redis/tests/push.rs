//! What is told of changes.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Access, Clock, Error, Key, Listener, NewEntry, Owner, Push, Rename, Renamed, Replace, Store,
    Timestamp,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Proxy, Redis, RedisCluster, RedisSentinel};
use tokio::task::JoinHandle;

use support::{LONG, cluster_url, entry, insert, sentinel_url, soon, store};

const INTERVAL: Duration = Duration::from_millis(20);

struct Ears {
    clock: Clock,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    changed: Vec<Key>,
    all: usize,
    until: Option<Timestamp>,
    beats: usize,
}

impl Listener for Ears {
    fn changed(&self, key: &Key) {
        self.heard.lock().unwrap().changed.push(*key);
    }

    fn all_changed(&self) {
        self.heard.lock().unwrap().all += 1;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn heard(&self, asked: Timestamp, store_time: Timestamp) {
        let mut heard = self.heard.lock().unwrap();
        assert!(heard.until <= Some(asked), "it goes forward");
        let ahead = store_time.since(asked).max(asked.since(store_time));
        assert!(ahead < Duration::from_secs(5), "the same machine has the same time");
        heard.until = Some(asked);
        heard.beats += 1;
    }
}

impl Ears {
    /// Everything that was changed before now, once it is certain that all of it has been told.
    async fn all_until_now(&self) -> Vec<Key> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = self.now();
        soon("it goes on", || self.heard.lock().unwrap().until >= Some(now)).await;
        std::mem::take(&mut self.heard.lock().unwrap().changed)
    }

    fn beats(&self) -> usize {
        self.heard.lock().unwrap().beats
    }
}

/// Someone who listens, and what ends it.
async fn listen(store: &RedisStore) -> (Arc<Ears>, JoinHandle<Error>) {
    let ears = Arc::new(Ears { clock: Clock::system(), heard: Mutex::default() });
    let (store, listener) = (store.clone(), Arc::clone(&ears));
    let ended = tokio::spawn(async move { store.watch(INTERVAL, &*listener).await });
    soon("it begins", || ears.beats() > 0).await;
    (ears, ended)
}

/// Each change of an entry is told, by this store, by another, and by others.
async fn every_change_is_told(store: &RedisStore, cli: impl Fn(&str, &Key)) {
    let (ears, ended) = listen(store).await;
    let owner = Owner::from("ada");
    let keys = (0..10_000).map(|number| Key::of(format!("key {number}")));
    let mut keys = keys.filter(|key| store.places(key, Some(&owner)));
    let mut key = || keys.next().unwrap();

    let (one, other) = (key(), key());
    let owned = |value: &str| entry(value).owner(owner.clone());
    let _ = store.insert(one, owned("value")).await.unwrap();
    assert_eq!(ears.all_until_now().await, [one], "made");

    let seen = store.get(&one, Access::PEEK).await.unwrap().unwrap().version;
    assert_eq!(ears.all_until_now().await, [], "looked at");
    let replaced = store.replace(&one, seen, b"other".to_vec(), None).await.unwrap();
    assert!(matches!(replaced, Replace::Replaced(_)));
    assert!(ears.all_until_now().await.contains(&one), "replaced");

    let mut rename = Rename::new();
    rename.grace = LONG;
    let renamed = store.rename(&one, other, rename).await.unwrap();
    assert_eq!(renamed, Renamed::Moved { removed: Vec::new() });
    let told = ears.all_until_now().await;
    assert!(told.contains(&one) && told.contains(&other), "renamed: {told:?}");

    assert!(store.remove(&one).await.unwrap());
    assert!(ears.all_until_now().await.contains(&other), "removed by its former key");

    let third = key();
    let _ = store.insert(third, owned("value")).await.unwrap();
    ears.all_until_now().await;
    assert_eq!(store.remove_owner(&owner, None).await.unwrap(), [third]);
    assert!(ears.all_until_now().await.contains(&third), "removed with its owner's");

    let fourth = key();
    insert(store, fourth, "value").await;
    ears.all_until_now().await;
    cli("DEL", &fourth);
    assert_eq!(ears.all_until_now().await, [fourth], "removed by hand");

    insert(store, fourth, "value").await;
    ears.all_until_now().await;
    store.clear().await.unwrap();
    assert!(ears.all_until_now().await.contains(&fourth), "cleared");
    assert!(!ended.is_finished());
    ended.abort();
}

/// The name of an entry in the server, by its last part.
fn name_of(server: &Redis, key: &Key) -> Option<String> {
    let names = server.cli(&["KEYS", &format!("*}}:{key}")]);
    names.lines().next().map(String::from)
}

fn del(servers: &[Redis], command: &str, key: &Key) {
    let by = servers.iter().filter(|server| server.is_running());
    for server in by {
        if let Some(name) = name_of(server, key) {
            // A replica refuses it.
            let _ = server.try_cli(&[command, &name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_by_each_server() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = [Redis::builder().flavour(flavour).start()];
        let store = store(server[0].url()).await;
        every_change_is_told(&store, |command, key| del(&server, command, key)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_by_a_cluster() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    every_change_is_told(&store, |command, key| del(cluster.nodes(), command, key)).await;

    let (_, ended) = listen(&store).await;
    let master = cluster.masters()[0];
    cluster.fail_over(master);
    let error = ended.await.unwrap();
    assert!(error.is_unavailable(), "{error}");
    let (ears, ended) = loop {
        // It begins once the store has learned of the new master.
        let listening = tokio::time::timeout(Duration::from_secs(5), listen(&store)).await;
        if let Ok(listening) = listening {
            break listening;
        }
    };
    let key = Key::of("after");
    insert(&store, key, "value").await;
    assert_eq!(ears.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_ends_the_listening() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let key = Key::of("key");
    insert(&store, key, "value").await;
    let masters = cluster.masters();
    let name = masters.iter().find_map(|node| name_of(&cluster.nodes()[*node], &key)).unwrap();
    let (slot, from) = (cluster.slot(&name), cluster.owner(&name));
    let to = *masters.iter().find(|node| **node != from).unwrap();

    // While it is on its way, whoever reads what is already there may have read what nobody hears of.
    cluster.begin_move(slot, to);
    let (_, ended) = listen(&store).await;
    assert!(store.get(&Key::of(""), Access::PEEK).await.unwrap().is_none());
    let absent = (0..1_000_000u32)
        .map(|number| Key::of(number.to_string()))
        .find(|other| other.as_bytes()[30..] == key.as_bytes()[30..]);
    assert!(store.get(&absent.unwrap(), Access::PEEK).await.unwrap().is_none());
    assert!(ended.await.unwrap().is_unavailable());

    let (_, ended) = listen(&store).await;
    cluster.finish_move(slot, to);
    assert!(ended.await.unwrap().is_unavailable());
    assert_eq!(support::value(&store, &key).await.as_deref(), Some("value"));
    let (ears, ended) = listen(&store).await;
    assert!(store.remove(&key).await.unwrap());
    assert_eq!(ears.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_have_changed_when_all_is_flushed() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let (ears, ended) = listen(&store).await;
    server.cli(&["FLUSHALL"]);
    ears.all_until_now().await;
    assert_eq!(ears.heard.lock().unwrap().all, 1);
    assert!(!ended.is_finished());
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_looks_like_a_key_is_not_one_and_others_are_not_heard_of() {
    let server = Redis::start();
    let (store, others) = (store(server.url()).await, store(server.url()).await);
    let (ears, ended) = listen(&store).await;
    let (key, owner) = (Key::of("key"), Owner::new(Key::of("owner").to_string()));
    let owned = NewEntry::new(Vec::new(), kvolt_cache::Expiry::idle(LONG)).owner(owner);
    let _ = store.insert(key, owned).await.unwrap();
    insert(&others, Key::of("others"), "value").await;
    assert_eq!(ears.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_or_cut_ends_the_listening() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url())).prefix("cut");
    let store = builder.timeout(Duration::from_millis(500)).open().await.unwrap();

    let (_, ended) = listen(&store).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(ended.await.unwrap().is_unavailable());

    let (_, ended) = listen(&store).await;
    proxy.cut();
    assert!(ended.await.unwrap().is_unavailable());
    proxy.restore();

    let (ears, ended) = listen(&store).await;
    proxy.blackhole();
    let error = tokio::time::timeout(Duration::from_secs(2), ended).await.unwrap().unwrap();
    assert!(error.is_unavailable(), "{error}");
    let beats = ears.beats();
    proxy.restore();
    assert_eq!(ears.beats(), beats, "nothing is heard by one that has ended");
}

/// What was changed while the answers were held back is told before anything is said to be heard.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_heard_before_what_was_changed_is_told() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url())).prefix("held");
    let behind = builder.timeout(Duration::from_secs(10)).open().await.unwrap();
    let direct = RedisStore::builder(server.url()).prefix("held").open().await.unwrap();
    let (ears, ended) = listen(&behind).await;
    for round in 0..20 {
        let key = Key::of(format!("{round}"));
        proxy.hold_replies();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = ears.heard.lock().unwrap().until;
        insert(&direct, key, "value").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(ears.heard.lock().unwrap().until, before, "nothing is heard");
        proxy.restore();
        assert!(ears.all_until_now().await.contains(&key));
    }
    ended.abort();
}

/// A master that was made a replica is not believed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_ends_the_listening() {
    let (server, master) = (Redis::start(), Redis::start());
    let store = store(server.url()).await;
    let (_, ended) = listen(&store).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    assert!(ended.await.unwrap().is_unavailable());
    assert!(store.get(&Key::of("key"), Access::PEEK).await.unwrap_err().is_unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_of_sentinels_ends_the_listening() {
    let sentinel = RedisSentinel::start();
    let store = store(sentinel_url(&sentinel)).await;
    let (_, ended) = listen(&store).await;
    sentinel.fail_over();
    assert!(ended.await.unwrap().is_unavailable());
    let key = Key::of("key");
    support::until_ok(|| store.get(&key, Access::PEEK)).await;
    let (ears, ended) = listen(&store).await;
    let key = Key::of("after");
    insert(&store, key, "value").await;
    assert_eq!(ears.all_until_now().await, [key]);
    ended.abort();
}
