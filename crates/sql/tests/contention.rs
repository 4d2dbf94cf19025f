//! Many calls for one entry or one owner, and locks that are held for long.

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Expiry, InsertOutcome, Key, NewEntry, OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome,
    Store, Target,
};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, PgConnection};
use support::{get, owner, sqlite_url};
use tokio::task::JoinSet;
use tokio::time::sleep;

const CONNECTIONS: usize = 4;

fn entry() -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::idle(Duration::from_secs(3_600)))
}

/// While another session holds a row and an owner's lock, any number of calls that wait for them
/// leave connections to all others.
async fn leaves_connections<S: Store<Vec<u8>> + Clone>(store: S) {
    let (hot, owner) = (Key::of("hot"), owner("hot"));
    let mut waiting = JoinSet::new();
    for number in 0..4 * CONNECTIONS {
        let (store, owner) = (store.clone(), owner.clone());
        waiting.spawn(async move {
            let limited = entry().owner(owner.clone()).limit(OwnerLimit::remove_oldest(1));
            match number % 4 {
                0 => store.remove(Target::new(&hot), None).await.map(drop),
                1 => store.touch(Target::new(&hot)).await.map(drop),
                2 => store.insert(Key::of([number as u8]), limited).await.map(drop),
                _ => store.remove_owner(&owner, None).await.map(drop),
            }
        });
    }
    sleep(Duration::from_millis(200)).await;
    for number in 0..20 {
        let key = Key::of(format!("another {number}"));
        let inserted = store.insert(key, entry()).await.expect("there are connections");
        assert_eq!(inserted, InsertOutcome::Inserted { removed: Vec::new() });
        assert_eq!(store.remove(Target::new(&key), None).await.ok(), Some(RemoveOutcome::Removed));
    }
    while waiting.try_join_next().is_some() {}
    assert!(waiting.len() >= 2 * CONNECTIONS, "more wait than there are connections");
    waiting.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_lock_leaves_connections_on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let builder = PostgresStore::builder(&server.url(), "shop").max_connections(CONNECTIONS);
    let store = builder.timeout(Duration::from_secs(20)).open().await.expect("it opens");
    let _ = store.insert(Key::of("hot"), entry().owner(owner("hot"))).await.expect("it works");
    let mut holder = PgConnection::connect(&server.url()).await.expect("it answers");
    let hold = "BEGIN; SELECT FROM shop_sessions FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut holder).await.expect("it locks");
    leaves_connections(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_lock_leaves_connections_on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let builder = MySqlStore::builder(&server.url(), "shop").max_connections(CONNECTIONS);
    let store = builder.timeout(Duration::from_secs(20)).open().await.expect("it opens");
    let _ = store.insert(Key::of("hot"), entry().owner(owner("hot"))).await.expect("it works");
    let mut holder = MySqlConnection::connect(&server.url()).await.expect("it answers");
    let hold = format!(
        "START TRANSACTION; SELECT version FROM shop_sessions WHERE `key` = x'{}' FOR UPDATE",
        Key::of("hot")
    );
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut holder).await.expect("it locks");
    leaves_connections(store).await;
}

/// A hundred visitors of one group at once, of two programs, are inserted or refused, and none
/// fails.
async fn admits_a_hundred_at_once<S: Store<Vec<u8>> + Clone>(stores: &[S; 2]) {
    for (name, limit) in
        [("removed", OwnerLimit::remove_oldest(64)), ("refused", OwnerLimit::refuse(64))]
    {
        let mut visitors = JoinSet::new();
        for number in 0..100 {
            let store = stores[number % 2].clone();
            let entry = entry().owner(owner(name)).limit(limit);
            let key = Key::of(format!("{name} {number}"));
            visitors.spawn(async move { store.insert(key, entry).await });
        }
        let done = visitors.join_all().await;
        let done: Vec<_> = done.into_iter().map(|inserted| inserted.expect("it works")).collect();
        let refused = done.iter().filter(|insert| **insert == InsertOutcome::LimitReached).count();
        assert_eq!(refused, if name == "refused" { 36 } else { 0 });
        let listing = stores[0].list(&owner(name)).await.expect("list works");
        assert_eq!(listing.entries.len(), 64);
        let removed = done.iter().map(|insert| match insert {
            InsertOutcome::Inserted { removed } => removed.len(),
            _ => 0,
        });
        assert_eq!(removed.sum::<usize>(), 36 - refused, "each is named once");
    }
}

/// Thirty-two callers of two programs change one entry, and no change is lost or fails.
async fn changes_one_entry<S: Store<Vec<u8>> + Clone>(stores: &[S; 2]) {
    let key = Key::of("counter");
    let zero = NewEntry::new(vec![0], Expiry::idle(Duration::from_secs(3_600)));
    let _ = stores[0].insert(key, zero).await.expect("insert works");
    let mut callers = JoinSet::new();
    for number in 0..32 {
        let store = stores[number % 2].clone();
        callers.spawn(async move {
            loop {
                let seen = get(&store, &key).await.expect("it is there");
                let next = vec![seen.value[0] + 1];
                let replaced = store.replace(Target::new(&key), seen.version, next, None).await;
                if matches!(replaced.expect("it works"), ReplaceOutcome::Replaced(_)) {
                    return;
                }
            }
        });
    }
    callers.join_all().await;
    assert_eq!(get(&stores[0], &key).await.map(|entry| entry.value), Some(vec![32]));
}

/// Logins over one entry, of two programs: each has a session, or finds that another came first.
async fn logs_in_over_one_entry<S: Store<Vec<u8>> + Clone>(stores: &[S; 2]) {
    for limit in [None, Some(OwnerLimit::remove_oldest(2))] {
        let old = Key::of(format!("old {limit:?}"));
        let _ = stores[0].insert(old, entry()).await.expect("insert works");
        let seen = get(&stores[0], &old).await.expect("it was inserted").version;
        let mut logins = JoinSet::new();
        for number in 0..20 {
            let store = stores[number % 2].clone();
            let new = entry().owner(owner("ada")).limit(limit);
            let new = new.replaces(Predecessor::new(old).seen(seen));
            let key = Key::of(format!("new {number} {limit:?}"));
            logins.spawn(async move { store.insert(key, new).await });
        }
        let done = logins.join_all().await;
        let done: Vec<_> = done.into_iter().map(|inserted| inserted.expect("it works")).collect();
        let conflicts = done.iter().filter(|insert| **insert == InsertOutcome::Conflict).count();
        assert_eq!(conflicts, 19, "{done:?}");
        assert!(get(&stores[1], &old).await.is_none());
    }
    assert_eq!(stores[0].list(&owner("ada")).await.expect("list works").entries.len(), 2);
}

/// Of two programs that insert at once where there is room for one entry, one does.
async fn holds_a_limit_of_one<S: Store<Vec<u8>> + Clone>(stores: &[S; 2]) {
    for round in 0..60 {
        let owner = owner(&format!("one of {round}"));
        let limit =
            if round % 2 == 0 { OwnerLimit::refuse(1) } else { OwnerLimit::remove_oldest(1) };
        let both = [0, 1].map(|number| {
            let (store, owner) = (stores[number].clone(), owner.clone());
            let key = Key::of(format!("{number} of {round}"));
            tokio::spawn(async move { store.insert(key, entry().owner(owner).limit(limit)).await })
        });
        for inserted in both {
            let _ = inserted.await.expect("it ends").expect("it works");
        }
        let listing = stores[0].list(&owner).await.expect("list works");
        assert_eq!(listing.entries.len(), 1, "in round {round}");
    }
}

async fn serves_crowds<S: Store<Vec<u8>> + Clone>(stores: [S; 2]) {
    holds_a_limit_of_one(&stores).await;
    admits_a_hundred_at_once(&stores).await;
    changes_one_entry(&stores).await;
    logs_in_over_one_entry(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_are_served_on_postgresql() {
    let server = Postgres::builder().fsync(false).start();
    let open = async || {
        let builder = PostgresStore::builder(&server.url(), "shop");
        builder.timeout(Duration::from_secs(20)).open().await.expect("it opens")
    };
    serves_crowds([open().await, open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_are_served_on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let open = async || {
        let builder = MySqlStore::builder(&server.url(), "shop");
        builder.timeout(Duration::from_secs(20)).open().await.expect("it opens")
    };
    serves_crowds([open().await, open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_are_served_on_sqlite() {
    let url = sqlite_url("crowds");
    let open = async || {
        let builder = SqliteStore::builder(&url, "shop");
        builder.timeout(Duration::from_secs(20)).open().await.expect("it opens")
    };
    serves_crowds([open().await, open().await]).await;
}

/// Of many uses at once that are due, one is written.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_touches_writes() {
    let server = Postgres::builder().fsync(false).start();
    let stores = [
        PostgresStore::open(&server.url(), "shop").await.expect("it opens"),
        PostgresStore::open(&server.url(), "shop").await.expect("it opens"),
    ];
    let key = Key::of("key");
    let _ = stores[0].insert(key, entry()).await.expect("insert works");
    server.psql("UPDATE shop_sessions SET idle_deadline = idle_deadline - 1000000");
    server.psql(
        "CREATE TABLE writes (n int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO writes VALUES (1); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER UPDATE ON shop_sessions FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let mut touches = JoinSet::new();
    for number in 0..40 {
        let store = stores[number % 2].clone();
        touches.spawn(async move { store.touch(Target::new(&key)).await });
    }
    let answers = touches.join_all().await;
    let newest = get(&stores[0], &key).await.expect("it lives").deadlines;
    for answer in answers {
        assert_eq!(answer.expect("touch works"), Some(newest), "each answers how it is then");
    }
    assert_eq!(server.psql("SELECT count(*) FROM writes"), "1");
}

/// A removal that comes while a use or a change is about to be committed is not undone by it,
/// although the deadline has passed by then.
#[tokio::test(flavor = "multi_thread")]
async fn late_commit_undoes_no_removal() {
    let server = Postgres::builder().fsync(false).start();
    let store = PostgresStore::open(&server.url(), "shop").await.expect("it opens");
    let owner = owner("owner");
    for (by_owner, changes) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let key = Key::of(format!("{by_owner}, {changes}"));
        let _ = store.insert(key, entry().owner(owner.clone())).await.expect("insert works");
        // As seen by others, it has expired; a use that began before is not committed yet.
        let expired = "UPDATE shop_sessions SET idle_deadline = \
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 10";
        server.psql(expired);
        let mut using = PgConnection::connect(&server.url()).await.expect("it answers");
        let sql = format!(
            "BEGIN; UPDATE shop_sessions SET idle_deadline = idle_deadline + 3600000, \
             version = version + {changes} WHERE key = decode('{key}', 'hex')"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut using).await.expect("it updates");
        let removing = tokio::spawn({
            let (store, owner) = (store.clone(), owner.clone());
            async move {
                if by_owner {
                    store.remove_owner(&owner, None).await.map(drop)
                } else {
                    store.remove(Target::new(&key), None).await.map(drop)
                }
            }
        });
        sleep(Duration::from_millis(300)).await;
        sqlx::raw_sql("COMMIT").execute(&mut using).await.expect("it commits");
        removing.await.expect("it ends").expect("it works");
        assert!(get(&store, &key).await.is_none(), "it was removed");
    }
}

/// On MySQL, a row whose deadline moves back while an owner's rows are removed is removed, too.
#[tokio::test(flavor = "multi_thread")]
async fn shorter_deadline_escapes_no_removal() {
    let server = MariaDb::builder().fsync(false).start();
    let builder = MySqlStore::builder(&server.url(), "shop").timeout(Duration::from_secs(20));
    let store = Arc::new(builder.open().await.expect("it opens"));
    let owner = owner("owner");
    let keys: Vec<Key> = (0..20).map(|number| Key::of(format!("{number}"))).collect();
    for (number, key) in keys.iter().enumerate() {
        let expiry = Expiry::after(Duration::from_secs(1_000 + number as u64));
        let entry = NewEntry::new(Vec::new(), expiry).owner(owner.clone());
        let _ = store.insert(*key, entry).await.expect("insert works");
    }
    // So many others' rows that the owner's are found by their index.
    server.sql(
        "INSERT INTO shop_sessions (`key`, version, value, owner, created, absolute_deadline)
         SELECT UNHEX(SHA2(CONCAT('of ', seq), 256)), seq, '', 'other', 0, 9000000000000
         FROM seq_1_to_5000; ANALYZE TABLE shop_sessions",
    );
    // Holds the row in the middle, so that the removal stops there.
    let mut holder = MySqlConnection::connect(&server.url()).await.expect("it answers");
    let hold = format!(
        "START TRANSACTION; \
        SELECT version FROM shop_sessions WHERE `key` = x'{}' FOR UPDATE",
        keys[10]
    );
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut holder).await.expect("it locks");
    let removing = tokio::spawn({
        let (store, owner) = (Arc::clone(&store), owner.clone());
        async move { store.remove_owner(&owner, None).await }
    });
    sleep(Duration::from_millis(500)).await;
    let mut other = MySqlConnection::connect(&server.url()).await.expect("it answers");
    for key in &keys[11..] {
        let sql = format!(
            "SET innodb_lock_wait_timeout = 1; UPDATE shop_sessions \
            SET absolute_deadline = absolute_deadline - 500000 WHERE `key` = x'{key}'"
        );
        // A row that the removal has locked already can't be changed.
        let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut other).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.expect("it commits");
    let removed = removing.await.expect("it ends").expect("it works");
    assert_eq!(removed.len(), keys.len());
    assert!(store.list(&owner).await.expect("list works").entries.is_empty());
}
