//! The cost of each operation, counted by a proxy before the server.

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Deadlines, Entry, Expiry, Freshness, InsertOutcome, Key, NewEntry, OwnerLimit, RemoveOutcome,
    Store, Target, Version,
};
use kvolt_servers::{MariaDb, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use kvolt_testkit::conformance::{Asked, Cost, Costs, Report, check_costs};
use support::traced::Traced;
use support::{OnRuntime, json, owner, query_plan, sqlite_url, unique};
use tokio::time::sleep;

/// A limit takes a transaction: beginning it with the owner's lock, counting or removing,
/// inserting, committing.
const LIMITED: Cost = Cost::new(4, 4);

/// One statement for each operation, but where a limit must be held.
fn costs() -> Costs {
    Costs { insert_below_limit: LIMITED, insert_at_limit: LIMITED, ..Costs::default() }
}

fn asked(proxy: &Proxy) -> Asked {
    let counts = proxy.counts();
    Asked {
        commands: counts.commands,
        turns: counts.round_trips,
        bytes_sent: counts.bytes_to_server,
        bytes_received: counts.bytes_to_client,
        rows: None,
    }
}

fn assert_holds(report: Report) {
    assert_eq!(report.broken, []);
    // A database has nothing ready without asking.
    assert!(report.not_checked.is_empty(), "{:?}", report.not_checked);
}

async fn on_postgresql(is_pooled: bool) {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Arc::new(Proxy::to(server.port()));
    let url = proxy.url(&server.url());
    let open = move || {
        let url = url.clone();
        async move {
            let builder = PostgresStore::builder(&url, &unique("costs")).clean_every(None);
            let store = builder.max_connections(1).pooled_by_transactions(is_pooled).open().await;
            (store.expect("it opens"), url)
        }
    };
    let fixture = OnRuntime::new(open, json).counting(costs(), move || asked(&proxy));
    let mut report = check_costs(&fixture);
    if is_pooled {
        // In text, each byte is two digits, as if it were sent twice.
        report.broken.retain(|broken| broken.law != "only_reads_and_writes_carry_values");
    }
    assert_holds(report);
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_hold_on_postgresql() {
    on_postgresql(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_hold_behind_a_pooler() {
    on_postgresql(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_hold_on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let proxy = Arc::new(Proxy::to(server.port()));
    let url = proxy.url(&server.url());
    let open = move || {
        let url = url.clone();
        async move {
            let builder = MySqlStore::builder(&url, &unique("costs")).clean_every(None);
            (builder.max_connections(1).open().await.expect("it opens"), url)
        }
    };
    // Statements there can't return changed or removed rows, nor delete a row and insert another.
    let costs = Costs {
        touch: Cost::new(2, 2),
        insert_at_limit: Cost::new(5, 5),
        insert_over_own: Cost::new(4, 4),
        insert_over_other: Cost::new(4, 4),
        remove_owner: Cost::new(4, 4),
        ..costs()
    };
    let asked = move || {
        let counts = asked(&proxy);
        Asked { rows: Some(rows_read(&server)), ..counts }
    };
    let fixture = OnRuntime::new(open, json).counting(costs, asked);
    assert_holds(check_costs(&fixture));
}

/// Rows that the server has read through an index. Reading them counts none.
fn rows_read(server: &MariaDb) -> u64 {
    let sql = "SELECT SUM(variable_value) FROM information_schema.global_status \
        WHERE variable_name IN ('HANDLER_READ_NEXT', 'HANDLER_READ_PREV', 'HANDLER_READ_KEY')";
    server.sql(sql).parse::<f64>().expect("it is a number") as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_hold_on_sqlite() {
    let open = || async {
        let url = sqlite_url("costs");
        let builder = SqliteStore::builder(&url, &unique("costs")).clean_every(None);
        (builder.open().await.expect("it opens"), url)
    };
    let traced = Traced::of("kvolt_sql");
    let asked = {
        let traced = traced.clone();
        move || {
            // A statement that another thread traced first, while this thread set its subscriber,
            // may count as one in which no subscriber is interested.
            tracing::callsite::rebuild_interest_cache();
            let commands = traced.events().len() as u64;
            Asked { commands, turns: commands, ..Asked::default() }
        }
    };
    let over = Cost::new(4, 4);
    let costs = Costs { insert_over_own: over, insert_over_other: over, ..costs() };
    let fixture = OnRuntime::new(open, json).counting(costs, asked);
    let report = tracing::subscriber::with_default(traced, || check_costs(&fixture));
    assert_holds(report);
}

/// A connection that was idle is pinged before a write, which must not be repeated, and not before
/// a read, which is repeated where the connection turns out to be dead.
#[tokio::test]
async fn idle_connection_costs_reads_nothing() {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let url = proxy.url(&server.url());
    let builder = PostgresStore::builder(&url, "shop").clean_every(None).max_connections(1);
    let store = builder.open().await.expect("it opens");
    let key = Key::of("key");
    let turns = async |idle: bool, is_read: bool| {
        if idle {
            sleep(Duration::from_millis(1_200)).await;
        }
        let before = proxy.counts();
        if is_read {
            let found = store.get(&key, Freshness::Strict).await;
            assert!(found.is_ok(), "{found:?}");
        } else {
            let removed = store.remove(Target::new(&key), Some(NO_VERSION)).await;
            assert_eq!(removed.ok(), Some(RemoveOutcome::Absent));
        }
        (proxy.counts() - before).round_trips
    };
    for is_read in [true, false] {
        turns(false, is_read).await;
    }
    let used = (turns(false, true).await, turns(false, false).await);
    assert_eq!(used, (1, 2));
    assert_eq!(turns(true, true).await, 1, "no ping");
    assert_eq!(turns(true, false).await, 3, "a ping");
    proxy.drop_connections();
    turns(true, true).await;
}

/// A version that no entry has.
const NO_VERSION: Version = Version::from_number(u64::MAX);

/// How many expired rows an owner has that were not cleaned, and others' live ones.
const EXPIRED: u64 = 5_000;

/// More than the largest limit, as often as an operation may read it.
const MAX_ROWS: u64 = 400;

/// Sixty-four live entries, of which one is removed for another, one more that is refused, a list
/// and a removal of all.
async fn uses_an_owner<S: Store<Vec<u8>>>(store: &S) {
    let (owner, max) = (owner("owner"), OwnerLimit::MAX);
    let entry = || {
        let expiry = Expiry::idle(Duration::from_secs(3_600));
        NewEntry::new(b"value".to_vec(), expiry).owner(owner.clone())
    };
    for number in 0..max {
        let inserted = store.insert(Key::of(format!("of {number}")), entry()).await;
        assert!(matches!(inserted, Ok(InsertOutcome::Inserted { .. })));
    }
    let one_more = entry().limit(OwnerLimit::remove_oldest(max));
    let inserted = store.insert(Key::of("one more"), one_more).await;
    assert_eq!(inserted.ok(), Some(InsertOutcome::Inserted { removed: vec![Key::of("of 0")] }));
    let too_many = entry().limit(OwnerLimit::refuse(max));
    let refused = store.insert(Key::of("too many"), too_many).await;
    assert_eq!(refused.ok(), Some(InsertOutcome::LimitReached));
    assert_eq!(store.list(&owner).await.expect("list works").entries.len(), max as usize);
    let removed = store.remove_owner(&owner, None).await.expect("it works");
    assert_eq!(removed.len(), max as usize);
}

#[tokio::test]
async fn expired_rows_cost_nothing_on_postgresql() {
    let server = Postgres::builder().fsync(false).config("autovacuum", "off").start();
    let builder = PostgresStore::builder(&server.url(), "shop").clean_every(None);
    let store = builder.open().await.expect("it opens");
    server.psql(&format!(
        "INSERT INTO shop_sessions (key, version, value, owner, created, absolute_deadline)
         SELECT sha256(n::text::bytea), n, '', CASE WHEN n % 2 = 0 THEN 'owner' ELSE 'other' END::bytea,
         0, CASE WHEN n % 2 = 0 THEN n ELSE 9000000000000 + n END
         FROM generate_series(1, {}) n; ANALYZE shop_sessions",
        EXPIRED * 2
    ));
    let read = || {
        let sql =
            "SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'shop_sessions')
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'shop_sessions')";
        server.psql(sql).parse::<u64>().expect("it is a number")
    };
    let settled = async || {
        while server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kvolt'")
            != "0"
        {
            sleep(Duration::from_millis(20)).await;
        }
        read()
    };
    store.close().await;
    let before = settled().await;
    let store = PostgresStore::builder(&server.url(), "shop").clean_every(None).open().await;
    let store = store.expect("it opens");
    uses_an_owner(&store).await;
    store.close().await;
    let rows = settled().await - before;
    assert!(rows > 0 && rows <= MAX_ROWS, "{rows} rows were read");
}

#[tokio::test]
async fn expired_rows_cost_nothing_on_mariadb() {
    let server = MariaDb::builder().fsync(false).start();
    let builder = MySqlStore::builder(&server.url(), "shop").clean_every(None);
    let store = builder.open().await.expect("it opens");
    server.sql(&format!(
        "INSERT INTO shop_sessions (`key`, version, value, owner, created, absolute_deadline)
         SELECT UNHEX(SHA2(seq, 256)), seq, '', IF(seq % 2 = 0, 'owner', 'other'), 0,
         IF(seq % 2 = 0, seq, 9000000000000 + seq) FROM seq_1_to_{}; ANALYZE TABLE shop_sessions",
        EXPIRED * 2
    ));
    let before = rows_read(&server);
    uses_an_owner(&store).await;
    let rows = rows_read(&server) - before;
    assert!(rows > 0 && rows <= MAX_ROWS, "{rows} rows were read");
}

#[tokio::test]
async fn expired_rows_cost_nothing_on_sqlite() {
    let url = sqlite_url("expired");
    let builder = SqliteStore::builder(&url, "shop").clean_every(None);
    let store = builder.open().await.expect("it opens");
    let traced = Traced::of("kvolt_sql");
    let guard = tracing::subscriber::set_default(traced.clone());
    uses_an_owner(&store).await;
    drop(guard);
    let statements = traced.events();
    let by_owner: Vec<_> = statements.iter().filter(|sql| sql.contains("owner = $1")).collect();
    assert_eq!(by_owner.len(), 4, "{statements:?}");
    for statement in by_owner {
        let (_, sql) = statement.split_once("sql=").expect("it is a statement");
        let plan = query_plan(&url, sql).await;
        let is_by_index = plan.contains("shop_sessions_by_owner (owner=? AND expires>?)");
        assert!(is_by_index && !plan.contains("SCAN shop"), "{sql}: {plan}");
    }
}

/// 250 entries as the scan of another store returned them; the first has ended.
fn scanned(store: &impl Store<Vec<u8>>) -> Vec<Entry<Vec<u8>>> {
    let now = store.clock().now();
    let (idle, minute) = (Duration::from_secs(600), Duration::from_secs(60));
    let entry = |number: u8| {
        let used = now.saturating_sub(minute * u32::from(number));
        let absolute = if number == 0 { now } else { now.saturating_add(minute * 100) };
        // Between 10 and 600 seconds are left.
        let ends = used.saturating_add(idle * u32::from(number)).max(now.saturating_add(minute));
        let deadlines = Deadlines::new(Some((ends.since(used), ends)), Some(absolute));
        let version = Version::from_number(1);
        let (key, owner) = (Key::of([number]), number.is_multiple_of(2).then(|| owner("ada")));
        let entry = Entry::new(key, vec![number], version, owner.clone(), deadlines, now);
        entry.created(owner.map(|_| now.saturating_sub(minute * 300)))
    };
    (0..250).map(entry).collect()
}

/// Restores entries twice, the second time in the place of those that are there.
async fn restores(store: &impl Store<Vec<u8>>, restore: impl AsyncFn(Vec<Entry<Vec<u8>>>)) {
    let mut entries = scanned(store);
    let ended = NewEntry::new(b"old".to_vec(), Expiry::after(Duration::from_secs(600)));
    let _ = store.insert(entries[0].key, ended).await.expect("it is inserted");
    restore(entries.clone()).await;
    for entry in &mut entries {
        entry.value.push(7);
    }
    restore(entries.clone()).await;
    let mut found = store.scan(None, 1_000).await.expect("it is available").listing.entries;
    assert_eq!(found.len(), 249, "the ended one is not live, and its predecessor is gone");
    for entry in &entries[1..] {
        let index = found.iter().position(|found| found.key == entry.key).expect("it is live");
        let found = found.swap_remove(index);
        assert_eq!((&found.value, &found.owner), (&entry.value, &entry.owner));
        assert_eq!((found.deadlines, found.created), (entry.deadlines, entry.created));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_costs_two_statements_for_a_hundred_entries() {
    let server = Postgres::builder().fsync(false).start();
    let proxy = Proxy::to(server.port());
    let builder = PostgresStore::builder(&proxy.url(&server.url()), &unique("restore"));
    let store = builder.max_connections(1).clean_every(None).open().await.expect("it opens");
    restores(&store, async |entries| store.restore(entries).await.expect("it is available")).await;
    let before = proxy.counts().round_trips;
    store.restore(scanned(&store)).await.expect("it is available");
    let cost = proxy.counts().round_trips - before;
    // To begin, to read the clock, two for each hundred, to commit: 9. The two statements for the
    // last fifty are prepared and dropped.
    assert!(cost <= 12, "{cost} round trips");

    let server = MariaDb::builder().fsync(false).start();
    let store = MySqlStore::open(&server.url(), &unique("restore")).await.expect("it opens");
    restores(&store, async |entries| store.restore(entries).await.expect("it is available")).await;
    let store = SqliteStore::open(&sqlite_url("restore"), "shop").await.expect("it opens");
    restores(&store, async |entries| store.restore(entries).await.expect("it is available")).await;
}
