//! The laws on MariaDB.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_servers::MariaDb;
use kvolt_sql::MySqlStore;
use support::{CLEANS_EVERY, OnRuntime, encrypted, json, obeys_the_clock, unique};

fn server() -> &'static MariaDb {
    static SERVER: OnceLock<MariaDb> = OnceLock::new();
    SERVER.get_or_init(|| MariaDb::builder().fsync(false).max_connections(400).start())
}

async fn open() -> (MySqlStore, String) {
    let url = server().url();
    let builder = MySqlStore::builder(&url, &unique("laws"));
    // A law holds however busy the machine is.
    let builder = builder.timeout(Duration::from_secs(20));
    let builder = builder.max_connections(6).clean_every(CLEANS_EVERY);
    (builder.open().await.expect("it opens"), url)
}

kvolt_testkit::conformance_suite!(
    OnRuntime::new(open, json),
    tokio::test(flavor = "multi_thread", worker_threads = 2)
);

/// A store that encrypts encodes a value for its key.
mod encrypted_values {
    use super::*;

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, encrypted),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}

#[tokio::test]
async fn deadlines_follow_the_real_clock() {
    obeys_the_clock(open().await.0).await;
}
