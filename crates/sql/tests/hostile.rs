//! The laws on servers whose defaults would change what a statement does.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Expiry, Key, NewEntry, RemoveOutcome, ReplaceOutcome, Store, Target};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore};
use support::{CLEANS_EVERY, OnRuntime, get, json, unique};

mod mariadb {
    use super::*;

    fn server() -> &'static MariaDb {
        static SERVER: OnceLock<MariaDb> = OnceLock::new();
        SERVER.get_or_init(|| {
            let server = MariaDb::builder()
                .fsync(false)
                .max_connections(400)
                .config("autocommit", "0")
                .config("completion-type", "1")
                .config("sql-mode", "ORACLE,EMPTY_STRING_IS_NULL,PAD_CHAR_TO_FULL_LENGTH")
                .config("transaction-isolation", "SERIALIZABLE")
                .config("init-connect", "SET sql_safe_updates = 1, sql_select_limit = 2")
                .config("max-join-size", "3")
                .config("wait-timeout", "2")
                .config("default-storage-engine", "MyISAM")
                .start();
            // The server sets nothing for a user with all rights.
            server.sql(
                "CREATE USER clerk@'127.0.0.1';
                 GRANT ALL ON kvolt.* TO clerk@'127.0.0.1'",
            );
            server
        })
    }

    async fn open() -> (MySqlStore, String) {
        let url = server().url();
        let (_, host) = url.split_once('@').expect("it has a user");
        let clerk = format!("mysql://clerk@{host}");
        let builder = MySqlStore::builder(&clerk, &unique("hostile")).max_connections(6);
        (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

mod postgresql {
    use super::*;

    pub(super) fn server() -> &'static Postgres {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| {
            Postgres::builder()
                .fsync(false)
                .max_connections(400)
                .config("default_transaction_isolation", "'serializable'")
                .config("default_transaction_deferrable", "on")
                .config("synchronous_commit", "off")
                .config("bytea_output", "'escape'")
                .config("standard_conforming_strings", "off")
                .config("transform_null_equals", "on")
                .config("lock_timeout", "'1ms'")
                .config("idle_in_transaction_session_timeout", "'100ms'")
                .config("session_replication_role", "replica")
                .config("timezone", "'America/St_Johns'")
                .config("intervalstyle", "'iso_8601'")
                .start()
        })
    }

    async fn open() -> (PostgresStore, String) {
        let url = server().url();
        let builder = PostgresStore::builder(&url, &unique("hostile")).max_connections(6);
        (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

mod postgresql_without_prepared_statements {
    use super::*;

    async fn open() -> (PostgresStore, String) {
        let url = postgresql::server().url();
        let builder = PostgresStore::builder(&url, &unique("text")).max_connections(6);
        let builder = builder.clean_every(CLEANS_EVERY).pooled_by_transactions(true);
        (builder.open().await.expect("it opens"), url)
    }

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, json),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

/// An acknowledged write is committed: another session sees it, also after the one that wrote it
/// is gone.
#[tokio::test]
async fn writes_are_committed_without_autocommit() {
    let server = MariaDb::builder()
        .fsync(false)
        .config("autocommit", "0")
        .config("completion-type", "1")
        .start();
    let store = MySqlStore::open(&server.url(), "shop").await.expect("it opens");
    let (stays, goes) = (Key::of("stays"), Key::of("goes"));
    for key in [&stays, &goes] {
        let entry = NewEntry::new(b"value".to_vec(), Expiry::idle(Duration::from_secs(3_600)));
        let _ = store.insert(*key, entry).await.expect("insert works");
    }
    let seen = get(&store, &stays).await.expect("it was inserted").version;
    let replaced = store.replace(Target::new(&stays), seen, b"new".to_vec(), None).await;
    assert!(matches!(replaced, Ok(ReplaceOutcome::Replaced(_))));
    assert_eq!(store.remove(Target::new(&goes), None).await.ok(), Some(RemoveOutcome::Removed));
    assert_eq!(server.sql("SELECT value FROM shop_sessions"), "new");
    store.close().await;
    let store = MySqlStore::open(&server.url(), "shop").await.expect("it opens");
    assert!(get(&store, &goes).await.is_none(), "a removal is not undone");
    assert_eq!(get(&store, &stays).await.map(|entry| entry.value), Some(b"new".to_vec()));
}

/// A server whose commits don't wait for the disk is asked to, unless the URL says otherwise.
#[tokio::test]
async fn commits_wait_for_the_disk_on_postgresql() {
    let server = Postgres::builder().config("synchronous_commit", "off").start();
    let shown = async |url: String, namespace: &str| {
        let store = PostgresStore::open(&url, namespace).await.expect("it opens");
        let sql = format!(
            "CREATE FUNCTION {namespace}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.value = current_setting('synchronous_commit')::bytea; RETURN NEW; END $$;
             CREATE TRIGGER note BEFORE INSERT ON {namespace}_sessions
                 FOR EACH ROW EXECUTE FUNCTION {namespace}_note()"
        );
        server.psql(&sql);
        let key = Key::of("key");
        let entry = NewEntry::new(Vec::new(), Expiry::idle(Duration::from_secs(3_600)));
        let _ = store.insert(key, entry).await.expect("insert works");
        get(&store, &key).await.expect("it was inserted").value
    };
    assert_eq!(shown(server.url(), "a").await, b"on");
    let pooled = format!("{}?pooled_by_transactions=true", server.url());
    assert_eq!(shown(pooled, "b").await, b"on");
    let asked = format!("{}?options=-c%20synchronous_commit%3Doff", server.url());
    assert_eq!(shown(asked, "c").await, b"off");
}
