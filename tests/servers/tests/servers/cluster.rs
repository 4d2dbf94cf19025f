//! Tests of Redis Cluster.

use std::thread;

use kvolt_servers::{Certificates, Flavour, Package, Redis, RedisCluster, require};

use crate::support::Traces;

#[test]
fn killed_master_is_replaced_and_returns_as_replica() {
    if !require(&[Package::Redis]) {
        return;
    }
    let cluster = RedisCluster::start();
    assert_eq!(cluster.masters(), [0, 1, 2]);
    assert_eq!((0..3).map(|m| cluster.replica_of(m)).collect::<Vec<_>>(), [3, 4, 5].map(Some));
    assert_eq!(cluster.urls()[5], format!("redis://127.0.0.1:{}", cluster.nodes()[5].port()));
    // Example from the Redis Cluster specification.
    assert_eq!((cluster.slot("123456789"), cluster.owner("123456789")), (0x31C3, 2));
    let owner = cluster.owner("k");
    cluster.cli_on(owner, &["SET", "k", "1"]);
    let other = (owner + 1) % 3;
    let moved =
        cluster.nodes()[other].try_cli(&["GET", "k"]).expect_err("another node serves the key");
    let port = cluster.nodes()[owner].port();
    assert!(moved.to_string().contains(&format!("MOVED {}", cluster.slot("k"))), "{moved}");
    assert!(moved.to_string().ends_with(&port.to_string()), "{moved}");
    assert_eq!(cluster.cli_on(owner, &["WAIT", "1", "10000"]), "1");

    let heir = cluster.fail_over(owner);
    assert_eq!(heir, owner + 3);
    assert_eq!((cluster.owner("k"), cluster.cli_on(heir, &["GET", "k"])), (heir, "1".into()));
    cluster.cli_on(heir, &["SET", "k", "2"]);

    cluster.restart(owner);
    assert_eq!(cluster.replica_of(heir), Some(owner));
    cluster.promote(owner);
    assert_eq!((cluster.owner("k"), cluster.cli_on(owner, &["GET", "k"])), (owner, "2".into()));
    assert_eq!(cluster.masters(), [0, 1, 2]);

    // A paused master is replaced too.
    cluster.nodes()[owner].pause();
    cluster.wait_until_replaced(owner);
    assert_eq!(cluster.owner("k"), heir);
    cluster.nodes()[owner].resume();
    cluster.wait_until_whole();
    assert_eq!(cluster.replica_of(heir), Some(owner));

    let traces: Vec<Traces> = cluster.nodes().iter().map(|node| Traces::of(node)).collect();
    drop(cluster);
    traces.iter().for_each(Traces::assert_gone);
}

#[test]
fn moving_slot_answers_ask_then_moved() {
    if !require(&[Package::Redis]) {
        return;
    }
    let certificates = Certificates::new();
    for settings in [Redis::builder(), Redis::builder().password("s3cret").tls(&certificates)] {
        let cluster = RedisCluster::of(settings);
        let (from, slot) = (cluster.owner("k"), cluster.slot("k"));
        let to = (from + 1) % 3;
        for number in 0..250 {
            cluster.cli_on(from, &["SET", &format!("{{k}}{number}"), "1"]);
        }
        cluster.begin_move(slot, to);
        assert_eq!(cluster.cli_on(from, &["GET", "{k}1"]), "1");
        let answer = cluster.nodes()[from]
            .try_cli(&["GET", "{k}none"])
            .expect_err("the slot is being moved");
        assert!(answer.to_string().contains(&format!("ASK {slot}")), "{answer}");
        cluster.finish_move(slot, to);
        assert_eq!(cluster.owner("k"), to);
        assert_eq!(cluster.cli_on(to, &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]), "250");
        let answer = cluster.nodes()[from]
            .try_cli(&["GET", "{k}1"])
            .expect_err("another node serves the key");
        assert!(answer.to_string().contains(&format!("MOVED {slot}")), "{answer}");
    }
}

#[test]
fn other_server_versions_form_clusters() {
    let works = |flavour: Flavour| {
        let cluster = RedisCluster::of(Redis::builder().flavour(flavour));
        let heir = cluster.fail_over(1);
        cluster.restart(1);
        assert_eq!(cluster.replica_of(heir), Some(1));
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
