//! What lies in the server: the format that the README documents, and that nothing piles up.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Owner, Rename, Renamed, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::Redis;

use support::{LONG, insert, store, value};

fn hash(server: &Redis, name: &str) -> BTreeMap<String, String> {
    let text = server.cli(&["HGETALL", name]);
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

fn names(server: &Redis) -> Vec<String> {
    let mut names: Vec<_> = server.cli(&["KEYS", "*"]).lines().map(String::from).collect();
    names.sort();
    names
}

/// Changes of this break what is stored, and the README.
#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_the_documented_one() {
    let server = Redis::start();
    let store = RedisStore::open(server.url()).await.unwrap();
    assert_eq!(names(&server), [""; 0], "the check at the start leaves nothing behind");
    let owner = Owner::from("ada {1}");
    let [one, other] = [Key::from_bytes([0xab; 32]), Key::from_bytes([0xcd; 32])];
    let expiry = Expiry::idle_within(Duration::from_secs(60), Duration::from_secs(600));
    let entry = NewEntry::new(b"the value".to_vec(), expiry).owner(owner.clone());
    let _ = store.insert(one, entry).await.unwrap();

    let name = format!("kvolt:{{{}}}:{one}", 0xabab % 1_024);
    let part = Key::of("ada {1}").as_bytes()[30..]
        .iter()
        .fold(0, |part, byte| part * 256 + u16::from(*byte));
    let index = format!("kvolt:{{{}}}:owner:ada {{1}}", part % 1_024);
    let mut expected = vec![name.clone(), index.clone()];
    expected.sort();
    assert_eq!(names(&server), expected);

    let fields = hash(&server, &name);
    let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(keys, ["end", "id", "idle", "idx", "made", "own", "used", "val", "ver"]);
    assert_eq!(fields["val"], "the value");
    assert_eq!(
        (&fields["own"], &fields["idle"]),
        (&String::from("ada {1}"), &String::from("60000"))
    );
    let number = |field: &str| fields[field].parse::<u64>().unwrap();
    assert_eq!(number("end"), number("used") + 600_000);
    assert_eq!(number("idx"), number("end"));
    assert_eq!(number("made") / 1_000, number("used"));
    let read = store.get(&one, Access::PEEK).await.unwrap().unwrap();
    assert_eq!(read.version.number(), number("ver"));
    let expires: u64 = server.cli(&["PEXPIRETIME", &name]).parse().unwrap();
    assert_eq!(expires, number("used") + 60_000 - 1, "the server removes it after this moment");
    assert_eq!(server.cli(&["ZRANGE", &index, "0", "-1"]), one.to_string());

    let mut rename = Rename::new();
    rename.grace = Duration::from_secs(30);
    assert_eq!(
        store.rename(&one, other, rename).await.unwrap(),
        Renamed::Moved { removed: vec![] }
    );
    let former = hash(&server, &name);
    let keys: Vec<&str> = former.keys().map(String::as_str).collect();
    assert_eq!(keys, ["end", "id", "to"]);
    assert_eq!((&former["to"], &former["id"]), (&other.to_string(), &fields["id"]));
    let moved_name = format!("kvolt:{{{}}}:{other}", 0xcdcd % 1_024);
    let moved = hash(&server, &moved_name);
    assert_eq!(moved["id"], fields["id"], "the id stays");
    assert_ne!(moved["ver"], fields["ver"], "the version does not");
    assert_eq!(server.cli(&["ZRANGE", &index, "0", "-1"]), other.to_string());

    assert_eq!(
        server.command(&["HGET", &moved_name, "was"]).unwrap().bytes(),
        Some(&[0xab; 32][..])
    );

    assert!(store.remove(&one).await.unwrap());
    assert_eq!(names(&server), [""; 0], "the former key has gone with it");
}

/// Whoever signs in and out again and again leaves nothing behind, nor does who lets sessions expire.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_does_not_grow() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let owner = Owner::from("ada");
    let live = Key::of("live");
    let owned = |expiry| NewEntry::new(Vec::new(), expiry).owner(owner.clone());
    let _ = store.insert(live, owned(Expiry::idle(LONG))).await.unwrap();
    let index = || names(&server).into_iter().find(|name| name.contains(":owner:")).unwrap();
    for number in 0..300 {
        let key = Key::of(format!("short {number}"));
        let _ = store.insert(key, owned(Expiry::after(Duration::from_millis(1)))).await.unwrap();
        let key = Key::of(format!("removed {number}"));
        let _ = store.insert(key, owned(Expiry::idle(LONG))).await.unwrap();
        assert!(store.remove(&key).await.unwrap());
    }
    let members: usize = server.cli(&["ZCARD", &index()]).parse().unwrap();
    assert!(members < 40, "{members} of 601");
    assert_eq!(store.list(&owner).await.unwrap().len(), 1);
    assert_eq!(server.cli(&["ZCARD", &index()]), "1", "a list leaves only what lives");
    assert!(store.remove(&live).await.unwrap());
    assert_eq!(names(&server), [""; 0]);
}

/// The index is there for as long as its entries, and not for long after.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_ends_after_its_last_member() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let owner = Owner::from("ada");
    let expiries = [
        ("lifetime", Expiry::after(Duration::from_secs(2))),
        ("both", Expiry::idle_within(Duration::from_millis(1_500), Duration::from_secs(5))),
    ];
    for (name, expiry) in expiries {
        let entry = NewEntry::new(Vec::new(), expiry).owner(owner.clone());
        let _ = store.insert(Key::of(name), entry).await.unwrap();
    }
    let longer = NewEntry::new(Vec::new(), Expiry::after(LONG)).owner(owner.clone());
    let _ = store.insert(Key::of("longer"), longer).await.unwrap();
    assert!(store.remove(&Key::of("longer")).await.unwrap());
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(store.get(&Key::of("both"), Access::SLIDE).await.unwrap().is_some());
        assert_eq!(store.list(&owner).await.unwrap().len(), 2);
    }
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(store.list(&owner).await.unwrap().len(), 1);

    let other = Owner::from("other");
    let entry = NewEntry::new(Vec::new(), Expiry::idle(Duration::from_millis(500)));
    let _ = store.insert(Key::of("idle"), entry.owner(other)).await.unwrap();
    let ttl = |owner: &str| {
        let name =
            names(&server).into_iter().find(|name| name.ends_with(&format!(":owner:{owner}")));
        server.cli(&["PTTL", &name.unwrap()]).parse::<i64>().unwrap()
    };
    assert!((1..18_000).contains(&ttl("other")), "{}", ttl("other"));
    assert!(ttl("ada") > 3_000_000, "it keeps the time of one that would have lived longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_thousands_is_listed_and_signed_out() {
    const MANY: usize = 5_000;
    let server = Redis::start();
    let store = store(server.url()).await;
    let owner = Owner::from("ada");
    let mut inserting = Vec::new();
    for chunk in 0..20 {
        let (store, owner) = (store.clone(), owner.clone());
        inserting.push(tokio::spawn(async move {
            for number in 0..MANY / 20 {
                let entry = NewEntry::new(vec![1; 100], Expiry::idle(LONG)).owner(owner.clone());
                let _ = store.insert(Key::of(format!("{chunk}, {number}")), entry).await.unwrap();
            }
        }));
    }
    for inserting in inserting {
        inserting.await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(store.list(&owner).await.unwrap().len(), MANY);
    eprintln!("listed in {:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    let keep = Key::of("3, 14");
    assert_eq!(store.remove_owner(&owner, Some(&keep)).await.unwrap().len(), MANY - 1);
    eprintln!("signed out in {:?}", begun.elapsed());
    assert_eq!(store.list(&owner).await.unwrap().len(), 1);
}

/// Two stores of different prefixes, and others' keys, know nothing of each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_clear_leaves_what_is_others() {
    let server = Redis::start();
    let builder = |prefix: &str| RedisStore::builder(server.url()).prefix(prefix);
    let (one, other) = (builder("a").open().await.unwrap(), builder("a:b").open().await.unwrap());
    let key = Key::of("key");
    for number in 0..3_000 {
        insert(&one, Key::of(format!("{number}")), "value").await;
    }
    insert(&other, key, "value").await;
    server.cli(&["SET", "a:plain", "x"]);
    one.clear().await.unwrap();
    assert!(one.scan(None, 10).await.unwrap().entries.is_empty());
    assert_eq!(value(&other, &key).await.as_deref(), Some("value"));
    assert_eq!(server.cli(&["GET", "a:plain"]), "x");
    assert_eq!(other.scan(None, 10).await.unwrap().entries.len(), 1);
    let error = other.scan(Some(&kvolt_cache::Cursor::from_bytes([1, 2, 3])), 1).await.unwrap_err();
    assert!(error.is_misconfigured());
}
