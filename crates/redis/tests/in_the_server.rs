//! The format in the server, as the README documents it, and namespaces.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{Cursor, Expiry, Key, NewEntry, RemoveOutcome, ReplaceOutcome, Store, Target};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis};

use support::{entry, get, id, insert, list, owner, remove, value};

fn names(server: &Redis) -> Vec<String> {
    let mut names: Vec<_> = server.cli(&["KEYS", "*"]).lines().map(String::from).collect();
    names.sort();
    names
}

/// Changes of this break what is stored, and the README.
#[tokio::test(flavor = "multi_thread")]
async fn format_is_the_documented_one() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let store = RedisStore::open(server.url(), "shop").await.unwrap();
        assert_eq!(names(&server), [""; 0], "the check at the start leaves nothing behind");
        let ada = owner("ada {1}");
        let one = Key::from_id([0xab; 12], store.namespace());
        let expiry = Expiry::idle_within(Duration::from_secs(60), Duration::from_secs(600));
        let new = NewEntry::new(b"the value".to_vec(), expiry).owner(ada.clone());
        let _ = store.insert(one, new).await.unwrap();

        let name = format!("shop:{{{}}}:{}", 0xabab % 1_024, "ab".repeat(12));
        let bytes = *Key::of("ada {1}").as_bytes();
        let part = u16::from_be_bytes([bytes[8], bytes[9]]) % 1_024;
        let index = format!("shop.owners:{{{part}}}:ada {{1}}");
        assert_eq!(names(&server), [index.clone(), name.clone()]);

        let text = server.cli(&["GET", &name]);
        let (header, after) = text.split_once('\n').unwrap();
        assert_eq!(after, "the value");
        let fields: Vec<&str> = header.splitn(8, ' ').collect();
        let [mark, version, used, idle, end, count, length, name_of_owner] = fields[..] else {
            panic!("{header}");
        };
        assert_eq!([mark, idle, count, length], ["kv1", "0000000060000", "1", "007"]);
        assert_eq!(name_of_owner, "ada {1}");
        assert_eq!([version.len(), used.len(), end.len()], [16, 13, 13]);
        let number = |field: &str| field.parse::<u64>().unwrap();
        assert_eq!(number(end), number(used) + 600_000);
        let read = get(&store, &one).await.unwrap();
        assert_eq!(format!("{:016x}", read.version.number()), version);
        let moment = |name: &str| {
            let left: u64 = server.cli(&["PTTL", name]).parse().unwrap();
            let time = server.cli(&["TIME"]);
            let (seconds, micros) = time.split_once('\n').unwrap();
            left + number(seconds) * 1_000 + number(micros) / 1_000
        };
        if flavour != Flavour::Redis62 {
            let expires = number(&server.cli(&["PEXPIRETIME", &name]));
            assert_eq!(
                expires,
                number(used) + 60_000 - 1,
                "the server removes it after this moment"
            );
        }
        assert!(moment(&index).abs_diff(number(end) + 1_000) < 1_000);
        let scores = server.cli(&["ZRANGE", &index, "0", "-1", "WITHSCORES"]);
        let (member, score) = scores.split_once('\n').unwrap();
        assert_eq!(member, "ab".repeat(12));
        assert_eq!(number(score) / 1_000, number(used), "inserted when it was used first");

        // A plain entry of a name, with one deadline.
        let plain = Key::of("a name");
        let _ = store.insert(plain, NewEntry::new(Vec::new(), Expiry::after(support::LONG))).await;
        let bytes = plain.as_bytes();
        let part = u16::from_be_bytes([bytes[8], bytes[9]]) % 1_024;
        let text = server.cli(&["GET", &format!("shop:{{{part}}}:{plain}")]);
        let none = "-".repeat(13);
        assert_eq!(&text[20..49], format!(" {none} {none} "));
        assert_eq!(&text[62..], " 0\n");

        let replaced =
            store.replace(Target::new(&one), read.version, b"other".to_vec(), None).await;
        let ReplaceOutcome::Replaced(new) = replaced.unwrap() else {
            panic!("the version is current")
        };
        let text = server.cli(&["GET", &name]);
        assert_eq!(text, format!("kv1 {:016x}{}\nother", new.number(), &header[20..]));
        assert_eq!(remove(&store, &one).await, RemoveOutcome::Removed);
        assert_eq!(remove(&store, &plain).await, RemoveOutcome::Removed);
        assert_eq!(names(&server), [""; 0]);
    }
}

/// Values are bytes, and memory does not grow with changes.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_any_bytes_are_kept() {
    let server = Redis::start();
    let builder = RedisStore::builder(server.url(), "shop").slide_after(0.0);
    let store = builder.open().await.unwrap();
    let key = id(&store, "key");
    let all: Vec<u8> = (0..=u8::MAX).chain(*b"\nkv1 \r\n").cycle().take(70_000).collect();
    for size in [0, 1, 300, 70_000] {
        let new = NewEntry::new(all[..size].to_vec(), Expiry::idle(support::LONG));
        let _ = store.insert(key, new).await.unwrap();
        let usage = || server.cli(&["MEMORY", "USAGE", &names(&server)[0]]);
        let before = usage();
        for _ in 0..5 {
            let found = get(&store, &key).await.unwrap();
            assert_eq!(found.value, all[..size]);
            assert!(store.touch(Target::new(&key)).await.unwrap().is_some());
            let value = found.value;
            let replaced =
                store.replace(Target::new(&key), found.version, value, None).await.unwrap();
            assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
        }
        assert_eq!(usage(), before, "{size}");
        assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);
    }
}

/// The memory of one session in a million: the server's tables are as full as with this number.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_takes_at_most_720_bytes() {
    const SESSIONS: usize = 31_000;
    let server = Redis::start();
    let store = RedisStore::open(server.url(), "shop").await.unwrap();
    let used = || server.info("used_memory").parse::<usize>().unwrap();
    insert(&store, id(&store, "warm"), "").await;
    let before = used();
    let inserting: Vec<_> = (0..20)
        .map(|chunk| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..SESSIONS / 20 {
                    let name = format!("user-{:06}", chunk * 10_000 + number);
                    let expiry = Expiry::idle_within(support::LONG, support::LONG * 12);
                    let value = NewEntry::new(vec![b'x'; 277], expiry).owner(owner(&name));
                    let _ = store.insert(id(&store, &name), value).await.unwrap();
                }
            })
        })
        .collect();
    for task in inserting {
        task.await.unwrap();
    }
    assert_eq!(server.cli(&["DBSIZE"]), (2 * SESSIONS + 1).to_string());
    let each = (used() - before) / SESSIONS;
    eprintln!("{each} bytes for each session");
    assert!(each <= 720, "{each}");
}

/// Two namespaces, and others' keys, know nothing of each other.
#[tokio::test(flavor = "multi_thread")]
async fn namespace_leaves_other_data_alone() {
    let server = Redis::start();
    let shop = RedisStore::open(server.url(), "shop").await.unwrap();
    let admin = shop.within("shop_admin").unwrap();
    let ada = owner("ada");
    let (one, other) = (id(&shop, "key"), id(&admin, "key"));
    assert_eq!(one.id(), other.id(), "the same id in both");
    for number in 0..3_000 {
        insert(&shop, Key::of(format!("{number}")), "value").await;
    }
    for (store, key) in [(&shop, one), (&admin, other)] {
        let _ = store.insert(key, entry("value").owner(ada.clone())).await.unwrap();
        insert(store, Key::of("same"), store.namespace().as_str()).await;
    }
    server.cli(&["SET", "shop:plain", "x"]);
    // Neither leads to the other's, by whatever key.
    assert_eq!(
        (get(&shop, &other).await.is_none(), get(&admin, &one).await.is_none()),
        (true, true)
    );
    assert_eq!(list(&shop, &ada).await, [one]);
    assert_eq!((shop.count().await.unwrap(), admin.count().await.unwrap()), (3_002, 2));
    assert_eq!(shop.remove_owner(&ada, None).await.unwrap(), [one]);
    assert_eq!(list(&admin, &ada).await, [other]);
    let cursor = shop.scan(None, 10).await.unwrap().next.unwrap();
    assert!(admin.scan(Some(&cursor), 10).await.unwrap().listing.entries.len() <= 2);

    shop.clear().await.unwrap();
    assert!(shop.scan(None, 10).await.unwrap().listing.entries.is_empty());
    assert_eq!(value(&admin, &Key::of("same")).await.as_deref(), Some("shop_admin"));
    assert_eq!(admin.scan(None, 10).await.unwrap().listing.entries.len(), 2);
    assert_eq!(server.cli(&["GET", "shop:plain"]), "x");
    let error = admin.scan(Some(&Cursor::from_bytes([1, 2, 3])), 1).await.unwrap_err();
    assert!(error.is_misconfigured());
}

#[tokio::test(flavor = "multi_thread")]
async fn count_has_each_entry_once() {
    let server = Redis::start();
    let store = support::store(server.url()).await;
    assert_eq!(store.count().await.unwrap(), 0);
    for number in 0..2_500 {
        let new = entry("value").owner(owner(&format!("{}", number % 7)));
        let _ = store.insert(id(&store, format!("{number}")), new).await.unwrap();
    }
    assert_eq!(remove(&store, &id(&store, "7")).await, RemoveOutcome::Removed);
    let monitor = server.monitor();
    assert_eq!(store.count().await.unwrap(), 2_499);
    // One of nothing, to see whether the server is a master.
    assert_eq!(monitor.count("getex") + monitor.count("evalsha"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_are_asked_for_their_settings() {
    let server = Redis::builder().config("maxmemory-policy", "noeviction").start();
    let store = RedisStore::open(server.url(), "shop").await.unwrap();
    let replies = store.ask_masters(&["CONFIG", "GET", "maxmemory-policy"]).await.unwrap();
    let reply = vec![String::from("maxmemory-policy"), String::from("noeviction")];
    assert_eq!(replies, [(format!("127.0.0.1:{}", server.port()), reply)]);
    let time = store.ask_masters(&["TIME"]).await.unwrap().remove(0).1;
    assert!(time.len() == 2 && time[0].parse::<u64>().is_ok());
    let info = store.ask_masters(&["INFO", "server"]).await.unwrap().remove(0).1;
    assert!(info.join("\n").contains("redis_version:"));
    assert!(store.ask_masters(&["NO SUCH COMMAND"]).await.is_err());
    assert_eq!(store.ask_masters(&[]).await.unwrap(), []);
}
