//! Pushed changes.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    ChangeFeed, ChangeObserver, Clock, Error, Freshness, Key, OwnerLimit, Predecessor,
    RemoveOutcome, ReplaceOutcome, Store, Target, Timestamp,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Proxy, Redis, RedisCluster, RedisSentinel};
use tokio::task::JoinHandle;

use support::{
    cluster_url, entry, get, id, id_of, insert, inserted, owner, remove, sentinel_url, soon, store,
    touch,
};

const INTERVAL: Duration = Duration::from_millis(20);

struct Observer {
    clock: Clock,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    changed: Vec<Key>,
    all: usize,
    until: Option<Timestamp>,
    beats: usize,
}

impl ChangeObserver for Observer {
    fn changed(&self, key: &Key) {
        self.seen.lock().unwrap().changed.push(*key);
    }

    fn all_changed(&self) {
        self.seen.lock().unwrap().all += 1;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn confirmed(&self, asked: Timestamp, store_time: Timestamp) {
        let mut seen = self.seen.lock().unwrap();
        assert!(seen.until <= Some(asked), "it goes forward");
        let ahead = store_time.since(asked).max(asked.since(store_time));
        assert!(ahead < Duration::from_secs(5), "the same machine has the same time");
        seen.until = Some(asked);
        seen.beats += 1;
    }
}

impl Observer {
    /// All changes made before now, once they are confirmed.
    async fn all_until_now(&self) -> Vec<Key> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = self.now();
        soon("it goes on", || self.seen.lock().unwrap().until >= Some(now)).await;
        std::mem::take(&mut self.seen.lock().unwrap().changed)
    }

    fn beats(&self) -> usize {
        self.seen.lock().unwrap().beats
    }
}

/// A running feed with its observer, and the error that ends it.
async fn start_feed(store: &RedisStore) -> (Arc<Observer>, JoinHandle<Error>) {
    let observer = Arc::new(Observer { clock: Clock::system(), seen: Mutex::default() });
    let (store, observing) = (store.clone(), Arc::clone(&observer));
    let ended = tokio::spawn(async move { store.run(INTERVAL, &*observing).await });
    soon("it begins", || observer.beats() > 0).await;
    (observer, ended)
}

/// Each change of an entry is pushed, by this store, by another, and by others.
async fn every_change_is_pushed(store: &RedisStore, cli: impl Fn(&str, &Key)) {
    let (observer, ended) = start_feed(store).await;
    let ada = owner("ada");
    let key = |name: &str| id_of(store, name, &ada);
    let owned = |value: &str| entry(value).owner(ada.clone());
    let [one, second, third] = ["one", "second", "third"].map(key);
    let _ = store.insert(one, owned("value")).await.unwrap();
    assert_eq!(observer.all_until_now().await, [one], "inserted, and no index is pushed");

    let seen = get(store, &one).await.unwrap().version;
    assert_eq!(observer.all_until_now().await, [], "read");
    let at = Target::new(&one).owner(&ada);
    let replaced = store.replace(at, seen, b"other".to_vec(), None).await.unwrap();
    assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
    assert_eq!(observer.all_until_now().await, [one], "replaced");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(touch(store, &one).await.is_some());
    assert_eq!(observer.all_until_now().await, [one], "slid");

    let over = owned("value").replaces(Predecessor::new(one).owner(ada.clone()));
    assert_eq!(store.insert(second, over).await.unwrap(), inserted());
    let mut pushed = observer.all_until_now().await;
    pushed.sort_unstable();
    let mut both = [one, second];
    both.sort_unstable();
    assert_eq!(pushed, both, "replaced by another");
    let limited = owned("value").limit(OwnerLimit::remove_oldest(1));
    let _ = store.insert(third, limited).await.unwrap();
    assert!(observer.all_until_now().await.contains(&second), "removed at a limit");
    assert_eq!(store.remove_owner(&ada, None).await.unwrap(), [third]);
    assert_eq!(observer.all_until_now().await, [third], "removed with its owner's");

    let fourth = id(store, "fourth");
    insert(store, fourth, "value").await;
    observer.all_until_now().await;
    assert_eq!(remove(store, &fourth).await, RemoveOutcome::Removed);
    assert_eq!(observer.all_until_now().await, [fourth], "removed");
    assert_eq!(remove(store, &fourth).await, RemoveOutcome::Absent);
    assert_eq!(observer.all_until_now().await, [], "nothing is removed");
    insert(store, fourth, "value").await;
    observer.all_until_now().await;
    cli("DEL", &fourth);
    assert_eq!(observer.all_until_now().await, [fourth], "removed by hand");

    insert(store, Key::of("a name"), "value").await;
    observer.all_until_now().await;
    store.clear().await.unwrap();
    assert!(observer.all_until_now().await.contains(&Key::of("a name")), "cleared");
    assert!(!ended.is_finished());
    ended.abort();
}

/// The name of an entry in the server.
fn name_of(server: &Redis, key: &Key) -> Option<String> {
    let whole = key.to_string();
    let ends = [&whole[..24], &whole];
    let names = ends.map(|end| server.cli(&["KEYS", &format!("*}}:{end}")]));
    names.iter().flat_map(|names| names.lines()).next().map(String::from)
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
async fn every_change_is_pushed_by_each_server() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = [Redis::builder().flavour(flavour).start()];
        let store = support::sliding(server[0].url()).await;
        every_change_is_pushed(&store, |command, key| del(&server, command, key)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_pushed_by_a_cluster() {
    let cluster = RedisCluster::start();
    let store = support::sliding(cluster_url(&cluster)).await;
    every_change_is_pushed(&store, |command, key| del(cluster.nodes(), command, key)).await;

    let (_, ended) = start_feed(&store).await;
    let master = cluster.masters()[0];
    cluster.fail_over(master);
    let error = ended.await.unwrap();
    assert!(error.is_unavailable(), "{error}");
    let (observer, ended) = loop {
        // It begins once the store has learned of the new master.
        let started = tokio::time::timeout(Duration::from_secs(5), start_feed(&store)).await;
        if let Ok(started) = started {
            break started;
        }
    };
    let key = Key::of("after");
    insert(&store, key, "value").await;
    assert_eq!(observer.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_slot_ends_the_feed() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let key = Key::of("key");
    insert(&store, key, "value").await;
    let masters = cluster.masters();
    let name = masters.iter().find_map(|node| name_of(&cluster.nodes()[*node], &key)).unwrap();
    let (slot, from) = (cluster.slot(&name), cluster.owner(&name));
    let to = *masters.iter().find(|node| **node != from).unwrap();

    // During the move, a read from the new node may return an entry that the feed does not track.
    cluster.begin_move(slot, to);
    let (_, ended) = start_feed(&store).await;
    assert!(store.get(&Key::of(""), Freshness::Strict).await.unwrap().is_none());
    let absent = (0..1_000_000u32).map(|number| Key::of(number.to_string())).find(|other| {
        other.as_bytes()[8] & 3 == key.as_bytes()[8] & 3 && other.as_bytes()[9] == key.as_bytes()[9]
    });
    assert!(store.get(&absent.unwrap(), Freshness::Strict).await.unwrap().is_none());
    assert!(ended.await.unwrap().is_unavailable());

    let (_, ended) = start_feed(&store).await;
    cluster.finish_move(slot, to);
    assert!(ended.await.unwrap().is_unavailable());
    assert_eq!(support::value(&store, &key).await.as_deref(), Some("value"));
    let (observer, ended) = start_feed(&store).await;
    assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);
    assert_eq!(observer.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_reports_that_everything_changed() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let (observer, ended) = start_feed(&store).await;
    server.cli(&["FLUSHALL"]);
    observer.all_until_now().await;
    assert_eq!(observer.seen.lock().unwrap().all, 1);
    assert!(!ended.is_finished());
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_that_resembles_a_key_is_not_pushed() {
    let server = Redis::start();
    let (store, others) = (store(server.url()).await, store(server.url()).await);
    let (observer, ended) = start_feed(&store).await;
    let (key, owner) = (Key::of("key"), owner(&Key::of("owner").to_string()));
    let _ = store.insert(key, entry("").owner(owner)).await.unwrap();
    insert(&others, Key::of("others"), "value").await;
    assert_eq!(observer.all_until_now().await, [key]);
    ended.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_ends_the_feed() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url()), "cut");
    let store = builder.timeout(Duration::from_millis(500)).open().await.unwrap();

    let (_, ended) = start_feed(&store).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(ended.await.unwrap().is_unavailable());

    let (_, ended) = start_feed(&store).await;
    proxy.cut();
    assert!(ended.await.unwrap().is_unavailable());
    proxy.restore();

    let (observer, ended) = start_feed(&store).await;
    proxy.blackhole();
    let error = tokio::time::timeout(Duration::from_secs(2), ended).await.unwrap().unwrap();
    assert!(error.is_unavailable(), "{error}");
    let beats = observer.beats();
    proxy.restore();
    assert_eq!(observer.beats(), beats, "a feed that has ended confirms nothing");
}

/// Changes that were made while replies were delayed are pushed before the next confirmation.
#[tokio::test(flavor = "multi_thread")]
async fn confirmation_comes_after_changes() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url()), "held");
    let behind = builder.timeout(Duration::from_secs(10)).open().await.unwrap();
    let direct = RedisStore::open(server.url(), "held").await.unwrap();
    let (observer, ended) = start_feed(&behind).await;
    for round in 0..20 {
        let key = Key::of(format!("{round}"));
        proxy.hold_replies();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = observer.seen.lock().unwrap().until;
        insert(&direct, key, "value").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(observer.seen.lock().unwrap().until, before, "nothing is confirmed");
        proxy.restore();
        assert!(observer.all_until_now().await.contains(&key));
    }
    ended.abort();
}

/// A master that was made a replica is no longer trusted.
#[tokio::test(flavor = "multi_thread")]
async fn demoted_master_ends_the_feed() {
    let (server, master) = (Redis::start(), Redis::start());
    let store = store(server.url()).await;
    let (_, ended) = start_feed(&store).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    assert!(ended.await.unwrap().is_unavailable());
    assert!(store.get(&Key::of("key"), Freshness::Strict).await.unwrap_err().is_unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_failover_ends_the_feed() {
    let sentinel = RedisSentinel::start();
    let store = store(sentinel_url(&sentinel)).await;
    let (_, ended) = start_feed(&store).await;
    sentinel.fail_over();
    assert!(ended.await.unwrap().is_unavailable());
    let key = Key::of("key");
    support::until_ok(|| store.get(&key, Freshness::Strict)).await;
    let (observer, ended) = start_feed(&store).await;
    let key = Key::of("after");
    insert(&store, key, "value").await;
    assert_eq!(observer.all_until_now().await, [key]);
    ended.abort();
}

/// Review F11: behind a name or a proxy that fails over, an old server may go on pushing while the data
/// is read from another.
#[tokio::test(flavor = "multi_thread")]
async fn feed_from_another_server_ends() {
    let (first, second) = (Redis::start(), Redis::start());
    let proxy = Proxy::to(first.port());
    let store = store(proxy.url(&first.url())).await;
    let (observer, ended) = start_feed(&store).await;
    // The next connections lead to the other server. The feed keeps its own.
    proxy.lead_to(second.port());
    let clients = first.cli(&["CLIENT", "LIST"]);
    let reads =
        clients.lines().filter(|client| client.contains(" cmd=") && !client.contains("flags=U"));
    let reads = reads.filter(|client| !client.contains("flags=t") && !client.contains("unix"));
    for client in reads {
        let id = client.split(' ').find_map(|field| field.strip_prefix("id=")).unwrap();
        let _ = first.try_cli(&["CLIENT", "KILL", "ID", id]);
    }
    let key = Key::of("key");
    let _ = support::until_ok(|| store.insert(key, entry("value"))).await;
    assert!(second.cli(&["DBSIZE"]) == "1" && first.cli(&["DBSIZE"]) == "0");
    assert!(ended.await.unwrap().is_unavailable(), "it does not go on");
    let beats = observer.beats();

    // Both lead to the same server now.
    support::until_ok(|| store.get(&key, Freshness::Strict)).await;
    let (again, ended) = start_feed(&store).await;
    assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);
    assert_eq!(again.all_until_now().await, [key]);
    assert_eq!(observer.beats(), beats);
    ended.abort();
}

/// The same where the reading connection is the one that stayed.
#[tokio::test(flavor = "multi_thread")]
async fn feed_from_another_server_never_starts() {
    let (first, second) = (Redis::start(), Redis::start());
    let proxy = Proxy::to(first.port());
    let store = store(proxy.url(&first.url())).await;
    proxy.lead_to(second.port());
    let nobody = Observer { clock: Clock::system(), seen: Mutex::default() };
    assert!(store.run(INTERVAL, &nobody).await.is_unavailable());
    assert_eq!(nobody.beats(), 0);
    let (_, ended) = start_feed(&store).await;
    assert!(!ended.is_finished(), "the data is read from where the name leads");
    ended.abort();
}

/// Stores of other namespaces on the same connections get only their own changes.
#[tokio::test(flavor = "multi_thread")]
async fn namespace_gets_only_its_own_changes() {
    let server = Redis::start();
    let shop = store(server.url()).await;
    let admin = shop.within(&format!("{}_admin", shop.namespace())).unwrap();
    let ((shop_observer, one), (admin_observer, other)) =
        (start_feed(&shop).await, start_feed(&admin).await);
    let keys = [id(&shop, "key"), id(&admin, "key")];
    insert(&shop, keys[0], "value").await;
    insert(&admin, keys[1], "value").await;
    assert_eq!(shop_observer.all_until_now().await, [keys[0]]);
    assert_eq!(admin_observer.all_until_now().await, [keys[1]]);
    [one, other].iter().for_each(JoinHandle::abort);
}
