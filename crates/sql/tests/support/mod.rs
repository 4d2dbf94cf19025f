//! What the tests of all databases share.
#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod pushing;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt_cache::{Codec, Coded, Store};
use kvolt_testkit::Fixture;
use tokio::runtime::Handle;

/// A store that `open` opens, with values by a codec, on the runtime that it was made on.
pub(crate) struct OnRuntime<O, C> {
    open: O,
    codec: fn() -> C,
    handle: Handle,
}

impl<O, C> OnRuntime<O, C> {
    pub(crate) fn new(open: O, codec: fn() -> C) -> Self {
        Self { open, codec, handle: Handle::current() }
    }
}

impl<O: Clone, C> Clone for OnRuntime<O, C> {
    fn clone(&self) -> Self {
        Self { open: self.open.clone(), codec: self.codec, handle: self.handle.clone() }
    }
}

impl<O, F, S, C> Fixture for OnRuntime<O, C>
where
    O: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = S> + Send,
    S: Store<Vec<u8>>,
    C: Codec<String>,
{
    type Store = Coded<String, S, C>;

    async fn store(&self) -> Self::Store {
        Coded::new((self.open)().await, (self.codec)())
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    // The clock is the database's and can't be moved.
    fn tick(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 16
    }

    // Each is many calls to a server; `KVOLT_ROUNDS` asks for more.
    fn rounds(&self) -> usize {
        let asked = std::env::var("KVOLT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        asked.unwrap_or(10)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // The laws call this from within the runtime, too.
        tokio::task::block_in_place(|| self.handle.block_on(future))
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
