//! Pushed changes on SQLite.

mod support;

use std::time::Duration;

use kvolt_cache::{Key, Store};
use kvolt_sql::SqliteStore;
use support::pushing::{
    Notice, entry, no_beat_overtakes_a_change, pushes_every_change, pushes_no_slide_and_no_expiry,
    watch, watched,
};
use support::{sqlite, sqlite_url};

async fn open(url: &str) -> SqliteStore {
    SqliteStore::open(url, "shop").await.expect("it opens")
}

#[tokio::test]
async fn changes_are_pushed_before_confirmation() {
    let url = sqlite_url("push");
    let by_hand = async |sql: &'static str| {
        sqlite(&url, &sql.replace("{t}", "shop_sessions").replace("'by hand'", "x'00'")).await
    };
    pushes_every_change(open(&url).await, by_hand).await;
}

#[tokio::test]
async fn slides_and_expiries_are_not_pushed() {
    let builder = SqliteStore::builder(&sqlite_url("push"), "shop").slide_after(0.0);
    let store = builder.clean_every(Duration::from_millis(100)).open().await;
    pushes_no_slide_and_no_expiry(store.expect("it opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_overtake_no_change() {
    no_beat_overtakes_a_change(open(&sqlite_url("push")).await).await;
}

/// By another program on the same file, too. Where the log has lost a change, everything may have
/// changed.
#[tokio::test]
async fn gap_in_the_log_reports_everything_changed() {
    let url = sqlite_url("push");
    let (one, other) = (open(&url).await, open(&url).await);
    let recorder = watched(&one).await;
    let key = Key::of("key");
    let _ = other.insert(key, entry("value")).await.expect("it works");
    recorder.beat().await;
    assert!(recorder.has(&key));
    for lost in ["DELETE FROM shop_sessions_changes", "UPDATE sqlite_sequence SET seq = 7"] {
        recorder.beat().await;
        recorder.forget();
        let sql = format!("{lost}; INSERT INTO shop_sessions_changes (key) VALUES (x'00')");
        sqlite(&url, &sql).await;
        sqlite(&url, "DELETE FROM shop_sessions_changes").await;
        recorder.beat().await;
        assert!(recorder.notices().contains(&Notice::All), "{lost}");
    }
}

#[tokio::test]
async fn log_is_created_once_and_bounded() {
    let url = sqlite_url("push");
    let store = open(&url).await;
    let mut recorders = Vec::new();
    for _ in 0..4 {
        recorders.push(watch(&open(&url).await).0);
    }
    for recorder in &recorders {
        recorder.beat().await;
    }
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12000)
        INSERT INTO shop_sessions_changes (key) SELECT zeroblob(32) FROM n";
    sqlite(&url, many).await;
    let count = "SELECT CAST(count(*) AS TEXT) FROM shop_sessions_changes";
    assert_eq!(sqlite(&url, count).await, "10000");
    for recorder in &recorders {
        recorder.beat().await;
        assert!(recorder.notices().contains(&Notice::All));
    }
    store.clear().await.expect("it works");
}
