//! Encrypted connections, and users with minimal permissions.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    ChangeFeed, ChangeObserver, Credentials, Error, Freshness, Key, Store, Timestamp,
};
use kvolt_redis::{RedisStore, RedisStoreBuilder};
use kvolt_servers::{Certificates, Redis, RedisCluster, RedisSentinel};

use support::{acl_lines, cluster_url, insert, namespace, value};

async fn works(builder: RedisStoreBuilder) {
    let store = builder.open().await.unwrap();
    insert(&store, Key::of("key"), "value").await;
    assert_eq!(value(&store, &Key::of("key")).await.as_deref(), Some("value"));
    hears(&store).await;
}

async fn refused(builder: RedisStoreBuilder) -> Error {
    builder.open().await.expect_err("it is not to be trusted")
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl ChangeObserver for Counting {
    fn changed(&self, _: &Key) {}
    fn all_changed(&self) {}
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
    fn confirmed(&self, _: Timestamp, _: Timestamp) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs a feed until its first confirmation.
async fn hears(store: &RedisStore) {
    let counting = Counting::default();
    let watching = store.run(Duration::from_millis(5), &counting);
    tokio::select! {
        error = watching => panic!("{error}"),
        () = support::soon("it hears", || counting.0.load(Ordering::SeqCst) > 3) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_is_checked() {
    let certificates = Certificates::new();
    let server = Redis::builder().tls(&certificates).start();
    works(RedisStore::builder(server.url(), &namespace()).ca_file(certificates.authority())).await;
    works(RedisStore::builder(server.url(), &namespace()).insecure_accept_any_certificate()).await;

    let error = refused(RedisStore::builder(server.url(), &namespace())).await;
    assert!(error.is_misconfigured() && error.to_string().contains("certificate"), "{error}");
    let others = Certificates::new();
    let error =
        refused(RedisStore::builder(server.url(), &namespace()).ca_file(others.authority())).await;
    assert!(error.is_misconfigured() && error.to_string().contains("certificate"), "{error}");
    for path in ["/nowhere", "/dev/null"] {
        let error = refused(RedisStore::builder(server.url(), &namespace()).ca_file(path)).await;
        assert!(error.is_misconfigured() && error.to_string().contains(path), "{error}");
    }
    // Not a word in the clear.
    let plain = server.url().replace("rediss:", "redis:");
    let builder = RedisStore::builder(plain, &namespace()).timeout(Duration::from_millis(500));
    assert!(refused(builder).await.is_unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn server_may_ask_for_a_certificate() {
    let certificates = Certificates::new();
    let server = Redis::builder().mutual_tls(&certificates).start();
    let builder = RedisStore::builder(server.url(), &namespace()).ca_file(certificates.authority());
    works(builder.clone().client_certificate(certificates.client(), certificates.client_key()))
        .await;
    let error = refused(builder.timeout(Duration::from_secs(1))).await;
    assert!(error.is_misconfigured() || error.is_unavailable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_a_cluster_is_encrypted() {
    let certificates = Certificates::new();
    let cluster = RedisCluster::of(Redis::builder().tls(&certificates).password("secret"));
    let url = cluster_url(&cluster).replace("redis+cluster://", "rediss+cluster://:secret@");
    works(RedisStore::builder(url, &namespace()).ca_file(certificates.authority())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_have_passwords_of_their_own() {
    let sentinel = RedisSentinel::of(Redis::builder().password("secret"));
    for one in sentinel.sentinels() {
        one.cli(&["ACL", "SETUSER", "app", "on", ">other", "~*", "&*", "+@all"]);
        one.cli(&["ACL", "SETUSER", "default", "off"]);
    }
    let url = support::sentinel_url(&sentinel);
    let builder = RedisStore::builder(url, &namespace()).credentials(None, "secret");
    works(builder.clone().sentinel_credentials(Some("app"), "other")).await;
    assert!(refused(builder).await.is_misconfigured());
}

/// The user of the README who may also listen; the laws run as the other.
#[tokio::test(flavor = "multi_thread")]
async fn documented_permissions_suffice_for_the_feed() {
    let server = Redis::start();
    for line in acl_lines("app").into_iter().chain(acl_lines("listener")) {
        server.cli(&line.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let store = |user| RedisStore::builder(server.url_as(user, "password"), &namespace()).open();
    hears(&store("listener").await.unwrap()).await;
    let only_data = store("app").await.unwrap();
    let error = only_data.run(Duration::from_millis(5), &Counting::default()).await;
    assert!(error.is_misconfigured() && error.to_string().contains("tracking"), "{error}");
}

/// Every missing permission is reported at the start, so the README has none in excess.
#[tokio::test(flavor = "multi_thread")]
async fn each_permission_is_needed() {
    let server = Redis::start();
    let line = support::acl_lines_for("app", "shop").remove(0);
    for (place, word) in line.iter().enumerate().skip(3) {
        if !word.starts_with(['+', '~']) {
            continue;
        }
        let mut less = line.clone();
        less.remove(place);
        server.cli(&["ACL", "DELUSER", "app"]);
        server.cli(&less.iter().map(String::as_str).collect::<Vec<_>>());
        let error = refused(RedisStore::builder(server.url_as("app", "password"), "shop"));
        let error = error.await;
        let text = error.to_string().to_lowercase();
        assert!(
            error.is_misconfigured() && (text.contains(&word[1..]) || text.contains("keys")),
            "{word}: {error}"
        );
    }
}

/// What the callback returns, how often it was asked, and the store's builder with it.
struct Vault {
    credentials: Arc<Mutex<(&'static str, &'static str)>>,
    asked: Arc<AtomicUsize>,
}

impl Vault {
    fn new(user: &'static str, password: &'static str) -> Self {
        Self { credentials: Arc::new(Mutex::new((user, password))), asked: Arc::default() }
    }

    fn set(&self, user: &'static str, password: &'static str) {
        *self.credentials.lock().unwrap() = (user, password);
    }

    fn builder(&self, url: String, valid_for: Option<Duration>) -> RedisStoreBuilder {
        let (credentials, asked) = (Arc::clone(&self.credentials), Arc::clone(&self.asked));
        let callback = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let (user, password) = *credentials.lock().unwrap();
            let given = Credentials::new(user, password);
            async move {
                Ok::<_, std::io::Error>(
                    valid_for.map_or(given.clone(), |time| given.valid_for(time)),
                )
            }
        };
        RedisStore::builder(url, &namespace()).credentials_from(callback)
    }
}

fn set_password(servers: &[&Redis], password: &str) {
    for server in servers {
        let password = format!(">{password}");
        server.cli(&["ACL", "SETUSER", "app", "on", "resetpass", &password, "~*", "&*", "+@all"]);
    }
}

/// The password changes, and all connections are cut, while the store reads all the time.
async fn survives_a_changed_password(url: String, servers: &[&Redis]) {
    set_password(servers, "first-secret");
    let vault = Vault::new("app", "first-secret");
    // As long as a duration can be: none of them is renewed.
    let store = vault.builder(url, Some(Duration::MAX)).open().await.unwrap();
    let key = Key::of("key");
    insert(&store, key, "value").await;
    hears(&store).await;
    let asked = vault.asked.load(Ordering::SeqCst);

    // Until the callback returns the new password, reads are errors. None finds no session.
    set_password(servers, "second-secret");
    for server in servers {
        let _ = server.try_cli(&["CLIENT", "KILL", "USER", "app"]);
    }
    let mut rejected = None;
    support::soon_async("the password is rejected", async || {
        match store.get(&key, Freshness::Strict).await {
            Ok(found) => assert!(found.is_some(), "it looks like a logout"),
            Err(error) if error.is_misconfigured() => rejected = Some(error),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        rejected.is_some()
    })
    .await;
    let text = format!("{0} {0:?}", rejected.unwrap());
    assert!(text.contains("credentials_from"), "{text}");
    assert!(!text.contains("secret"), "{text}");

    vault.set("app", "second-secret");
    support::soon_async("the new password is taken", async || {
        match store.get(&key, Freshness::Strict).await {
            Ok(found) => {
                assert!(found.is_some(), "it looks like a logout");
                true
            }
            Err(_) => false,
        }
    })
    .await;
    assert!(vault.asked.load(Ordering::SeqCst) > asked);
    insert(&store, Key::of("another"), "value").await;
    hears(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_password_needs_no_restart() {
    let server = Redis::start();
    survives_a_changed_password(server.url(), &[&server]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_password_of_a_cluster_needs_no_restart() {
    let cluster = RedisCluster::start();
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    survives_a_changed_password(cluster_url(&cluster), &nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_password_behind_sentinels_needs_no_restart() {
    let sentinel = RedisSentinel::start();
    let stores: Vec<_> = sentinel.stores().iter().collect();
    survives_a_changed_password(support::sentinel_url(&sentinel), &stores).await;
}

/// The same connections authenticate again, also that of the feed.
#[tokio::test(flavor = "multi_thread")]
async fn expiring_credentials_are_renewed_on_the_connection() {
    let server = Redis::start();
    for user in ["first", "second"] {
        let password = format!(">{user}-secret");
        server.cli(&["ACL", "SETUSER", user, "on", &password, "~*", "&*", "+@all"]);
    }
    let vault = Vault::new("first", "first-secret");
    let valid_for = Some(Duration::from_secs(2));
    let store = vault.builder(server.url(), valid_for).open().await.unwrap();
    let counting = Counting::default();
    let clients = |user: &str| {
        let list = server.cli(&["CLIENT", "LIST"]);
        let id = |line: &str| line.split(' ').next().map(String::from);
        let of_user = list.lines().filter(|line| line.contains(&format!(" user={user} ")));
        of_user.filter_map(id).collect::<std::collections::BTreeSet<_>>()
    };
    let watching = store.run(Duration::from_millis(5), &counting);
    let renewed = async {
        support::soon("it listens", || clients("first").len() == 2).await;
        let before = clients("first");
        // A rejected renewal leaves the connection as it was, and is tried again.
        vault.set("second", "wrong-secret");
        let asked = vault.asked.load(Ordering::SeqCst);
        support::soon("it is tried", || vault.asked.load(Ordering::SeqCst) > asked + 1).await;
        assert_eq!(clients("first"), before);
        insert(&store, Key::of("key"), "value").await;
        vault.set("second", "second-secret");
        support::soon("it is renewed", || clients("second").len() == 2).await;
        assert_eq!(clients("second"), before, "the same connections");
        assert!(value(&store, &Key::of("key")).await.is_some());
        let confirmed = counting.0.load(Ordering::SeqCst);
        support::soon("it hears", || counting.0.load(Ordering::SeqCst) > confirmed).await;
    };
    tokio::select! {
        error = watching => panic!("{error}"),
        () = renewed => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_callback_makes_the_store_unavailable() {
    let server = Redis::start();
    let builder = || RedisStore::builder(server.url(), "shop").timeout(Duration::from_millis(200));
    let failing = || async { Err::<Credentials, _>("the vault is sealed") };
    let error = refused(builder().credentials_from(failing)).await;
    assert!(error.is_unavailable() && error.to_string().contains("credentials_from"), "{error}");
    let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(why.contains("the vault is sealed"), "{why}");

    let hanging = || std::future::pending::<Result<Credentials, std::io::Error>>();
    let error = refused(builder().credentials_from(hanging)).await;
    assert!(error.is_unavailable(), "{error}");

    let connection = support::connection(&server.url()).await;
    let existing = RedisStore::builder_on(connection, "shop").credentials_from(failing);
    let error = refused(existing).await;
    assert!(error.is_misconfigured() && error.to_string().contains("provider"), "{error}");
}
