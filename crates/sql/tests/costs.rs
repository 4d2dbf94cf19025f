//! What each operation costs, counted by a proxy before the server.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvolt_servers::{MariaDb, Postgres, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use kvolt_testkit::conformance::{Asked, Cost, Costs, Report, check_costs};
use support::{OnRuntime, json, sqlite_url, unique};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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
    // A database has nothing ready without asking, and rows are not counted.
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
async fn costs_hold_on_postgresql_without_prepared_statements() {
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
    // What is changed or removed can't be returned there, nor one row deleted where another is
    // inserted.
    let costs = Costs {
        touch: Cost::new(2, 2),
        insert_at_limit: Cost::new(5, 5),
        insert_over_own: Cost::new(4, 4),
        insert_over_other: Cost::new(4, 4),
        remove_owner: Cost::new(4, 4),
        ..costs()
    };
    let fixture = OnRuntime::new(open, json).counting(costs, move || asked(&proxy));
    assert_holds(check_costs(&fixture));
}

/// Counts the statements that a store traces on this thread.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicU64>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("kvolt_sql")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_hold_on_sqlite() {
    let open = || async {
        let url = sqlite_url("costs");
        let builder = SqliteStore::builder(&url, &unique("costs")).clean_every(None);
        (builder.open().await.expect("it opens"), url)
    };
    let statements = Statements::default();
    let asked = {
        let statements = statements.clone();
        move || {
            let commands = statements.0.load(Ordering::Relaxed);
            Asked { commands, turns: commands, ..Asked::default() }
        }
    };
    let over = Cost::new(4, 4);
    let costs = Costs { insert_over_own: over, insert_over_other: over, ..costs() };
    let fixture = OnRuntime::new(open, json).counting(costs, asked);
    let report = tracing::subscriber::with_default(statements, || check_costs(&fixture));
    assert_holds(report);
}
