//! SQLite.

mod push;

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use crate::builder::Builder;
use crate::dialect::{Dialect, Lock, Options, TAKE_OVER, Trouble, by_driver};
use crate::failure::Kind;
use crate::store::SqlStore;

/// A store in a file, by SQLite.
pub type SqliteStore = SqlStore<Sqlite>;

/// SQLite.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite {
    synchronous: Synchronous,
    size_max: Option<u64>,
}

/// When what was written is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// When the call returns: what was acknowledged survives a power failure. The default.
    #[default]
    Full,
    /// Some time later. A crash of the program loses nothing, nor is the file
    /// ever damaged; a power failure may undo the last calls, logouts among
    /// them: a session may be back that was ended just before. A write costs a
    /// tenth or less.
    Normal,
}

impl Builder<Sqlite> {
    /// When what was written is on the disk. [`Synchronous::Full`] unless set.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        self.with_dialect(|dialect| dialect.synchronous = synchronous)
    }

    /// The largest size of the file, in bytes: what would make it larger is
    /// [full](kvolt_cache::Error::full). Without end unless set.
    ///
    /// Reading and removing go on, and what is removed makes room.
    pub fn size_max(self, bytes: u64) -> Self {
        self.with_dialect(|dialect| dialect.size_max = Some(bytes))
    }
}

impl Dialect for Sqlite {
    type Db = sqlx::Sqlite;

    const NAME: &'static str = "SQLite";
    const SCHEMES: &'static [&'static str] = &["sqlite"];
    // Rounded, because it is a fraction of exact milliseconds.
    const NOW: &'static str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
    // Its clock is one of milliseconds, in which more than one may come.
    const CREATED: &'static str = "max({now} * 1000, \
        COALESCE((SELECT max(o.created) + 1 FROM {t} o WHERE o.owner = $5), 0))";
    const KEY: &'static str = "key";
    // There is one writer at a time.
    const FOR_UPDATE: &'static str = "";
    const ON_TAKEN: &'static str = TAKE_OVER;
    const CLEAN: &'static str = "DELETE FROM {t} WHERE key IN \
        (SELECT key FROM {t} WHERE expires <= {now} ORDER BY expires LIMIT $1)";
    const RENAMES_ESCAPE: bool = false;
    const TABLE_EXISTS: &'static str =
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '{t}_meta'";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../../migrations/sqlite/0001_entries.sql")];

    fn begin(&self, _: &str, _: &[Lock], _: Duration) -> String {
        // A transaction that only became a writer later could find the file changed, and fail.
        "BEGIN IMMEDIATE".to_owned()
    }

    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        self.begin(table, &[], timeout)
    }

    fn unlock_schema(&self, _: &str, done: bool) -> String {
        if done { "COMMIT" } else { "ROLLBACK" }.to_owned()
    }

    fn options(&self, url: &str, timeout: Duration) -> Result<Options<Self>> {
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
            return Err(Error::misconfigured(
                "the URL is not sqlite:PATH, with the path of a file",
            ));
        }
        create(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_SIZE as u32)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match self.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            // Before the call's own time is up, so that it is told what it waited for.
            .busy_timeout(timeout * 3 / 4)
            .disable_statement_logging();
        let read = options.clone().pragma("query_only", "ON");
        let write = match self.size_max {
            Some(bytes) => options.pragma("max_page_count", (bytes / PAGE_SIZE).max(1).to_string()),
            None => options,
        };
        Ok(Options { read, write: Some(write) })
    }

    async fn prepare(&self, _: &mut SqliteConnection, _: Duration) -> Result<(), Trouble> {
        Ok(())
    }

    by_driver!();
    by_driver!(statements);

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
        match code & 0xff {
            // Busy, locked: it was waited for already. Busy snapshot: at once.
            5 if code == 517 => Kind::Again,
            5 | 6 => Kind::Unavailable,
            13 => Kind::Full,
            19 if matches!(code, 1555 | 2067) => Kind::Taken,
            // An error of the disk. A new connection is none the worse.
            10 => Kind::Lost,
            // No such table; no right; read-only; damaged; can't be opened; not a database.
            1 | 3 | 8 | 11 | 14 | 23 | 26 => Kind::Misconfigured,
            _ => Kind::Unavailable,
        }
    }
}

/// SQLite's own default.
const PAGE_SIZE: u64 = 4_096;

/// Makes the file if there is none, for nobody but its owner: it has people's sessions. SQLite
/// gives its other files the same mode.
fn create(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            Err(Error::misconfigured(format!("the file {} can't be made: {error}", path.display()))
                .with_source(error))
        }
    }
}
