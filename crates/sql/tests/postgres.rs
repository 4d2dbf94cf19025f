//! The laws on PostgreSQL.

mod support;

use std::sync::OnceLock;

use kvolt_servers::Postgres;
use kvolt_sql::PostgresStore;
use support::{OnRuntime, encrypted, json, unique};

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).max_connections(400).start())
}

async fn open() -> PostgresStore {
    let builder = PostgresStore::builder().table(unique("laws")).connections_max(6);
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
