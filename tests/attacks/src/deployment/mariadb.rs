use std::sync::OnceLock;

use kvolt_servers::{MariaDb, Package, Proxy};
use kvolt_sql::MySqlStore;

use super::remote::{shared, unique};
use super::server::TIMEOUT;
use super::{Deployment, Opening, RawStore, Server};

pub(super) async fn open() -> Option<Deployment> {
    static MARIADB: OnceLock<MariaDb> = OnceLock::new();
    let start = || MariaDb::builder().fsync(false).start();
    let mariadb = shared(&MARIADB, Package::MariaDb, start).await?;
    Some(deployment(mariadb, unique("deployment"), None).await)
}

/// A namespace. If it has a neighbour, its first server uses the neighbour's connections.
fn deployment(mariadb: &'static MariaDb, namespace: String, beside: Option<MySqlStore>) -> Opening {
    Box::pin(async move {
        let (store, proxy) = match beside {
            Some(beside) => (beside.within(&namespace).await.expect("the tables exist"), None),
            None => connected(mariadb, &namespace).await,
        };
        let (elsewhere, its_proxy) = connected(mariadb, &namespace).await;
        let one = Server::remote(store.clone(), proxy);
        let other = Server::remote(elsewhere, its_proxy);
        let raw = Box::new(Table { mariadb, table: format!("{namespace}_sessions") });
        let neighbour =
            Box::new(move |namespace| deployment(mariadb, namespace, Some(store.clone())));
        Deployment { one, other, namespace, clock: None, bound: None, raw, neighbour }
    })
}

async fn connected(mariadb: &MariaDb, namespace: &str) -> (MySqlStore, Option<Proxy>) {
    let proxy = Proxy::to(mariadb.port());
    // Without cleaning: an ended session is refused because it has ended, not because it was
    // deleted.
    let store = MySqlStore::builder(&proxy.url(&mariadb.url()), namespace);
    let store = store.timeout(TIMEOUT).clean_every(None);
    (store.open().await.expect("the store opens"), Some(proxy))
}

struct Table {
    mariadb: &'static MariaDb,
    table: String,
}

impl RawStore for Table {
    fn count(&self) -> usize {
        let count = self.mariadb.sql(&format!("SELECT count(*) FROM {}", self.table));
        count.parse().expect("a number")
    }

    fn dump(&self) -> Vec<u8> {
        let sql = format!(
            "SELECT hex(`key`), hex(owner), hex(value) FROM {0} ORDER BY `key`; \
             SELECT `key`, owner, value FROM {0}_readable ORDER BY `key`",
            self.table
        );
        self.mariadb.sql(&sql).into_bytes()
    }
}
