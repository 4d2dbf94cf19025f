//! The laws with a near cache in front of a real server.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{Coded, NearCache};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis, RedisCluster};
use kvolt_testkit::Fixture;

use support::{On, all_laws_hold, cluster_url, soon};

/// A store with a near cache that hears.
#[derive(Clone)]
struct Near(On<Json>);

impl Fixture for Near {
    type Store = NearCache<String, Coded<String, RedisStore, Json>>;

    async fn store(&self) -> Self::Store {
        let near = NearCache::new(self.0.store().await).unwrap();
        soon("it hears", || near.is_hearing()).await;
        near
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }

    fn tick(&self) -> Duration {
        self.0.tick()
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 10
    }

    fn rounds(&self) -> usize {
        self.0.rounds()
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}

#[test]
fn all_laws_hold_with_a_near_cache_on_redis_7() {
    let server = Redis::start();
    all_laws_hold(Near(On::new(server.url(), Json)));
}

#[test]
fn all_laws_hold_with_a_near_cache_on_redis_6_2() {
    let server = Redis::builder().flavour(Flavour::Redis62).start();
    all_laws_hold(Near(On::new(server.url(), Json)));
}

#[test]
fn all_laws_hold_with_a_near_cache_on_valkey_9() {
    let server = Redis::builder().flavour(Flavour::Valkey9).start();
    all_laws_hold(Near(On::new(server.url(), Json)));
}

#[test]
fn all_laws_hold_with_a_near_cache_on_a_cluster() {
    let cluster = RedisCluster::start();
    all_laws_hold(Near(On::new(cluster_url(&cluster), Json)));
}
