use std::sync::OnceLock;
use std::time::Duration;

use kvolt_redis::RedisStore;
use kvolt_servers::{Package, Proxy, Redis};

use super::remote::{shared, unique};
use super::server::TIMEOUT;
use super::{Deployment, Opening, RawStore, Server};

pub(super) async fn open(bound: Option<Duration>) -> Option<Deployment> {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let redis = shared(&REDIS, Package::Redis, Redis::start).await?;
    Some(deployment(redis, unique("deployment"), bound, None).await)
}

/// A namespace. If it has a neighbour, its first server uses the neighbour's connections.
fn deployment(
    redis: &'static Redis,
    namespace: String,
    bound: Option<Duration>,
    beside: Option<RedisStore>,
) -> Opening {
    Box::pin(async move {
        let (store, proxy) = match beside {
            Some(beside) => (beside.within(&namespace).expect("a valid namespace"), None),
            None => connected(redis, &namespace).await,
        };
        let (elsewhere, its_proxy) = connected(redis, &namespace).await;
        let one = Server::pushing(store.clone(), proxy, bound).await;
        let other = Server::pushing(elsewhere, its_proxy, bound).await;
        let raw = Box::new(Keys { redis, namespace: namespace.clone() });
        let neighbour =
            Box::new(move |namespace| deployment(redis, namespace, bound, Some(store.clone())));
        Deployment { one, other, namespace, clock: None, bound, raw, neighbour }
    })
}

async fn connected(redis: &Redis, namespace: &str) -> (RedisStore, Option<Proxy>) {
    let proxy = Proxy::to(redis.port());
    let store = RedisStore::builder(proxy.url(&redis.url()), namespace).timeout(TIMEOUT);
    (store.open().await.expect("the store opens"), Some(proxy))
}

struct Keys {
    redis: &'static Redis,
    namespace: String,
}

impl Keys {
    fn names(&self) -> Vec<String> {
        let of = |rest: &str| self.redis.cli(&["KEYS", &format!("{}{rest}", self.namespace)]);
        let (entries, indexes) = (of(":*"), of(".owners:*"));
        entries.lines().chain(indexes.lines()).map(str::to_owned).collect()
    }
}

impl RawStore for Keys {
    fn count(&self) -> usize {
        self.names().len()
    }

    fn dump(&self) -> Vec<u8> {
        let mut names = self.names();
        names.sort();
        let mut dump = Vec::new();
        for name in names {
            let content = match &*self.redis.cli(&["TYPE", &name]) {
                "zset" => self.redis.cli(&["ZRANGE", &name, "0", "-1", "WITHSCORES"]),
                _ => self.redis.cli(&["GET", &name]),
            };
            dump.extend(format!("{name}\n{content}\n").into_bytes());
        }
        dump
    }
}
