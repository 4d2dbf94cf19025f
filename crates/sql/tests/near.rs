//! The laws with a near cache in front of a database.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{Coded, NearCache, Push, Store};
use kvolt_servers::Postgres;
use kvolt_sql::{PostgresStore, SqliteStore};
use kvolt_testkit::Fixture;
use kvolt_testkit::conformance::broken_laws_on_a_real_clock;
use tokio::runtime::Runtime;

use support::{CLEANS_EVERY, sqlite_url, unique};

/// The runtime of all laws, which lives as long as the process.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    })
}

/// A store that `open` opens, with a near cache that hears.
#[derive(Clone)]
struct Near<O>(O);

impl<O, F, S> Fixture for Near<O>
where
    O: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = S> + Send,
    S: Store<Vec<u8>> + Push,
{
    type Store = NearCache<String, Coded<String, S, Json>>;

    async fn store(&self) -> Self::Store {
        let near = NearCache::new(Coded::new((self.0)().await, Json)).unwrap();
        while !near.is_hearing() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        near
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 10
    }

    fn rounds(&self) -> usize {
        3
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let _context = runtime().enter();
        pollster::block_on(future)
    }
}

#[test]
fn all_laws_hold_with_a_near_cache_on_postgresql() {
    let server = Postgres::builder().fsync(false).max_connections(400).start();
    let url = server.url();
    let open = move || {
        let url = url.clone();
        async move {
            let table = unique("laws");
            let builder = PostgresStore::builder().table(table).timeout(Duration::from_secs(20));
            builder.connections_max(6).clean_every(CLEANS_EVERY).open(&url).await.unwrap()
        }
    };
    assert_eq!(broken_laws_on_a_real_clock(&Near(open), 12), []);
}

#[test]
fn all_laws_hold_with_a_near_cache_on_sqlite() {
    let open = || async {
        let builder = SqliteStore::builder().timeout(Duration::from_secs(20));
        builder.clean_every(CLEANS_EVERY).open(&sqlite_url("near")).await.unwrap()
    };
    assert_eq!(broken_laws_on_a_real_clock(&Near(open), 12), []);
}
