//! What has ended is deleted, in the background and in small batches.

mod support;

use std::future::Future;
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Rename, Store};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use sqlx::Connection as _;
use support::{sqlite, sqlite_url};
use tokio::time::sleep;

/// More than fit into one batch.
const ENDING: usize = 100;
const BATCH: u32 = 7;
const OFTEN: Duration = Duration::from_millis(100);

fn entry(lifetime: Duration) -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::after(lifetime))
}

/// With `count` for the number of rows that there are, live or not.
async fn cleans<S: Store<Vec<u8>>, F: Future<Output = usize>>(store: S, count: impl Fn() -> F) {
    let (long, short) = (Duration::from_secs(600), Duration::from_millis(300));
    for number in 0..ENDING {
        let _ = store.insert(Key::of(format!("{number}")), entry(short)).await.expect("it works");
    }
    let (lives, renamed) = (Key::of("lives"), Key::of("renamed"));
    let _ = store.insert(lives, entry(long)).await.expect("it works");
    let mut rename = Rename::new();
    rename.grace = short;
    let _ = store.rename(&lives, renamed, rename).await.expect("it works");
    assert!(count().await >= 2, "an entry and its former key");
    for _ in 0..100 {
        if count().await == 1 {
            break;
        }
        sleep(OFTEN).await;
    }
    assert_eq!(count().await, 1, "what has ended is gone, former keys among them");
    assert!(store.get(&renamed, Access::PEEK).await.expect("it works").is_some());

    drop(store);
    sleep(OFTEN * 2).await;
    let after = count().await;
    sleep(OFTEN * 2).await;
    assert_eq!(count().await, after, "it has stopped");
}

#[tokio::test]
async fn on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let builder = PostgresStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
    let store = builder.open(&server.url()).await.expect("it opens");
    cleans(store, || async { server.psql("SELECT count(*) FROM kvolt_entries").parse().unwrap() })
        .await;
}

#[tokio::test]
async fn on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let builder = MySqlStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
    let store = builder.open(&server.url()).await.expect("it opens");
    cleans(store, || async { server.sql("SELECT COUNT(*) FROM kvolt_entries").parse().unwrap() })
        .await;
}

#[tokio::test]
async fn on_sqlite() {
    let url = sqlite_url("cleaning");
    let builder = SqliteStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
    let store = builder.open(&url).await.expect("it opens");
    let count = "SELECT CAST(count(*) AS TEXT) FROM kvolt_entries";
    cleans(store, || async { sqlite(&url, count).await.parse().unwrap() }).await;
}

/// Rows that somebody holds locked are left for later, and nobody waits.
#[tokio::test]
async fn locked_rows_are_skipped_on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let open = |interval| PostgresStore::builder().clean_every(interval);
    let url = server.url();
    let store = open(None).open(&url).await.expect("it opens");
    for name in ["locked", "free"] {
        let _ =
            store.insert(Key::of(name), entry(Duration::from_millis(1))).await.expect("it works");
    }
    let locked = Key::of("locked");
    let holding = std::thread::spawn({
        let sql = format!(
            "BEGIN; SELECT FROM kvolt_entries WHERE key = '\\x{locked}' FOR UPDATE;
             SELECT pg_sleep(2); COMMIT"
        );
        move || {
            server.psql(&sql);
            server
        }
    });
    sleep(Duration::from_millis(500)).await;
    let _cleaning = open(Some(OFTEN)).open(&url).await.expect("it opens");
    sleep(OFTEN * 5).await;
    let mut connection = sqlx::postgres::PgConnection::connect(&url).await.expect("it answers");
    let left = sqlx::raw_sql("SELECT encode(key, 'hex') FROM kvolt_entries");
    let left = left.fetch_all(&mut connection).await.expect("it answers");
    let left: Vec<String> = left.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert_eq!(left, [locked.to_string()]);
    drop(holding.join().expect("it ends"));
}
