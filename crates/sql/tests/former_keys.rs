//! Former keys: what they keep alive, how many there are, and what they cost.

mod support;

use std::future::Future;
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Insert, Key, NewEntry, Owner, Rename, Renamed, Store};
use kvolt_servers::{MariaDb, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use support::{sqlite, sqlite_url};
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(3_600);
/// So many former keys lead on.
const LEAD_ON: usize = 16;
const RENAMINGS: usize = 40;

fn entry() -> NewEntry<Vec<u8>> {
    let expiry = Expiry::idle_within(Duration::from_secs(60), LONG);
    NewEntry::new(vec![7; 10_000], expiry).owner(Owner::from("owner"))
}

async fn rename<S: Store<Vec<u8>>>(store: &S, from: &Key, to: Key, grace: Duration) -> Renamed {
    let mut rename = Rename::new();
    rename.grace = grace;
    store.rename(from, to, rename).await.expect("it works")
}

fn moved() -> Renamed {
    Renamed::Moved { removed: Vec::new() }
}

/// With `slide_after` of zero, so that each use that counts as one is written.
async fn keeps_nothing_alive<S: Store<Vec<u8>>>(store: S) {
    let (former, key) = (Key::of("former"), Key::of("key"));
    let _ = store.insert(former, entry()).await.expect("it works");
    assert_eq!(rename(&store, &former, key, LONG).await, moved());
    let read = async |key: &Key, access| {
        store.get(key, access).await.expect("it works").expect("it is there")
    };
    let before = read(&key, Access::PEEK).await.deadlines;
    sleep(Duration::from_millis(50)).await;
    let found = read(&former, Access::SLIDE).await;
    assert_eq!((found.key, found.deadlines), (key, before));
    assert_eq!(read(&key, Access::PEEK).await.deadlines, before);
    let after = read(&key, Access::SLIDE).await.deadlines;
    assert!(after.last_used() > before.last_used(), "a use by its own key counts");
}

/// With the round trips so far, and what there is in the table: how many former keys lead on, and
/// how large the largest of their values is.
async fn remembers_the_last_ones<S: Store<Vec<u8>>, F: Future<Output = String>>(
    store: S,
    round_trips: impl Fn() -> u64,
    former: impl Fn() -> F,
) {
    let key = |number: usize| Key::of(format!("{number}"));
    let _ = store.insert(key(0), entry()).await.expect("it works");
    let mut costs = Vec::new();
    for number in 0..RENAMINGS {
        let before = round_trips();
        assert_eq!(rename(&store, &key(number), key(number + 1), LONG).await, moved());
        costs.push(round_trips() - before);
    }
    // The first times, the statements were prepared.
    assert!(costs[2..].iter().all(|cost| *cost == costs[2]), "{costs:?}");
    assert_eq!(former().await, format!("{LEAD_ON} 0"));

    let last = store.get(&key(RENAMINGS), Access::PEEK).await.expect("it works");
    let last = last.expect("it was renamed");
    assert_eq!(last.value, vec![7; 10_000]);
    for number in 0..RENAMINGS {
        let found = store.get(&key(number), Access::SLIDE).await.expect("it works");
        let leads_on = number >= RENAMINGS - LEAD_ON;
        assert_eq!(found.map(|found| found.key), leads_on.then_some(last.key), "{number}");
        let renamed = rename(&store, &key(number), Key::of("other"), LONG).await;
        assert_eq!(renamed, if leads_on { Renamed::Superseded } else { Renamed::Absent });
    }
    // What leads nowhere is free.
    let inserted = store.insert(key(3), entry()).await.expect("it works");
    assert_eq!(inserted, Insert::Inserted { removed: Vec::new() });
    assert_eq!(store.count().await.expect("it works"), 2);

    // The oldest that leads on ends the entry.
    assert!(store.remove(&key(RENAMINGS - LEAD_ON)).await.expect("it works"));
    for number in RENAMINGS - LEAD_ON..=RENAMINGS {
        assert!(store.get(&key(number), Access::PEEK).await.expect("it works").is_none());
    }
    assert_eq!(store.count().await.expect("it works"), 1);

    // Without a grace, all are left behind.
    assert_eq!(rename(&store, &key(3), Key::of("a"), LONG).await, moved());
    assert_eq!(rename(&store, &Key::of("a"), Key::of("b"), Duration::ZERO).await, moved());
    for former in [key(3), Key::of("a")] {
        assert!(store.get(&former, Access::PEEK).await.expect("it works").is_none());
    }
}

const FORMER: &str = "SELECT CONCAT(count(*), ' ', max(OCTET_LENGTH(value))) FROM kvolt_entries
    WHERE successor IS NOT NULL AND expires > ";

mod postgresql {
    use super::*;

    #[tokio::test]
    async fn a_read_by_a_former_key_keeps_nothing_alive() {
        let server = Postgres::builder().fsync(false).start();
        let store = PostgresStore::builder().slide_after(0.0).open(&server.url()).await;
        keeps_nothing_alive(store.expect("it opens")).await;
    }

    #[tokio::test]
    async fn of_many_renamings_the_last_former_keys_lead_on() {
        let server = Postgres::builder().fsync(false).start();
        let proxy = Proxy::to(server.port());
        let url = proxy.url(&server.url());
        let store = PostgresStore::builder().clean_every(None).connections_max(1);
        let store = store.open(&url).await.expect("it opens");
        let now = "extract(epoch FROM clock_timestamp()) * 1000";
        let former = async || server.psql(&format!("{FORMER}{now}"));
        remembers_the_last_ones(store, || proxy.counts().round_trips, former).await;
    }
}

mod mariadb {
    use super::*;

    #[tokio::test]
    async fn a_read_by_a_former_key_keeps_nothing_alive() {
        let server = MariaDb::builder().fsync(false).start();
        let store = MySqlStore::builder().slide_after(0.0).open(&server.url()).await;
        keeps_nothing_alive(store.expect("it opens")).await;
    }

    #[tokio::test]
    async fn of_many_renamings_the_last_former_keys_lead_on() {
        let server = MariaDb::builder().fsync(false).start();
        let proxy = Proxy::to(server.port());
        let url = proxy.url(&server.url());
        let store = MySqlStore::builder().clean_every(None).connections_max(1);
        let store = store.open(&url).await.expect("it opens");
        let former = async || server.sql(&format!("{FORMER}UNIX_TIMESTAMP(NOW(3)) * 1000"));
        remembers_the_last_ones(store, || proxy.counts().round_trips, former).await;
    }
}

mod in_a_file {
    use super::*;

    #[tokio::test]
    async fn a_read_by_a_former_key_keeps_nothing_alive() {
        let store = SqliteStore::builder().slide_after(0.0).open(&sqlite_url("former")).await;
        keeps_nothing_alive(store.expect("it opens")).await;
    }

    #[tokio::test]
    async fn of_many_renamings_the_last_former_keys_lead_on() {
        let url = sqlite_url("former");
        let store = SqliteStore::builder().clean_every(None).open(&url).await.expect("it opens");
        let former = async || {
            let sql = FORMER.replace(
                "CONCAT(count(*), ' ', max(OCTET_LENGTH(value)))",
                "CAST(count(*) AS TEXT) || ' ' || CAST(max(length(value)) AS TEXT)",
            );
            sqlite(&url, &format!("{sql}unixepoch('subsec') * 1000")).await
        };
        remembers_the_last_ones(store, || 0, former).await;
    }
}
