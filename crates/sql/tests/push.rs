//! What near caches are told by PostgreSQL.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::{Key, Store};
use kvolt_servers::{Postgres, Proxy};
use kvolt_sql::PostgresStore;
use support::pushing::{
    Told, entry, no_beat_overtakes_a_change, tells_every_change, tells_of_no_slide_and_no_expiry,
    watch, watched,
};
use support::unique;
use tokio::time::timeout;

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).start())
}

async fn open(table: &str) -> PostgresStore {
    PostgresStore::builder().table(table).open(&server().url()).await.expect("it opens")
}

#[tokio::test]
async fn every_change_is_told_before_the_beat_that_comes_after_it() {
    let table = unique("push");
    let by_hand = async |sql: &'static str| server().psql(&sql.replace("{t}", &table));
    tells_every_change(open(&table).await, by_hand).await;
}

#[tokio::test]
async fn a_slide_and_an_expiry_are_not_told() {
    let builder = PostgresStore::builder().table(unique("push")).slide_after(0.0);
    let store = builder.clean_every(Duration::from_millis(100)).open(&server().url()).await;
    tells_of_no_slide_and_no_expiry(store.expect("it opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_overtake_nothing() {
    no_beat_overtakes_a_change(open(&unique("push")).await).await;
}

#[tokio::test]
async fn what_is_deleted_by_hand_is_told() {
    let table = unique("push");
    let store = open(&table).await;
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
    assert!(recorder.told().contains(&Told::All), "whatever there was");
}

#[tokio::test]
async fn many_at_once_are_all() {
    let table = unique("push");
    let store = open(&table).await;
    let recorder = watched(&store).await;
    server().psql(&format!(
        "INSERT INTO {table} (key, id, version, value, created, absolute_deadline)
         SELECT sha256(n::text::bytea), n, n, '', 0, 9000000000000 FROM generate_series(1, 1500) n"
    ));
    recorder.beat().await;
    let named = recorder.told().iter().filter(|told| matches!(told, Told::Changed(_))).count();
    assert_eq!(named, 1_500, "each that was made");
    recorder.forget();
    store.clear().await.expect("it works");
    recorder.beat().await;
    let changes = recorder.told();
    let changes: Vec<_> = changes.iter().filter(|told| !matches!(told, Told::Heard(..))).collect();
    assert_eq!(changes, [&Told::All]);
}

#[tokio::test]
async fn store_time_is_the_servers_clock() {
    let recorder = watched(&open(&unique("push")).await).await;
    let before = server().psql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    recorder.forget();
    recorder.beat().await;
    let after = server().psql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    let told = recorder.told();
    let Some(Told::Heard(_, time)) = told.last() else { panic!("it was heard") };
    let between = before.parse().unwrap()..=after.parse().unwrap();
    assert!(between.contains(&time.as_millis()), "{time:?} is in {between:?}");
}

#[tokio::test]
async fn a_listener_that_is_cut_off_is_told_so() {
    let proxy = Proxy::to(server().port());
    let builder = PostgresStore::builder().table(unique("push")).timeout(Duration::from_secs(1));
    let store = builder.open(&proxy.url(&server().url())).await.expect("it opens");
    for cut in [Proxy::cut, Proxy::blackhole] {
        let (recorder, watching) = watch(&store);
        recorder.beat().await;
        cut(&proxy);
        let error = timeout(Duration::from_secs(5), watching).await.expect("it is noticed");
        assert!(error.expect("it ends").is_unavailable());
        proxy.restore();
        let (recorder, watching) = watch(&store);
        recorder.beat().await;
        assert!(recorder.told().contains(&Told::All), "what was missed may have been anything");
        watching.abort();
    }
}

/// Who starts at the same time does not make the triggers twice, and who has no near cache has none.
#[tokio::test]
async fn triggers_are_made_once_and_only_for_those_who_listen() {
    let table = unique("push");
    let url = server().url();
    let open = || PostgresStore::builder().table(&table).open(&url);
    let store = open().await.expect("it opens");
    let _ = store.insert(Key::of("key"), entry("value")).await.expect("it works");
    let count = format!(
        "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = '{table}'::regclass"
    );
    assert_eq!(server().psql(&count), "0");
    let mut recorders = Vec::new();
    for _ in 0..6 {
        recorders.push(watch(&open().await.expect("it opens")).0);
    }
    for recorder in recorders {
        recorder.beat().await;
    }
    assert_eq!(server().psql(&count), "4");
}
