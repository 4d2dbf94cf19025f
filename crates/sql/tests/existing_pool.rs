//! The laws on a pool of the application, and what other code may do to its connections.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{
    Clock, Error, Expiry, Freshness, Key, NewEntry, OwnerLimit, RemoveOutcome, Store, Target,
};
use kvolt_servers::{MariaDb, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore, Synchronous};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool, SqlitePool};
use support::{CLEANS_EVERY, OnRuntime, get, json, owner, sqlite_url, unique};
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
        OnRuntime::new(open, json),
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
        OnRuntime::new(open, json),
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
        OnRuntime::new(open, json),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}
