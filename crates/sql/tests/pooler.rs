//! Behind a pooler that gives a connection away after every transaction.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Access, AtLimit, Expiry, Key, NewEntry, Owner, OwnerLimit, Store};
use kvolt_servers::{PgBouncer, Postgres};
use kvolt_sql::PostgresStore;
use support::{CLEANS_EVERY, OnRuntime, json, unique};

/// Fewer connections to the server than to the pooler, so that they do get mixed.
fn servers() -> &'static (Postgres, PgBouncer) {
    static SERVERS: OnceLock<(Postgres, PgBouncer)> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let server = Postgres::builder().fsync(false).start();
        let pooler = PgBouncer::with_pool_size(&server, 5);
        (server, pooler)
    })
}

async fn open() -> (PostgresStore, String, String) {
    let (url, table) = (servers().1.url(), unique("laws"));
    let builder = PostgresStore::builder().table(&table).connections_max(6);
    let builder = builder.clean_every(CLEANS_EVERY).pooled_by_transactions(true);
    (builder.open(&url).await.expect("it opens"), url, table)
}

kvolt_testkit::conformance_suite!(
    OnRuntime::new(open, json),
    tokio::test(flavor = "multi_thread", worker_threads = 2)
);

#[tokio::test]
async fn the_url_can_say_that_there_is_a_pooler() {
    let url = servers().1.url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{mark}pooled_by_transactions=true");
    let store = PostgresStore::builder().table(unique("pooled")).open(&url).await;
    let store = store.expect("it opens");
    assert!(format!("{store:?}").contains("is_pooled: true"));
    for number in 0..50 {
        let entry = NewEntry::new(b"value".to_vec(), Expiry::after(Duration::from_secs(60)));
        let limit = OwnerLimit { entries_max: 3, at_limit: AtLimit::RemoveOldest };
        let entry = entry.owner(Owner::from("owner")).limit(limit);
        let key = Key::of([number]);
        let _ = store.insert(key, entry).await.expect("it works");
        assert!(store.get(&key, Access::SLIDE).await.expect("it works").is_some());
    }
    assert_eq!(store.list(&Owner::from("owner")).await.expect("it works").len(), 3);
}

#[tokio::test]
async fn whoever_does_not_say_that_there_is_a_pooler_is_told_to() {
    let pooler = PgBouncer::with_pool_size(&servers().0, 1);
    let open = || PostgresStore::builder().table("pooled_unsaid").clean_every(None);
    let url = pooler.url();
    let first = open().open(&url).await.expect("alone, it goes well");
    let error = open().open(&url).await.expect_err("its statements are there already");
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("pooled_by_transactions"), "{error}");
    drop(first);
}
