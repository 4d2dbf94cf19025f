//! What the table has, also after an outage.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::future::Future;
use std::time::Duration;

use kvolt::session::Actor;
use kvolt::{Manager, MemoryStore, NewSession, Owner};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::audit::Audit;

const LIMIT: Duration = Duration::from_secs(60);

/// A database in memory, on one connection.
fn database() -> SqlitePool {
    let options = SqliteConnectOptions::new().in_memory(true);
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    pool.connect_lazy_with(options)
}

fn manager(pool: &SqlitePool, capacity: usize) -> (Audit, Manager<u64>) {
    let (audit, listener) = Audit::start(pool.clone(), "one".to_owned(), capacity);
    let manager = Manager::builder(MemoryStore::new()).listener(listener).build().unwrap();
    (audit, manager)
}

async fn sign_in(manager: &Manager<u64>, user: u64) {
    let _ = manager.create(NewSession::new(user).owner(user)).await.unwrap();
}

/// The rows as `event detail owner actor because`.
async fn rows(pool: &SqlitePool) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', event, nullif(detail, ''), owner, actor, because)
        FROM audit ORDER BY process, number";
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap_or_default()
}

async fn soon<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("it comes soon");
}

#[tokio::test]
async fn table_has_each_event_in_order() {
    let pool = database();
    let (audit, manager) = manager(&pool, 10_000);
    for user in 0..1_200 {
        sign_in(&manager, user).await;
    }
    let admin = Actor::new("admin:7").because("phone stolen");
    manager.by(admin).revoke_owner(&Owner::from(3u64)).await.unwrap();
    assert!(audit.finish(manager, LIMIT).await);

    let rows = rows(&pool).await;
    let created: Vec<_> = (0..1_200).map(|user| format!("created {user}")).collect();
    assert_eq!(rows[..1_200], created);
    assert_eq!(rows[1_200..], ["ended revoked_owner 3 admin:7 phone stolen", "stopped"]);
    let gaps = "SELECT count(*) FROM audit WHERE number NOT IN (SELECT number + 1 FROM audit)";
    assert_eq!(sqlx::query_scalar::<_, i64>(gaps).fetch_one(&pool).await.unwrap(), 1, "the first");
}

#[tokio::test]
async fn outage_costs_what_the_buffer_can_not_hold() {
    let pool = database();
    // No table of this name can be created or written.
    sqlx::query("CREATE VIEW audit AS SELECT 1").execute(&pool).await.unwrap();
    let (audit, manager) = manager(&pool, 4);
    for user in 0..10 {
        sign_in(&manager, user).await;
    }
    soon(|| async { audit.lost() == 6 }).await;
    sqlx::query("DROP VIEW audit").execute(&pool).await.unwrap();
    soon(|| async { rows(&pool).await.len() == 4 }).await;
    sign_in(&manager, 10).await;
    assert!(audit.finish(manager, LIMIT).await);
    let expected =
        ["created 0", "created 1", "created 2", "created 3", "lost 6", "created 10", "stopped"];
    assert_eq!(rows(&pool).await, expected);
}

#[tokio::test]
async fn missed_events_are_counted_once() {
    let pool = database();
    let (audit, manager) = manager(&pool, 10_000);
    audit.note_missed(0);
    audit.note_missed(2);
    audit.note_missed(2);
    audit.note_missed(5);
    soon(|| async { rows(&pool).await == ["missed 2", "missed 3"] }).await;
    drop(manager);
}

#[tokio::test]
async fn database_that_stays_away_is_reported_at_the_end() {
    let pool = database();
    sqlx::query("CREATE VIEW audit AS SELECT 1").execute(&pool).await.unwrap();
    let (audit, manager) = manager(&pool, 4);
    sign_in(&manager, 1).await;
    assert!(!audit.finish(manager, Duration::from_millis(100)).await);
}
