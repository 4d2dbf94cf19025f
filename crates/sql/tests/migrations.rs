//! Tables that are created once, and left alone by a program that does not know them.

mod support;

use std::future::Future;

use kvolt_cache::{Error, Expiry, Key, NewEntry, RemoveOutcome, Store, Target};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use support::{get, owner, sqlite_url};
use tokio::task::JoinSet;

/// Many programs start at once, and all come up.
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
        let _ = store.insert(key, entry.clone()).await.expect("insert works");
        assert!(get(&store, &key).await.is_some());
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
    let off = PostgresStore::builder(&url, "shop").migrate(false).open().await;
    let off = off.expect_err("there is no table");
    assert!(off.is_misconfigured(), "{off}");
    let at = url.clone();
    start_at_once(move || {
        let url = at.clone();
        async move { PostgresStore::open(&url, "shop").await }
    })
    .await;
    assert_eq!(server.psql("SELECT version FROM shop_sessions_meta"), "1");

    // A user that may only read and write can use existing tables.
    server.psql(
        "CREATE ROLE clerk LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT SELECT, INSERT, UPDATE, DELETE ON shop_sessions TO clerk;
         GRANT SELECT ON shop_sessions_meta TO clerk",
    );
    let clerk = url.replace("kvolt@", "clerk@");
    let clerk = PostgresStore::open(&clerk, "shop").await.expect("it opens");
    let removed = clerk.remove(Target::new(&Key::of("key")), None).await;
    assert_eq!(removed.ok(), Some(RemoveOutcome::Removed));
    let error = clerk.within("another").await.expect_err("it has no right to create tables");
    assert!(error.is_misconfigured(), "{error}");

    server.psql("INSERT INTO shop_sessions_meta (version, applied) VALUES (99, 0)");
    assert_refuses_newer(PostgresStore::open(&url, "shop").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let url = server.url();
    let at = url.clone();
    start_at_once(move || {
        let url = at.clone();
        async move { MySqlStore::open(&url, "shop").await }
    })
    .await;
    assert_eq!(server.sql("SELECT version FROM shop_sessions_meta"), "1");
    // A migration that was cut short is run again: no transaction undoes it there.
    server.sql("DELETE FROM shop_sessions_meta; DROP VIEW shop_sessions_readable");
    MySqlStore::open(&url, "shop").await.expect("it opens");
    assert_eq!(server.sql("SELECT COUNT(*) FROM shop_sessions_readable"), "1");
    server.sql("INSERT INTO shop_sessions_meta (version, applied) VALUES (99, 0)");
    assert_refuses_newer(MySqlStore::open(&url, "shop").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let mut url = String::new();
    // Many times, because only a new file is changed to a write-ahead log, and that takes a lock for
    // which SQLite does not wait.
    for round in 0..30 {
        url = sqlite_url(&format!("migrations{round}"));
        let at = url.clone();
        start_at_once(move || {
            let url = at.clone();
            async move { SqliteStore::open(&url, "shop").await }
        })
        .await;
    }
    support::sqlite(&url, "INSERT INTO shop_sessions_meta (version, applied) VALUES (99, 0)").await;
    assert_refuses_newer(SqliteStore::open(&url, "shop").await);
}

/// The database's own client shows entries as text.
#[tokio::test]
async fn view_is_readable() {
    let entry = || {
        NewEntry::new(b"{\"name\":\"Ada\"}".to_vec(), Expiry::after(std::time::Duration::MAX))
            .owner(owner("Zoë"))
    };
    let key = Key::of("key");
    let columns = "owner, value, live, id, `key`";
    let id = &key.to_string()[..24];

    let server = Postgres::builder().fsync(false).start();
    let store = PostgresStore::open(&server.url(), "shop").await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("insert works");
    let sql = format!("SELECT {} FROM shop_sessions_readable", columns.replace('`', ""));
    assert_eq!(server.psql(&sql), format!("Zoë|{{\"name\":\"Ada\"}}|t|{id}|{key}"));

    let server = MariaDb::builder().fsync(false).start();
    let store = MySqlStore::open(&server.url(), "shop").await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("insert works");
    let sql = format!("SET NAMES utf8mb4; SELECT {columns} FROM shop_sessions_readable");
    assert_eq!(server.sql(&sql), format!("Zoë\t{{\"name\":\"Ada\"}}\t1\t{id}\t{key}"));

    let url = sqlite_url("readable");
    let store = SqliteStore::open(&url, "shop").await.expect("it opens");
    let _ = store.insert(key, entry()).await.expect("insert works");
    let sql =
        "SELECT owner || '|' || value || '|' || live || '|' || key FROM shop_sessions_readable";
    let read = support::sqlite(&url, sql).await;
    assert_eq!(read, format!("Zoë|{{\"name\":\"Ada\"}}|1|{key}"));
}

/// Two namespaces share the connections, and nothing else; the tables of the second are created
/// when it is opened.
#[tokio::test]
async fn namespaces_have_their_own_tables() {
    let url = sqlite_url("within");
    let shop = SqliteStore::open(&url, "shop").await.expect("it opens");
    let entry = NewEntry::new(b"value".to_vec(), Expiry::idle(std::time::Duration::from_secs(60)));
    let key = Key::of("key");
    let _ = shop.insert(key, entry.clone()).await.expect("insert works");
    let admin = shop.within("shop_admin").await.expect("it opens");
    assert_eq!(admin.namespace().as_str(), "shop_admin");
    assert!(get(&admin, &key).await.is_none());
    let _ = admin.insert(key, entry).await.expect("insert works");
    admin.clear().await.expect("clear works");
    assert!(get(&shop, &key).await.is_some());
    let tables = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema \
        WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name)";
    let expected = "shop_admin_sessions,shop_admin_sessions_meta,shop_sessions,shop_sessions_meta";
    assert_eq!(support::sqlite(&url, tables).await, expected);
    for bad in ["", "Shop", "shop-admin", "shop; DROP TABLE shop_sessions"] {
        let error = shop.within(bad).await.expect_err("it is no namespace");
        assert!(error.is_misconfigured(), "{error}");
    }
}

/// No name that is made of the longest namespace is longer than a database allows.
#[tokio::test]
async fn longest_namespace_fits() {
    let longest = "n".repeat(kvolt_cache::Namespace::MAX_LEN);
    let server = Postgres::builder().fsync(false).start();
    let store = PostgresStore::open(&server.url(), &longest).await.expect("it opens");
    server.psql(&PostgresStore::push_migration(&longest).expect("it is a namespace"));
    let _ = store.remove_owner(&owner("owner"), None).await.expect("it works");
    let triggers = "SELECT count(DISTINCT tgname) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(server.psql(triggers), "4");
    let functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'nnn%_push_%'";
    assert_eq!(server.psql(functions), "2");

    let server = MariaDb::builder().fsync(false).start();
    let store = MySqlStore::open(&server.url(), &longest).await.expect("it opens");
    let _ = store.remove_owner(&owner("owner"), None).await.expect("it works");
}
