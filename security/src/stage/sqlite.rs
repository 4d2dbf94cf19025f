use kvolt_sql::{SqliteStore, Synchronous, TABLE_DEFAULT};
use sqlx::{Connection, Row, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::server::TIMEOUT;
use super::{Raw, Server, Stage};

pub(super) async fn open() -> Stage {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let one = server(&url).await;
    let other = server(&url).await;
    Stage { one, other, clock: None, bound: None, raw: Box::new(File { folder, url }) }
}

async fn server(url: &str) -> Server {
    // What has ended is refused because it has ended, and not because it was deleted.
    let store = SqliteStore::builder().timeout(TIMEOUT).clean_every(None);
    // No machine fails here.
    let store = store.synchronous(Synchronous::Normal);
    Server::pushing(store.open(url).await.expect("the store opens"), None)
}

struct File {
    folder: TempDir,
    url: String,
}

impl Raw for File {
    fn count(&self) -> usize {
        let count = async {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {TABLE_DEFAULT}"));
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
