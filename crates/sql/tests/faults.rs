//! Servers that are down, gone, silent, read-only or not what they should be.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use kvolt_cache::{
    Clock, Error, Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Store, Target,
};
use kvolt_servers::{MariaDb, Postgres, Proxy, Server};
use kvolt_sql::{MySqlStore, PostgresStore};
use support::traced::Traced;
use support::{get, owner};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const TIMEOUT: Duration = Duration::from_secs(1);

fn entry() -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::idle(Duration::from_secs(3_600)))
}

fn limited(owner: &Owner) -> NewEntry<Vec<u8>> {
    entry().owner(owner.clone()).limit(OwnerLimit::remove_oldest(3))
}

/// One line, to the operator, without the password.
fn assert_clear<S>(opened: Result<S, Error>, is_right: impl Fn(&Error) -> bool, about: &str) {
    let Err(error) = opened else { panic!("it opened: {about}") };
    let message = error.to_string();
    assert!(is_right(&error), "{about}: {message}");
    assert_eq!(message.lines().count(), 1, "{about}: {message}");
    assert!(!format!("{message} {error:?}").contains("secret"), "{about}: {error:?}");
}

/// Every call fails as unavailable, and none takes much longer than it may.
async fn assert_down<S: Store<Vec<u8>>>(store: &S) {
    let clock = Clock::system();
    let key = Key::of("there");
    let begun = clock.now();
    let error = store.get(&key, Freshness::Strict).await.expect_err("it is down");
    assert!(error.is_unavailable(), "{error}");
    let error = store.insert(Key::of("new"), limited(&owner("owner"))).await;
    let error = error.expect_err("it is down");
    assert!(error.is_unavailable(), "{error}");
    let error = store.remove(Target::new(&Key::of("new")), None).await.expect_err("it is down");
    assert!(error.is_unavailable(), "{error}");
    let took = clock.now().since(begun);
    assert!(took < TIMEOUT * 4, "three calls took {took:?}");
}

/// It works again, by itself and soon.
async fn assert_recovers<S: Store<Vec<u8>>>(store: &S, what: &str) {
    let key = Key::of(format!("after {what}"));
    let mut last = None;
    for _ in 0..20 {
        let inserted = store.insert(key, limited(&owner("owner"))).await;
        match inserted {
            Ok(_) => {
                assert!(get(store, &key).await.is_some());
                let there = get(store, &Key::of("there")).await;
                assert!(there.is_some(), "an acknowledged write is there");
                return;
            }
            Err(error) => {
                assert!(error.is_unavailable(), "{error}");
                last = Some(error);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not recover after {what}: {last:?}");
}

async fn survives<S: Store<Vec<u8>>>(store: &S, server: &Server, proxy: &Proxy) {
    let _ = store.insert(Key::of("there"), entry()).await.expect("it works");
    server.stop();
    assert_down(store).await;
    server.restart();
    assert_recovers(store, "a stop").await;
    server.kill();
    assert_down(store).await;
    server.restart();
    assert_recovers(store, "a kill").await;
    server.restart();
    assert_recovers(store, "an unnoticed restart").await;
    server.pause();
    assert_down(store).await;
    server.resume();
    assert_recovers(store, "a pause").await;
    proxy.blackhole();
    assert_down(store).await;
    proxy.restore();
    assert_recovers(store, "a blackhole").await;
    proxy.drop_connections();
    assert_recovers(store, "dropped connections").await;

    // The client does not learn that it was done: that is an error, and the truth comes out.
    proxy.hold_replies();
    let key = Key::of("unacknowledged");
    let error = store.insert(key, entry()).await.expect_err("no reply comes");
    assert!(error.is_unavailable(), "{error}");
    proxy.restore();
    assert_recovers(store, "held replies").await;
    let is_there = get(store, &key).await.is_some();
    let again = store.insert(key, entry()).await.expect("it works");
    assert_eq!(again == InsertOutcome::Occupied, is_there);
}

/// A client that is cut off in the middle of a transaction does not lock an owner out for long.
async fn lets_go_of_locks<S: Store<Vec<u8>>>(cut_off: S, other: S, proxy: &Proxy) {
    let owner = owner("locked");
    let _ = cut_off.insert(Key::of("first"), limited(&owner)).await.expect("it works");
    proxy.delay(Duration::from_millis(100));
    let inserting = tokio::spawn({
        let owner = owner.clone();
        async move { cut_off.insert(Key::of("second"), limited(&owner)).await }
    });
    // The lock is had after one round trip, and let go of after four.
    sleep(Duration::from_millis(300)).await;
    proxy.blackhole();
    let clock = Clock::system();
    let begun = clock.now();
    while let Err(error) = other.insert(Key::of("third"), limited(&owner)).await {
        assert!(error.is_unavailable(), "{error}");
        let waited = clock.now().since(begun);
        assert!(waited < TIMEOUT * 10, "it is locked after {waited:?}: {error}");
    }
    assert!(inserting.await.expect("it ends").is_err());
    proxy.restore();
}

async fn postgres(url: &str) -> Result<PostgresStore, Error> {
    PostgresStore::builder(url, "shop").timeout(TIMEOUT).open().await
}

async fn mysql(url: &str) -> Result<MySqlStore, Error> {
    MySqlStore::builder(url, "shop").timeout(TIMEOUT).open().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_postgresql_is_unavailable() {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let store = postgres(&proxy.url(&server.url())).await.expect("it opens");
    survives(&store, &server, &proxy).await;
    lets_go_of_locks(store, postgres(&server.url()).await.expect("it opens"), &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_mariadb_is_unavailable() {
    let server = MariaDb::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let store = mysql(&proxy.url(&server.url())).await.expect("it opens");
    survives(&store, &server, &proxy).await;
    lets_go_of_locks(store, mysql(&server.url()).await.expect("it opens"), &proxy).await;
}

/// An address that leads to another server from some moment on: with the first connection to the
/// new one, those to the one before are given up.
#[tokio::test]
async fn connections_to_a_previous_server_are_closed() {
    let servers = [0, 1].map(|_| Postgres::builder().fsync(false).start());
    let key = Key::of("key");
    for (server, value) in servers.iter().zip(["old", "new"]) {
        let store = postgres(&server.url()).await.expect("it opens");
        let entry = NewEntry::new(value.into(), Expiry::idle(Duration::from_secs(3_600)));
        let _ = store.insert(key, entry).await.expect("insert works");
    }
    let (target, port) = forward().await;
    target.store(servers[0].port(), Ordering::SeqCst);
    let url = servers[0].url().replace(&servers[0].port().to_string(), &port.to_string());
    let store = postgres(&url).await.expect("it opens");
    let read = async || get(&store, &key).await.expect("it is there").value;
    assert_eq!(read().await, b"old");
    target.store(servers[1].port(), Ordering::SeqCst);
    // The first has the connection that there is, and the second makes another.
    assert_eq!(tokio::join!(read(), read()), (b"old".to_vec(), b"new".to_vec()));
    for _ in 0..5 {
        assert_eq!(tokio::join!(read(), read()), (b"new".to_vec(), b"new".to_vec()));
    }
}

/// A port that leads to another, which can be changed for connections to come.
async fn forward() -> (Arc<AtomicU16>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let target = Arc::new(AtomicU16::new(0));
    let leads_to = Arc::clone(&target);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = ("127.0.0.1", leads_to.load(Ordering::SeqCst));
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (target, port)
}

#[tokio::test]
async fn read_only_postgresql_is_unavailable() {
    let server = Postgres::builder().fsync(false).start();
    let store = postgres(&server.url()).await.expect("it opens");
    let _ = store.insert(Key::of("there"), entry()).await.expect("it works");
    let set = |on: &str| {
        server.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
        server.psql("SELECT pg_reload_conf()");
    };
    set("on");
    sleep(Duration::from_millis(200)).await;
    reads_only(&store).await;
    postgres(&server.url()).await.expect("it opens, where there is nothing to be made");
    server.psql("SET default_transaction_read_only = off; ALTER SYSTEM RESET ALL");
    server.psql("SELECT pg_reload_conf()");
    sleep(Duration::from_millis(200)).await;
    assert_recovers(&store, "being read-only").await;
}

#[tokio::test]
async fn read_only_mariadb_is_unavailable() {
    let server = MariaDb::builder().fsync(false).start();
    // A user with all rights may write all the same.
    server.sql("CREATE USER clerk@'127.0.0.1'; GRANT ALL ON kvolt.* TO clerk@'127.0.0.1'");
    let (_, rest) =
        server.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let store = mysql(&format!("mysql://clerk@{rest}")).await.expect("it opens");
    let _ = store.insert(Key::of("there"), entry()).await.expect("it works");
    server.sql("SET GLOBAL read_only = 1");
    reads_only(&store).await;
    server.sql("SET GLOBAL read_only = 0");
    assert_recovers(&store, "being read-only").await;
}

async fn reads_only<S: Store<Vec<u8>>>(store: &S) {
    let there = Key::of("there");
    assert!(get(store, &there).await.is_some());
    let error = store.remove(Target::new(&there), None).await.expect_err("it is read-only");
    assert!(error.is_unavailable(), "another server may have taken over: {error}");
    assert!(error.to_string().contains("read"), "{error}");
}

#[tokio::test]
async fn missing_postgresql_is_reported() {
    let server = Postgres::builder().fsync(false).password("secret").start();
    let at = format!("127.0.0.1:{}", server.port());
    postgres(&server.url()).await.expect("the password is right");
    for (url, about) in [
        (format!("postgres://kvolt:secret1@{at}/kvolt"), "the password is wrong"),
        (format!("postgres://nobody:secret@{at}/kvolt"), "nobody has this name"),
        (format!("postgres://kvolt:secret@{at}/nothing"), "no such database"),
        (format!("postgres://kvolt:secret@{at}/kvolt?sslmode=require"), "it has no TLS"),
        (format!("postgres://kvolt:secret@{at}/kvolt?sslmode=no"), "no such mode"),
        (format!("mysql://kvolt:secret@{at}/kvolt"), "another kind of database"),
        ("postgres://kvolt:secret@[/kvolt".to_owned(), "no URL"),
        ("kvolt:secret".to_owned(), "no URL"),
    ] {
        assert_clear(postgres(&url).await, Error::is_misconfigured, about);
    }
    server.stop();
    for (url, about) in [
        (server.url(), "it is down"),
        ("postgres://kvolt:secret@nowhere.invalid/kvolt".to_owned(), "no such host"),
    ] {
        assert_clear(postgres(&url).await, Error::is_unavailable, about);
    }
}

#[tokio::test]
async fn missing_mariadb_is_reported() {
    let server = MariaDb::builder().fsync(false).start();
    let at = format!("127.0.0.1:{}", server.port());
    server.sql("CREATE USER ada@'127.0.0.1' IDENTIFIED BY 'secret'");
    server.sql("GRANT SELECT ON kvolt.* TO ada@'127.0.0.1'");
    for (url, about) in [
        (format!("mysql://kvolt:secret1@{at}/kvolt"), "the password is wrong"),
        (format!("mysql://ada:secret@{at}/nothing"), "no such database, or none for her"),
        (format!("mysql://ada:secret@{at}/kvolt"), "no right to make tables"),
        (format!("mysql://ada:secret@{at}/kvolt?ssl-mode=required"), "it has no TLS"),
        (format!("mysql://ada:secret@{at}"), "no database"),
        (format!("postgres://ada:secret@{at}/kvolt"), "another kind of database"),
        ("mysql://ada:secret@[/kvolt".to_owned(), "no URL"),
    ] {
        assert_clear(mysql(&url).await, Error::is_misconfigured, about);
    }
    server.stop();
    assert_clear(mysql(&server.url()).await, Error::is_unavailable, "it is down");
}

/// A wish for security that can't be met is an error, which names the parameter and no value.
#[tokio::test]
async fn unsupported_security_is_an_error() {
    let at = "127.0.0.1:1/kvolt";
    for parameter in [
        "channel_binding=require",
        "sslpassword=secret",
        "requirepeer=postgres",
        "require_auth=scram-sha-256",
        "sslcrl=/etc/revoked.pem",
        "sslMode=VERIFY_IDENTITY",
        "useSSL=true",
        "tls=secret",
        "sec@ret=1",
    ] {
        let about = format!("postgres://kvolt@{at}?sslmode=disable&{parameter}");
        assert_clear(postgres(&about).await, Error::is_misconfigured, parameter);
        let about = format!("mysql://kvolt@{at}?{parameter}");
        assert_clear(mysql(&about).await, Error::is_misconfigured, parameter);
    }
    // These ask for nothing.
    for parameter in ["channel_binding=prefer", "useSSL=false", "pgbouncer=true", "x=secret"] {
        let url = format!("postgres://kvolt@{at}?{parameter}");
        assert_clear(postgres(&url).await, Error::is_unavailable, parameter);
        let url = format!("mysql://kvolt@{at}?{parameter}");
        assert_clear(mysql(&url).await, Error::is_unavailable, parameter);
    }
}

/// Opening says once what may go wrong, by the names of parameters and never by their values.
#[tokio::test]
async fn warnings_never_have_values() {
    let warned = async |url: &str| {
        let traced = Traced::of("");
        let guard = tracing::subscriber::set_default(traced.clone());
        if url.starts_with("mysql") {
            assert!(mysql(url).await.is_err());
        } else {
            assert!(postgres(url).await.is_err());
        }
        drop(guard);
        let mut warnings = traced.events();
        warnings.retain(|event| event.contains("parameter=") || event.contains("plain text"));
        assert!(!format!("{:?}", traced.events()).contains("secret"), "{:?}", traced.events());
        warnings.len()
    };
    for scheme in ["postgres", "mysql"] {
        let (disable, require) = if scheme == "mysql" {
            ("ssl-mode=DISABLED", "ssl-mode=REQUIRED")
        } else {
            ("sslmode=disable", "sslmode=require")
        };
        let at = format!("{scheme}://kvolt:secret@127.0.0.1:1/kvolt");
        assert_eq!(warned(&at).await, 0, "nothing leaves this machine");
        assert_eq!(warned(&at.replace("127.0.0.1", "[::1]")).await, 0);
        assert_eq!(warned(&at.replace("127.0.0.1", "localhost")).await, 0);
        let unknown = format!("{at}?x=secret&pool_timeout=secret");
        assert_eq!(warned(&unknown).await, 2);
        let remote = at.replace("127.0.0.1", "nowhere.invalid");
        assert_eq!(warned(&remote).await, 1, "it may be plain text");
        assert_eq!(warned(&format!("{remote}?{disable}")).await, 0, "it was asked for");
        assert_eq!(warned(&format!("{remote}?{require}")).await, 0, "it is not");
    }
}

#[tokio::test]
async fn invalid_settings_are_rejected() {
    let builder = || {
        PostgresStore::builder("postgres://kvolt:secret@127.0.0.1:1/kvolt?sslmode=disable", "shop")
    };
    for builder in [
        PostgresStore::builder("postgres://kvolt:secret@127.0.0.1:1/kvolt", "Shop"),
        builder().timeout(Duration::ZERO),
        builder().max_connections(0),
        builder().slide_after(0.6),
        builder().slide_after(f64::NAN),
        builder().clean_every(Duration::ZERO),
        builder().max_cleaned_rows(0),
    ] {
        let about = format!("{builder:?}");
        assert_clear(builder.open().await, Error::is_misconfigured, &about);
    }
}

/// The longest durations mean for ever, and nothing overflows.
#[tokio::test]
async fn longest_durations_work() {
    let server = Postgres::builder().fsync(false).start();
    let builder = PostgresStore::builder(&server.url(), "shop").timeout(Duration::MAX);
    let store = builder.clean_every(Duration::MAX).open().await.expect("it opens");
    works_for_ever(&store).await;
    let server = MariaDb::builder().fsync(false).start();
    let builder = MySqlStore::builder(&server.url(), "shop").timeout(Duration::MAX);
    let store = builder.clean_every(Duration::MAX).open().await.expect("it opens");
    works_for_ever(&store).await;
}

async fn works_for_ever<S: Store<Vec<u8>>>(store: &S) {
    let key = Key::of("key");
    let expiry = Expiry::idle_within(Duration::MAX, Duration::MAX);
    let entry = NewEntry::new(Vec::new(), expiry).owner(owner("owner"));
    let _ = store.insert(key, entry.limit(OwnerLimit::refuse(1))).await.expect("insert works");
    assert!(store.touch(Target::new(&key)).await.expect("touch works").is_some());
    assert_eq!(store.count().await.ok(), Some(1));
    store.clear().await.expect("clear works");
}
