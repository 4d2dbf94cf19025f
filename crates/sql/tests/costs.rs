//! What a call costs, counted by a proxy before the server.

mod support;

use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Expiry, Key, NewEntry, Owner, OwnerLimit, Rename, Replace, Store,
};
use kvolt_servers::{MariaDb, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore};
use tokio::time::sleep;

/// The round trips of each kind of call.
#[derive(Debug, PartialEq, Eq)]
struct Costs {
    get: u64,
    get_nothing: u64,
    slide_that_is_not_due: u64,
    slide_that_is_due: u64,
    get_by_former_key: u64,
    insert: u64,
    insert_within_limit: u64,
    insert_over_limit: u64,
    replace: u64,
    rename: u64,
    remove: u64,
    remove_owner: u64,
    list: u64,
}

async fn costs<S: Store<Vec<u8>>>(store: &S, proxy: &Proxy) -> Costs {
    // Once without counting: a connection prepares each statement when it first meets it.
    let _ = once(store, proxy, 0).await;
    once(store, proxy, 1).await
}

async fn once<S: Store<Vec<u8>>>(store: &S, proxy: &Proxy, round: u8) -> Costs {
    macro_rules! cost {
        ($call:expr) => {{
            let before = proxy.counts();
            let done = $call.await.expect("it works");
            (done, (proxy.counts() - before).round_trips)
        }};
    }
    let owner = Owner::new(format!("owner {round}"));
    let key = |name: &str| Key::of(format!("{name} {round}"));
    let entry = || NewEntry::new(b"value".to_vec(), Expiry::idle(Duration::from_secs(2)));
    let owned = || entry().owner(owner.clone());
    let limit = OwnerLimit { entries_max: 2, at_limit: AtLimit::RemoveOldest };
    let limited = || owned().limit(limit);

    let (_, insert) = cost!(store.insert(key("plain"), entry()));
    let (found, get) = cost!(store.get(&key("plain"), Access::PEEK));
    let seen = found.expect("it is there").version;
    let (_, get_nothing) = cost!(store.get(&key("nothing"), Access::SLIDE));
    let (_, slide_that_is_not_due) = cost!(store.get(&key("plain"), Access::SLIDE));
    sleep(Duration::from_millis(150)).await;
    let (_, slide_that_is_due) = cost!(store.get(&key("plain"), Access::SLIDE));
    let (replaced, replace) = cost!(store.replace(&key("plain"), seen, b"new".to_vec(), None));
    assert!(matches!(replaced, Replace::Replaced(_)));
    let mut renaming = Rename::new();
    renaming.grace = Duration::from_secs(60);
    let (_, rename) = cost!(store.rename(&key("plain"), key("renamed"), renaming));
    let (former, get_by_former_key) = cost!(store.get(&key("plain"), Access::PEEK));
    assert_eq!(former.expect("the grace lasts").key, key("renamed"));
    let (_, remove) = cost!(store.remove(&key("renamed")));
    let (_, insert_within_limit) = cost!(store.insert(key("first"), limited()));
    let (_, _) = cost!(store.insert(key("second"), owned()));
    let (_, insert_over_limit) = cost!(store.insert(key("third"), limited()));
    let (listed, list) = cost!(store.list(&owner));
    assert_eq!(listed.len(), 2);
    let (removed, remove_owner) = cost!(store.remove_owner(&owner, None));
    assert_eq!(removed.len(), 2);
    Costs {
        get,
        get_nothing,
        slide_that_is_not_due,
        slide_that_is_due,
        get_by_former_key,
        insert,
        insert_within_limit,
        insert_over_limit,
        replace,
        rename,
        remove,
        remove_owner,
        list,
    }
}

const EXPECTED: Costs = Costs {
    get: 1,
    get_nothing: 1,
    slide_that_is_not_due: 1,
    slide_that_is_due: 2,
    get_by_former_key: 2,
    insert: 1,
    insert_within_limit: 4,
    insert_over_limit: 6,
    replace: 1,
    rename: 6,
    remove: 1,
    remove_owner: 4,
    list: 1,
};

#[tokio::test]
async fn on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let url = proxy.url(&server.url());
    let store = PostgresStore::builder().clean_every(None).connections_max(1);
    let store = store.open(&url).await.expect("it opens");
    assert_eq!(costs(&store, &proxy).await, EXPECTED);
}

#[tokio::test]
async fn on_postgresql_without_prepared_statements() {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let url = proxy.url(&server.url());
    let store = PostgresStore::builder().pooled_by_transactions(true).clean_every(None);
    let store = store.connections_max(1).open(&url).await.expect("it opens");
    assert_eq!(costs(&store, &proxy).await, EXPECTED);
}

#[tokio::test]
async fn on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let url = proxy.url(&server.url());
    let store = MySqlStore::builder().clean_every(None).connections_max(1);
    let store = store.open(&url).await.expect("it opens");
    // A renaming has to know the owner first, to lock it.
    assert_eq!(costs(&store, &proxy).await, Costs { rename: 7, ..EXPECTED });
}
