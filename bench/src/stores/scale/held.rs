//! What holds the sessions, and what can be asked of it beside the store.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use kvolt::cache::MemoryStore;
use kvolt::session::Record;
use kvolt_servers::{MariaDb, Postgres, Redis, Server};
use sqlx::Connection as _;

use super::LIVE;
use crate::harness::resident;
use crate::user::User;

/// Ticks per second in which the kernel reports processor times: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// By connections of its own beside those of the store.
pub(super) trait Held {
    /// The bytes that the sessions take there.
    fn bytes(&self) -> u64;

    /// The bytes that are free for them.
    fn free(&self) -> u64;

    /// Whether anything is left of what has ended.
    fn has_ended_left(&self) -> impl Future<Output = bool>;

    /// The server, if there is one.
    fn server(&self) -> Option<&Server> {
        None
    }

    /// The server's processor time so far, in microseconds; not a number without a server.
    fn processor(&self) -> f64 {
        self.server().and_then(Server::pid).map_or(f64::NAN, processor)
    }
}

impl Held for MemoryStore<Record<User>> {
    fn bytes(&self) -> u64 {
        resident()
    }

    fn free(&self) -> u64 {
        free_memory()
    }

    async fn has_ended_left(&self) -> bool {
        self.len() as u64 > LIVE
    }
}

impl Held for Redis {
    fn bytes(&self) -> u64 {
        self.info("used_memory").parse().unwrap_or(0)
    }

    fn free(&self) -> u64 {
        free_memory()
    }

    async fn has_ended_left(&self) -> bool {
        // An index of the owner beside each session.
        let keys: u64 = self.cli(&["DBSIZE"]).trim().parse().expect("a number");
        keys > 2 * LIVE
    }

    fn server(&self) -> Option<&Server> {
        Some(self)
    }
}

impl Held for Postgres {
    fn bytes(&self) -> u64 {
        let sql = "select sum(pg_total_relation_size(oid)) from pg_class \
            where relkind = 'r' and relname like 'kvolt_sessions%'";
        self.psql(sql).parse().unwrap_or(0)
    }

    fn free(&self) -> u64 {
        free_disk(self.folder())
    }

    async fn has_ended_left(&self) -> bool {
        // Asked for once, or the index would not be used.
        let now = "(select (extract(epoch from clock_timestamp()) * 1000)::bigint)";
        let sql = format!("select exists(select 1 from kvolt_sessions where expires <= {now})");
        self.psql(&sql) == "t"
    }

    fn server(&self) -> Option<&Server> {
        Some(self)
    }
}

impl Held for MariaDb {
    fn bytes(&self) -> u64 {
        size(&self.folder().join("data/kvolt/kvolt_sessions.ibd"))
    }

    fn free(&self) -> u64 {
        free_disk(self.folder())
    }

    async fn has_ended_left(&self) -> bool {
        let now = "floor(unix_timestamp(now(3)) * 1000)";
        self.sql(&format!("select exists(select 1 from kvolt_sessions where expires <= {now})"))
            == "1"
    }

    fn server(&self) -> Option<&Server> {
        Some(self)
    }
}

/// A database of SQLite.
pub(super) struct File(pub(super) PathBuf);

impl Held for File {
    fn bytes(&self) -> u64 {
        size(&self.0)
    }

    fn free(&self) -> u64 {
        free_disk(self.0.parent().unwrap_or(&self.0))
    }

    async fn has_ended_left(&self) -> bool {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.0);
        let mut connection = sqlx::SqliteConnection::connect_with(&options.read_only(true))
            .await
            .expect("it is there");
        let sql = "select exists(select 1 from kvolt_sessions where expires <= unixepoch('subsec') * 1000)";
        let left: bool =
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("it works");
        let _ = connection.close().await;
        left
    }
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

fn free_memory() -> u64 {
    let all = std::fs::read_to_string("/proc/meminfo").expect("Linux has it");
    let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("Linux says it") * 1024
}

fn free_disk(folder: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(folder).output();
    let output = output.expect("it is there");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number")
}

/// The processor time of a process and of its children, those that have ended included.
fn processor(pid: u32) -> f64 {
    let all = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let mut ticks = 0.0;
    for process in all {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        let own = stat.starts_with(&format!("{pid} "));
        // The name, in parentheses, may have blanks.
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<f64> =
            fields.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
        // Its parent; then its own times and those of children that it has waited for.
        if own {
            ticks += fields[10..14].iter().sum::<f64>();
        } else if fields[0] == f64::from(pid) {
            ticks += fields[10..12].iter().sum::<f64>();
        }
    }
    ticks / TICKS_PER_SECOND * 1e6
}
