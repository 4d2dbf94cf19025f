//! Sentinel and Cluster: which master, and what survives its loss.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Insert, Key, Owner, OwnerLimit, Rename, Renamed, Replace, Store,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis, RedisCluster, RedisSentinel, wait_until};

use support::{LONG, cluster_url, entry, insert, prefix, sentinel_url, store, until_ok, value};

/// Makes so many entries and returns their keys.
async fn fill(store: &RedisStore, number: usize) -> Vec<Key> {
    let keys: Vec<Key> = (0..number).map(|number| Key::of(format!("filled {number}"))).collect();
    for key in &keys {
        insert(store, *key, "value").await;
    }
    keys
}

/// While somebody does `what`, calls are answered rightly or not at all.
async fn survives(store: &RedisStore, keys: &[Key], what: impl FnOnce() + Send) {
    let store = store.clone();
    let keys = keys.to_vec();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&over);
    let reading = tokio::spawn(async move {
        let mut failed = 0;
        while !told.load(std::sync::atomic::Ordering::SeqCst) {
            for key in &keys {
                match store.get(key, Access::SLIDE).await {
                    Ok(found) => assert!(found.is_some(), "an entry that is there is never absent"),
                    Err(error) => {
                        assert!(error.is_unavailable(), "{error}");
                        failed += 1;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        failed
    });
    tokio::task::block_in_place(what);
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    eprintln!("{} calls failed meanwhile", reading.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_survives_the_loss_of_a_master() {
    let cluster = RedisCluster::start();
    let builder = RedisStore::builder(cluster_url(&cluster)).prefix(prefix());
    // What `WAIT` has seen on the replica is there after it took over.
    let builder = builder.wait_replicas(1, Duration::from_secs(1));
    let store = builder.open().await.unwrap();
    let keys = fill(&store, 60).await;
    let master = cluster.masters()[0];
    survives(&store, &keys, || {
        cluster.fail_over(master);
    })
    .await;
    let mut longest = Duration::ZERO;
    for key in &keys {
        let (found, took) = until_ok(|| store.get(key, Access::SLIDE)).await;
        assert!(found.is_some());
        longest = longest.max(took);
    }
    eprintln!("back {longest:?} after the failover");
    assert!(longest < Duration::from_millis(1_500), "{longest:?}");
    cluster.restart(master);
    insert(&store, Key::of("after"), "value").await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(after.as_ref(), 7).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), keys.len() + 1);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
}

/// A master that hangs is left as one that died, and not believed when it wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_is_left() {
    let cluster = RedisCluster::start();
    let builder = RedisStore::builder(cluster_url(&cluster)).prefix(prefix());
    let store = builder.wait_replicas(1, Duration::from_secs(1)).open().await.unwrap();
    let keys = fill(&store, 30).await;
    let master = cluster.masters()[0];
    survives(&store, &keys, || {
        cluster.nodes()[master].pause();
        cluster.wait_until_replaced(master);
    })
    .await;
    let begun = tokio::time::Instant::now();
    for key in &keys {
        assert!(until_ok(|| store.get(key, Access::SLIDE)).await.0.is_some());
    }
    eprintln!("back {:?} after the failover of the cluster", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(until_ok(|| store.remove(&keys[0])).await.0);
    cluster.nodes()[master].resume();
    for _ in 0..50 {
        assert!(until_ok(|| store.get(&keys[0], Access::SLIDE)).await.0.is_none(), "removed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let sentinel = RedisSentinel::start();
    let builder = RedisStore::builder(sentinel_url(&sentinel)).prefix(prefix());
    let store = builder.wait_replicas(1, Duration::from_secs(1)).open().await.unwrap();
    let keys = fill(&store, 3).await;
    let master = sentinel.master();
    sentinel.stores()[master].pause();
    tokio::task::block_in_place(|| sentinel.wait_until_replaced(master));
    let (found, took) = until_ok(|| store.get(&keys[0], Access::SLIDE)).await;
    assert!(found.is_some());
    eprintln!("back {took:?} after the failover of the sentinels");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(until_ok(|| store.remove(&keys[0])).await.0);
    sentinel.stores()[master].resume();
    for _ in 0..50 {
        assert!(until_ok(|| store.get(&keys[0], Access::SLIDE)).await.0.is_none(), "removed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_moves_slots_loses_nothing_on_the_way() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let owner = Owner::from("ada");
    let placed = |number: &u32| store.places(&Key::of(number.to_string()), Some(&owner));
    let keys: Vec<Key> =
        (0..).filter(placed).take(4).map(|number| Key::of(number.to_string())).collect();
    let owned = || entry("value").owner(owner.clone());
    for key in &keys[..2] {
        assert!(matches!(store.insert(*key, owned()).await.unwrap(), Insert::Inserted { .. }));
    }
    let node = cluster.masters().into_iter().find_map(|node| {
        let names = cluster.cli_on(node, &["KEYS", "*owner:ada"]);
        (!names.is_empty()).then_some((node, names))
    });
    let (from, name) = node.unwrap();
    let slot = cluster.slot(name.lines().next().unwrap());
    let to = cluster.masters().into_iter().find(|node| *node != from).unwrap();

    // Keys that are there are answered by the former master, others by the next; what needs both
    // has to wait.
    cluster.begin_move(slot, to);
    assert_eq!(value(&store, &keys[0]).await.as_deref(), Some("value"));
    assert_eq!(value(&store, &keys[3]).await, None, "asked for at the other");
    let listed = store.list(&owner).await;
    assert!(listed.as_ref().is_ok_and(|list| list.len() == 2), "{listed:?}");
    let torn = store.insert(keys[2], owned()).await;
    assert!(torn.as_ref().is_err_and(|error| error.is_unavailable()), "{torn:?}");
    cluster.finish_move(slot, to);
    assert!(matches!(store.insert(keys[2], owned()).await.unwrap(), Insert::Inserted { .. }));
    assert_eq!(store.list(&owner).await.unwrap().len(), 3);
    assert_eq!(store.remove_owner(&owner, None).await.unwrap().len(), 3);
    for key in &keys {
        assert_eq!(value(&store, key).await, None);
    }
}

/// A sign-in: an entry that is nobody's becomes an owner's, in another slot.
#[tokio::test(flavor = "multi_thread")]
async fn renaming_goes_across_the_slots_of_a_cluster() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let owner = Owner::from("ada");
    let mut keys = (0..).map(|number: u32| Key::of(number.to_string()));
    let anonymous = Key::of("anonymous");
    let mut apart = || {
        let fits = |key: &Key| store.places(key, Some(&owner)) && !store.reaches(&anonymous, key);
        keys.find(fits).unwrap()
    };
    let [first, second, third] = [apart(), apart(), apart()];
    insert(&store, anonymous, "value").await;
    let before = store.get(&anonymous, Access::PEEK).await.unwrap().unwrap();

    let mut login = Rename::new();
    login.owner = Some(owner.clone());
    login.grace = LONG;
    let done = store.rename(&anonymous, first, login.clone()).await.unwrap();
    assert_eq!(done, Renamed::Moved { removed: Vec::new() });
    let after = store.get(&anonymous, Access::SLIDE).await.unwrap().unwrap();
    assert_eq!((after.key, &after.value, after.owner), (first, &before.value, Some(owner.clone())));
    assert_eq!(after.deadlines, before.deadlines);
    assert_ne!(after.version, before.version);
    assert_eq!(store.list(&owner).await.unwrap().len(), 1);

    // By the former key, in the other slot.
    let replaced = store.replace(&anonymous, after.version, b"new".to_vec(), None).await.unwrap();
    assert!(matches!(replaced, Replace::Replaced(_)));
    assert_eq!(store.rename(&anonymous, second, login.clone()).await.unwrap(), Renamed::Superseded);
    assert_eq!(store.insert(anonymous, entry("")).await.unwrap(), Insert::Occupied);
    let done = store.rename(&first, second, login.clone()).await.unwrap();
    assert_eq!(done, Renamed::Moved { removed: Vec::new() });
    assert_eq!(value(&store, &anonymous).await.as_deref(), Some("new"), "a chain across slots");
    let same_part = (0..).map(|number: u32| Key::of(format!("same {number}")));
    let neighbour = same_part.clone().find(|key| store.reaches(&anonymous, key)).unwrap();
    insert(&store, neighbour, "neighbour").await;
    let taken = store.rename(&neighbour, anonymous, Rename::new()).await.unwrap();
    assert_eq!(taken, Renamed::Occupied);

    assert!(store.remove_owner(&owner, Some(&anonymous)).await.unwrap().is_empty(), "it is kept");
    assert!(store.remove(&anonymous).await.unwrap());
    for key in [&anonymous, &first, &second] {
        assert_eq!(value(&store, key).await, None);
    }
    // What leads nowhere any more is free.
    assert_eq!(
        store.rename(&neighbour, anonymous, Rename::new()).await.unwrap(),
        Renamed::Moved { removed: Vec::new() }
    );
    assert_eq!(value(&store, &anonymous).await.as_deref(), Some("neighbour"));

    // The owner's limit holds across slots, too.
    let mut limited = Rename::new();
    limited.owner = Some(owner.clone());
    limited.limit = Some(OwnerLimit { entries_max: 0, at_limit: AtLimit::Refuse });
    assert_eq!(store.rename(&anonymous, third, limited).await.unwrap(), Renamed::LimitReached);
    assert_eq!(value(&store, &anonymous).await.as_deref(), Some("neighbour"));
    assert!(store.list(&owner).await.unwrap().is_empty());
}

/// An entry that can't lie with its owner's is refused, and nothing is done.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_away_from_its_owners_is_refused() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let owner = Owner::from("ada");
    let keys = (0..).map(|number: u32| Key::of(number.to_string()));
    let away = keys.clone().find(|key| !store.places(key, Some(&owner))).unwrap();
    let error = store.insert(away, entry("").owner(owner.clone())).await.unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("places"), "{error}");
    assert_eq!(value(&store, &away).await, None);
    insert(&store, away, "value").await;
    let mut rename = Rename::new();
    rename.owner = Some(owner);
    let to = keys.clone().find(|key| store.reaches(&away, key) && *key != away).unwrap();
    let error = store.rename(&away, to, rename).await.unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("places"), "{error}");
    assert_eq!(value(&store, &away).await.as_deref(), Some("value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_new_master() {
    let sentinel = RedisSentinel::start();
    let builder = RedisStore::builder(sentinel_url(&sentinel)).prefix(prefix());
    let store = builder.wait_replicas(1, Duration::from_secs(1)).open().await.unwrap();
    let keys = fill(&store, 20).await;
    survives(&store, &keys, || {
        sentinel.kill_master();
    })
    .await;
    let (found, took) = until_ok(|| store.get(&keys[0], Access::SLIDE)).await;
    assert!(found.is_some());
    eprintln!("back {took:?} after the failover");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // One that is not forced by a loss, and with one sentinel less.
    sentinel.sentinels()[0].kill();
    let (found, _) = until_ok(|| store.get(&keys[1], Access::SLIDE)).await;
    assert!(found.is_some());
    let opened = RedisStore::open(sentinel_url(&sentinel)).await;
    assert!(opened.is_ok(), "{opened:?}");
}

/// With `WAIT`, a change that is on too few replicas is not said to be done.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_on_no_replica_is_told() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    wait_until("it follows", || replica.info("master_link_status") == "up");
    let builder = RedisStore::builder(master.url()).prefix(prefix());
    let store = builder.wait_replicas(1, Duration::from_millis(300)).open().await.unwrap();
    let key = Key::of("key");
    // Its first acknowledgement may take a while.
    let first = until_ok(async || {
        store.remove(&key).await?;
        store.insert(key, entry("value")).await
    });
    assert_eq!(first.await.0, Insert::Inserted { removed: Vec::new() });
    replica.pause();
    let error = store.remove(&key).await.expect_err("the replica has it still");
    assert!(error.is_unavailable() && error.to_string().contains("replica"), "{error}");
    assert_eq!(value(&store, &key).await, None, "reads do not wait");
    replica.resume();
    assert!(
        until_ok(|| store.insert(Key::of("other"), entry(""))).await.1 < Duration::from_secs(5)
    );
}

/// A master that has lost its replicas and was told to need them answers nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_the_replicas_that_it_needs_is_not_believed() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let key = Key::of("key");
        insert(&store, key, "value").await;
        server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let error = store.get(&key, Access::PEEK).await.expect_err("it may be outdated");
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        assert!(store.remove(&Key::of("absent")).await.unwrap_err().is_unavailable());
    }
}
