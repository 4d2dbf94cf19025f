//! Behind a pooler that gives a connection away after every transaction.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Expiry, Key, NewEntry, OwnerLimit, Store};
use kvolt_servers::{PgBouncer, Postgres};
use kvolt_sql::PostgresStore;
use support::{CLEANS_EVERY, OnRuntime, get, json, owner, unique};

/// Fewer connections to the server than to the pooler, so that they do get mixed.
fn servers() -> &'static (Postgres, PgBouncer) {
    static SERVERS: OnceLock<(Postgres, PgBouncer)> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let server = Postgres::builder().fsync(false).start();
        let pooler = PgBouncer::with_pool_size(&server, 5);
        (server, pooler)
    })
}

/// The URL of the pooler, which declares it.
fn pooled_url() -> String {
    let url = servers().1.url();
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}pooled_by_transactions=true")
}

async fn open() -> (PostgresStore, String) {
    let url = pooled_url();
    let builder = PostgresStore::builder(&url, &unique("laws")).max_connections(6);
    (builder.clean_every(CLEANS_EVERY).open().await.expect("it opens"), url)
}

kvolt_testkit::conformance_suite!(
    OnRuntime::new(open, json),
    tokio::test(flavor = "multi_thread", worker_threads = 2)
);

#[tokio::test]
async fn url_can_declare_a_pooler() {
    let store = PostgresStore::open(&pooled_url(), &unique("pooled")).await.expect("it opens");
    assert!(format!("{store:?}").contains("is_pooled: true"));
    for number in 0..50 {
        let entry = NewEntry::new(b"value".to_vec(), Expiry::after(Duration::from_secs(60)));
        let entry = entry.owner(owner("owner")).limit(OwnerLimit::remove_oldest(3));
        let key = Key::of([number]);
        let _ = store.insert(key, entry).await.expect("insert works");
        assert!(get(&store, &key).await.is_some());
    }
    assert_eq!(store.list(&owner("owner")).await.expect("list works").entries.len(), 3);
}

#[tokio::test]
async fn undeclared_pooler_is_named_in_the_error() {
    let pooler = PgBouncer::with_pool_size(&servers().0, 1);
    let open = async || {
        PostgresStore::builder(&pooler.url(), "pooled_unsaid").clean_every(None).open().await
    };
    let first = open().await.expect("alone, it goes well");
    let error = open().await.expect_err("its statements are there already");
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("pooled_by_transactions"), "{error}");
    drop(first);
}
