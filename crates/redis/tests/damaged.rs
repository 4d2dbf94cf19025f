//! Entries that can't be read: they are reported, never written into, hide no others, and can be removed.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_cache::{
    Error, Freshness, InsertOutcome, Key, Owner, OwnerLimit, Predecessor, RemoveOutcome, Store,
    Target, Version,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis};

use support::{entry, get, id, insert, inserted, name_of, owner, remove, store, value};

/// How many kinds of damage there are.
const KINDS: usize = 14;

/// Damaged data under an entry's name, with the command that writes it.
fn damage(server: &Redis, name: &str) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let whole = server.command(&["GET", name]).unwrap().bytes().unwrap().to_vec();
    let changed = |at: usize, bytes: &[u8]| {
        let mut text = whole.clone();
        text[at..at + bytes.len()].copy_from_slice(bytes);
        vec![b"SET".to_vec(), name.into(), text]
    };
    let set = |text: &[u8]| vec![b"SET".to_vec(), name.into(), text.to_vec()];
    vec![
        ("a newer format", changed(0, b"kv2 ")),
        ("a far newer format", set(b"kv12 {}")),
        ("no mark", changed(0, b"KV1 ")),
        ("no version", changed(8, b"x")),
        ("no last use", changed(21, b"soon")),
        ("half a last use", changed(21, b"-")),
        ("an idle time without a last use", changed(21, b"-------------")),
        ("no end", changed(49, b"never")),
        ("a name that is too long", changed(64, b" 999")),
        ("no end of the header", set(&whole[..70])),
        ("nothing", set(b"")),
        ("half a header", set(&whole[..40])),
        ("something else", set(b"something else")),
        ("another type", vec![b"HSET".to_vec(), name.into(), b"kv1 ".to_vec(), b"1".to_vec()]),
    ]
}

fn put(server: &Redis, name: &str, command: &[Vec<u8>]) {
    server.cli(&["DEL", name]);
    server.command(command).unwrap();
}

fn is_corrupt<T: std::fmt::Debug>(what: &str, key: &Key, outcome: Result<T, Error>) -> Error {
    let error = outcome.expect_err(what);
    assert!(error.is_corrupt() && error.key() == Some(*key), "{what}: {error}");
    error
}

/// The bytes under a name, of whatever type.
fn dump(server: &Redis, name: &str) -> Vec<u8> {
    server.command(&["DUMP", name]).unwrap().bytes().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_entry_is_never_written_into() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        let builder = RedisStore::builder(server.url(), &support::namespace()).slide_after(0.0);
        let store = builder.open().await.unwrap();
        let (key, ada) = (id(&store, "key"), owner("ada"));
        let new = || entry("value").owner(ada.clone());
        let _ = store.insert(key, new()).await.unwrap();
        let seen = get(&store, &key).await.unwrap().version;
        let name = name_of(&server, &key.to_string()[..24]);
        for (what, command) in damage(&server, &name) {
            let what = format!("{flavour:?}, {what}");
            put(&server, &name, &command);
            let before = dump(&server, &name);
            let error = is_corrupt(&what, &key, store.get(&key, Freshness::Strict).await);
            let is_newer = what.contains("newer");
            assert_eq!(error.to_string().contains("newer version"), is_newer, "{error}");
            let at = Target::new(&key).owner(&ada);
            is_corrupt(&what, &key, store.touch(at).await);
            is_corrupt(&what, &key, store.touch(Target::new(&key)).await);
            let expiry = kvolt_cache::Expiry::idle(support::LONG);
            for expiry in [None, Some(expiry)] {
                is_corrupt(&what, &key, store.replace(at, seen, Vec::new(), expiry).await);
            }
            assert_eq!(store.insert(key, new()).await.unwrap(), InsertOutcome::Occupied, "{what}");
            let kept = store.remove(at, Some(Version::from_number(7))).await.unwrap();
            assert_eq!(kept, RemoveOutcome::Conflict, "{what}");
            let login = entry("").replaces(Predecessor::new(key).seen(seen));
            let refused = store.insert(id(&store, "new"), login).await.unwrap();
            assert_eq!(refused, InsertOutcome::Conflict, "{what}");
            assert_eq!(dump(&server, &name), before, "{what}: it is as it was");
            assert_eq!(store.remove(at, None).await.unwrap(), RemoveOutcome::Removed, "{what}");
            assert_eq!(server.cli(&["DBSIZE"]), "0", "{what}");
            let _ = store.insert(key, new()).await.unwrap();
        }
    }
}

/// Review F5: one damaged entry made "sign out everywhere" fail for ever, half done.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_entry_hides_no_other() {
    let server = Redis::start();
    let ada = owner("ada");
    for kind in 0..KINDS {
        let store = store(server.url()).await;
        let keys: Vec<Key> = (0..4).map(|number| id(&store, format!("{number}"))).collect();
        for key in &keys {
            let _ = store.insert(*key, entry("value").owner(ada.clone())).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let name =
            name_of(&server, &format!("{}:*{}", store.namespace(), &keys[1].to_string()[..24]));
        let (what, command) = damage(&server, &name).remove(kind);
        put(&server, &name, &command);

        let listing = store.list(&ada).await.unwrap();
        let live: Vec<Key> = listing.entries.iter().map(|entry| entry.key).collect();
        assert_eq!(live, [keys[0], keys[2], keys[3]], "{what}");
        assert_eq!(listing.unreadable, [keys[1]], "{what}");
        let page = store.scan(None, 10).await.unwrap().listing;
        assert_eq!((page.entries.len(), page.unreadable), (3, vec![keys[1]]), "{what}");
        assert_eq!(store.count().await.unwrap(), 4);

        // It counts towards the limit, and is removed when it is the oldest.
        let refused = entry("").owner(ada.clone()).limit(OwnerLimit::refuse(4));
        let new = id(&store, "new");
        assert_eq!(
            store.insert(new, refused).await.unwrap(),
            InsertOutcome::LimitReached,
            "{what}"
        );
        let limited = entry("").owner(ada.clone()).limit(OwnerLimit::remove_oldest(4));
        let removed = vec![keys[0]];
        assert_eq!(store.insert(new, limited).await.unwrap(), InsertOutcome::Inserted { removed });

        let mut gone = store.remove_owner(&ada, Some(&new)).await.unwrap();
        gone.sort_unstable();
        let mut expected = keys[1..].to_vec();
        expected.sort_unstable();
        assert_eq!(gone, expected, "{what}");
        assert_eq!(support::list(&store, &ada).await, [new], "{what}");
        assert_eq!(remove(&store, &new).await, RemoveOutcome::Removed);
        assert_eq!(server.cli(&["DBSIZE"]), "0", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_removes_damaged_entries() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let key = id(&store, "key");
    for number in 0..KINDS {
        insert(&store, key, "value").await;
        let name = name_of(&server, &key.to_string()[..24]);
        put(&server, &name, &damage(&server, &name).remove(number).1);
        store.clear().await.unwrap();
        assert_eq!(server.cli(&["DBSIZE"]), "0");
    }
}

/// Data of other programs in an index, or under other names, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn data_of_other_programs_is_ignored() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let (ada, key) = (owner("ada"), id(&store, "key"));
    let _ = store.insert(key, entry("value").owner(ada.clone())).await.unwrap();
    let index = name_of(&server, ":ada");
    let beginning = format!("{}:{{", store.namespace());
    for garbage in ["", "x", "a:b", "ABABABABABABABABABABABAB", &"é".repeat(32)] {
        server.cli(&["ZADD", &index, "1", garbage]);
        server.cli(&["SET", &format!("{beginning}1}}:{garbage}"), "something"]);
    }
    // As long as an id, and of an entry that does not exist; and one of an entry that is another's.
    server.cli(&["ZADD", &index, "2", &"ab".repeat(12)]);
    let theirs = id(&store, "theirs");
    let _ = store.insert(theirs, entry("theirs").owner(owner("eve"))).await.unwrap();
    server.cli(&["ZADD", &index, "3", &theirs.to_string()[..24]]);

    assert_eq!(support::list(&store, &ada).await, [key]);
    assert_eq!(server.cli(&["ZCARD", &index]), "1", "a list leaves only what lives");
    server.cli(&["ZADD", &index, "3", &theirs.to_string()[..24], "4", "x"]);
    let limited = entry("").owner(ada.clone()).limit(OwnerLimit::refuse(2));
    assert_eq!(store.insert(id(&store, "second"), limited).await.unwrap(), inserted());
    server.cli(&["ZADD", &index, "3", &theirs.to_string()[..24]]);
    assert_eq!(store.remove_owner(&ada, None).await.unwrap().len(), 2);
    assert_eq!(value(&store, &theirs).await.as_deref(), Some("theirs"));
    assert_eq!(store.count().await.unwrap(), 1);
    let page = store.scan(None, 10).await.unwrap().listing;
    assert_eq!((page.entries.len(), page.unreadable.len()), (1, 0));
    store.clear().await.unwrap();
    assert_eq!(server.cli(&["KEYS", &format!("{beginning}1}}:*")]).lines().count(), 5);
}

/// An owner's name that no version of this program has written does not protect the entry.
#[tokio::test(flavor = "multi_thread")]
async fn entry_with_an_invalid_owner_can_be_removed() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let key = id(&store, "key");
    let _ = store.insert(key, entry("value").owner(owner("adaada"))).await.unwrap();
    let name = name_of(&server, &key.to_string()[..24]);
    let broken: &[&[u8]] = &[b"SETRANGE", name.as_bytes(), b"70", b"\xff\x00"];
    server.command(broken).unwrap();
    is_corrupt("the owner", &key, store.get(&key, Freshness::Strict).await);
    let wrong: Owner = owner("wrong");
    assert_eq!(
        store.remove(Target::new(&key).owner(&wrong), None).await.unwrap(),
        RemoveOutcome::Removed
    );
    assert_eq!(store.count().await.unwrap(), 0);
}
