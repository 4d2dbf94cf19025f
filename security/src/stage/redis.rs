use std::sync::OnceLock;
use std::time::Duration;

use kvolt_redis::RedisStore;
use kvolt_servers::{Package, Proxy, Redis};

use super::elsewhere::{shared, unique};
use super::server::TIMEOUT;
use super::{Raw, Server, Stage};

pub(super) async fn open(bound: Option<Duration>) -> Option<Stage> {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let redis = shared(&REDIS, Package::Redis, Redis::start).await?;
    let prefix = unique("stage");
    let one = server(redis, &prefix, bound).await;
    let other = server(redis, &prefix, bound).await;
    Some(Stage { one, other, clock: None, bound, raw: Box::new(Prefixed { redis, prefix }) })
}

async fn server(redis: &Redis, prefix: &str, bound: Option<Duration>) -> Server {
    let proxy = Proxy::to(redis.port());
    let store = RedisStore::builder(proxy.url(&redis.url())).prefix(prefix).timeout(TIMEOUT);
    let store = store.open().await.expect("the store opens");
    match bound {
        Some(bound) => Server::near(store, Some(proxy), bound).await,
        None => Server::pushing(store, Some(proxy)),
    }
}

struct Prefixed {
    redis: &'static Redis,
    prefix: String,
}

impl Prefixed {
    fn names(&self) -> Vec<String> {
        let names = self.redis.cli(&["KEYS", &format!("{}:*", self.prefix)]);
        names.lines().map(str::to_owned).collect()
    }
}

impl Raw for Prefixed {
    fn count(&self) -> usize {
        self.names().len()
    }

    fn dump(&self) -> Vec<u8> {
        let mut names = self.names();
        names.sort();
        let mut dump = Vec::new();
        for name in names {
            let content = match &*self.redis.cli(&["TYPE", &name]) {
                "hash" => self.redis.cli(&["HGETALL", &name]),
                "zset" => self.redis.cli(&["ZRANGE", &name, "0", "-1", "WITHSCORES"]),
                _ => self.redis.cli(&["GET", &name]),
            };
            dump.extend(format!("{name}\n{content}\n").into_bytes());
        }
        dump
    }
}
