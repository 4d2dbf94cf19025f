//! PostgreSQL, with a table that an operator has partitioned by the hash of the key.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Expiry, Key, NewEntry, Store};
use kvolt_servers::Postgres;
use kvolt_sql::PostgresStore;
use support::pushing::{pushes_every_change, pushes_no_slide_and_no_expiry};
use support::{CLEANS_EVERY, OnRuntime, json, obeys_the_clock, owner, unique};

const PARTITIONS: u32 = 8;

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).max_connections(200).start())
}

/// The store's own statements, with the table divided.
fn partition(namespace: &str) {
    let table = format!("{namespace}_sessions");
    for (number, sql) in (1..).zip(PostgresStore::migrations(namespace).expect("it is valid")) {
        // The end of the list of columns, after the generated one.
        let sql = sql.replacen(") STORED\n);", ") STORED\n) PARTITION BY HASH (key);", 1);
        assert!(sql.contains("PARTITION BY"), "{sql}");
        server().psql(&sql);
        server().psql(&format!("INSERT INTO {table}_meta VALUES ({number}, 0)"));
    }
    for part in 0..PARTITIONS {
        server().psql(&format!(
            "CREATE TABLE {table}_{part} PARTITION OF {table} \
             FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
        ));
    }
}

async fn open() -> (PostgresStore, String) {
    let (name, url) = (unique("parts"), server().url());
    partition(&name);
    let builder = PostgresStore::builder(&url, &name).timeout(Duration::from_secs(20));
    let builder = builder.max_connections(6).clean_every(CLEANS_EVERY);
    (builder.open().await.expect("it opens"), url)
}

kvolt_testkit::conformance_suite!(
    // Another divided table is made for each law: fewer rounds than on a plain one.
    OnRuntime::new(open, json).rounds(2),
    tokio::test(flavor = "multi_thread", worker_threads = 2)
);

#[tokio::test]
async fn deadlines_follow_the_real_clock() {
    obeys_the_clock(open().await.0).await;
}

#[tokio::test]
async fn changes_of_a_partitioned_table_are_pushed() {
    let name = unique("pushed");
    partition(&name);
    let store = PostgresStore::open(&server().url(), &name).await.expect("it opens");
    let table = format!("{name}_sessions");
    let by_hand = async |sql: &'static str| server().psql(&sql.replace("{t}", &table));
    pushes_every_change(store, by_hand).await;
}

#[tokio::test]
async fn slides_and_expiries_of_a_partitioned_table_are_not_pushed() {
    let name = unique("pushed");
    partition(&name);
    let builder = PostgresStore::builder(&server().url(), &name).slide_after(0.0);
    let store = builder.clean_every(Duration::from_millis(100)).open().await;
    pushes_no_slide_and_no_expiry(store.expect("it opens")).await;
}

#[tokio::test]
async fn an_owner_of_many_partitions_is_removed_in_one_statement() {
    let (store, _) = open().await;
    for number in 0..100 {
        let entry = NewEntry::new(Vec::new(), Expiry::after(Duration::from_secs(600)));
        let entry = entry.owner(owner("ada"));
        let _ = store.insert(Key::of(number.to_string().as_str()), entry).await.expect("it works");
    }
    let table = format!("{}_sessions", store.namespace());
    let parts = server().psql(&format!("SELECT count(DISTINCT tableoid) FROM {table}"));
    assert_eq!(parts, PARTITIONS.to_string(), "keys are spread");
    let removed = store.remove_owner(&owner("ada"), None).await.expect("it works");
    assert_eq!(removed.len(), 100);
    assert_eq!(store.count().await.expect("it works"), 0);
}
