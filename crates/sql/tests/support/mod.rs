//! Helpers of the tests of all databases.
#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod pushing;
pub(crate) mod shifted;
pub(crate) mod traced;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt_cache::{
    Clock, Codec, Encoded, Entry, Expiry, Freshness, Key, NewEntry, Owner, Store, Target,
};
use kvolt_testkit::Fixture;
use kvolt_testkit::conformance::{Asked, Costs};
use shifted::{Reopen, Shift, Shifted};
use tokio::runtime::Handle;

/// How often the stores of the laws clean.
pub(crate) const CLEANS_EVERY: Duration = Duration::from_millis(200);

/// A store that `open` opens, with its URL; with values by a codec, on the runtime that it was
/// made on.
pub(crate) struct OnRuntime<O, C> {
    open: O,
    codec: fn() -> C,
    handle: Handle,
    shift: Shift,
    rounds: usize,
    counted: Option<Counted>,
}

/// Counts the statements of all stores of a fixture; with the cost that each operation may have.
#[derive(Clone)]
struct Counted {
    asked: Arc<dyn Fn() -> Asked + Send + Sync>,
    costs: Costs,
}

impl<O, C> OnRuntime<O, C> {
    pub(crate) fn new(open: O, codec: fn() -> C) -> Self {
        let (handle, shift) = (Handle::current(), Shift::default());
        Self { open, codec, handle, shift, rounds: 10, counted: None }
    }

    /// How often the concurrent laws are tried, unless `KVOLT_ROUNDS` sets another number.
    pub(crate) fn rounds(self, rounds: usize) -> Self {
        Self { rounds, ..self }
    }

    pub(crate) fn counting(
        self,
        costs: Costs,
        asked: impl Fn() -> Asked + Send + Sync + 'static,
    ) -> Self {
        Self { counted: Some(Counted { asked: Arc::new(asked), costs }), ..self }
    }
}

impl<O: Clone, C> Clone for OnRuntime<O, C> {
    fn clone(&self) -> Self {
        let Self { open, codec, handle, shift, rounds, counted } = self;
        Self {
            open: open.clone(),
            codec: *codec,
            handle: handle.clone(),
            shift: shift.clone(),
            rounds: *rounds,
            counted: counted.clone(),
        }
    }
}

impl<O, F, S, C> Fixture for OnRuntime<O, C>
where
    O: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = (S, String)> + Send,
    S: Reopen,
    C: Codec<String>,
{
    type Store = Encoded<String, Shifted<S>, C>;

    async fn store(&self) -> Self::Store {
        let (store, url) = (self.open)().await;
        Encoded::new(self.shift.ahead(store, url), (self.codec)())
    }

    async fn advance(&self, by: Duration) {
        self.shift.advance(by).await;
    }

    // Real time passes too: less than this between two calls, and less than an hour in a law.
    fn tick(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 16
    }

    async fn clean(&self, _: &Self::Store) {
        tokio::time::sleep(CLEANS_EVERY).await;
    }

    // Each round is many calls to a server.
    fn rounds(&self) -> usize {
        let asked = std::env::var("KVOLT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        asked.unwrap_or(self.rounds)
    }

    async fn peer(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(Encoded::new(store.store().peer().await, (self.codec)()))
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(Encoded::new(store.store().neighbour().await, (self.codec)()))
    }

    async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
        store.store().damage(key).await;
        true
    }

    async fn asked(&self, _: &Self::Store) -> Option<Asked> {
        self.counted.as_ref().map(|counted| (counted.asked)())
    }

    fn costs(&self) -> Costs {
        self.counted.as_ref().map_or_else(Costs::default, |counted| counted.costs)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // The laws call this from within the runtime, too.
        tokio::task::block_in_place(|| self.handle.block_on(future))
    }
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).expect("the name is valid")
}

/// Reads the entry under a key.
pub(crate) async fn get<S: Store<Vec<u8>>>(store: &S, key: &Key) -> Option<Entry<Vec<u8>>> {
    store.get(key, Freshness::Strict).await.expect("get works")
}

/// Deadlines by the database's own clock.
pub(crate) async fn obeys_the_clock<S: Store<Vec<u8>>>(store: S) {
    let keys = [Key::of("after"), Key::of("idle"), Key::of("used")];
    let second = Duration::from_secs(1);
    for (key, expiry) in
        keys.iter().zip([Expiry::after(second), Expiry::idle(second), Expiry::idle(second)])
    {
        let _ = store.insert(*key, NewEntry::new(Vec::new(), expiry)).await.expect("insert works");
    }
    let clock = Clock::system();
    let begun = clock.now();
    let mut there = [true; 3];
    while there != [false, false, true] || clock.now().since(begun) < second * 2 {
        for (key, there) in keys.iter().zip(&mut there) {
            let before = clock.now().since(begun);
            let found = get(&store, key).await;
            if *key == keys[2] {
                store.touch(Target::new(key)).await.expect("touch works");
            }
            assert!(*there || found.is_none(), "it was absent before");
            *there = found.is_some();
            // The store's clock is another, and has read the time before this one did.
            let is_due = before >= second + second / 10 && *key != keys[2];
            assert!(!(is_due && *there), "there {before:?} after it was made");
            let is_early = clock.now().since(begun) < second - second / 5;
            assert!(!is_early || *there, "gone {before:?} after it was made");
        }
        assert!(clock.now().since(begun) < second * 20, "{there:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn json() -> Json {
    Json
}

pub(crate) fn encrypted() -> Encrypted<Json> {
    Encrypted::new(Json, EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32])))
}

/// A name that was not used before in this process.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An empty folder, that the next run of this test makes empty again.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique(name));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the folder can be made");
    path
}

/// The URL of a new SQLite file.
pub(crate) fn sqlite_url(name: &str) -> String {
    format!("sqlite:{}", folder(name).join("sessions.db").display())
}

/// Runs SQL on a SQLite file, past the store, and returns the first column of the first row.
#[cfg(feature = "sqlite")]
pub(crate) async fn sqlite(url: &str, sql: &str) -> String {
    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

    let mut connection = SqliteConnection::connect(url).await.expect("the file can be opened");
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut connection).await;
    row.expect("the statement works").and_then(|row| row.try_get(0).ok()).unwrap_or_default()
}

/// How SQLite runs a statement.
#[cfg(feature = "sqlite")]
pub(crate) async fn query_plan(url: &str, sql: &str) -> String {
    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

    let mut connection = SqliteConnection::connect(url).await.expect("the file can be opened");
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let steps = explain.fetch_all(&mut connection).await.expect("it is explained");
    steps.iter().map(|step| step.get::<String, _>(3) + "; ").collect()
}
