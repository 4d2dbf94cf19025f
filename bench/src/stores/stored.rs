//! The size of a session in a remote store.

use std::path::Path;

use kvolt_servers::{Postgres, Redis};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::Folder;
use super::backend::versions;
use super::client::sign_in;
use super::commands::file;
use super::server::{Library, Server};
use crate::harness::{Settings, Table, progress};
use crate::http::runtime;

const CONNECTIONS: u64 = 32;

/// The store, the library, and the tables that it makes there.
const CONTENDERS: [(&str, Library, &str, &str); 7] = [
    ("Redis", Library::KVolt, "redis", ""),
    ("Redis", Library::TowerSessions, "redis", ""),
    ("PostgreSQL", Library::KVolt, "postgres", "kv_postgres%"),
    ("PostgreSQL", Library::TowerSessions, "postgres", "ts_postgres"),
    ("PostgreSQL", Library::Ruts, "postgres+ruts", "t_sessions"),
    ("SQLite", Library::KVolt, "sqlite", ""),
    ("SQLite", Library::TowerSessions, "sqlite", ""),
];

pub(super) fn run(settings: Settings) {
    let sessions = settings.pick(20_000, 2_000);
    let (folder, runtime) = (Folder::new(), runtime());
    let (redis, postgres) = (Redis::start(), Postgres::start());
    versions(Some(&redis), Some(&postgres), None);
    for (index, (store, library, spec, tables)) in CONTENDERS.into_iter().enumerate() {
        progress(index, CONTENDERS.len(), &format!("{} on {store}", library.name()));
        let path = folder.0.join(format!("{}-{spec}", library.name()));
        let url = match store {
            "Redis" => redis.url(),
            "PostgreSQL" => postgres.url(),
            _ => file(&folder.0, library, spec),
        };
        let server = Server::start(library, spec, &url);
        let used = || -> u64 {
            match store {
                "Redis" => redis.info("used_memory").parse().unwrap_or(0),
                "PostgreSQL" => {
                    let sql = format!(
                        "select coalesce(sum(pg_total_relation_size(c.oid)), 0) from pg_class c \
                         where c.relkind = 'r' and c.relname like '{tables}'"
                    );
                    postgres.psql(&sql).parse().unwrap_or(0)
                }
                _ => {
                    runtime.block_on(checkpoint(&path));
                    std::fs::metadata(&path).map_or(0, |file| file.len())
                }
            }
        };
        // The connections, and what a store keeps once.
        runtime.block_on(sign_in(server.port, CONNECTIONS, CONNECTIONS));
        let before = used();
        runtime.block_on(sign_in(server.port, sessions, CONNECTIONS));
        let each = used().saturating_sub(before) as f64 / sessions as f64;
        let what = if store == "Redis" { "in memory, each" } else { "on disk, each" };
        Table::new("stored", store).add(library.name(), what, "bytes", &[each]);
    }
}

/// Moves what is in the file's log into the file.
async fn checkpoint(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("it is there");
    let checkpoint = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut connection).await;
    checkpoint.expect("it may");
    let _ = connection.close().await;
}
