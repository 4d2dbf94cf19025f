//! Passwords that change while a store runs.

mod support;

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{Credentials, Error, Expiry, Freshness, Key, NewEntry, Store};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{Dialect, MySqlStore, PostgresStore, SqlStore, SqlStoreBuilder};
use sqlx::postgres::PgPoolOptions;
use support::get;
use support::pushing::{entry, watched};
use tokio::time::{Instant, sleep};

const CLEANS: Duration = Duration::from_millis(50);

/// The password that a callback returns, and how often it was asked.
#[derive(Clone)]
struct Vault(Arc<(Mutex<&'static str>, AtomicUsize)>);

impl Vault {
    fn new(password: &'static str) -> Self {
        Self(Arc::new((Mutex::new(password), AtomicUsize::new(0))))
    }

    fn set(&self, password: &'static str) {
        *self.0.0.lock().expect("no thread panicked") = password;
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn answer(&self) -> Result<Credentials, std::io::Error> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        Ok(Credentials::new("app", *self.0.0.lock().expect("no thread panicked")))
    }
}

async fn soon(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Reads until an error says that the password is rejected. No read finds that the entry is gone.
async fn rejected<D: Dialect>(store: &SqlStore<D>, key: &Key) -> Error
where
    SqlStore<D>: Store<Vec<u8>>,
{
    let mut rejected = None;
    soon("the password is rejected", async || {
        match Store::<Vec<u8>>::get(store, key, Freshness::Strict).await {
            Ok(found) => assert!(found.is_some(), "it looks like a logout"),
            Err(error) if error.is_misconfigured() => rejected = Some(error),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        rejected.is_some()
    })
    .await;
    rejected.expect("it was rejected")
}

/// Reads until that works.
async fn recovered<D: Dialect>(store: &SqlStore<D>, key: &Key)
where
    SqlStore<D>: Store<Vec<u8>>,
{
    soon("the new password is taken", async || {
        match Store::<Vec<u8>>::get(store, key, Freshness::Strict).await {
            Ok(found) => {
                assert!(found.is_some(), "it looks like a logout");
                true
            }
            Err(_) => false,
        }
    })
    .await;
}

/// The password changes and all connections are cut, by `change`. `rows` counts the store's rows.
async fn survives<D: Dialect>(
    builder: SqlStoreBuilder<D>,
    vault: &Vault,
    change: impl Fn(),
    rows: impl Fn() -> u32,
) -> SqlStore<D>
where
    SqlStore<D>: Store<Vec<u8>>,
{
    let store = builder.clean_every(CLEANS).open().await.expect("the password is right");
    let key = Key::of("key");
    let _ = store.insert(key, entry("value")).await.expect("insert works");
    let before = vault.asked();

    change();
    let error = rejected(&store, &key).await;
    let text = format!("{error} {error:?} {:?}", error.source());
    assert!(!text.contains("secret"), "{text}");
    vault.set("second-secret");
    recovered(&store, &key).await;
    assert!(vault.asked() > before);
    // Cleaning goes on.
    let short = NewEntry::new(b"short".to_vec(), Expiry::after(Duration::from_millis(50)));
    let _ = store.insert(Key::of("short"), short).await.expect("insert works");
    soon("it is cleaned", async || rows() == 1).await;
    store
}

fn postgres() -> Postgres {
    let server = Postgres::builder().fsync(false).password("password").start();
    server.psql("CREATE ROLE app LOGIN PASSWORD 'first-secret'; GRANT ALL ON SCHEMA public TO app");
    server
}

fn change_postgres(server: &Postgres) {
    server.psql(
        "ALTER ROLE app PASSWORD 'second-secret';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'",
    );
}

/// Without the user and the password.
fn plain(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("it is a URL");
    format!("{scheme}://{}", rest.split_once('@').expect("it has a user").1)
}

#[tokio::test]
async fn changed_password_of_postgresql_needs_no_restart() {
    let (server, vault) = (postgres(), Vault::new("first-secret"));
    let callback = {
        let vault = vault.clone();
        move || std::future::ready(vault.answer())
    };
    let builder = PostgresStore::builder(&plain(&server.url()), "shop").credentials_from(callback);
    let rows =
        || server.psql("SELECT count(*) FROM shop_sessions").trim().parse().expect("a count");
    let store = survives(builder, &vault, || change_postgres(&server), rows).await;

    // The change feed has the new password too.
    let recorder = watched(&store).await;
    let key = Key::of("pushed");
    let _ = store.insert(key, entry("value")).await.expect("insert works");
    recorder.beat().await;
    assert!(recorder.has(&key));
}

#[tokio::test]
async fn changed_password_of_mariadb_needs_no_restart() {
    let (server, vault) = (MariaDb::builder().fsync(false).start(), Vault::new("first-secret"));
    server.sql("CREATE USER app@'%' IDENTIFIED BY 'first-secret'; GRANT ALL ON kvolt.* TO app@'%'");
    let callback = {
        let vault = vault.clone();
        move || std::future::ready(vault.answer())
    };
    let builder = MySqlStore::builder(&plain(&server.url()), "shop").credentials_from(callback);
    let change = || {
        server.sql("SET PASSWORD FOR app@'%' = PASSWORD('second-secret'); KILL USER app");
    };
    let rows = || {
        let count = server.sql("SELECT count(*) FROM shop_sessions");
        count.lines().last().expect("a row").trim().parse().expect("a count")
    };
    survives(builder, &vault, change, rows).await;
}

/// The application gives its pool new options.
#[tokio::test]
async fn existing_pool_takes_a_new_password() {
    let server = postgres();
    let url = plain(&server.url());
    let options = |password| {
        let options = PostgresStore::connect_options(&url).expect("the URL is valid");
        options.username("app").password(password)
    };
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options("first-secret"));
    let store = PostgresStore::builder_on(pool.clone(), "shop").open().await.expect("it is right");
    let key = Key::of("key");
    let _ = store.insert(key, entry("value")).await.expect("insert works");

    change_postgres(&server);
    let error = rejected(&store, &key).await;
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    pool.set_connect_options(options("second-secret"));
    recovered(&store, &key).await;
    // A change feed connects by itself, with the pool's options.
    watched(&store).await;
}

/// A connection whose credentials are about to expire serves no further call.
#[tokio::test]
async fn expiring_credentials_replace_the_connection() {
    let server = postgres();
    let open = async |valid_for: Option<Duration>| {
        let vault = Vault::new("first-secret");
        let asked = vault.clone();
        let callback = move || {
            let given = asked.answer();
            let given = given.map(|given| match valid_for {
                Some(time) => given.valid_for(time),
                None => given,
            });
            std::future::ready(given)
        };
        let builder = PostgresStore::builder(&plain(&server.url()), "shop");
        let store = builder.clean_every(None).credentials_from(callback).open().await;
        (store.expect("the password is right"), vault)
    };
    for (valid_for, connections) in [(None, 0), (Some(Duration::MAX), 0), (Some(Duration::ZERO), 3)]
    {
        let (store, vault) = open(valid_for).await;
        let before = vault.asked();
        for _ in 0..3 {
            assert!(get(&store, &Key::of("absent")).await.is_none());
        }
        assert_eq!(vault.asked() - before, connections, "{valid_for:?}");
    }
}

#[tokio::test]
async fn failing_callback_makes_the_store_unavailable() {
    let failing = || async { Err::<Credentials, _>("the vault is sealed") };
    let builder = PostgresStore::builder("postgres://127.0.0.1:1/app", "shop");
    let error = builder.credentials_from(failing).open().await.expect_err("there are none");
    assert!(error.is_unavailable() && error.to_string().contains("credentials_from"), "{error}");
    assert!(format!("{:?}", error.source()).contains("the vault is sealed"), "{error:?}");

    let hanging = || std::future::pending::<Result<Credentials, std::io::Error>>();
    let builder = MySqlStore::builder("mysql://127.0.0.1:1/app", "shop");
    let builder = builder.timeout(Duration::from_millis(50)).credentials_from(hanging);
    let error = builder.open().await.expect_err("it hangs");
    assert!(error.is_unavailable(), "{error}");

    let pool =
        PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/app").expect("it is valid");
    let builder = PostgresStore::builder_on(pool, "shop").credentials_from(failing);
    let error = builder.open().await.expect_err("it is for connections of the store's own");
    assert!(error.is_misconfigured(), "{error}");
}
