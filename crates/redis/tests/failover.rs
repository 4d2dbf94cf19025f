//! Sentinel and Cluster: which master, and what survives its loss.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use kvolt_cache::{
    Freshness, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome,
    ReplaceOutcome, Store, Target, Version,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis, RedisCluster, RedisSentinel, wait_until};

use support::{
    cluster_url, entry, get, id, id_of, insert, inserted, list, namespace, owner, sentinel_url,
    store, until_ok, value,
};

/// Makes so many entries and returns their keys.
async fn fill(store: &RedisStore, number: usize) -> Vec<Key> {
    let keys: Vec<Key> = (0..number).map(|number| Key::of(format!("filled {number}"))).collect();
    for key in &keys {
        insert(store, *key, "value").await;
    }
    keys
}

/// While `what` runs, calls return the right answer or an error.
async fn survives(store: &RedisStore, keys: &[Key], what: impl FnOnce() + Send) {
    let store = store.clone();
    let keys = keys.to_vec();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = std::sync::Arc::clone(&over);
    let reading = tokio::spawn(async move {
        let mut failed = 0;
        while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
            for key in &keys {
                match store.get(key, Freshness::Strict).await {
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
async fn cluster_survives_the_loss_of_a_master() {
    let cluster = RedisCluster::start();
    let builder = RedisStore::builder(cluster_url(&cluster), &namespace());
    // With `WAIT`, entries are on the replica before it takes over.
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
        let (found, took) = until_ok(|| store.get(key, Freshness::Strict)).await;
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
        found.extend(page.listing.entries.iter().map(|entry| entry.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), keys.len() + 1);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
}

/// A master that hangs is replaced like one that died, and not trusted when it wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_master_is_left() {
    let cluster = RedisCluster::start();
    let builder = RedisStore::builder(cluster_url(&cluster), &namespace());
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
        assert!(until_ok(|| store.get(key, Freshness::Strict)).await.0.is_some());
    }
    eprintln!("back {:?} after the failover of the cluster", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(
        until_ok(|| store.remove(Target::new(&keys[0]), None)).await.0 == RemoveOutcome::Removed
    );
    cluster.nodes()[master].resume();
    for _ in 0..50 {
        assert!(until_ok(|| store.get(&keys[0], Freshness::Strict)).await.0.is_none(), "removed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let sentinel = RedisSentinel::start();
    let builder = RedisStore::builder(sentinel_url(&sentinel), &namespace());
    let store = builder.wait_replicas(1, Duration::from_secs(1)).open().await.unwrap();
    let keys = fill(&store, 3).await;
    let master = sentinel.master();
    sentinel.stores()[master].pause();
    tokio::task::block_in_place(|| sentinel.wait_until_replaced(master));
    let (found, took) = until_ok(|| store.get(&keys[0], Freshness::Strict)).await;
    assert!(found.is_some());
    eprintln!("back {took:?} after the failover of the sentinels");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        until_ok(|| store.remove(Target::new(&keys[0]), None)).await.0 == RemoveOutcome::Removed
    );
    sentinel.stores()[master].resume();
    for _ in 0..50 {
        assert!(until_ok(|| store.get(&keys[0], Freshness::Strict)).await.0.is_none(), "removed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_slots_loses_nothing() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let owner = owner("ada");
    let keys: Vec<Key> = (0..4).map(|number| id_of(&store, number.to_string(), &owner)).collect();
    let owned = || entry("value").owner(owner.clone());
    for key in &keys[..2] {
        assert!(matches!(
            store.insert(*key, owned()).await.unwrap(),
            InsertOutcome::Inserted { .. }
        ));
    }
    let node = cluster.masters().into_iter().find_map(|node| {
        let names = cluster.cli_on(node, &["KEYS", "*.owners:*:ada"]);
        (!names.is_empty()).then_some((node, names))
    });
    let (from, name) = node.unwrap();
    let slot = cluster.slot(name.lines().next().unwrap());
    let to = cluster.masters().into_iter().find(|node| *node != from).unwrap();

    // The old master answers for keys that it still has, and the new one for others. A call that
    // needs both must wait.
    cluster.begin_move(slot, to);
    assert_eq!(value(&store, &keys[0]).await.as_deref(), Some("value"));
    assert_eq!(value(&store, &keys[3]).await, None, "asked for at the other");
    let listed = store.list(&owner).await;
    assert!(listed.as_ref().is_ok_and(|list| list.entries.len() == 2), "{listed:?}");
    let torn = store.insert(keys[2], owned()).await;
    assert!(torn.as_ref().is_err_and(|error| error.is_unavailable()), "{torn:?}");
    cluster.finish_move(slot, to);
    assert!(matches!(
        store.insert(keys[2], owned()).await.unwrap(),
        InsertOutcome::Inserted { .. }
    ));
    assert_eq!(list(&store, &owner).await.len(), 3);
    assert_eq!(store.remove_owner(&owner, None).await.unwrap().len(), 3);
    for key in &keys {
        assert_eq!(value(&store, key).await, None);
    }
}

/// Two keys in different slots: of an anonymous session, and of its owner's.
fn apart(store: &RedisStore, owner: &Owner) -> (Key, Key) {
    let new = id_of(store, "new", owner);
    let olds = (0..).map(|number: u32| id(store, format!("old {number}")));
    let is_apart = |old: &Key| store.place(*old, Some(owner)) != *old;
    (olds.into_iter().find(is_apart).unwrap(), new)
}

/// A sign-in: an anonymous entry is replaced by an owner's, in another slot.
#[tokio::test(flavor = "multi_thread")]
async fn sign_in_replaces_across_slots() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let (ada, group) = (owner("ada"), Owner::reserved("group").unwrap());
    for old_owner in [None, Some(group.clone())] {
        let (mut old, new) = apart(&store, &ada);
        if let Some(group) = &old_owner {
            old = store.place(old, Some(group));
        }
        let before = entry("old").maybe_owner(old_owner.clone());
        assert_eq!(store.insert(old, before).await.unwrap(), inserted());
        let seen = get(&store, &old).await.unwrap().version;
        let replacing = |seen| {
            let old = Predecessor::new(old).owner(old_owner.clone()).seen(seen);
            entry("new").owner(ada.clone()).replaces(old)
        };
        // The new one is taken back.
        let wrong = Some(Version::from_number(seen.number() ^ 1));
        assert_eq!(store.insert(new, replacing(wrong)).await.unwrap(), InsertOutcome::Conflict);
        assert_eq!(value(&store, &new).await, None);
        assert!(list(&store, &ada).await.is_empty());
        assert_eq!(value(&store, &old).await.as_deref(), Some("old"));

        // A rejected insertion replaces nothing.
        let other = id_of(&store, "other", &ada);
        let _ = store.insert(other, entry("").owner(ada.clone())).await.unwrap();
        let limited = replacing(Some(seen)).limit(OwnerLimit::refuse(1));
        assert_eq!(store.insert(new, limited).await.unwrap(), InsertOutcome::LimitReached);
        assert_eq!(
            store.insert(other, replacing(Some(seen))).await.unwrap(),
            InsertOutcome::Occupied
        );
        assert_eq!(value(&store, &old).await.as_deref(), Some("old"));

        let limited = replacing(Some(seen)).limit(OwnerLimit::remove_oldest(1));
        let removed = vec![other];
        assert_eq!(store.insert(new, limited).await.unwrap(), InsertOutcome::Inserted { removed });
        assert_eq!(value(&store, &old).await, None);
        assert_eq!(list(&store, &ada).await, [new]);
        assert!(list(&store, &group).await.is_empty());

        // Absent now.
        let third = id_of(&store, "third", &ada);
        assert_eq!(
            store.insert(third, replacing(Some(seen))).await.unwrap(),
            InsertOutcome::Conflict
        );
        assert_eq!(value(&store, &third).await, None);
        assert_eq!(store.insert(third, replacing(None)).await.unwrap(), inserted());
        assert_eq!(store.remove_owner(&ada, None).await.unwrap().len(), 2);
    }
}

/// If the old entry can't be removed, the sign-in is an error, and the new entry is removed again.
#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_in_across_slots_is_undone() {
    let cluster = RedisCluster::start();
    let builder = RedisStore::builder(cluster_url(&cluster), &namespace());
    let store = builder.timeout(Duration::from_secs(1)).open().await.unwrap();
    let ada = owner("ada");
    let masters = cluster.masters();
    let has = |node: usize, key: &Key| {
        let names = cluster.cli_on(node, &["KEYS", &format!("*{}", &key.to_string()[..24])]);
        !names.is_empty()
    };
    // The old and the new entry are on two masters, one of which hangs.
    let new = id_of(&store, "new", &ada);
    let _ = store.insert(new, entry("").owner(ada.clone())).await.unwrap();
    let there = *masters.iter().find(|node| has(**node, &new)).unwrap();
    assert_eq!(store.remove_owner(&ada, None).await.unwrap(), [new]);
    let mut olds = (0..).map(|number: u32| id(&store, format!("old {number}")));
    let (old, elsewhere) = loop {
        let old = olds.next().unwrap();
        insert(&store, old, "old").await;
        let node = *masters.iter().find(|node| has(**node, &old)).unwrap();
        if node != there {
            break (old, node);
        }
    };
    let seen = get(&store, &old).await.unwrap().version;
    cluster.nodes()[elsewhere].pause();
    let login = entry("new").owner(ada.clone()).replaces(Predecessor::new(old).seen(seen));
    let error = store.insert(new, login).await.expect_err("the old one is not removed");
    assert!(error.is_unavailable(), "{error}");
    support::soon("it is taken back", || !has(there, &new)).await;
    cluster.nodes()[elsewhere].resume();
    assert!(until_ok(|| store.list(&ada)).await.0.entries.is_empty());
}

/// If the caller gives up, the sign-in still completes.
#[tokio::test(flavor = "multi_thread")]
async fn canceled_sign_in_across_slots_completes() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let ada = owner("ada");
    for number in 0..20 {
        let (old, _) = apart(&store, &ada);
        let new = id_of(&store, format!("new {number}"), &ada);
        insert(&store, old, "old").await;
        let seen = get(&store, &old).await.unwrap().version;
        let login = entry("new").owner(ada.clone()).replaces(Predecessor::new(old).seen(seen));
        let patience = Duration::from_micros(number * 100);
        let _ = tokio::time::timeout(patience, store.insert(new, login)).await;
        let begun = tokio::time::Instant::now();
        while value(&store, &old).await.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
        }
        assert_eq!(list(&store, &ada).await, [new]);
        assert_eq!(store.remove_owner(&ada, None).await.unwrap(), [new]);
    }
}

/// An entry in another slot than its owner's is rejected, and nothing is done.
#[tokio::test(flavor = "multi_thread")]
async fn misplaced_entry_is_rejected() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let ada = owner("ada");
    let (away, there) = apart(&store, &ada);
    let error = store.insert(away, entry("").owner(ada.clone())).await.unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("place"), "{error}");
    assert_eq!(value(&store, &away).await, None);

    // A wrong owner as a hint changes nothing.
    let _ = store.insert(there, entry("value").owner(ada)).await.unwrap();
    let others = (0..).map(|number: u32| owner(&format!("{number}")));
    let eve = others.into_iter().find(|eve| store.place(there, Some(eve)) != there).unwrap();
    let at = Target::new(&there).owner(&eve);
    let seen = get(&store, &there).await.unwrap().version;
    let anew = Some(kvolt_cache::Expiry::idle(support::LONG));
    let replaced = store.replace(at, seen, b"other".to_vec(), anew).await.unwrap();
    assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
    assert!(store.touch(at).await.unwrap().is_some());
    let over = entry("").replaces(Predecessor::new(there).owner(eve.clone()));
    assert_eq!(store.insert(away, over).await.unwrap(), inserted());
    assert_eq!(store.remove(at, None).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(store.count().await.unwrap(), 1);
}

/// Data of one server, copied into a cluster by hand: entries may be in another slot than their index.
#[tokio::test(flavor = "multi_thread")]
async fn entry_apart_from_its_index_works() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let ada = owner("ada");
    let (away, _) = apart(&store, &ada);
    insert(&store, away, "value").await;
    let masters = cluster.masters().into_iter();
    let pattern = format!("*{}", &away.to_string()[..24]);
    let names = masters.map(|node| (node, cluster.cli_on(node, &["KEYS", &pattern])));
    let (node, name) = names.into_iter().find(|(_, name)| !name.is_empty()).unwrap();
    let text = cluster.cli_on(node, &["GET", &name]).replacen(" 0\n", " 1 003 ada\n", 1);
    cluster.cli_on(node, &["SET", &name, &text]);

    let found = get(&store, &away).await.unwrap();
    assert_eq!((found.owner, found.value), (Some(ada.clone()), b"value".to_vec()));
    let anew = Some(kvolt_cache::Expiry::idle(support::LONG));
    for at in [Target::new(&away), Target::new(&away).owner(&ada)] {
        assert!(store.touch(at).await.unwrap().is_some());
        let seen = get(&store, &away).await.unwrap().version;
        let replaced = store.replace(at, seen, b"other".to_vec(), anew).await.unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
    }
    assert_eq!(store.scan(None, 10).await.unwrap().listing.entries.len(), 1);
    assert_eq!(store.remove(Target::new(&away), None).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(value(&store, &away).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_and_count_reach_every_node() {
    let cluster = RedisCluster::start();
    let store = store(cluster_url(&cluster)).await;
    let other = store.within(&format!("{}_admin", store.namespace())).unwrap();
    insert(&other, id(&other, "other"), "value").await;
    let ada = owner("ada");
    for number in 0..1_500 {
        insert(&store, id(&store, format!("{number}")), "value").await;
    }
    let owned =
        NewEntry::new(Vec::new(), kvolt_cache::Expiry::idle(support::LONG)).owner(ada.clone());
    let _ = store.insert(id_of(&store, "owned", &ada), owned).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1_501);
    let page = store.scan(None, 2_000).await.unwrap();
    assert_eq!((page.listing.entries.len(), page.next), (1_501, None));
    store.clear().await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
    assert_eq!(other.count().await.unwrap(), 1);
    let left: usize = cluster
        .masters()
        .iter()
        .map(|node| cluster.cli_on(*node, &["DBSIZE"]).parse::<usize>().unwrap())
        .sum();
    assert_eq!(left, 1, "the index has gone, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_new_master() {
    let sentinel = RedisSentinel::start();
    let builder = RedisStore::builder(sentinel_url(&sentinel), &namespace());
    let store = builder.wait_replicas(1, Duration::from_secs(1)).open().await.unwrap();
    let keys = fill(&store, 20).await;
    survives(&store, &keys, || {
        sentinel.kill_master();
    })
    .await;
    let (found, took) = until_ok(|| store.get(&keys[0], Freshness::Strict)).await;
    assert!(found.is_some());
    eprintln!("back {took:?} after the failover");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // With one sentinel less.
    sentinel.sentinels()[0].kill();
    let (found, _) = until_ok(|| store.get(&keys[1], Freshness::Strict)).await;
    assert!(found.is_some());
    let opened = RedisStore::open(sentinel_url(&sentinel), &namespace()).await;
    assert!(opened.is_ok(), "{opened:?}");
}

/// With `WAIT`, a change that is on too few replicas is an error.
#[tokio::test(flavor = "multi_thread")]
async fn change_without_replica_is_an_error() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    wait_until("it follows", || replica.info("master_link_status") == "up");
    let builder = RedisStore::builder(master.url(), &namespace());
    let store = builder.wait_replicas(1, Duration::from_millis(300)).open().await.unwrap();
    let key = Key::of("key");
    // The replica's first acknowledgement may take a while.
    let first = until_ok(async || {
        let _ = store.remove(Target::new(&key), None).await?;
        store.insert(key, entry("value")).await
    });
    assert_eq!(first.await.0, inserted());
    replica.pause();
    let error = store.remove(Target::new(&key), None).await.expect_err("the replica has it still");
    assert!(error.is_unavailable() && error.to_string().contains("replica"), "{error}");
    assert_eq!(value(&store, &key).await, None, "reads do not wait");
    replica.resume();
    assert!(
        until_ok(|| store.insert(Key::of("other"), entry(""))).await.1 < Duration::from_secs(5)
    );
}

/// A master that lacks the replicas it must have never replies.
#[tokio::test(flavor = "multi_thread")]
async fn master_without_its_replicas_never_replies() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let key = Key::of("key");
        insert(&store, key, "value").await;
        server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let error = store.get(&key, Freshness::Strict).await.expect_err("it may be outdated");
        assert!(error.is_unavailable(), "{flavour:?}: {error}");
        assert!(
            store.remove(Target::new(&Key::of("absent")), None).await.unwrap_err().is_unavailable()
        );
    }
}
