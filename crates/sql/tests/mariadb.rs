//! The laws on MariaDB.

mod support;

use std::sync::OnceLock;

use kvolt_servers::MariaDb;
use kvolt_sql::MySqlStore;
use support::{OnRuntime, encrypted, json, unique};

fn server() -> &'static MariaDb {
    static SERVER: OnceLock<MariaDb> = OnceLock::new();
    SERVER.get_or_init(|| MariaDb::builder().fsync(false).max_connections(400).start())
}

async fn open() -> MySqlStore {
    let builder = MySqlStore::builder().table(unique("laws")).connections_max(6);
    builder.open(&server().url()).await.expect("it opens")
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
