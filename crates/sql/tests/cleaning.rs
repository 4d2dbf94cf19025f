//! Expired rows are deleted in the background, in small batches, and reported.

mod support;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{Expiry, Key, NewEntry, RemoveOutcome, Store, Target};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use sqlx::Connection as _;
use support::{get, owner, sqlite, sqlite_url};
use tokio::time::sleep;

/// More than fit into one batch, and into one statement that deletes.
const ENDING: usize = 250;
const BATCH: u32 = 120;
const OFTEN: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3_600);

type Reported = Arc<Mutex<Vec<Key>>>;

fn report_to<S: Store<Vec<u8>>>(store: &S, reported: &Reported) -> bool {
    let reported = Arc::clone(reported);
    store.on_expired(Arc::new(move |key| reported.lock().expect("no thread panicked").push(*key)))
}

fn entry(lifetime: Duration) -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::after(lifetime))
}

async fn insert<S: Store<Vec<u8>>>(store: &S, name: &str, entry: NewEntry<Vec<u8>>) -> Key {
    let key = Key::of(name);
    let _ = store.insert(key, entry).await.expect("insert works");
    key
}

/// With two stores on one table, and `count` for the number of rows that there are, live or not.
async fn cleans<S: Store<Vec<u8>> + Clone, F: Future<Output = String>>(
    stores: [S; 2],
    count: impl Fn() -> F,
) {
    let reported = Reported::default();
    assert!(stores.iter().all(|store| report_to(store, &reported)));
    assert!(!report_to(&stores[0].clone(), &reported), "one callback is enough");
    let [store, _] = &stores;
    let (soon, owner) = (Duration::from_millis(700), owner("owner"));
    let mut ending = Vec::new();
    for number in 0..ENDING {
        ending.push(insert(store, &format!("{number}"), entry(soon)).await);
    }
    let idle = NewEntry::new(Vec::new(), Expiry::idle(soon)).owner(owner.clone());
    ending.push(insert(store, "idle", idle).await);
    let lives = insert(store, "lives", entry(LONG)).await;
    let removed = insert(store, "removed", entry(soon)).await;
    assert_eq!(store.remove(Target::new(&removed), None).await.ok(), Some(RemoveOutcome::Removed));
    let _ = insert(store, "revoked", entry(soon).owner(owner.clone())).await;
    let keep = Key::of("idle");
    assert_eq!(store.remove_owner(&owner, Some(&keep)).await.expect("it works").len(), 1);

    ending.sort_unstable();
    let count = async || count().await.parse::<usize>().expect("it is a number");
    for _ in 0..200 {
        if count().await == 1 {
            break;
        }
        sleep(OFTEN).await;
    }
    assert_eq!(count().await, 1, "what has expired is gone");
    sleep(OFTEN * 2).await;
    let mut reported = reported.lock().expect("no thread panicked").clone();
    reported.sort_unstable();
    assert_eq!(reported, ending, "each once, and nothing else");
    assert!(get(store, &lives).await.is_some());

    let _ = insert(store, "ends", entry(Duration::from_millis(1))).await;
    drop(stores);
    sleep(OFTEN * 2).await;
    let after = count().await;
    sleep(OFTEN * 2).await;
    assert_eq!(count().await, after, "it has stopped");
}

#[tokio::test]
async fn expired_rows_are_deleted_on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let open = async || {
        let builder = PostgresStore::builder(&server.url(), "shop").clean_every(OFTEN);
        builder.max_cleaned_rows(BATCH).open().await.expect("it opens")
    };
    let count = || async { server.psql("SELECT count(*) FROM shop_sessions") };
    cleans([open().await, open().await], count).await;
}

#[tokio::test]
async fn expired_rows_are_deleted_on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let open = async || {
        let builder = MySqlStore::builder(&server.url(), "shop").clean_every(OFTEN);
        builder.max_cleaned_rows(BATCH).open().await.expect("it opens")
    };
    let count = || async { server.sql("SELECT COUNT(*) FROM shop_sessions") };
    cleans([open().await, open().await], count).await;
}

#[tokio::test]
async fn expired_rows_are_deleted_on_sqlite() {
    let url = sqlite_url("cleaning");
    let open = async || {
        let builder = SqliteStore::builder(&url, "shop").clean_every(OFTEN);
        builder.max_cleaned_rows(BATCH).open().await.expect("it opens")
    };
    let count = || async { sqlite(&url, "SELECT CAST(count(*) AS TEXT) FROM shop_sessions").await };
    cleans([open().await, open().await], count).await;
}

/// A row that has expired and was not cleaned is reported by the call that removes it.
#[tokio::test]
async fn removal_reports_an_expired_row() {
    let builder = SqliteStore::builder(&sqlite_url("cleaning"), "shop").clean_every(LONG);
    let store = builder.open().await.expect("it opens");
    let reported = Reported::default();
    assert!(report_to(&store, &reported));
    let owner = owner("owner");
    let first = insert(&store, "first", entry(Duration::from_millis(1))).await;
    let second = insert(&store, "second", entry(OFTEN / 100).owner(owner.clone())).await;
    sleep(OFTEN / 10).await;
    assert_eq!(store.remove(Target::new(&first), None).await.ok(), Some(RemoveOutcome::Absent));
    assert_eq!(store.remove(Target::new(&first), None).await.ok(), Some(RemoveOutcome::Absent));
    assert_eq!(store.remove_owner(&owner, None).await.ok(), Some(vec![]), "it had expired");
    assert_eq!(*reported.lock().expect("no thread panicked"), [first, second]);
}

/// A store that does not clean has nothing to report, and counts live entries only.
#[tokio::test]
async fn store_without_cleaning_reports_nothing() {
    let builder = SqliteStore::builder(&sqlite_url("cleaning"), "shop").clean_every(None);
    let store = builder.open().await.expect("it opens");
    assert!(!report_to(&store, &Reported::default()));
    let _ = insert(&store, "lives", entry(LONG)).await;
    let _ = insert(&store, "ends", entry(Duration::from_millis(1))).await;
    sleep(OFTEN / 10).await;
    assert_eq!(store.count().await.ok(), Some(1));
}

/// Rows that another session has locked are left for later, and nothing waits.
#[tokio::test]
async fn locked_rows_are_skipped_on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let url = server.url();
    let open = async |interval: Option<Duration>| {
        PostgresStore::builder(&url, "shop").clean_every(interval).open().await.expect("it opens")
    };
    let store = open(None).await;
    for name in ["locked", "free"] {
        let _ = insert(&store, name, entry(Duration::from_millis(1))).await;
    }
    let locked = Key::of("locked");
    let mut holder = sqlx::postgres::PgConnection::connect(&url).await.expect("it answers");
    let sql = format!(
        "BEGIN; SELECT FROM shop_sessions WHERE key = decode('{locked}', 'hex') FOR UPDATE"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut holder).await.expect("it locks");
    let _cleaning = open(Some(OFTEN)).await;
    for _ in 0..50 {
        if server.psql("SELECT count(*) FROM shop_sessions") == "1" {
            break;
        }
        sleep(OFTEN).await;
    }
    let left = server.psql("SELECT encode(key, 'hex') FROM shop_sessions");
    assert_eq!(left, locked.to_string());
}
