use std::sync::OnceLock;
use std::time::Duration;

use kvolt_servers::{Package, Postgres, Proxy};
use kvolt_sql::PostgresStore;

use super::elsewhere::{shared, unique};
use super::server::TIMEOUT;
use super::{Opening, Raw, Server, Stage};

pub(super) async fn open(bound: Option<Duration>) -> Option<Stage> {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    let start = || Postgres::builder().fsync(false).max_connections(200).start();
    let postgres = shared(&POSTGRES, Package::Postgres, start).await?;
    Some(stage(postgres, unique("stage"), bound, None).await)
}

/// Opens a namespace; its first server shares the neighbour's connections, if there is one.
fn stage(
    postgres: &'static Postgres,
    namespace: String,
    bound: Option<Duration>,
    beside: Option<PostgresStore>,
) -> Opening {
    Box::pin(async move {
        let (store, proxy) = match beside {
            Some(beside) => (beside.within(&namespace).await.expect("the tables are made"), None),
            None => connected(postgres, &namespace).await,
        };
        let (elsewhere, its_proxy) = connected(postgres, &namespace).await;
        let one = Server::pushing(store.clone(), proxy, bound).await;
        let other = Server::pushing(elsewhere, its_proxy, bound).await;
        let raw = Box::new(Table { postgres, table: format!("{namespace}_sessions") });
        let neighbour =
            Box::new(move |namespace| stage(postgres, namespace, bound, Some(store.clone())));
        Stage { one, other, namespace, clock: None, bound, raw, neighbour }
    })
}

async fn connected(postgres: &Postgres, namespace: &str) -> (PostgresStore, Option<Proxy>) {
    let proxy = Proxy::to(postgres.port());
    // Without cleaning, expired sessions are rejected because they expired, not because
    // they were deleted.
    let store = PostgresStore::builder(&proxy.url(&postgres.url()), namespace);
    let store = store.timeout(TIMEOUT).clean_every(None);
    (store.open().await.expect("the store opens"), Some(proxy))
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

    /// The rows as stored, and in readable form.
    fn dump(&self) -> Vec<u8> {
        let table = &self.table;
        let raw = format!("SELECT * FROM {table} ORDER BY key");
        let readable = format!("SELECT key, owner, value FROM {table}_readable ORDER BY key");
        [self.postgres.psql(&raw), self.postgres.psql(&readable)].join("\n").into_bytes()
    }
}
