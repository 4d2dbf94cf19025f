//! The laws with a near cache in front of a database.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{ChangeFeed, Encoded, NearCache, Store};
use kvolt_servers::Postgres;
use kvolt_sql::{PostgresStore, SqliteStore};
use kvolt_testkit::Fixture;
use kvolt_testkit::conformance::broken_laws_on_a_real_clock;
use tokio::runtime::Runtime;

use support::shifted::Reopen;
use support::{CLEANS_EVERY, sqlite_url, unique};

/// The runtime of all laws, which lives as long as the process.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    })
}

/// A store that `open` opens, with its URL; with a near cache.
#[derive(Clone)]
struct Near<O> {
    open: O,
    /// By namespace.
    urls: Arc<Mutex<HashMap<String, String>>>,
}

impl<O> Near<O> {
    fn new(open: O) -> Self {
        Self { open, urls: Arc::default() }
    }
}

impl<O, F, S> Fixture for Near<O>
where
    O: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = (S, String)> + Send,
    S: Reopen + ChangeFeed,
{
    type Store = NearCache<String, Encoded<String, S, Json>>;

    async fn store(&self) -> Self::Store {
        let (store, url) = (self.open)().await;
        self.urls.lock().unwrap().insert(store.namespace().to_string(), url);
        near(store).await
    }

    async fn peer(&self, store: &Self::Store) -> Option<Self::Store> {
        let store = store.store().store();
        let url = self.urls.lock().unwrap().get(store.namespace().as_str())?.clone();
        Some(near(store.reopen(&url).await).await)
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        let store = store.store().store();
        Some(near(store.within(&format!("{}_b", store.namespace())).await).await)
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

/// A near cache that is up to date.
async fn near<S: Store<Vec<u8>> + ChangeFeed>(
    store: S,
) -> NearCache<String, Encoded<String, S, Json>> {
    let near = NearCache::new(Encoded::new(store, Json)).unwrap();
    while !near.is_current() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    near
}

#[test]
fn all_laws_hold_with_a_near_cache_on_postgresql() {
    let server = Postgres::builder().fsync(false).max_connections(400).start();
    let url = server.url();
    let open = move || {
        let url = url.clone();
        async move {
            let builder = PostgresStore::builder(&url, &unique("laws"));
            let builder = builder.timeout(Duration::from_secs(20)).max_connections(6);
            (builder.clean_every(CLEANS_EVERY).open().await.unwrap(), url)
        }
    };
    assert_eq!(broken_laws_on_a_real_clock(&Near::new(open), 12), []);
}

#[test]
fn all_laws_hold_with_a_near_cache_on_sqlite() {
    let open = || async {
        let url = sqlite_url("near");
        let builder = SqliteStore::builder(&url, &unique("laws"));
        let builder = builder.timeout(Duration::from_secs(20));
        (builder.clean_every(CLEANS_EVERY).open().await.unwrap(), url)
    };
    assert_eq!(broken_laws_on_a_real_clock(&Near::new(open), 12), []);
}
