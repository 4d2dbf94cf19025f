//! When entries end, and what the store knows of the server's time.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{
    Deadlines, Expiry, InsertOutcome, Key, NewEntry, OwnerLimit, RemoveOutcome, ReplaceOutcome,
    Store, Target, Timestamp,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis};

use support::{
    LONG, entry, get, id, insert, inserted, name_of, namespace, owner, remove, store, touch, value,
};

const FLAVOURS: [Flavour; 3] = [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9];

/// The server's clock.
fn time(server: &Redis) -> Timestamp {
    let time = server.cli(&["TIME"]);
    let mut parts = time.lines().map(|part| part.parse::<u64>().unwrap());
    let (seconds, micros) = (parts.next().unwrap(), parts.next().unwrap());
    Timestamp::from_millis(seconds * 1_000 + micros / 1_000)
}

fn ends_after(lifetime: Duration) -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::after(lifetime))
}

fn millis(server: &Redis, command: &str, name: &str) -> i64 {
    server.cli(&[command, name]).parse().unwrap()
}

/// Sleeps until the server's clock has passed a moment.
async fn pass(server: &Redis, moment: Timestamp) {
    tokio::time::sleep(moment.since(time(server)) + Duration::from_millis(2)).await;
    assert!(time(server) > moment);
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_ends_exactly_at_its_deadline() {
    for flavour in FLAVOURS {
        let server = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let (mut found, mut absent) = (0, 0);
        let mut entries = Vec::new();
        for round in 0..20 {
            let key = id(&store, format!("{round}"));
            let lifetime = Duration::from_millis(400 + round * 25);
            let _ = store.insert(key, ends_after(lifetime)).await.unwrap();
            let end = get(&store, &key).await.unwrap().deadlines.absolute().unwrap();
            entries.push((key, end));
        }
        for (key, end) in entries {
            let soon = end.since(time(&server)).saturating_sub(Duration::from_millis(8));
            tokio::time::sleep(soon).await;
            let mut is_over = false;
            while !is_over {
                let before = time(&server);
                // Also by a script, which decides by another clock.
                let is_live = match (found + absent) % 2 {
                    0 => get(&store, &key).await.is_some(),
                    _ => touch(&store, &key).await.is_some(),
                };
                let after = time(&server);
                if is_live {
                    assert!(
                        before < end,
                        "{flavour:?}: live at {before:?}, the deadline is {end:?}"
                    );
                    found += 1;
                } else {
                    assert!(
                        after >= end,
                        "{flavour:?}: absent at {after:?}, the deadline is {end:?}"
                    );
                    absent += 1;
                }
                is_over = after >= Timestamp::from_millis(end.as_millis() + 5);
            }
        }
        assert!(found > 0 && absent >= 20, "{found} found, {absent} absent");
    }
}

/// `PERSIST` by hand, or a copying tool, takes the expiry away: the header still has the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn entry_without_expiry_ends_by_its_header() {
    for flavour in FLAVOURS {
        let server = Redis::builder().flavour(flavour).start();
        let store = store(server.url()).await;
        let ada = owner("ada");
        let keys: Vec<Key> = (0..8).map(|number| id(&store, number.to_string())).collect();
        let names: Vec<String> = keys.iter().map(|key| key.to_string()[..24].to_owned()).collect();
        let short = || ends_after(Duration::from_millis(300)).owner(ada.clone());
        for key in &keys {
            assert_eq!(store.insert(*key, short()).await.unwrap(), inserted());
        }
        let names: Vec<String> = names.iter().map(|name| name_of(&server, name)).collect();
        names.iter().for_each(|name| assert_eq!(server.cli(&["PERSIST", name]), "1"));
        let dump = server.command(&["DUMP", &names[0]]).unwrap().bytes().unwrap().to_vec();
        let restore = [b"RESTORE", names[0].as_bytes(), b"0", &dump, b"REPLACE"];
        server.command(&restore).unwrap();
        let seen = get(&store, &keys[0]).await.unwrap();
        let last = get(&store, &keys[7]).await.unwrap();
        pass(&server, last.deadlines.absolute().unwrap()).await;

        assert_eq!(millis(&server, "PTTL", &names[0]), -1, "it is still there");
        assert!(get(&store, &keys[0]).await.is_none(), "{flavour:?}");
        assert_eq!(millis(&server, "EXISTS", &names[0]), 0, "it is taken away");
        assert!(touch(&store, &keys[1]).await.is_none());
        let at = Target::new(&keys[2]).owner(&ada);
        let replaced = store.replace(at, seen.version, Vec::new(), None).await.unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Absent));
        assert_eq!(remove(&store, &keys[3]).await, RemoveOutcome::Absent);
        assert!(support::list(&store, &ada).await.is_empty());
        assert!(store.scan(None, 100).await.unwrap().listing.entries.is_empty());
        assert!(store.remove_owner(&ada, None).await.unwrap().is_empty());
        let limited = short().limit(OwnerLimit::refuse(1));
        assert_eq!(store.insert(keys[4], limited).await.unwrap(), inserted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slide_keeps_the_index_alive() {
    for flavour in FLAVOURS {
        let server = Redis::builder().flavour(flavour).start();
        let builder = RedisStore::builder(server.url(), &namespace()).slide_after(0.0);
        let store = builder.open().await.unwrap();
        let (ada, idle) = (owner("ada"), Duration::from_secs(60));
        let index = || name_of(&server, ".owners:*:ada");
        let forever = id(&store, "forever");
        let entry = NewEntry::new(b"value".to_vec(), Expiry::idle(idle)).owner(ada.clone());
        let _ = store.insert(forever, entry).await.unwrap();
        let name = name_of(&server, &forever.to_string()[..24]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        // As after most of the idle time.
        for name in [&name, &index()] {
            server.cli(&["PEXPIRE", name, "5000"]);
        }
        let before = get(&store, &forever).await.unwrap();
        assert!(before.slide_due);
        let deadlines = touch(&store, &forever).await.unwrap();
        assert!(deadlines.last_used() > before.deadlines.last_used(), "{flavour:?}");
        let after = get(&store, &forever).await.unwrap();
        assert_eq!((after.deadlines, after.version), (deadlines, before.version));
        assert_eq!(after.value, b"value");
        assert!(millis(&server, "PTTL", &name) > 55_000);
        assert!(millis(&server, "PTTL", &index()) > 55_000);

        // An absolute end is in the index from the beginning.
        let ends = id(&store, "ends");
        let expiry = Expiry::idle_within(idle, LONG);
        let _ = store.insert(ends, NewEntry::new(Vec::new(), expiry).owner(ada)).await.unwrap();
        let left = millis(&server, "PTTL", &index());
        assert!((3_590_000..3_602_000).contains(&left), "{left}");
        server.cli(&["PEXPIRE", &index(), "5000"]);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(touch(&store, &ends).await.is_some());
        assert!(millis(&server, "PTTL", &index()) <= 5_000, "a slide leaves it alone");
    }
}

/// As after a failover to a server whose clock is behind.
#[tokio::test(flavor = "multi_thread")]
async fn touch_never_moves_a_deadline_back() {
    let server = Redis::start();
    let builder = RedisStore::builder(server.url(), &namespace()).slide_after(0.0);
    let store = builder.open().await.unwrap();
    let key = id(&store, "key");
    insert(&store, key, "value").await;
    let ahead = time(&server).saturating_add(Duration::from_secs(30));
    let name = name_of(&server, &key.to_string()[..24]);
    server.cli(&["SETRANGE", &name, "21", &ahead.as_millis().to_string()]);
    let found = get(&store, &key).await.unwrap();
    assert_eq!((found.read_at, found.slide_due), (ahead, false));
    assert_eq!(touch(&store, &key).await.unwrap().last_used(), Some(ahead));
    assert_eq!(get(&store, &key).await.unwrap().deadlines.last_used(), Some(ahead));
}

#[tokio::test(flavor = "multi_thread")]
async fn longest_times_are_saturated() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let expiries = [
        Expiry::after(Duration::MAX),
        Expiry::idle(Duration::MAX),
        Expiry::idle_within(Duration::MAX, Duration::MAX),
    ];
    for (number, expiry) in expiries.into_iter().enumerate() {
        let key = id(&store, number.to_string());
        let new = || NewEntry::new(Vec::new(), expiry).owner(owner("ada"));
        assert_eq!(store.insert(key, new()).await.unwrap(), inserted());
        let seen = get(&store, &key).await.unwrap();
        assert!(touch(&store, &key).await.is_some());
        let replaced =
            store.replace(Target::new(&key), seen.version, Vec::new(), Some(expiry)).await;
        assert!(matches!(replaced.unwrap(), ReplaceOutcome::Replaced(_)));
        let century = Duration::from_secs(100 * 365 * 86_400);
        let deadlines = get(&store, &key).await.unwrap().deadlines;
        assert!(deadlines.absolute().is_none_or(|end| end.since(seen.read_at) > century));
        assert!(deadlines.idle_timeout().is_none_or(|idle| idle > century));
        assert!(store.slack(Duration::MAX) > century);
    }
    // And the shortest.
    for expiry in [Expiry::after(Duration::ZERO), Expiry::idle(Duration::from_nanos(1))] {
        let key = id(&store, "short");
        let _ = store.insert(key, NewEntry::new(Vec::new(), expiry)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
        assert!(get(&store, &key).await.is_none());
    }
}

/// A slide in an entry's last millisecond does not leave something behind.
#[tokio::test(flavor = "multi_thread")]
async fn slide_at_the_end_leaves_nothing() {
    for flavour in FLAVOURS {
        let server = Redis::builder().flavour(flavour).start();
        let builder = RedisStore::builder(server.url(), &namespace()).slide_after(0.0);
        let store = builder.open().await.unwrap();
        for number in 0..60u64 {
            let key = id(&store, number.to_string());
            let expiry = Expiry::idle_within(
                Duration::from_millis(1 + number % 3),
                Duration::from_millis(1 + number % 7),
            );
            let _ = store.insert(key, NewEntry::new(Vec::new(), expiry)).await.unwrap();
            while touch(&store, &key).await.is_some() {}
            assert!(get(&store, &key).await.is_none(), "{flavour:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(store.scan(None, 100).await.unwrap().listing.unreadable.is_empty());
        assert_eq!(server.cli(&["DBSIZE"]), "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn estimate_is_never_behind_the_servers_clock() {
    let server = Redis::start();
    let opened = store(server.url()).await;
    let key = id(&opened, "key");
    insert(&opened, key, "value").await;
    drop(opened.clone());
    for _ in 0..50 {
        let before = time(&server);
        let found = get(&opened, &key).await.unwrap();
        assert!(found.read_at >= before, "{:?} is before {before:?}", found.read_at);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // By the first read of a connection: ahead by that read's round trip at most.
    let fresh = RedisStore::open(server.url(), opened.namespace().as_str()).await.unwrap();
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = time(&server);
    let found = support::until_ok(|| fresh.get(&key, Default::default())).await.0.unwrap();
    let after = time(&server);
    let latest = after.saturating_add(after.since(before) + Duration::from_millis(2));
    assert!((before..=latest).contains(&found.read_at));
}

/// An entry keeps its times when it is copied from another store.
#[tokio::test(flavor = "multi_thread")]
async fn copied_entry_keeps_its_times() {
    let server = Redis::start();
    let (from, to) = (store(server.url()).await, store(server.url()).await);
    let ada = owner("ada");
    let expiry = Expiry::idle_within(Duration::from_secs(60), LONG);
    let key = id(&from, "key");
    let new = NewEntry::new(b"value".to_vec(), expiry).owner(ada.clone());
    let _ = from.insert(key, new).await.unwrap();
    let original = from.scan(None, 10).await.unwrap().listing.entries.remove(0);
    assert!(original.created.is_some());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let there = Key::from_id(key.id(), to.namespace());
    let copied = to.insert(there, NewEntry::restored(original.clone())).await.unwrap();
    assert_eq!(copied, inserted());
    let copy = to.list(&ada).await.unwrap().entries.remove(0);
    assert_eq!((copy.deadlines, copy.created), (original.deadlines, original.created));
    assert_eq!((copy.value, copy.owner), (original.value.clone(), Some(ada)));

    let mut ended = original;
    let used = ended.read_at.saturating_sub(Duration::from_secs(61));
    ended.deadlines = Deadlines::new(Some((Duration::from_secs(60), used)), None);
    let other = id(&to, "other");
    let refused = to.insert(other, NewEntry::restored(ended)).await.unwrap();
    assert_eq!(refused, InsertOutcome::Expired);
    assert_eq!(value(&to, &other).await, None);

    // One that never ends.
    let mut endless = get(&from, &key).await.unwrap();
    endless.deadlines = Deadlines::new(None, None);
    assert_eq!(to.insert(other, NewEntry::restored(endless)).await.unwrap(), inserted());
    assert_eq!(get(&to, &other).await.unwrap().deadlines, Deadlines::new(None, None));
    assert_eq!(to.insert(other, entry("")).await.unwrap(), InsertOutcome::Occupied);
}
