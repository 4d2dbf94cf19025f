//! The same calls on stores outside of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{ChangeFeed, Encoded, NearCache, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{MariaDb, Package, Postgres, Proxy, Redis, require};
use kvolt_session::{Manager, RecordJson};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use tokio::runtime::Runtime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::Counter;
use crate::manager::{life, reads, runtime};
use crate::user::User;

const NAMESPACE: &str = "counts";

/// As a part of the idle timeout, 18 ms.
const SLIDE_AFTER: f64 = 0.000_01;
const SLIDE_IS_DUE: Duration = Duration::from_millis(30);

/// Half of the idle timeout.
const NO_SLIDE: f64 = 0.5;

/// The servers, each behind a proxy that counts its traffic.
#[derive(Debug)]
pub struct Servers {
    redis: (Redis, Proxy),
    postgres: (Postgres, Proxy),
    mariadb: (MariaDb, Proxy),
}

impl Servers {
    /// Starts them; `None` where tests of servers are skipped.
    pub fn start() -> Option<Self> {
        if !require(&[Package::Redis, Package::Postgres, Package::MariaDb]) {
            return None;
        }
        let (redis, postgres, mariadb) = (
            Redis::start(),
            Postgres::builder().fsync(false).start(),
            MariaDb::builder().fsync(false).start(),
        );
        let [to_redis, to_postgres, to_mariadb] =
            [redis.port(), postgres.port(), mariadb.port()].map(Proxy::to);
        Some(Self {
            redis: (redis, to_redis),
            postgres: (postgres, to_postgres),
            mariadb: (mariadb, to_mariadb),
        })
    }

    /// Everything that all clients of all servers sent and received.
    pub fn counts(&self) -> [kvolt_servers::Counts; 3] {
        [&self.redis.1, &self.postgres.1, &self.mariadb.1].map(Proxy::counts)
    }
}

/// Calls each path on the servers this often.
pub fn on_servers(counter: &mut dyn Counter, samples: usize, servers: &Servers) {
    let url = servers.redis.1.url(&servers.redis.0.url());
    let open = async |slide_after: f64| {
        let builder = RedisStore::builder(&*url, NAMESPACE).slide_after(slide_after);
        builder.open().await.unwrap()
    };
    on(counter, samples, "redis", open);
    near(counter, samples, "redis", open);

    let url = servers.postgres.1.url(&servers.postgres.0.url());
    let open = async |slide_after: f64| {
        let builder = PostgresStore::builder(&url, NAMESPACE).slide_after(slide_after);
        builder.clean_every(None).max_connections(1).open().await.unwrap()
    };
    on(counter, samples, "postgres", open);
    near(counter, samples, "postgres", open);

    let url = servers.mariadb.1.url(&servers.mariadb.0.url());
    let open = async |slide_after: f64| {
        let builder = MySqlStore::builder(&url, NAMESPACE).slide_after(slide_after);
        builder.clean_every(None).max_connections(1).open().await.unwrap()
    };
    on(counter, samples, "mariadb", open);
}

/// Calls each path on a file of SQLite this often. Its statements are counted by `statements`.
pub fn on_sqlite(counter: &mut dyn Counter, samples: usize, statements: &Arc<AtomicU64>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let open = async |slide_after: f64| {
        let builder = SqliteStore::builder(&url, NAMESPACE).slide_after(slide_after);
        builder.clean_every(None).open().await.unwrap()
    };
    let subscriber = Statements(Arc::clone(statements));
    tracing::subscriber::with_default(subscriber, || on(counter, samples, "sqlite", open));
}

fn manager(store: impl Store<Vec<u8>>) -> Manager<User> {
    Manager::new(Encoded::new(store, RecordJson::new()))
}

fn on<S: Store<Vec<u8>>>(
    counter: &mut dyn Counter,
    samples: usize,
    name: &str,
    open: impl AsyncFn(f64) -> S,
) {
    let runtime = runtime();
    let sliding = manager(runtime.block_on(open(SLIDE_AFTER)));
    slides(counter, samples, &runtime, &sliding, name);
    let manager = manager(runtime.block_on(open(NO_SLIDE)));
    reads(counter, samples, &runtime, &manager, name);
    life(counter, samples, &runtime, &manager, name);
}

/// Reads of a session whose slide is due.
fn slides(
    counter: &mut dyn Counter,
    samples: usize,
    runtime: &Runtime,
    manager: &Manager<User>,
    name: &str,
) {
    for _ in 0..samples {
        let token = runtime.block_on(manager.create(User::of("slider"))).unwrap();
        std::thread::sleep(SLIDE_IS_DUE);
        counter.count(&format!("{name}: read, slide"), &mut || {
            assert!(runtime.block_on(manager.get(&token)).unwrap().is_some());
        });
    }
}

fn near<S: Store<Vec<u8>> + ChangeFeed>(
    counter: &mut dyn Counter,
    samples: usize,
    name: &str,
    open: impl AsyncFn(f64) -> S,
) {
    let runtime = runtime();
    let create = manager(runtime.block_on(open(NO_SLIDE)));
    let tokens: Vec<_> =
        (0..samples).map(|_| runtime.block_on(create.create(User::of("near"))).unwrap()).collect();
    let store = runtime.block_on(open(NO_SLIDE));
    let manager = {
        let _runtime = runtime.enter();
        Manager::<User>::new(NearCache::new(Encoded::new(store, RecordJson::new())).unwrap())
    };
    let read = |token| assert!(runtime.block_on(manager.get(token)).unwrap().is_some());
    let first = runtime.block_on(create.create(User::of("near"))).unwrap();
    settle(&runtime);
    read(&first);
    for token in &tokens {
        counter.count(&format!("{name}, near cache: miss"), &mut || read(token));
        counter.count(&format!("{name}, near cache: hit"), &mut || read(token));
    }
}

/// Lets background tasks work: a near cache subscribes to changes.
fn settle(runtime: &Runtime) {
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
}

/// Counts the statements of the SQL stores, and nothing else.
struct Statements(Arc<AtomicU64>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("kvolt_sql") && *metadata.level() == tracing::Level::TRACE
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
