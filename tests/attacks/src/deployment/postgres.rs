use std::sync::OnceLock;
use std::time::Duration;

use kvolt_servers::{Package, Postgres, Proxy};
use kvolt_sql::PostgresStore;

use super::remote::{shared, unique};
use super::server::TIMEOUT;
use super::{Deployment, Opening, RawStore, Server};

pub(super) async fn open(bound: Option<Duration>) -> Option<Deployment> {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    let start = || Postgres::builder().fsync(false).max_connections(200).start();
    let postgres = shared(&POSTGRES, Package::Postgres, start).await?;
    Some(deployment(postgres, unique("deployment"), bound, None).await)
}

/// A namespace. If it has a neighbour, its first server uses the neighbour's connections.
fn deployment(
    postgres: &'static Postgres,
    namespace: String,
    bound: Option<Duration>,
    beside: Option<PostgresStore>,
) -> Opening {
    Box::pin(async move {
        let (store, proxy) = match beside {
            Some(beside) => (beside.within(&namespace).await.expect("the tables exist"), None),
            None => connected(postgres, &namespace).await,
        };
        let (elsewhere, its_proxy) = connected(postgres, &namespace).await;
        let one = Server::pushing(store.clone(), proxy, bound).await;
        let other = Server::pushing(elsewhere, its_proxy, bound).await;
        let raw = Box::new(Table { postgres, table: format!("{namespace}_sessions") });
        let neighbour =
            Box::new(move |namespace| deployment(postgres, namespace, bound, Some(store.clone())));
        Deployment { one, other, namespace, clock: None, bound, raw, neighbour }
    })
}

async fn connected(postgres: &Postgres, namespace: &str) -> (PostgresStore, Option<Proxy>) {
    let proxy = Proxy::to(postgres.port());
    // Without cleaning: an ended session is refused because it has ended, not because it was
    // deleted.
    let store = PostgresStore::builder(&proxy.url(&postgres.url()), namespace);
    let store = store.timeout(TIMEOUT).clean_every(None);
    (store.open().await.expect("the store opens"), Some(proxy))
}

struct Table {
    postgres: &'static Postgres,
    table: String,
}

impl RawStore for Table {
    fn count(&self) -> usize {
        let count = self.postgres.psql(&format!("SELECT count(*) FROM {}", self.table));
        count.parse().expect("a number")
    }

    /// The raw rows, and the readable view.
    fn dump(&self) -> Vec<u8> {
        let table = &self.table;
        let raw = format!("SELECT * FROM {table} ORDER BY key");
        let readable = format!("SELECT key, owner, value FROM {table}_readable ORDER BY key");
        [self.postgres.psql(&raw), self.postgres.psql(&readable)].join("\n").into_bytes()
    }
}
