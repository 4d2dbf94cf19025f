//! The laws with a near cache in front of a real server.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "support/fixture.rs"]
mod fixture;
mod support;

use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{Encoded, Key, NearCache};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis, RedisCluster};
use kvolt_testkit::Fixture;

use fixture::{On, all_laws_hold};
use support::soon;

/// A store with a near cache that is up to date.
#[derive(Clone)]
struct Near(On<Json>);

async fn near(store: Encoded<String, RedisStore, Json>) -> <Near as Fixture>::Store {
    let near = NearCache::new(store).unwrap();
    soon("it is up to date", || near.is_current()).await;
    near
}

impl Fixture for Near {
    type Store = NearCache<String, Encoded<String, RedisStore, Json>>;

    async fn store(&self) -> Self::Store {
        near(self.0.store().await).await
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

    async fn peer(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(near(self.0.peer(store.store()).await?).await)
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(near(self.0.neighbour(store.store()).await?).await)
    }

    async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
        self.0.damage(store.store(), key).await
    }

    async fn write_newer(&self, store: &Self::Store, key: &Key) -> bool {
        self.0.write_newer(store.store(), key).await
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}

fn all_laws_hold_near(flavour: Flavour) {
    all_laws_hold(Near(On::new(Redis::builder().flavour(flavour).start(), Json)));
}

#[test]
fn all_laws_hold_with_a_near_cache_on_redis_7() {
    all_laws_hold_near(Flavour::Redis7);
}

#[test]
fn all_laws_hold_with_a_near_cache_on_redis_6_2() {
    all_laws_hold_near(Flavour::Redis62);
}

#[test]
fn all_laws_hold_with_a_near_cache_on_valkey_9() {
    all_laws_hold_near(Flavour::Valkey9);
}

#[test]
fn all_laws_hold_with_a_near_cache_on_a_cluster() {
    all_laws_hold(Near(On::cluster(RedisCluster::start(), Json)));
}
