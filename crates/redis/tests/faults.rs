//! Servers that are down, slow, full, or not what was expected.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{
    Error, Expiry, Freshness, Key, NewEntry, OwnerLimit, RemoveOutcome, ReplaceOutcome, Store,
    Target,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Proxy, Redis};
use tokio::time::Instant;

use support::{
    LONG, entry, get, insert, inserted, list, namespace, owner, remove, store, touch, until_ok,
    value,
};

const SHORT: Duration = Duration::from_millis(400);

async fn refused(url: impl Into<String>) -> Error {
    let opened = RedisStore::builder(url, "shop").timeout(Duration::from_secs(1)).open().await;
    let error = opened.expect_err("it can't be opened");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 500, "one clear line: {text}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "no secrets: {text}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn server_down_at_start_is_an_error() {
    let server = Redis::start();
    server.kill();
    assert!(refused(server.url()).await.is_unavailable());
    assert!(refused("unix:///nowhere/at/all").await.is_unavailable());
    assert!(refused("redis://no-such-host.invalid").await.is_unavailable());
    assert!(refused("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main").await.is_unavailable());
    assert!(refused("redis+cluster://127.0.0.1:1,127.0.0.1:2").await.is_unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn misconfiguration_is_reported_at_start() {
    let server = Redis::builder().password("hunter22").start();
    let port = server.port();
    let wrong = refused(format!("redis://127.0.0.1:{port}")).await;
    assert!(wrong.is_misconfigured() && wrong.to_string().contains("password"), "{wrong}");
    let wrong = refused(server.url_as("", "hunter2")).await;
    assert!(wrong.is_misconfigured() && wrong.to_string().contains("password"), "{wrong}");
    let wrong = refused(server.url_as("ada", "hunter2")).await;
    assert!(wrong.is_misconfigured() && wrong.to_string().contains("password"), "{wrong}");
    let wrong = refused(format!("{}/99", server.url())).await;
    assert!(wrong.is_misconfigured() && wrong.to_string().contains("database"), "{wrong}");
    RedisStore::open(server.url(), "shop").await.unwrap();

    let open = Redis::start();
    let wrong = refused(format!("redis+sentinel://127.0.0.1:{}/main", open.port())).await;
    assert!(wrong.is_misconfigured(), "{wrong}");
    let wrong = refused(format!("redis+cluster://127.0.0.1:{}", open.port())).await;
    assert!(wrong.is_misconfigured(), "{wrong}");

    let replica = Redis::start();
    replica.cli(&["REPLICAOF", "127.0.0.1", &open.port().to_string()]);
    let wrong = refused(replica.url()).await;
    assert!(wrong.is_misconfigured() && wrong.to_string().contains("replica"), "{wrong}");

    for builder in [
        RedisStore::builder(open.url(), ""),
        RedisStore::builder(open.url(), "a{b}"),
        RedisStore::builder(open.url(), "a*"),
        RedisStore::builder(open.url(), "a:b"),
        RedisStore::builder(open.url(), "shop").slide_after(0.9),
        RedisStore::builder(open.url(), "shop").slide_after(f64::NAN),
        RedisStore::builder(open.url(), "shop").timeout(Duration::ZERO),
        RedisStore::builder(open.url(), "shop").wait_replicas(1, Duration::from_millis(1_500)),
        RedisStore::builder(open.url(), "shop").wait_replicas(1, Duration::MAX),
    ] {
        assert!(builder.open().await.unwrap_err().is_misconfigured());
    }
    // A time limit that means never.
    let patient = RedisStore::builder(open.url(), "shop").timeout(Duration::MAX);
    let patient = patient.wait_replicas(0, Duration::MAX).open().await.unwrap();
    assert!(patient.within("Shop").unwrap_err().is_misconfigured());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_reported_at_start() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let builder = Redis::builder().flavour(flavour);
        let builder = builder
            .user("reader", "hunter2", "~shop:* ~shop.owners:* +@all -pexpireat")
            .user("scriptless", "hunter2", "~shop:* ~shop.owners:* +@all -evalsha -eval")
            .user("stranger", "hunter2", "~other:* +@all");
        let server = builder.start();
        for (user, lacks) in
            [("reader", "PEXPIREAT"), ("scriptless", "evalsha"), ("stranger", "permission")]
        {
            let error = refused(server.url_as(user, "hunter2")).await;
            let text = error.to_string();
            assert!(error.is_misconfigured(), "{flavour:?}: {text}");
            let lower = text.to_lowercase();
            assert!(lower.contains(&lacks.to_lowercase()), "{flavour:?}, {user}: {text}");
        }
    }
}

/// A call while the server is down ends soon, as an error; after its return the store is back.
#[tokio::test(flavor = "multi_thread")]
async fn restarted_server_is_used_again() {
    for password in [false, true] {
        let builder = Redis::builder().append_only();
        let server = if password { builder.password("secret").start() } else { builder.start() };
        let store = store(server.url()).await;
        let key = Key::of("key");
        insert(&store, key, "value").await;
        server.kill();
        for _ in 0..20 {
            let begun = Instant::now();
            let error = store.get(&key, Freshness::Strict).await.expect_err("never absent");
            assert!(error.is_unavailable(), "{error}");
            assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.restart();
        let (entry, took) = until_ok(|| store.get(&key, Freshness::Strict)).await;
        assert_eq!(entry.unwrap().value, b"value", "it was on disk");
        eprintln!("back {took:?} after the server");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// Pausing is like a machine that hangs; a black hole, like a cable that is pulled.
#[tokio::test(flavor = "multi_thread")]
async fn silent_server_costs_only_the_timeout() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url()), &namespace());
    let store = builder.timeout(SHORT).open().await.unwrap();
    let key = Key::of("key");
    insert(&store, key, "value").await;
    for hangs in [true, false] {
        if hangs {
            server.pause();
        } else {
            proxy.blackhole();
        }
        for _ in 0..4 {
            let begun = Instant::now();
            let error = store.get(&key, Freshness::Strict).await.expect_err("never absent");
            assert!(error.is_unavailable(), "{error}");
            assert!(begun.elapsed() < SHORT * 2, "{:?}", begun.elapsed());
        }
        server.resume();
        proxy.restore();
        let (found, took) = until_ok(|| store.get(&key, Freshness::Strict)).await;
        assert!(found.is_some());
        eprintln!("back {took:?} after the silence");
        assert!(took < Duration::from_millis(1_500), "{took:?}");
    }
}

/// A connection that was cut without a word is replaced, though TCP would wait for a quarter of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn dead_connection_is_replaced() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let builder = RedisStore::builder(proxy.url(&server.url()), &namespace());
    let store = builder.timeout(SHORT).open().await.unwrap();
    proxy.blackhole();
    assert!(store.get(&Key::of("key"), Freshness::Strict).await.unwrap_err().is_unavailable());
    let before = proxy.counts().connections;
    proxy.restore();
    until_ok(|| store.remove_owner_of_nobody()).await;
    assert!(proxy.counts().connections > before, "it was made anew");
}

trait Nobody {
    async fn remove_owner_of_nobody(&self) -> kvolt_cache::Result<Vec<Key>>;
}

impl Nobody for RedisStore {
    async fn remove_owner_of_nobody(&self) -> kvolt_cache::Result<Vec<Key>> {
        self.remove_owner(&owner("nobody"), None).await
    }
}

/// A call whose answer is lost is an error, and is not done a second time.
#[tokio::test(flavor = "multi_thread")]
async fn call_with_a_lost_reply_is_not_repeated() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let store = store(proxy.url(&server.url())).await;
    let key = Key::of("key");
    insert(&store, Key::of("warm"), "").await;
    let monitor = server.monitor();
    proxy.hold_replies();
    let inserting = tokio::spawn({
        let store = store.clone();
        async move { store.insert(key, entry("value")).await }
    });
    support::soon("it is executed", || monitor.count("evalsha") > 0).await;
    proxy.drop_connections();
    proxy.restore();
    let answer = inserting.await.unwrap();
    assert!(answer.as_ref().is_err_and(Error::is_unavailable), "{answer:?}");
    assert_eq!(until_ok(|| store.get(&key, Freshness::Strict)).await.0.unwrap().value, b"value");
    assert_eq!(monitor.count("\"set\""), 1, "{:#?}", monitor.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_never_replies() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let master = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let key = Key::of("key");
        insert(&store, Key::of("there"), "value").await;
        server.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
        let error = store.get(&key, Freshness::Strict).await.expect_err("never absent");
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        let at = Target::new(&key);
        let error = store.touch(at).await.expect_err("never absent");
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        let any = kvolt_cache::Version::from_number(1);
        let error = store.replace(at, any, Vec::new(), None).await.expect_err("never absent");
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        let error = store.insert(key, entry("value")).await.unwrap_err();
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        let owner = owner("owner");
        assert!(store.list(&owner).await.unwrap_err().is_unavailable());
        assert!(store.remove(at, None).await.is_err_and(|error| error.is_unavailable()));
        let login = entry("").replaces(kvolt_cache::Predecessor::new(key).seen(any));
        let refused = store.insert(Key::of("new"), login).await;
        assert!(refused.unwrap_err().is_unavailable());
        assert!(store.remove_owner(&owner, None).await.unwrap_err().is_unavailable());
        assert!(store.scan(None, 10).await.unwrap_err().is_unavailable());
        assert!(store.clear().await.unwrap_err().is_unavailable());
        assert!(store.count().await.unwrap_err().is_unavailable());
        server.cli(&["REPLICAOF", "NO", "ONE"]);
        insert(&store, key, "value").await;
    }
}

/// A full server rejects new entries. Existing ones can be read, prolonged and removed.
#[tokio::test(flavor = "multi_thread")]
async fn full_server_rejects_only_new_entries() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let builder = Redis::builder().flavour(flavour).config("maxmemory-policy", "noeviction");
        let server = builder.start();
        let builder = RedisStore::builder(server.url(), "full").slide_after(0.0);
        let store = builder.open().await.unwrap();
        let owner = owner("owner");
        let owned = || NewEntry::new(vec![7; 100], Expiry::idle(LONG)).owner(owner.clone());
        let (first, second) = (Key::of("first"), Key::of("second"));
        for key in [first, second] {
            let _ = store.insert(key, owned()).await.unwrap();
        }
        server.cli(&["CONFIG", "SET", "maxmemory", "100kb"]);
        let login = owned().replaces(kvolt_cache::Predecessor::new(first));
        let limited = owned().limit(OwnerLimit::remove_oldest(1));
        for refused in [owned(), login, limited] {
            let error = store.insert(Key::of("third"), refused).await.expect_err("it is full");
            assert!(error.is_full(), "{flavour:?}: {error}");
        }
        assert_eq!(list(&store, &owner).await.len(), 2, "nothing was half done");

        let seen = get(&store, &first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let slid = touch(&store, &first).await.unwrap();
        assert!(slid.last_used() > seen.deadlines.last_used(), "{flavour:?}");
        assert_eq!(get(&store, &first).await.unwrap().deadlines, slid);
        for expiry in [None, Some(Expiry::idle(LONG))] {
            let replaced =
                store.replace(Target::new(&first), seen.version, vec![8; 100], expiry).await;
            let error = replaced.expect_err("it is full");
            assert!(error.is_full(), "{flavour:?}: {error}");
        }
        assert_eq!(get(&store, &first).await.unwrap().deadlines, slid, "nothing was half done");
        assert_eq!(remove(&store, &first).await, RemoveOutcome::Removed);
        assert_eq!(store.remove_owner(&owner, None).await.unwrap(), [second]);
    }
}

/// A server that can't write its data refuses changes, and reads with them: `GETEX` is a write.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_can_not_save_is_unavailable() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let key = Key::of("key");
        insert(&store, key, "value").await;
        // A folder that there is not.
        server.cli(&["CONFIG", "SET", "save", "1000000 1"]);
        server.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
        let folder = server.folder().join("dump.rdb");
        std::fs::create_dir(&folder).unwrap();
        let _ = server.try_cli(&["BGSAVE"]);
        support::soon("it has failed", || server.info("rdb_last_bgsave_status") == "err").await;
        for _ in 0..2 {
            let error = store.get(&key, Freshness::Strict).await.expect_err("never absent");
            assert!(error.is_unavailable() && error.to_string().contains("disk"), "{error}");
            let error = store.remove(Target::new(&key), None).await.expect_err("it is refused");
            assert!(error.is_unavailable(), "{flavour:?}: {error}");
        }
        server.cli(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        assert_eq!(value(&store, &key).await.as_deref(), Some("value"));
    }
}

#[test]
fn loading_server_is_unavailable() {
    let server = Redis::builder().append_only().start();
    let runtime = support::runtime();
    let store = runtime.block_on(store(server.url()));
    runtime.block_on(insert(&store, Key::of("key"), "value"));
    server.cli(&["DEBUG", "POPULATE", "20000", "x", "64"]);
    server.cli(&["BGREWRITEAOF"]);
    kvolt_servers::wait_until("it is rewritten", || server.info("aof_rewrite_in_progress") == "0");
    server.cli(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    server.cli(&["CONFIG", "SET", "key-load-delay", "100"]);
    server.cli(&["CONFIG", "REWRITE"]);
    let url = server.url();
    server.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| server.restart());
        let seen = runtime.block_on(async {
            let mut seen = Vec::new();
            loop {
                match store.get(&Key::of("key"), Freshness::Strict).await {
                    Ok(entry) => break assert!(entry.is_some(), "never absent"),
                    Err(error) => {
                        assert!(error.is_unavailable(), "{error}");
                        seen.push(error.to_string());
                        if error.to_string().contains("loading") {
                            // Unless that is over by now.
                            let opened = RedisStore::open(url.as_str(), "shop").await;
                            assert!(opened.is_ok() || opened.unwrap_err().is_unavailable());
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seen
        });
        assert!(seen.iter().any(|error| error.contains("loading")), "{seen:?}");
    });
}

/// Scripts that the server has forgotten are sent again.
#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_sent_again() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let key = Key::of("key");
    for round in 0..3 {
        server.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.insert(key, entry("value")).await.unwrap(), inserted(), "round {round}");
        assert!(touch(&store, &key).await.is_some());
        server.cli(&["SCRIPT", "FLUSH"]);
        let seen = get(&store, &key).await.unwrap().version;
        let replaced =
            store.replace(Target::new(&key), seen, b"other".to_vec(), None).await.unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Replaced(_)), "round {round}");
        assert_eq!(value(&store, &key).await.as_deref(), Some("other"));
        server.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);
    }
}

/// While another client's script keeps the server busy, calls are unavailable.
#[test]
fn busy_server_is_unavailable() {
    let server = Redis::builder().config("lua-time-limit", "50").start();
    let builder = RedisStore::builder(server.url(), "busy").timeout(SHORT);
    let store = support::runtime().block_on(builder.open()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.try_cli(&["EVAL", "while true do end", "0"]));
        support::runtime().block_on(async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let error =
                store.get(&Key::of("key"), Freshness::Strict).await.expect_err("never absent");
            assert!(error.is_unavailable(), "{error}");
            server.cli(&["SCRIPT", "KILL"]);
            until_ok(|| store.remove_owner_of_nobody()).await;
        });
    });
}
