//! A short run on each store while its servers are hurt. Longer ones, with other seeds, are made by
//! `cargo run -p kvolt-histories -- --store redis --seconds 60`.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kvolt_histories::checker::check;
use kvolt_histories::stores::{StoreKind, StoreOptions, open};
use kvolt_histories::{Plan, Summary, record};
use kvolt_servers::require;

/// One at a time: what is to collide are the clients of one store, not the servers of all.
static ALONE: Mutex<()> = Mutex::new(());

#[expect(clippy::print_stdout, reason = "the numbers of a run are part of a test's output")]
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
        let recording = record(setup.processes, &plan, Some(setup.disturber)).await;
        let summary = Summary::of(&recording);
        let report = check(&recording.history, &setup.rules);
        println!("{kind}:\n{summary}{report}");
        assert!(report.is_clean(), "{kind}: {report}");
        assert!(summary.has_recovered(), "{kind}: {summary}");
        assert!(summary.answered() > 500, "{kind}: too little was answered: {summary}");
        assert!(summary.faults() > 0, "{kind}: nobody was hurt: {summary}");
    });
}

const NEAR: Option<Duration> = Some(Duration::from_millis(500));

#[test]
fn the_store_in_memory_keeps_its_promises_when_calls_fail() {
    run(StoreKind::Memory, None);
}

#[test]
fn a_near_cache_keeps_its_bound_when_it_is_told_late_or_never() {
    run(StoreKind::Memory, Some(Duration::from_millis(200)));
}

#[test]
fn a_redis_that_is_hurt_keeps_the_promises() {
    run(StoreKind::Redis, None);
}

#[test]
fn a_near_cache_on_a_redis_that_is_hurt_keeps_its_bound() {
    run(StoreKind::Redis, NEAR);
}

/// The whole chain, tested: servers that lose what they acknowledged are found out.
#[test]
#[should_panic(expected = "FalseAbsence")]
fn a_redis_that_keeps_nothing_on_disk_is_found_out() {
    assert!(require(StoreKind::RedisForgetful.packages()), "FalseAbsence: left out");
    run(StoreKind::RedisForgetful, None);
}

#[test]
fn sentinels_lose_at_most_what_was_written_just_before_a_failover() {
    run(StoreKind::RedisSentinel, NEAR);
}

#[test]
fn a_cluster_loses_at_most_what_was_written_just_before_a_failover() {
    run(StoreKind::RedisCluster, NEAR);
}

#[test]
fn a_postgres_that_is_hurt_keeps_the_promises() {
    run(StoreKind::Postgres, None);
}

#[test]
fn a_near_cache_on_a_postgres_that_is_hurt_keeps_its_bound() {
    run(StoreKind::Postgres, NEAR);
}

#[test]
fn a_mariadb_that_is_hurt_keeps_the_promises() {
    run(StoreKind::MariaDb, None);
}

#[test]
fn several_pools_on_one_sqlite_file_keep_the_promises() {
    run(StoreKind::Sqlite, None);
}

#[test]
fn a_near_cache_on_a_sqlite_file_keeps_its_bound() {
    run(StoreKind::Sqlite, NEAR);
}
