//! Operations on an owner's entries: limits, sign-ins, and the index.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{
    Expiry, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome,
    ReplaceOutcome, Store, Target,
};
use kvolt_redis::RedisStore;
use kvolt_servers::{Flavour, Redis};

use support::{LONG, entry, get, id, inserted, list, name_of, owner, remove, store, value};

async fn limited(
    store: &RedisStore,
    owner: &Owner,
    name: &str,
    limit: OwnerLimit,
) -> InsertOutcome {
    let new = entry(name).owner(owner.clone()).limit(limit);
    store.insert(id(store, name), new).await.unwrap()
}

/// Many of the same owner's at once: what came of each.
async fn at_once(
    store: &RedisStore,
    owner: &Owner,
    count: usize,
    limit: OwnerLimit,
) -> Vec<InsertOutcome> {
    let inserting: Vec<_> = (0..count)
        .map(|number| {
            let (store, owner) = (store.clone(), owner.clone());
            tokio::spawn(async move {
                limited(&store, &owner, &format!("{owner}, {number}"), limit).await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for insert in inserting {
        outcomes.push(insert.await.unwrap());
    }
    outcomes
}

/// A hundred visitors of one group: review F1 had 97 of them fail.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_visitors_are_inserted_or_refused() {
    for flavour in [Flavour::Redis62, Flavour::Redis7, Flavour::Valkey9] {
        let server = Redis::builder().flavour(flavour).start();
        for max in [1, 3, 64] {
            let store = store(server.url()).await;
            let group = Owner::reserved("group").unwrap();
            let limit = OwnerLimit::remove_oldest(max);
            let mut removed = 0;
            for outcome in at_once(&store, &group, 100, limit).await {
                let InsertOutcome::Inserted { removed: keys } = outcome else {
                    panic!("{flavour:?}, {max}: {outcome:?}");
                };
                removed += keys.len();
            }
            assert_eq!(list(&store, &group).await.len(), max as usize, "{flavour:?}");
            assert_eq!(removed, 100 - max as usize);
            assert_eq!(store.count().await.unwrap(), u64::from(max));

            let refusing = Owner::reserved("refusing").unwrap();
            let outcomes = at_once(&store, &refusing, 100, OwnerLimit::refuse(max)).await;
            let let_in = outcomes.iter().filter(|outcome| **outcome == inserted()).count();
            let refused =
                outcomes.iter().filter(|outcome| **outcome == InsertOutcome::LimitReached);
            assert_eq!((let_in, refused.count()), (max as usize, 100 - max as usize));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_counts_only_live_entries() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let ada = owner("ada");
    let short = |name: &str| {
        let entry = NewEntry::new(Vec::new(), Expiry::after(Duration::from_millis(30)));
        (id(&store, name), entry.owner(ada.clone()))
    };
    // Hundreds of members that have ended, beside a few that live.
    for number in 0..200 {
        let (key, entry) = short(&format!("short {number}"));
        let _ = store.insert(key, entry).await.unwrap();
        if number % 100 == 0 {
            let new = entry_of(&ada, "value");
            let _ = store.insert(id(&store, format!("live {number}")), new).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(
        limited(&store, &ada, "third", OwnerLimit::refuse(2)).await,
        InsertOutcome::LimitReached
    );
    assert_eq!(limited(&store, &ada, "third", OwnerLimit::refuse(3)).await, inserted());
    assert_eq!(
        limited(&store, &ada, "fourth", OwnerLimit::refuse(3)).await,
        InsertOutcome::LimitReached
    );
    let removed = vec![id(&store, "live 0"), id(&store, "live 100")];
    let outcome = limited(&store, &ada, "fourth", OwnerLimit::remove_oldest(2)).await;
    let InsertOutcome::Inserted { removed: mut keys } = outcome else { panic!("{outcome:?}") };
    keys.sort_by_key(|key| removed.iter().position(|removed| removed == key));
    assert_eq!(keys, removed);
    assert_eq!(list(&store, &ada).await, [id(&store, "third"), id(&store, "fourth")]);
    for bad in [0, 65] {
        let new = entry_of(&ada, "").limit(OwnerLimit::refuse(bad));
        let error = store.insert(id(&store, "bad"), new).await.unwrap_err();
        assert!(error.is_misconfigured(), "{error}");
    }
}

fn entry_of(owner: &Owner, value: &str) -> NewEntry<Vec<u8>> {
    entry(value).owner(owner.clone())
}

/// An owner that had no limit before has more members than a refusal reads.
#[tokio::test(flavor = "multi_thread")]
async fn refusal_reads_few_members() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let ada = owner("ada");
    for number in 0..1_000 {
        let _ = store.insert(id(&store, format!("{number}")), entry_of(&ada, "")).await.unwrap();
    }
    let monitor = server.monitor();
    assert_eq!(
        limited(&store, &ada, "new", OwnerLimit::refuse(3)).await,
        InsertOutcome::LimitReached
    );
    let looked = monitor.count("getrange");
    assert!(looked < 40, "{looked} of 1000");
    // Of the youngest, most have gone without a word to the index.
    for number in 900..1_000 {
        server.cli(&["DEL", &name_of(&server, &id(&store, format!("{number}")).to_string()[..24])]);
    }
    assert_eq!(
        limited(&store, &ada, "new", OwnerLimit::refuse(64)).await,
        InsertOutcome::LimitReached
    );
    for number in 2..900 {
        server.cli(&["DEL", &name_of(&server, &id(&store, format!("{number}")).to_string()[..24])]);
    }
    assert_eq!(
        limited(&store, &ada, "new", OwnerLimit::refuse(2)).await,
        InsertOutcome::LimitReached
    );
    assert_eq!(limited(&store, &ada, "new", OwnerLimit::refuse(3)).await, inserted());
    assert_eq!(list(&store, &ada).await.len(), 3);
}

/// A sign-in over an anonymous session, or over one's own.
#[tokio::test(flavor = "multi_thread")]
async fn sign_in_replaces_its_predecessor() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let (ada, group) = (owner("ada"), Owner::reserved("group").unwrap());
    let known = [None, Some(group.clone()), Some(ada.clone())];
    for (old_owner, hint) in
        known.iter().flat_map(|owner| known.iter().map(move |hint| (owner.clone(), hint.clone())))
    {
        let (old, new) = (id(&store, "old"), id(&store, "new"));
        let is_own = old_owner.as_ref() == Some(&ada);
        let before = entry("old").maybe_owner(old_owner.clone());
        assert_eq!(store.insert(old, before).await.unwrap(), inserted());
        let other = entry_of(&ada, "other");
        assert_eq!(store.insert(id(&store, "other"), other).await.unwrap(), inserted());
        tokio::time::sleep(Duration::from_millis(2)).await;
        let seen = get(&store, &old).await.unwrap().version;
        let replacing = |seen| {
            let old = Predecessor::new(old).owner(hint.clone()).seen(seen);
            entry_of(&ada, "new").replaces(old)
        };
        // A rejected insertion replaces nothing.
        let wrong = kvolt_cache::Version::from_number(seen.number() ^ 1);
        assert_eq!(
            store.insert(new, replacing(Some(wrong))).await.unwrap(),
            InsertOutcome::Conflict
        );
        let limit = OwnerLimit::refuse(1);
        let at_limit = replacing(Some(seen)).limit(limit);
        assert_eq!(store.insert(new, at_limit).await.unwrap(), InsertOutcome::LimitReached);
        assert_eq!(value(&store, &old).await.as_deref(), Some("old"));
        assert_eq!(value(&store, &new).await, None);

        // One's own does not count, another's makes no room.
        let limited = replacing(Some(seen)).limit(OwnerLimit::refuse(2));
        assert_eq!(store.insert(new, limited).await.unwrap(), inserted());
        assert_eq!(value(&store, &old).await, None);
        assert_eq!(list(&store, &ada).await, [id(&store, "other"), new]);
        assert!(list(&store, &group).await.is_empty());
        let limited = entry_of(&ada, "").limit(OwnerLimit::refuse(2));
        assert_eq!(
            store.insert(id(&store, "more"), limited).await.unwrap(),
            InsertOutcome::LimitReached
        );

        // Absent now: a conflict with a version, and nothing without.
        let third = id(&store, "third");
        assert_eq!(
            store.insert(third, replacing(Some(seen))).await.unwrap(),
            InsertOutcome::Conflict
        );
        assert_eq!(store.insert(third, replacing(None)).await.unwrap(), inserted());
        assert_eq!(store.remove_owner(&ada, None).await.unwrap().len(), 3);
        assert_eq!(server.cli(&["DBSIZE"]), "0", "{old_owner:?}, {hint:?}, {is_own}");
    }
}

/// A wrong hint costs a second command, and changes no outcome.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_owner_hint_is_corrected() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let (ada, eve) = (owner("ada"), owner("eve"));
    let key = id(&store, "key");
    for hint in [None, Some(&ada), Some(&eve)] {
        let _ = store.insert(key, entry_of(&ada, "value")).await.unwrap();
        let at = Target::new(&key).owner(hint);
        let seen = get(&store, &key).await.unwrap().version;
        let longer = Some(Expiry::after(LONG * 2));
        let replaced = store.replace(at, seen, Vec::new(), longer).await.unwrap();
        assert!(matches!(replaced, ReplaceOutcome::Replaced(_)));
        let index = name_of(&server, ":ada");
        let left: u64 = server.cli(&["PTTL", &index]).parse().unwrap();
        assert!(left > 7_000_000, "{left}");
        assert!(store.touch(at).await.unwrap().is_some());
        assert_eq!(store.remove(at, None).await.unwrap(), RemoveOutcome::Removed);
        assert_eq!(server.cli(&["DBSIZE"]), "0", "{hint:?}");
        assert_eq!(store.remove(at, None).await.unwrap(), RemoveOutcome::Absent);
    }
}

/// An owner who signs in and out again and again, or lets sessions expire, leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn index_does_not_grow() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let ada = owner("ada");
    let live = id(&store, "live");
    let owned = |expiry| NewEntry::new(Vec::new(), expiry).owner(ada.clone());
    let _ = store.insert(live, owned(Expiry::idle(LONG))).await.unwrap();
    let index = name_of(&server, ":ada");
    for number in 0..400 {
        let key = id(&store, format!("short {number}"));
        let _ = store.insert(key, owned(Expiry::after(Duration::from_millis(1)))).await.unwrap();
        let key = id(&store, format!("removed {number}"));
        let _ = store.insert(key, owned(Expiry::idle(LONG))).await.unwrap();
        assert_eq!(remove(&store, &key).await, RemoveOutcome::Removed);
    }
    let members: usize = server.cli(&["ZCARD", &index]).parse().unwrap();
    assert!(members <= 96, "{members} of 801");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(list(&store, &ada).await, [live]);
    assert_eq!(server.cli(&["ZCARD", &index]), "1", "a list leaves only what lives");
    assert_eq!(remove(&store, &live).await, RemoveOutcome::Removed);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_of_thousands_is_listed_and_revoked() {
    const MANY: usize = 5_000;
    let server = Redis::start();
    let store = store(server.url()).await;
    let ada = owner("ada");
    let mut inserting = Vec::new();
    for chunk in 0..20 {
        let (store, ada) = (store.clone(), ada.clone());
        inserting.push(tokio::spawn(async move {
            for number in 0..MANY / 20 {
                let entry = NewEntry::new(vec![1; 100], Expiry::idle(LONG)).owner(ada.clone());
                let key = id(&store, format!("{chunk}, {number}"));
                let _ = store.insert(key, entry).await.unwrap();
            }
        }));
    }
    for inserting in inserting {
        inserting.await.unwrap();
    }
    assert_eq!(list(&store, &ada).await.len(), MANY);
    let monitor = server.monitor();
    let keep = id(&store, "3, 14");
    assert_eq!(store.remove_owner(&ada, Some(&keep)).await.unwrap().len(), MANY - 1);
    assert_eq!(monitor.count("evalsha"), 2, "review F19: one call for each, one after the other");
    assert_eq!(list(&store, &ada).await, [keep]);
}

/// A session that is created during a revocation of its owner may stay.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_despite_new_sign_ins() {
    let server = Redis::start();
    let store = store(server.url()).await;
    let ada = owner("ada");
    let signing_in = tokio::spawn({
        let (store, ada) = (store.clone(), ada.clone());
        async move {
            for number in 0..2_000 {
                let key = id(&store, format!("{number}"));
                let _ = store.insert(key, entry_of(&ada, "")).await.unwrap();
            }
        }
    });
    let mut removed = Vec::new();
    while !signing_in.is_finished() {
        let there: Vec<Key> = list(&store, &ada).await;
        let gone = store.remove_owner(&ada, None).await.unwrap();
        assert!(there.iter().all(|key| gone.contains(key)), "all that were there are gone");
        removed.extend(gone);
    }
    signing_in.await.unwrap();
    removed.extend(store.remove_owner(&ada, None).await.unwrap());
    removed.sort_unstable();
    removed.dedup();
    assert_eq!(removed.len(), 2_000, "each is reported once");
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}
