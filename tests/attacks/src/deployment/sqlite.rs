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

/// A namespace, whose first server shares the connections of a neighbour's if there is one.
fn deployment(folder: Arc<TempDir>, namespace: String, beside: Option<SqliteStore>) -> Opening {
    Box::pin(async move {
        let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
        let store = match beside {
            Some(beside) => beside.within(&namespace).await.expect("the tables are made"),
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
    // What has ended is refused because it has ended, and not because it was deleted.
    let store = SqliteStore::builder(url, namespace).timeout(TIMEOUT).clean_every(None);
    // No machine fails here.
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
        usize::try_from(count).expect("it is no less than nothing")
    }

    /// The file as it is, its log included, and what has been deleted and not written over.
    fn dump(&self) -> Vec<u8> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path())
            .expect("the folder can be read")
            .map(|entry| entry.expect("the folder can be read").path())
            .collect();
        files.sort();
        // What is shared between processes has no content, and changes when somebody looks.
        files.retain(|file| file.extension().is_none_or(|name| name != "db-shm"));
        files.iter().flat_map(|file| std::fs::read(file).expect("it can be read")).collect()
    }
}
