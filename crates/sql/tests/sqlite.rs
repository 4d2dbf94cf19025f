//! The laws on SQLite.

mod support;

use std::time::Duration;

use kvolt_sql::SqliteStore;
use support::{CLEANS_EVERY, OnRuntime, encrypted, json, obeys_the_clock, sqlite_url, unique};

async fn open() -> (SqliteStore, String) {
    let url = sqlite_url("laws");
    let builder = SqliteStore::builder(&url, &unique("laws")).clean_every(CLEANS_EVERY);
    // A law holds however busy the machine is.
    let builder = builder.timeout(Duration::from_secs(20));
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
