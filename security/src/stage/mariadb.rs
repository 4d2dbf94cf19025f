use std::sync::OnceLock;

use kvolt_servers::{MariaDb, Package, Proxy};
use kvolt_sql::MySqlStore;

use super::elsewhere::{shared, unique};
use super::server::TIMEOUT;
use super::{Raw, Server, Stage};

pub(super) async fn open() -> Option<Stage> {
    static MARIADB: OnceLock<MariaDb> = OnceLock::new();
    let start = || MariaDb::builder().fsync(false).start();
    let mariadb = shared(&MARIADB, Package::MariaDb, start).await?;
    let table = unique("stage");
    let one = server(mariadb, &table).await;
    let other = server(mariadb, &table).await;
    Some(Stage { one, other, clock: None, bound: None, raw: Box::new(Table { mariadb, table }) })
}

async fn server(mariadb: &MariaDb, table: &str) -> Server {
    let proxy = Proxy::to(mariadb.port());
    // What has ended is refused because it has ended, and not because it was deleted.
    let store = MySqlStore::builder().table(table).timeout(TIMEOUT).clean_every(None);
    let store = store.open(&proxy.url(&mariadb.url())).await.expect("the store opens");
    Server::elsewhere(store, Some(proxy))
}

struct Table {
    mariadb: &'static MariaDb,
    table: String,
}

impl Raw for Table {
    fn count(&self) -> usize {
        let count = self.mariadb.sql(&format!("SELECT count(*) FROM {}", self.table));
        count.parse().expect("it is a number")
    }

    fn dump(&self) -> Vec<u8> {
        let sql = format!(
            "SELECT hex(`key`), hex(owner), hex(value), hex(successor) FROM {0} ORDER BY id; \
             SELECT `key`, owner, value, successor FROM {0}_readable ORDER BY id",
            self.table
        );
        self.mariadb.sql(&sql).into_bytes()
    }
}
