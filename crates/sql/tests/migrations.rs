//! Tables that are made by the first to come, and not touched by who does not know them.

mod support;

use std::future::Future;

use kvolt_cache::{Access, Error, Expiry, Key, NewEntry, Store};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use support::sqlite_url;
use tokio::task::JoinSet;

/// Many servers that start at once, all of which have to come up.
async fn start_at_once<S, F>(open: impl Fn() -> F)
where
    S: Store<Vec<u8>>,
    F: Future<Output = Result<S, Error>> + Send + 'static,
{
    let mut starting = JoinSet::new();
    for _ in 0..12 {
        starting.spawn(open());
    }
    let key = Key::of("key");
    let entry = NewEntry::new(b"value".to_vec(), Expiry::idle(std::time::Duration::from_secs(60)));
    while let Some(opened) = starting.join_next().await {
        let store = opened.expect("it ends").expect("it opens");
        let _ = store.insert(key, entry.clone()).await.expect("it works");
        assert!(store.get(&key, Access::PEEK).await.expect("it works").is_some());
    }
}

fn assert_refuses_newer<S>(opened: Result<S, Error>) {
    let Err(error) = opened else { panic!("it knows nothing of version 99") };
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("version 99"), "{error}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let url = server.url();
    let off = PostgresStore::builder().migrate(false).open(&url).await.expect_err("no table");
    assert!(off.is_misconfigured(), "{off}");
    let at = url.clone();
    start_at_once(move || {
        let url = at.clone();
        async move { PostgresStore::open(&url).await }
    })
    .await;
    assert_eq!(server.psql("SELECT version FROM kvolt_entries_meta"), "1");

    // Who may only read and write can use what is there.
    server.psql(
        "CREATE ROLE clerk LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT SELECT, INSERT, UPDATE, DELETE ON kvolt_entries TO clerk;
         GRANT SELECT ON kvolt_entries_meta TO clerk",
    );
    let clerk = PostgresStore::open(&url.replace("kvolt@", "clerk@")).await.expect("it opens");
    assert!(clerk.remove(&Key::of("key")).await.expect("it works"));
    let another = PostgresStore::builder().table("another");
    let error = another.open(&url.replace("kvolt@", "clerk@")).await.expect_err("no right");
    assert!(error.is_misconfigured(), "{error}");

    server.psql("INSERT INTO kvolt_entries_meta (version, applied) VALUES (99, 0)");
    assert_refuses_newer(PostgresStore::open(&url).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let url = server.url();
    let at = url.clone();
    start_at_once(move || {
        let url = at.clone();
        async move { MySqlStore::open(&url).await }
    })
    .await;
    assert_eq!(server.sql("SELECT version FROM kvolt_entries_meta"), "1");
    // What was cut short is done again: nothing there is undone with a transaction.
    server.sql("DELETE FROM kvolt_entries_meta; DROP VIEW kvolt_entries_readable");
    MySqlStore::open(&url).await.expect("it opens");
    assert_eq!(server.sql("SELECT COUNT(*) FROM kvolt_entries_readable"), "1");
    server.sql("INSERT INTO kvolt_entries_meta (version, applied) VALUES (99, 0)");
    assert_refuses_newer(MySqlStore::open(&url).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let url = sqlite_url("migrations");
    let at = url.clone();
    start_at_once(move || {
        let url = at.clone();
        async move { SqliteStore::open(&url).await }
    })
    .await;
    support::sqlite(&url, "INSERT INTO kvolt_entries_meta (version, applied) VALUES (99, 0)").await;
    assert_refuses_newer(SqliteStore::open(&url).await);
}

/// Whoever looks with the database's own client can read what is there.
#[tokio::test]
async fn a_person_can_read_the_table() {
    let entry = || {
        NewEntry::new(b"{\"name\":\"Ada\"}".to_vec(), Expiry::after(std::time::Duration::MAX))
            .owner(kvolt_cache::Owner::from("Zoë"))
    };
    let key = Key::of("key");
    let columns = "owner, value, live, successor IS NULL, `key`";

    let server = Postgres::builder().fsync(false).start();
    let store = PostgresStore::open(&server.url()).await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("it works");
    let sql = format!("SELECT {} FROM kvolt_entries_readable", columns.replace('`', ""));
    assert_eq!(server.psql(&sql), format!("Zoë|{{\"name\":\"Ada\"}}|t|t|{key}"));

    let server = MariaDb::builder().fsync(false).start();
    let store = MySqlStore::open(&server.url()).await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("it works");
    let sql = format!("SET NAMES utf8mb4; SELECT {columns} FROM kvolt_entries_readable");
    assert_eq!(server.sql(&sql), format!("Zoë\t{{\"name\":\"Ada\"}}\t1\t1\t{key}"));

    let url = sqlite_url("readable");
    let store = SqliteStore::open(&url).await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("it works");
    let sql =
        "SELECT owner || '|' || value || '|' || live || '|' || key FROM kvolt_entries_readable";
    let read = support::sqlite(&url, sql).await;
    assert_eq!(read, format!("Zoë|{{\"name\":\"Ada\"}}|1|{key}"));
}
