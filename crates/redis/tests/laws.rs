//! The laws of the contract, on real servers.

mod support;

use kvolt_cache::codec::Json;
use kvolt_servers::{Flavour, Redis, RedisCluster};

use support::{On, all_laws_hold, cluster_url, sealing};

/// As the user of the README, who may do nothing else.
fn with_fewest_permissions(server: &Redis, user: &str) -> String {
    for line in support::acl_lines(user) {
        server.cli(&line.iter().map(String::as_str).collect::<Vec<_>>());
    }
    server.url_as(user, "password")
}

#[test]
fn all_laws_hold_on_redis_7() {
    let server = Redis::start();
    all_laws_hold(On::new(with_fewest_permissions(&server, "app"), Json));
}

#[test]
fn all_laws_hold_on_redis_6_2() {
    let server = Redis::builder().flavour(Flavour::Redis62).start();
    all_laws_hold(On::new(with_fewest_permissions(&server, "app"), Json));
}

#[test]
fn all_laws_hold_on_valkey_9() {
    let server = Redis::builder().flavour(Flavour::Valkey9).start();
    all_laws_hold(On::new(with_fewest_permissions(&server, "app"), Json));
}

/// The law of what is told of applies there, too.
#[test]
fn all_laws_hold_where_the_server_notifies() {
    let server = Redis::builder().config("notify-keyspace-events", "Ex").start();
    all_laws_hold(On::new(with_fewest_permissions(&server, "told"), Json));
}

#[test]
fn all_laws_hold_with_encrypted_values() {
    let server = Redis::start();
    all_laws_hold(On::new(server.unix_url(), sealing()));
}

#[test]
fn all_laws_hold_on_a_cluster() {
    let cluster = RedisCluster::of(Redis::builder().config("notify-keyspace-events", "Ex"));
    all_laws_hold(On::new(cluster_url(&cluster), Json));
}
