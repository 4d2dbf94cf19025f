//! The stores below the application.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::{
    AnyStore, Encoded, Freshness, ManualClock, MemoryStore, ReplaceOutcome, Store, Target,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Package, Redis, require};
use kvolt_session::{Manager, ManagerBuilder, RecordJson, SessionId};
use kvolt_sql::{SqliteStore, Synchronous};
use kvolt_testkit::{Faults, FaultyStore};
use tempfile::TempDir;

use crate::User;

/// Generous, because the machine may be busy: no law is about this timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An empty store, and what the laws do to it.
pub struct Backend {
    pub(crate) builder: Option<ManagerBuilder<User>>,
    pub(crate) faults: Faults,
    clock: Option<ManualClock>,
    /// The store below the codec and the faults; `None` in memory.
    bytes: Option<AnyStore<Vec<u8>>>,
    _folder: Option<TempDir>,
}

/// The store in memory, with a clock that the laws move.
pub async fn memory() -> Backend {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clock()).build();
    let (store, faults) = FaultyStore::new(store);
    let builder = Some(Manager::builder(store));
    Backend { builder, faults, clock: Some(clock), bytes: None, _folder: None }
}

/// The store in memory below a codec, which allows everything that the laws do to a store.
pub async fn encoded_memory() -> Backend {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clock()).build();
    Backend { clock: Some(clock), ..on_bytes(store, None) }
}

/// A namespace on a Redis server that all tests of the program share; `None` if the tests of servers
/// are skipped.
pub async fn redis() -> Option<Backend> {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    static NAMESPACES: AtomicUsize = AtomicUsize::new(0);
    let redis = require(&[Package::Redis]).then(|| REDIS.get_or_init(Redis::start))?;
    let namespace = format!("application_{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
    let store = RedisStore::builder(redis.url(), &namespace).timeout(TIMEOUT).open();
    Some(on_bytes(store.await.expect("the store opens"), None))
}

/// A SQLite file of its own.
pub async fn sqlite() -> Backend {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let store = SqliteStore::builder(&url, "application").timeout(TIMEOUT).clean_every(None);
    // Durability against a power failure is not tested here.
    let store = store.synchronous(Synchronous::Normal).open();
    on_bytes(store.await.expect("the store opens"), Some(folder))
}

fn on_bytes(store: impl Store<Vec<u8>> + Clone, folder: Option<TempDir>) -> Backend {
    let (faulty, faults) = FaultyStore::new(store.clone());
    let builder = Some(Manager::builder(Encoded::new(faulty, RecordJson::new())));
    let bytes = Some(AnyStore::new(store));
    Backend { builder, faults, clock: None, bytes, _folder: folder }
}

impl Backend {
    pub(crate) fn advance(&self, by: Duration) -> bool {
        self.clock.as_ref().map(|clock| clock.advance(by)).is_some()
    }

    /// Replaces the data of a session by a number. The envelope, which is the first line, stays.
    pub(crate) async fn damage(&self, id: &str) -> bool {
        let Some(bytes) = &self.bytes else { return false };
        let id: SessionId = id.parse().expect("an id");
        let key = id.key(bytes.namespace());
        let entry = bytes.get(&key, Freshness::Strict).await.expect("the store answers");
        let entry = entry.expect("the session exists");
        let end = entry.value.iter().position(|byte| *byte == b'\n').expect("an envelope");
        let value = [&entry.value[..=end], b"7"].concat();
        let at = Target::new(&key).owner(entry.owner.as_ref());
        let replaced = bytes.replace(at, entry.version, value, None).await;
        matches!(replaced.expect("the store answers"), ReplaceOutcome::Replaced(_))
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("faults", &self.faults).finish_non_exhaustive()
    }
}
