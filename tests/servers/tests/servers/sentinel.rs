//! Tests of Redis with sentinels.

use std::thread;

use kvolt_servers::{Flavour, Package, Redis, RedisSentinel, require};

use crate::support::Traces;

#[test]
fn killed_master_is_replaced_and_returns_as_replica() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = RedisSentinel::start();
    assert_eq!((redis.master(), redis.master_name()), (0, "kvolt"));
    assert_eq!(redis.sentinel_addresses().len(), 3);
    let port = redis.sentinels()[1].port();
    assert_eq!(redis.sentinel_addresses()[1], format!("127.0.0.1:{port}"));
    redis.stores()[0].cli(&["SET", "k", "1"]);
    assert_eq!(redis.stores()[0].cli(&["WAIT", "2", "10000"]), "2");

    let second = redis.fail_over();
    assert!(second == 1 || second == 2);
    assert_eq!(redis.stores()[second].cli(&["GET", "k"]), "1");
    redis.stores()[second].cli(&["SET", "k", "2"]);
    assert_eq!(redis.stores()[second].cli(&["WAIT", "2", "10000"]), "2");
    let refused = redis.stores()[0].try_cli(&["SET", "k", "0"]).expect_err("a replica");
    assert!(refused.to_string().contains("READONLY"), "{refused}");

    let third = redis.kill_master();
    assert_ne!(third, second);
    assert_eq!(redis.stores()[third].cli(&["GET", "k"]), "2");
    redis.stores()[second].restart();
    redis.wait_until_whole();
    // The third need not be the master: on a busy machine the sentinels may have replaced
    // it.
    for store in redis.stores() {
        assert_eq!(store.cli(&["GET", "k"]), "2");
    }

    let all = || redis.stores().iter().chain(redis.sentinels());
    let traces: Vec<Traces> = all().map(|server| Traces::of(server)).collect();
    drop(redis);
    traces.iter().for_each(Traces::assert_gone);
}

#[test]
fn two_sentinels_replace_a_paused_master() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = RedisSentinel::of(Redis::builder().password("s3cret").append_only());
    redis.sentinels()[0].kill();
    redis.stores()[0].pause();
    assert_ne!(redis.wait_until_replaced(0), 0);
    redis.stores()[0].resume();
    redis.sentinels()[0].restart();
    redis.wait_until_whole();
}

#[test]
fn other_server_versions_have_sentinels() {
    let works = |flavour: Flavour| {
        let redis = RedisSentinel::of(Redis::builder().flavour(flavour));
        assert_ne!(redis.kill_master(), 0);
    };
    // In parallel, since most of the time is spent waiting.
    thread::scope(|scope| {
        for flavour in [Flavour::Redis62, Flavour::Valkey9] {
            if require(&[flavour.package()]) {
                scope.spawn(move || works(flavour));
            }
        }
    });
}
