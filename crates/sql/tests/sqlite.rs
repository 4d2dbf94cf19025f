//! The laws on SQLite.

mod support;

use kvolt_sql::SqliteStore;
use support::{OnRuntime, encrypted, json, sqlite_url};

async fn open() -> SqliteStore {
    SqliteStore::open(&sqlite_url("laws")).await.expect("it opens")
}

kvolt_testkit::conformance_suite!(
    OnRuntime::new(open, json),
    tokio::test(flavor = "multi_thread", worker_threads = 2)
);

/// A store that encrypts encodes anew for each key.
mod encrypted_values {
    use super::*;

    kvolt_testkit::conformance_suite!(
        OnRuntime::new(open, encrypted),
        tokio::test(flavor = "multi_thread", worker_threads = 2)
    );
}
