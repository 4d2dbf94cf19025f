use std::sync::Arc;

use kvolt_sql::{SqliteStore, Synchronous};
use sqlx::{Connection, Row, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::server::TIMEOUT;
use super::{Deployment, Opening, RawStore, Server};

pub(super) async fn open() -> Deployment {
    let folder = tempfile::tempdir().expect("a folder can be made");
    deployment(Arc::new(folder), String::from("deployment"), None).await
}

/// A namespace. If it has a neighbour, its first server uses the neighbour's connections.
fn deployment(folder: Arc<TempDir>, namespace: String, beside: Option<SqliteStore>) -> Opening {
    Box::pin(async move {
        let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
        let store = match beside {
            Some(beside) => beside.within(&namespace).await.expect("the tables exist"),
            None => opened(&url, &namespace).await,
        };
        let one = Server::pushing(store.clone(), None, None).await;
        let other = Server::pushing(opened(&url, &namespace).await, None, None).await;
        let table = format!("{namespace}_sessions");
        let raw = Box::new(File { folder: Arc::clone(&folder), url, table });
        let neighbour = Box::new(move |namespace| {
            deployment(Arc::clone(&folder), namespace, Some(store.clone()))
        });
        Deployment { one, other, namespace, clock: None, bound: None, raw, neighbour }
    })
}

async fn opened(url: &str, namespace: &str) -> SqliteStore {
    // Without cleaning: an ended session is refused because it has ended, not because it was
    // deleted.
    let store = SqliteStore::builder(url, namespace).timeout(TIMEOUT).clean_every(None);
    // Durability against a power failure is not tested here.
    store.synchronous(Synchronous::Normal).open().await.expect("the store opens")
}

struct File {
    folder: Arc<TempDir>,
    url: String,
    table: String,
}

impl RawStore for File {
    fn count(&self) -> usize {
        let count = async {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {}", self.table));
            sqlx::query(sql).fetch_one(&mut connection).await?.try_get::<i64, _>(0)
        };
        let count = Handle::current().block_on(count).expect("it can be counted");
        usize::try_from(count).expect("not negative")
    }

    /// The raw files, with the log and with deleted rows that are not overwritten yet.
    fn dump(&self) -> Vec<u8> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path())
            .expect("the folder can be read")
            .map(|entry| entry.expect("the folder can be read").path())
            .collect();
        files.sort();
        // The shared memory has no contents, and changes at each access.
        files.retain(|file| file.extension().is_none_or(|name| name != "db-shm"));
        files.iter().flat_map(|file| std::fs::read(file).expect("the file is readable")).collect()
    }
}
