use std::sync::OnceLock;
use std::time::Duration;

use kvolt_servers::{Package, Postgres, Proxy};
use kvolt_sql::PostgresStore;

use super::elsewhere::{shared, unique};
use super::server::TIMEOUT;
use super::{Raw, Server, Stage};

pub(super) async fn open(bound: Option<Duration>) -> Option<Stage> {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    let start = || Postgres::builder().fsync(false).max_connections(200).start();
    let postgres = shared(&POSTGRES, Package::Postgres, start).await?;
    let table = unique("stage");
    let one = server(postgres, &table, bound).await;
    let other = server(postgres, &table, bound).await;
    Some(Stage { one, other, clock: None, bound, raw: Box::new(Table { postgres, table }) })
}

async fn server(postgres: &Postgres, table: &str, bound: Option<Duration>) -> Server {
    let proxy = Proxy::to(postgres.port());
    // What has ended is refused because it has ended, and not because it was deleted.
    let store = PostgresStore::builder().table(table).timeout(TIMEOUT).clean_every(None);
    let store = store.open(&proxy.url(&postgres.url())).await.expect("the store opens");
    match bound {
        Some(bound) => Server::near(store, Some(proxy), bound).await,
        None => Server::pushing(store, Some(proxy)),
    }
}

struct Table {
    postgres: &'static Postgres,
    table: String,
}

impl Raw for Table {
    fn count(&self) -> usize {
        let count = self.postgres.psql(&format!("SELECT count(*) FROM {}", self.table));
        count.parse().expect("it is a number")
    }

    /// The rows as they are, and as people read them.
    fn dump(&self) -> Vec<u8> {
        let table = &self.table;
        let raw = format!("SELECT * FROM {table} ORDER BY id");
        let readable = format!("SELECT key, owner, value, successor FROM {table}_readable");
        [self.postgres.psql(&raw), self.postgres.psql(&readable)].join("\n").into_bytes()
    }
}
