//! A short run on each store under fault injection. For longer runs or other seeds, run
//! `cargo run -p kvolt-histories -- --store redis --seconds 60`.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kvolt_histories::checker::check;
use kvolt_histories::stores::{StoreKind, StoreOptions, open};
use kvolt_histories::{Plan, Summary, record};
use kvolt_servers::require;

/// Runs one test at a time: the clients of one store should conflict, not the servers of
/// all stores.
static ALONE: Mutex<()> = Mutex::new(());

#[expect(clippy::print_stdout, reason = "the statistics of a run belong to the test's output")]
fn run(kind: StoreKind, near_cache: Option<Duration>) {
    if !kind.packages().is_empty() && !require(kind.packages()) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let plan = Plan {
            seed: 7,
            time: Duration::from_secs(8),
            ops_max: 60_000,
            bound: near_cache.unwrap_or_default() + Duration::from_millis(50),
            ..Plan::default()
        };
        let setup =
            open(kind, StoreOptions { near_cache, ..StoreOptions::default() }).await.unwrap();
        let recording = record(setup.processes, &plan, Some(setup.injector)).await;
        let summary = Summary::of(&recording);
        let report = check(&recording.history, &setup.rules);
        println!("{kind}:\n{summary}{report}");
        assert!(report.is_clean(), "{kind}: {report}");
        assert!(summary.has_recovered(), "{kind}: {summary}");
        assert!(summary.answered() > 500, "{kind}: too few answers: {summary}");
        assert!(summary.faults() > 0, "{kind}: no fault was injected: {summary}");
    });
}

const NEAR: Option<Duration> = Some(Duration::from_millis(500));

#[test]
fn memory_store_keeps_its_promises() {
    run(StoreKind::Memory, None);
}

#[test]
fn near_cache_keeps_its_bound_without_pushes() {
    run(StoreKind::Memory, Some(Duration::from_millis(200)));
}

#[test]
fn redis_keeps_its_promises() {
    run(StoreKind::Redis, None);
}

#[test]
fn near_cache_on_redis_keeps_its_bound() {
    run(StoreKind::Redis, NEAR);
}

/// End-to-end: the checker must detect servers that lose acknowledged changes.
#[test]
#[should_panic(expected = "FalseAbsence")]
fn redis_without_persistence_is_detected() {
    assert!(require(StoreKind::RedisForgetful.packages()), "FalseAbsence: left out");
    run(StoreKind::RedisForgetful, None);
}

#[test]
fn sentinel_failover_loses_only_recent_changes() {
    run(StoreKind::RedisSentinel, NEAR);
}

#[test]
fn cluster_failover_loses_only_recent_changes() {
    run(StoreKind::RedisCluster, NEAR);
}

#[test]
fn postgres_keeps_its_promises() {
    run(StoreKind::Postgres, None);
}

#[test]
fn near_cache_on_postgres_keeps_its_bound() {
    run(StoreKind::Postgres, NEAR);
}

#[test]
fn mariadb_keeps_its_promises() {
    run(StoreKind::MariaDb, None);
}

#[test]
fn sqlite_pools_keep_their_promises() {
    run(StoreKind::Sqlite, None);
}

#[test]
fn near_cache_on_sqlite_keeps_its_bound() {
    run(StoreKind::Sqlite, NEAR);
}
