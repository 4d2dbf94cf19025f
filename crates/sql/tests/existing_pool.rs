//! The laws on a pool of the application, and what other code may do to its connections.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{
    Error, Expiry, Freshness, Key, NewEntry, OwnerLimit, RemoveOutcome, Store, Target, Version,
};
use kvolt_servers::{MariaDb, PgBouncer, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore, Synchronous};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, MySqlPool, PgPool, SqlitePool};
use support::pushing::{pushes_every_change, watched};
use support::{CLEANS_EVERY, OnRuntime, get, json, owner, sqlite_url, unique};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

fn postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).max_connections(400).start())
}

fn mariadb() -> &'static MariaDb {
    static SERVER: OnceLock<MariaDb> = OnceLock::new();
    SERVER.get_or_init(|| MariaDb::builder().fsync(false).max_connections(400).start())
}

fn postgres_options(url: &str) -> PgConnectOptions {
    PostgresStore::connect_options(url).expect("the URL is valid")
}

fn mysql_options(url: &str) -> MySqlConnectOptions {
    MySqlStore::connect_options(url).expect("the URL is valid")
}

fn sqlite_options(url: &str) -> SqliteConnectOptions {
    SqliteStore::connect_options(url).expect("the URL is valid")
}

fn postgres_pool(max_connections: u32, url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(max_connections);
    pool.connect_lazy_with(postgres_options(url))
}

fn mysql_pool(max_connections: u32, url: &str) -> MySqlPool {
    let pool = MySqlPoolOptions::new().max_connections(max_connections);
    pool.connect_lazy_with(mysql_options(url))
}

fn sqlite_pool(max_connections: u32, url: &str) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(max_connections);
    pool.connect_lazy_with(sqlite_options(url))
}

mod laws_on_postgresql {
    use super::*;

    async fn open() -> (PostgresStore, String) {
        let url = postgres().url();
        let builder = PostgresStore::builder_on(postgres_pool(6, &url), &unique("laws"));
        (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json).rounds(2),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

mod laws_on_mariadb {
    use super::*;

    async fn open() -> (MySqlStore, String) {
        let url = mariadb().url();
        let builder = MySqlStore::builder_on(mysql_pool(6, &url), &unique("laws"));
        (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json).rounds(2),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

mod laws_on_sqlite {
    use super::*;

    async fn open() -> (SqliteStore, String) {
        let url = sqlite_url("laws");
        let builder = SqliteStore::builder_on(sqlite_pool(6, &url), &unique("laws"));
        (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json).rounds(2),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

/// The least time limit of a call in which all of these tests work on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(4);

fn entry() -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::idle(Duration::from_secs(3_600)))
}

async fn insert<S: Store<Vec<u8>>>(store: &S, name: &str) -> Key {
    let key = Key::of(name);
    let _ = store.insert(key, entry()).await.expect("insert works");
    key
}

/// The store can't be opened, for this reason.
async fn assert_rejected<S: std::fmt::Debug>(
    opening: impl Future<Output = Result<S, Error>>,
    named: &str,
) {
    let error = opening.await.expect_err(named);
    assert!(error.is_misconfigured(), "{named}: {error}");
    let message = error.to_string();
    assert!(message.contains(named) && message.contains("connect_options"), "{named}: {message}");
}

/// Settings that would undo a promise, by the name in the error, are rejected wherever they are set.
#[tokio::test]
async fn wrong_settings_are_named_on_postgresql() {
    let url = postgres().url();
    let open = async |options| {
        let pool = PgPoolOptions::new().connect_lazy_with(options);
        PostgresStore::builder_on(pool, &unique("wrong")).open().await
    };
    let options = || postgres_options(&url);
    let as_usual: PgConnectOptions = url.parse().expect("it is valid");
    assert_rejected(open(as_usual), "lock_timeout").await;
    for (name, value) in [
        ("synchronous_commit", "off"),
        ("lock_timeout", "2min"),
        ("session_replication_role", "replica"),
    ] {
        assert_rejected(open(options().options([(name, value)])), name).await;
    }
    assert!(open(options().options([("synchronous_commit", "local")])).await.is_ok());
    let pool = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move { connection.execute("SET synchronous_commit = off").await.map(drop) })
    });
    let pool = pool.connect_lazy_with(options());
    assert_rejected(PostgresStore::builder_on(pool, "wrong").open(), "synchronous_commit").await;
    let begins = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move { connection.execute("BEGIN").await.map(drop) })
    });
    let pool = begins.connect_lazy_with(options());
    assert_rejected(PostgresStore::builder_on(pool, "wrong").open(), "transaction").await;
    let pooled = PostgresStore::builder_on(postgres_pool(1, &url), "wrong");
    let error = pooled.pooled_by_transactions(true).open().await.expect_err("it needs a URL");
    assert!(error.is_misconfigured(), "{error}");
    assert!(PostgresStore::connect_options(&format!("{url}?pooled_by_transactions=true")).is_err());
}

/// Behind a pooler by transactions, an inspection says nothing about the next statement.
#[tokio::test]
async fn pooler_by_transactions_is_rejected() {
    let server = Postgres::builder().fsync(false).start();
    server.psql("ALTER ROLE kvolt SET lock_timeout = '2s'");
    let pooler = PgBouncer::with_pool_size(&server, 1);
    let options: PgConnectOptions = pooler.url().parse().expect("it is valid");
    let pool = PgPoolOptions::new().connect_lazy_with(options.extra_float_digits(None));
    let error = PostgresStore::builder_on(pool, "shop").open().await.expect_err("it is mixed");
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("pooled_by_transactions"), "{error}");
    let pool = postgres_pool(2, &pooler.url());
    let error = PostgresStore::builder_on(pool, "shop").open().await.expect_err("it is mixed");
    assert!(error.to_string().contains("pooled_by_transactions"), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_named_on_mariadb() {
    for (set, name) in [
        ("SET autocommit = 0", "autocommit"),
        ("SET completion_type = 'CHAIN'", "completion_type"),
        ("SET sql_mode = 'ONLY_FULL_GROUP_BY'", "sql_mode"),
        ("SET sql_mode = 'ORACLE,STRICT_ALL_TABLES'", "sql_mode"),
        ("SET sql_safe_updates = 1", "sql_safe_updates"),
        ("SET sql_big_selects = 0", "sql_big_selects"),
        ("SET sql_select_limit = 100", "sql_select_limit"),
        ("SET sql_select_limit = 0", "hides rows"),
        ("SET innodb_lock_wait_timeout = 120", "innodb_lock_wait_timeout"),
        ("SET timestamp = 1", "timestamp"),
        ("START TRANSACTION", "transaction"),
    ] {
        let pool = MySqlPoolOptions::new().after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(set).await.map(drop) })
        });
        let pool = pool.connect_lazy_with(mysql_options(&mariadb().url()));
        assert_rejected(MySqlStore::builder_on(pool, "wrong").open(), name).await;
    }
}

#[tokio::test]
async fn wrong_settings_are_named_on_sqlite() {
    let open = async |options, synchronous| {
        let pool = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options);
        SqliteStore::builder_on(pool, "shop").synchronous(synchronous).open().await
    };
    let options = || sqlite_options(&sqlite_url("wrong"));
    let full = Synchronous::Full;
    for (options, name) in [
        (options().journal_mode(SqliteJournalMode::Delete), "journal_mode"),
        (SqliteConnectOptions::new().in_memory(true), "journal_mode"),
        (options().synchronous(SqliteSynchronous::Normal), "synchronous"),
        (options().busy_timeout(Duration::ZERO), "busy_timeout"),
        (options().busy_timeout(Duration::from_secs(120)), "busy_timeout"),
        (options().pragma("query_only", "ON"), "query_only"),
    ] {
        assert_rejected(open(options, full), name).await;
    }
    let normal = || options().synchronous(SqliteSynchronous::Normal);
    assert!(open(normal(), Synchronous::Normal).await.is_ok());
    let off = options().synchronous(SqliteSynchronous::Off);
    assert_rejected(open(off, Synchronous::Normal), "synchronous").await;
    let bounded = SqliteStore::builder_on(sqlite_pool(1, &sqlite_url("wrong")), "shop");
    let error = bounded.max_file_size(1 << 20).open().await.expect_err("it needs a URL");
    assert!(error.to_string().contains("max_page_count"), "{error}");
}

/// Other code leaves the pool's only connection in some state. This neither undoes a change nor hides
/// one, and the store continues.
macro_rules! leftovers_do_no_harm {
    ($store:expr, $other:expr, $pool:expr, $leftovers:expr) => {
        let (store, other) = ($store, $other);
        let leave = async |leftover: &str| {
            let mut connection = $pool.acquire().await.expect("one is free");
            // Some of it fails on purpose.
            let sql = sqlx::raw_sql(AssertSqlSafe(leftover.to_owned()));
            let _ = sql.execute(&mut *connection).await;
        };
        for (number, leftover) in $leftovers.into_iter().enumerate() {
            let key = insert(&store, &format!("seen {number}")).await;
            leave(leftover).await;
            assert_eq!(remove(&other, &key).await, RemoveOutcome::Removed, "{leftover}");
            assert!(get(&store, &key).await.is_none(), "a read is not stale after {leftover}");

            leave(leftover).await;
            let key = insert(&store, &format!("written {number}")).await;
            assert!(get(&other, &key).await.is_some(), "a write lasts after {leftover}");

            leave(leftover).await;
            let limited = entry().owner(owner("ada")).limit(OwnerLimit::remove_oldest(1));
            let key = Key::of(format!("limited {number}"));
            let _ = store.insert(key, limited).await.expect("insert works");
            let owned = other.list(&owner("ada")).await.expect("list works").entries;
            let owned: Vec<_> = owned.iter().map(|entry| entry.key).collect();
            assert_eq!(owned, [key], "a limit holds after {leftover}");
        }
    };
}

async fn remove<S: Store<Vec<u8>>>(store: &S, key: &Key) -> RemoveOutcome {
    store.remove(Target::new(key), None).await.expect("remove works")
}

#[tokio::test]
async fn leftovers_do_no_harm_on_postgresql() {
    let (url, namespace) = (postgres().url(), unique("left"));
    let pool = postgres_pool(1, &url);
    let builder = PostgresStore::builder_on(pool.clone(), &namespace).timeout(TIMEOUT);
    let store = builder.clean_every(None).open().await.expect("it opens");
    let other = PostgresStore::open(&url, &namespace).await.expect("it opens");
    let (schema, table) = (unique("tenant"), format!("{namespace}_sessions"));
    postgres().psql(&format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table} (LIKE {table} INCLUDING ALL)"
    ));
    let stale = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM {table}");
    let another_schema = format!("SET search_path = {schema}");
    let shadowed = format!("CREATE TEMP TABLE {table} (LIKE {table})");
    let leftovers = [
        "BEGIN",
        &stale,
        "BEGIN; SELECT nothing",
        "SET synchronous_commit = off",
        "SET lock_timeout = 0",
        "SET session_replication_role = replica",
        "SET bytea_output = 'escape'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        &another_schema,
        &shadowed,
    ];
    leftovers_do_no_harm!(store, other, pool, leftovers);
}

#[tokio::test]
async fn leftovers_do_no_harm_on_mariadb() {
    let (url, namespace) = (mariadb().url(), unique("left"));
    let pool = mysql_pool(1, &url);
    let builder = MySqlStore::builder_on(pool.clone(), &namespace).timeout(TIMEOUT);
    let store = builder.clean_every(None).open().await.expect("it opens");
    let other = MySqlStore::open(&url, &namespace).await.expect("it opens");
    let (schema, table) = (unique("tenant"), format!("{namespace}_sessions"));
    mariadb().sql(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.{table} LIKE {table}"));
    let stale = format!("START TRANSACTION; SELECT COUNT(*) FROM {table}");
    let by_default = format!("SET autocommit = 0; SELECT COUNT(*) FROM {table}");
    let another_database = format!("USE {schema}");
    let leftovers = [
        "START TRANSACTION",
        &stale,
        &by_default,
        "SET completion_type = 'CHAIN'",
        "SET sql_mode = 'ORACLE'",
        "SET sql_select_limit = 0",
        "SET timestamp = 1",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        &another_database,
    ];
    leftovers_do_no_harm!(store, other, pool, leftovers);
}

#[tokio::test]
async fn leftovers_do_no_harm_on_sqlite() {
    let url = sqlite_url("left");
    let pool = sqlite_pool(1, &url);
    let builder = SqliteStore::builder_on(pool.clone(), "shop").timeout(TIMEOUT);
    let store = builder.clean_every(None).open().await.expect("it opens");
    let other = SqliteStore::open(&url, "shop").await.expect("it opens");
    let leftovers = [
        "BEGIN",
        "BEGIN; SELECT count(*) FROM shop_sessions",
        "PRAGMA synchronous = OFF",
        "PRAGMA busy_timeout = 0",
        "PRAGMA query_only = ON",
        "CREATE TEMP TABLE shop_sessions AS SELECT * FROM main.shop_sessions",
    ];
    leftovers_do_no_harm!(store, other, pool, leftovers);
}

/// A store on a pool of which another part of the program has all connections fails in time, says
/// why, and works again; the same for a closed pool. A store that is closed leaves the pool open.
macro_rules! exhaustion_and_closing {
    ($builder:expr, $pool:expr) => {
        let pool = $pool;
        let store = $builder(pool.clone()).open().await.expect("it opens");
        let key = insert(&store, "key").await;
        let taken = (pool.acquire().await.expect("one"), pool.acquire().await.expect("two"));
        let get = store.get(&key, Freshness::Strict);
        let error = timeout(TIMEOUT * 4, get).await.expect("it ends").expect_err("none is free");
        assert!(error.is_unavailable(), "{error}");
        let message = "all 2 connections of the application's pool were in use";
        assert!(error.to_string().contains(message), "{error}");
        drop(taken);
        assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);

        let second = $builder(pool.clone()).open().await.expect("it opens");
        second.close().await;
        let error = second.get(&key, Freshness::Strict).await.expect_err("it was closed");
        assert!(error.is_unavailable() && error.to_string().contains("closed"), "{error}");
        assert!(!pool.is_closed());
        insert(&store, "another").await;

        pool.close().await;
        let error = store.get(&key, Freshness::Strict).await.expect_err("it was closed");
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("the application closed its pool"), "{error}");
        let error = $builder(pool).open().await.expect_err("it was closed");
        assert!(error.is_unavailable(), "{error}");
    };
}

#[tokio::test]
async fn exhausted_and_closed_pools_are_reported_on_postgresql() {
    let namespace = unique("used");
    let builder = |pool| PostgresStore::builder_on(pool, &namespace).timeout(TIMEOUT / 2);
    exhaustion_and_closing!(builder, postgres_pool(2, &postgres().url()));
}

#[tokio::test]
async fn exhausted_and_closed_pools_are_reported_on_mariadb() {
    let namespace = unique("used");
    let builder = |pool| MySqlStore::builder_on(pool, &namespace).timeout(TIMEOUT / 2);
    exhaustion_and_closing!(builder, mysql_pool(2, &mariadb().url()));
}

#[tokio::test]
async fn exhausted_and_closed_pools_are_reported_on_sqlite() {
    let builder = |pool| SqliteStore::builder_on(pool, "shop").timeout(TIMEOUT / 2);
    exhaustion_and_closing!(builder, sqlite_pool(2, &sqlite_url("used")));
}

/// After a restart, the idle connections of the pool are dead: no call fails because of that.
macro_rules! restart_goes_unnoticed {
    ($server:expr, $store:expr, $pool:expr) => {
        let (server, store, pool) = ($server, $store, $pool);
        drop(tokio::join!(pool.acquire(), pool.acquire(), pool.acquire()));
        server.restart();
        insert(&store, "after a restart").await;
        server.stop();
        let error = store.get(&Key::of("key"), Freshness::Strict).await.expect_err("it is down");
        assert!(error.is_unavailable(), "{error}");
        let message = "the application's pool could not connect";
        assert!(error.to_string().contains(message), "{error}");
    };
}

#[tokio::test]
async fn restarted_postgresql_goes_unnoticed() {
    let server = Postgres::builder().fsync(false).start();
    let pool = postgres_pool(3, &server.url());
    let store = PostgresStore::builder_on(pool.clone(), "shop").timeout(TIMEOUT);
    restart_goes_unnoticed!(server, store.open().await.expect("it opens"), pool);
}

#[tokio::test]
async fn restarted_mariadb_goes_unnoticed() {
    let server = MariaDb::builder().fsync(false).start();
    let pool = mysql_pool(3, &server.url());
    let store = MySqlStore::builder_on(pool.clone(), "shop").timeout(TIMEOUT);
    restart_goes_unnoticed!(server, store.open().await.expect("it opens"), pool);
}

/// The network silently drops the pool's idle connections, as a firewall may. A call waits for one of
/// them, not for each.
macro_rules! dead_connections_are_waited_for_once {
    ($server:expr, $pool:expr, $builder:expr) => {
        let (server, timeout) = ($server, TIMEOUT * 2);
        let dead = Proxy::to(server.port());
        let proxy = Proxy::to(dead.port());
        let pool = $pool(8, &proxy.url(&dead.url(&server.url())));
        let store = $builder(pool.clone()).timeout(timeout).clean_every(None).open().await;
        let store = store.expect("it opens");
        let mut taken = Vec::new();
        for _ in 0..8 {
            taken.push(pool.acquire().await.expect("one is free"));
        }
        drop(taken);
        let waiting = async {
            while pool.num_idle() < 8 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("they are returned");
        dead.blackhole();
        proxy.lead_to(server.port());
        insert(&store, "after the cut").await;
    };
}

#[tokio::test]
async fn dead_connections_are_waited_for_once_on_postgresql() {
    let namespace = unique("dead");
    let builder = |pool| PostgresStore::builder_on(pool, &namespace);
    dead_connections_are_waited_for_once!(postgres(), postgres_pool, builder);
}

#[tokio::test]
async fn dead_connections_are_waited_for_once_on_mariadb() {
    let namespace = unique("dead");
    let builder = |pool| MySqlStore::builder_on(pool, &namespace);
    dead_connections_are_waited_for_once!(mariadb(), mysql_pool, builder);
}

/// Wherever a call is cut off, the application gets no connection that is in a transaction.
macro_rules! canceled_calls_leave_nothing {
    ($store:expr, $pool:expr, $begin:literal) => {
        let (store, pool) = ($store, $pool);
        for number in 0..24 {
            let limited = entry().owner(owner("ada")).limit(OwnerLimit::remove_oldest(1));
            let insert = store.insert(Key::of([number]), limited);
            let _ = timeout(Duration::from_millis(number.into()), insert).await;
            // An error within a transaction, and nothing else: it would change the next one.
            let mut connection = pool.acquire().await.expect("one is free");
            let begun = connection.execute($begin).await;
            assert!(begun.is_ok(), "{number}: {begun:?}");
            connection.execute("ROLLBACK").await.expect("it works");
        }
    };
}

#[tokio::test]
async fn canceled_calls_leave_no_transaction() {
    let namespace = unique("canceled");
    let proxy = Proxy::to(postgres().port());
    let pool = postgres_pool(1, &proxy.url(&postgres().url()));
    let store = PostgresStore::builder_on(pool.clone(), &namespace).open().await.expect("it opens");
    proxy.delay(Duration::from_millis(2));
    canceled_calls_leave_nothing!(
        store,
        pool,
        "SELECT 1 / (now() = statement_timestamp())::int; BEGIN"
    );

    let proxy = Proxy::to(mariadb().port());
    let pool = mysql_pool(1, &proxy.url(&mariadb().url()));
    let store = MySqlStore::builder_on(pool.clone(), &namespace).open().await.expect("it opens");
    proxy.delay(Duration::from_millis(2));
    canceled_calls_leave_nothing!(store, pool, "SET TRANSACTION READ WRITE");

    let pool = sqlite_pool(1, &sqlite_url("canceled"));
    let store = SqliteStore::builder_on(pool.clone(), "shop").open().await.expect("it opens");
    canceled_calls_leave_nothing!(store, pool, "BEGIN");
}

/// A call costs one round trip more than on a connection of the store's own: the inspection. The
/// driver pings a connection when it is returned, for which no call waits.
#[tokio::test]
async fn inspection_costs_one_round_trip() {
    let proxy = Proxy::to(postgres().port());
    let pool = postgres_pool(1, &proxy.url(&postgres().url()));
    let store = PostgresStore::builder_on(pool.clone(), &unique("costs")).clean_every(None);
    let store = store.open().await.expect("it opens");
    let cost = async |is_read: bool| {
        let returned = async || {
            let waiting = async {
                while pool.num_idle() == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(60), waiting).await.expect("it is returned");
        };
        returned().await;
        let before = proxy.counts();
        let key = Key::of("key");
        if is_read {
            assert!(get(&store, &key).await.is_none());
        } else {
            let removed = store.remove(Target::new(&key), Some(Version::from_number(1))).await;
            assert_eq!(removed.ok(), Some(RemoveOutcome::Absent));
        }
        returned().await;
        (proxy.counts() - before).round_trips
    };
    // The first time, statements are prepared.
    let _ = (cost(true).await, cost(false).await);
    assert_eq!(cost(true).await, 3, "the inspection, the statement, and the driver's ping");
    assert_eq!(cost(false).await, 4, "the inspection, two statements, and the driver's ping");
}

/// A near cache listens on one connection beside the pool, and misses no change, whatever schema
/// other code has set on the pool's connections.
#[tokio::test]
async fn near_cache_needs_one_connection_beside_the_pool() {
    let (server, namespace, tenant) = (postgres(), unique("near"), unique("near_tenant"));
    let table = format!("{namespace}_sessions");
    let options = postgres_options(&server.url()).application_name(&namespace);
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(options);
    let store = PostgresStore::builder_on(pool.clone(), &namespace).open().await;
    let store = store.expect("it opens");
    server.psql(&format!(
        "CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.{table} (LIKE {table} INCLUDING ALL)"
    ));
    let (mut one, mut two) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    for connection in [&mut one, &mut two] {
        let set = AssertSqlSafe(format!("SET search_path = {tenant}"));
        connection.execute(set).await.expect("it works");
    }
    drop((one, two));
    let _recorder = watched(&store).await;
    let clients =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{namespace}'");
    let clients: u32 = server.psql(&clients).parse().expect("it is a number");
    assert!(clients <= 3, "the pool's two connections, and one: {clients}");
    let by_hand = async |sql: &'static str| server.psql(&sql.replace("{t}", &table));
    pushes_every_change(store, by_hand).await;
}

#[tokio::test]
async fn near_cache_works_on_an_existing_sqlite_pool() {
    let url = sqlite_url("near");
    let pool = sqlite_pool(3, &url);
    let store = SqliteStore::builder_on(pool, "shop").open().await.expect("it opens");
    let by_hand = async |sql: &'static str| {
        support::sqlite(&url, &sql.replace("{t}", "shop_sessions")).await;
    };
    pushes_every_change(store, by_hand).await;
}

/// Another program writes to a file that is not in write-ahead mode yet: SQLite does not wait for
/// the lock that it needs to change the mode, and the store does.
#[tokio::test]
async fn opening_waits_for_a_locked_sqlite_file() {
    let url = sqlite_url("created");
    let other = SqliteConnectOptions::new().filename(sqlite_options(&url).get_filename());
    let mut other = other.connect().await.expect("it opens");
    for is_existing in [true, false] {
        other.execute("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE").await.expect("it works");
        let opening = tokio::spawn({
            let (pool, url) = (sqlite_pool(2, &url), url.clone());
            let builder = match is_existing {
                true => SqliteStore::builder_on(pool, "shop"),
                false => SqliteStore::builder(&url, "shop"),
            };
            async move { builder.timeout(TIMEOUT * 5).open().await.map(drop) }
        });
        sleep(Duration::from_millis(100)).await;
        other.execute("ROLLBACK").await.expect("it works");
        opening.await.expect("it ends").expect("it opens");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pools_may_create_one_sqlite_file() {
    for round in 0..3 {
        let url = sqlite_url(&format!("created{round}"));
        let mut starting = JoinSet::new();
        for number in 0..12 {
            let pool = sqlite_pool(2, &url);
            starting.spawn(async move {
                let store = SqliteStore::builder_on(pool, "shop").timeout(TIMEOUT * 5);
                insert(&store.open().await.expect("it opens"), &format!("{number}")).await;
            });
        }
        while let Some(started) = starting.join_next().await {
            started.expect("it works");
        }
    }
}
