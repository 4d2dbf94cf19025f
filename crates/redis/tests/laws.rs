//! The laws of the contract, on real servers.

#[path = "support/fixture.rs"]
mod fixture;
mod support;

use kvolt_cache::codec::Json;
use kvolt_servers::{Flavour, Redis, RedisCluster};

use fixture::{On, all_laws_hold, costs_are_as_stated, sealing};

fn server(flavour: Flavour) -> Redis {
    Redis::builder().flavour(flavour).start()
}

#[test]
fn all_laws_hold_on_redis_7() {
    all_laws_hold(On::new(server(Flavour::Redis7), Json).with_fewest_permissions());
}

#[test]
fn all_laws_hold_on_redis_6_2() {
    all_laws_hold(On::new(server(Flavour::Redis62), Json).with_fewest_permissions());
}

#[test]
fn all_laws_hold_on_valkey_9() {
    all_laws_hold(On::new(server(Flavour::Valkey9), Json).with_fewest_permissions());
}

#[test]
fn all_laws_hold_with_encrypted_values() {
    all_laws_hold(On::new(Redis::start(), sealing()).by(Redis::unix_url));
}

#[test]
fn all_laws_hold_on_a_cluster() {
    all_laws_hold(On::cluster(RedisCluster::start(), Json));
}

#[test]
fn all_laws_hold_on_an_existing_connection() {
    all_laws_hold(On::new(Redis::start(), Json).on_existing());
}

#[test]
fn costs_are_as_stated_on_each_server() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        costs_are_as_stated(On::new(server(flavour), Json));
    }
    costs_are_as_stated(On::new(Redis::start(), Json).on_existing());
}
