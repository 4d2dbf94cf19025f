//! Pushed changes on PostgreSQL.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Key, Store};
use kvolt_servers::{Postgres, Proxy};
use kvolt_sql::PostgresStore;
use support::pushing::{
    Notice, entry, no_beat_overtakes_a_change, pushes_every_change, pushes_no_slide_and_no_expiry,
    watch, watched,
};
use support::unique;
use tokio::time::timeout;

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).start())
}

async fn open(namespace: &str) -> PostgresStore {
    PostgresStore::open(&server().url(), namespace).await.expect("it opens")
}

#[tokio::test]
async fn changes_are_pushed_before_confirmation() {
    let name = unique("push");
    let table = format!("{name}_sessions");
    let by_hand = async |sql: &'static str| server().psql(&sql.replace("{t}", &table));
    pushes_every_change(open(&name).await, by_hand).await;
}

#[tokio::test]
async fn slides_and_expiries_are_not_pushed() {
    let builder = PostgresStore::builder(&server().url(), &unique("push")).slide_after(0.0);
    let store = builder.clean_every(Duration::from_millis(100)).open().await;
    pushes_no_slide_and_no_expiry(store.expect("it opens")).await;
}

/// A session that is set to be a replica fires no ordinary trigger.
#[tokio::test]
async fn changes_of_a_replica_session_are_pushed() {
    let name = unique("push");
    let table = format!("{name}_sessions");
    let by_hand = async |sql: &'static str| {
        let sql = sql.replace("{t}", &table);
        server().psql(&format!("SET session_replication_role = replica; {sql}"))
    };
    pushes_every_change(open(&name).await, by_hand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_overtake_no_change() {
    no_beat_overtakes_a_change(open(&unique("push")).await).await;
}

#[tokio::test]
async fn deletions_by_hand_are_pushed() {
    let name = unique("push");
    let (table, store) = (format!("{name}_sessions"), open(&name).await);
    let recorder = watched(&store).await;
    let key = Key::of("key");
    let _ = store.insert(key, entry("value")).await.expect("it works");
    recorder.beat().await;
    recorder.forget();
    server().psql(&format!("DELETE FROM {table}"));
    recorder.beat().await;
    assert!(recorder.has(&key));
    server().psql(&format!("TRUNCATE {table}"));
    recorder.beat().await;
    assert!(recorder.notices().contains(&Notice::All), "whatever there was");
}

#[tokio::test]
async fn many_removals_report_everything_changed() {
    let name = unique("push");
    let (table, store) = (format!("{name}_sessions"), open(&name).await);
    let recorder = watched(&store).await;
    server().psql(&format!(
        "INSERT INTO {table} (key, version, value, created, absolute_deadline)
         SELECT sha256(n::text::bytea), n, '', 0, 9000000000000 FROM generate_series(1, 1500) n"
    ));
    recorder.beat().await;
    let named =
        recorder.notices().iter().filter(|notice| matches!(notice, Notice::Changed(_))).count();
    assert_eq!(named, 1_500, "each that was made");
    recorder.forget();
    store.clear().await.expect("it works");
    recorder.beat().await;
    let changes = recorder.notices();
    let changes: Vec<_> =
        changes.iter().filter(|notice| !matches!(notice, Notice::Confirmed(..))).collect();
    assert_eq!(changes, [&Notice::All]);
}

#[tokio::test]
async fn store_time_is_the_servers_clock() {
    let recorder = watched(&open(&unique("push")).await).await;
    let before = server().psql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    recorder.forget();
    recorder.beat().await;
    let after = server().psql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    let notices = recorder.notices();
    let Some(Notice::Confirmed(_, time)) = notices.last() else { panic!("it was confirmed") };
    let between = before.parse().unwrap()..=after.parse().unwrap();
    assert!(between.contains(&time.as_millis()), "{time:?} is in {between:?}");
}

#[tokio::test]
async fn disconnected_feed_ends() {
    let proxy = Proxy::to(server().port());
    let builder = PostgresStore::builder(&proxy.url(&server().url()), &unique("push"));
    let store = builder.timeout(Duration::from_secs(1)).open().await.expect("it opens");
    for cut in [Proxy::cut, Proxy::blackhole] {
        let (recorder, watching) = watch(&store);
        recorder.beat().await;
        cut(&proxy);
        let error = timeout(Duration::from_secs(5), watching).await.expect("it is noticed");
        assert!(error.expect("it ends").is_unavailable());
        proxy.restore();
        let (recorder, watching) = watch(&store);
        recorder.beat().await;
        assert!(
            recorder.notices().contains(&Notice::All),
            "what was missed may have been anything"
        );
        watching.abort();
    }
}

/// A feed from another server than the one that answers reads would push no change.
#[tokio::test]
async fn feed_from_another_server_is_rejected() {
    let other = Postgres::builder().fsync(false).start();
    let name = unique("push");
    let builder = PostgresStore::builder(&server().url(), &name).listen_url(&other.url());
    let store = builder.expect("it is a URL").open().await.expect("it opens");
    let (recorder, watching) = watch(&store);
    let error = timeout(Duration::from_secs(5), watching).await.expect("it ends");
    let error = error.expect("it does not panic");
    assert!(error.is_unavailable() && error.to_string().contains("another server"), "{error}");
    assert!(
        !recorder.notices().iter().any(|notice| matches!(notice, Notice::Confirmed(..))),
        "no beat counts"
    );
}

/// Programs that start at once create the triggers once, and a store without a near cache none.
#[tokio::test]
async fn triggers_are_created_once_for_near_caches_only() {
    let name = unique("push");
    let store = open(&name).await;
    let _ = store.insert(Key::of("key"), entry("value")).await.expect("it works");
    let count = format!(
        "SELECT count(*) FROM pg_trigger \
         WHERE NOT tgisinternal AND tgrelid = '{name}_sessions'::regclass"
    );
    assert_eq!(server().psql(&count), "0");
    let mut recorders = Vec::new();
    for _ in 0..6 {
        recorders.push(watch(&open(&name).await).0);
    }
    for recorder in recorders {
        recorder.beat().await;
    }
    assert_eq!(server().psql(&count), "4");
}
