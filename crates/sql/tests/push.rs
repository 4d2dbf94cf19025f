//! What near caches are told by PostgreSQL.

mod support;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kvolt_cache::{
    Access, Clock, Expiry, Key, Listener, NewEntry, Owner, Push, Rename, Replace, Store, Timestamp,
};
use kvolt_servers::{Postgres, Proxy};
use kvolt_sql::PostgresStore;
use support::unique;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const BEAT: Duration = Duration::from_millis(200);

fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().fsync(false).start())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Changed(Key),
    All,
    Heard(Timestamp, Timestamp),
}

#[derive(Clone, Default)]
struct Recorder {
    clock: Clock,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Recorder {
    fn push(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    fn forget(&self) {
        self.told.lock().unwrap().clear();
    }

    fn has(&self, key: &Key) -> bool {
        self.told().contains(&Told::Changed(*key))
    }

    /// Waits for a beat that was asked for after this call began.
    async fn beat(&self) {
        let begun = self.clock.now();
        let heard = |told: &Told| matches!(told, Told::Heard(asked, _) if *asked > begun);
        let hearing = async {
            while !self.told().iter().any(heard) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), hearing).await.expect("the heart beats");
    }
}

impl Listener for Recorder {
    fn changed(&self, key: &Key) {
        self.push(Told::Changed(*key));
    }

    fn all_changed(&self) {
        self.push(Told::All);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn heard(&self, asked: Timestamp, store_time: Timestamp) {
        self.push(Told::Heard(asked, store_time));
    }
}

fn watch(store: &PostgresStore) -> (Recorder, JoinHandle<kvolt_cache::Error>) {
    let (recorder, store) = (Recorder::default(), store.clone());
    let listener = recorder.clone();
    (recorder, tokio::spawn(async move { store.watch(BEAT, &listener).await }))
}

async fn watched(table: &str) -> (PostgresStore, Recorder) {
    let store = PostgresStore::builder().table(table).open(&server().url()).await.expect("it opens");
    let (recorder, _) = watch(&store);
    recorder.beat().await;
    recorder.forget();
    (store, recorder)
}

fn entry(value: &str) -> NewEntry<Vec<u8>> {
    NewEntry::new(value.into(), Expiry::idle(Duration::from_secs(3_600)))
}

#[tokio::test]
async fn every_change_is_told_before_the_beat_that_comes_after_it() {
    let table = unique("push");
    let (store, recorder) = watched(&table).await;
    let [key, to, other] = ["key", "to", "other"].map(Key::of);
    let owner = Owner::from("owner");

    let _ = store.insert(key, entry("value").owner(owner.clone())).await.expect("it works");
    recorder.beat().await;
    assert!(recorder.has(&key), "it was made");

    recorder.forget();
    let found = store.get(&key, Access::PEEK).await.expect("it works").expect("it is there");
    let replaced = store.replace(&key, found.version, b"new".to_vec(), None).await;
    assert!(matches!(replaced, Ok(Replace::Replaced(_))));
    recorder.beat().await;
    assert!(recorder.has(&key), "it was replaced");

    recorder.forget();
    let mut rename = Rename::new();
    rename.grace = Duration::from_secs(60);
    let _ = store.rename(&key, to, rename).await.expect("it works");
    recorder.beat().await;
    assert!(recorder.has(&key) && recorder.has(&to), "it was renamed");

    recorder.forget();
    assert_eq!(store.remove_owner(&owner, None).await.expect("it works"), [to]);
    recorder.beat().await;
    assert!(recorder.has(&to), "it was removed");

    let _ = store.insert(other, entry("value")).await.expect("it works");
    for sql in ["SET value = 'by hand'", "SET idle_deadline = 0"] {
        recorder.beat().await;
        recorder.forget();
        server().psql(&format!("UPDATE {table} {sql}"));
        recorder.beat().await;
        assert!(recorder.has(&other), "by hand, too: {sql}");
    }
}

#[tokio::test]
async fn what_is_deleted_by_hand_is_told() {
    let table = unique("push");
    let (store, recorder) = watched(&table).await;
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
async fn a_slide_and_an_expiry_are_not_told() {
    let table = unique("push");
    let builder = PostgresStore::builder().table(&table).slide_after(0.0);
    let store = builder.clean_every(Duration::from_millis(100)).open(&server().url()).await;
    let store = store.expect("it opens");
    let (recorder, _) = watch(&store);
    recorder.beat().await;
    let (slides, ends) = (Key::of("slides"), Key::of("ends"));
    let _ = store.insert(slides, entry("value")).await.expect("it works");
    let short = NewEntry::new(b"value".to_vec(), Expiry::after(Duration::from_millis(100)));
    let _ = store.insert(ends, short).await.expect("it works");
    recorder.beat().await;
    recorder.forget();
    for _ in 0..5 {
        sleep(Duration::from_millis(100)).await;
        assert!(store.get(&slides, Access::SLIDE).await.expect("it works").is_some());
    }
    let left = server().psql(&format!("SELECT count(*) FROM {table}"));
    assert_eq!(left, "1", "what has ended was cleaned");
    recorder.beat().await;
    assert!(!recorder.has(&slides) && !recorder.has(&ends), "{:?}", recorder.told());
}

#[tokio::test]
async fn many_at_once_are_all() {
    let table = unique("push");
    let (store, recorder) = watched(&table).await;
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

/// What is done before a beat is asked for is told before it is heard, whoever does it at once.
#[tokio::test(flavor = "multi_thread")]
async fn no_beat_overtakes_a_change() {
    let (store, recorder) = watched(&unique("push")).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, clock) = (store.clone(), recorder.clock.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                for number in 0..250 {
                    let key = Key::of(format!("{writer} {number}"));
                    let _ = store.insert(key, entry("value")).await.expect("it works");
                    done.push((key, clock.now()));
                }
                done
            })
        })
        .collect();
    let mut done = Vec::new();
    for writer in writers {
        done.extend(writer.await.expect("it ends"));
    }
    recorder.beat().await;
    let told = recorder.told();
    let mut heard_at = told.iter().enumerate().filter_map(|(place, told)| match told {
        Told::Heard(asked, _) => Some((place, *asked)),
        _ => None,
    });
    let beats: Vec<_> = heard_at.by_ref().collect();
    assert!(beats.len() > 2, "beats came in between");
    for (key, at) in done {
        let place = told.iter().position(|told| *told == Told::Changed(key)).expect("it was told");
        // The clock has ticks: one that was asked in the same may have been before.
        let after = beats.iter().find(|(_, asked)| *asked > at);
        assert!(after.is_none_or(|(beat, _)| place < *beat), "told after a beat that came later");
    }
}

#[tokio::test]
async fn store_time_is_the_servers_clock() {
    let (_, recorder) = watched(&unique("push")).await;
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
