//! Encrypted connections, and users with minimal permissions.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Key, Timestamp};
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
