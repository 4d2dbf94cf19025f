//! SQLite.

mod push;

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use crate::builder::SqlStoreBuilder;
use crate::dialect::{Dialect, Driver, Options, TAKE_OVER, by_driver};
use crate::failure::{Kind, Outcome};
use crate::store::SqlStore;

/// A store in a file, by SQLite.
pub type SqliteStore = SqlStore<Sqlite>;

/// SQLite.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite {
    synchronous: Synchronous,
    max_file_size: Option<u64>,
}

/// When a write is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// When the call returns: an acknowledged write survives a power failure. The default.
    #[default]
    Full,
    /// Some time later. A crash of the program loses nothing, and the file is never damaged. A
    /// power failure may undo the last calls, logouts among them: a session that was ended just
    /// before may be back. A write costs a tenth or less.
    Normal,
}

impl SqlStoreBuilder<Sqlite> {
    /// Sets when a write is on the disk. Defaults to [`Synchronous::Full`].
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        self.with_dialect(|dialect| dialect.synchronous = synchronous)
    }

    /// Sets the largest size of the file, in bytes: a write that would make it larger fails as
    /// [full](kvolt_cache::Error::full). Defaults to no bound.
    ///
    /// Reading and removing go on, and what is removed makes room.
    pub fn max_file_size(self, bytes: u64) -> Self {
        self.with_dialect(|dialect| dialect.max_file_size = Some(bytes))
    }
}

impl Dialect for Sqlite {}

impl Driver for Sqlite {
    type Db = sqlx::Sqlite;

    const NAME: &'static str = "SQLite";
    const IS_REMOTE: bool = false;
    // Rounded, because it is a fraction of exact milliseconds.
    const NOW: &'static str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
    const CREATED: &'static str = "{now} * 1000";
    // A clock of milliseconds: more than one may come in each.
    const TIE: &'static str = "rowid";
    const KEY: &'static str = "key";
    const ON_TAKEN: &'static str = TAKE_OVER;
    const TOUCH: &'static str = "{slide} RETURNING {times}, 1";
    const REMOVE: &'static str = "DELETE FROM {t} WHERE key IN ({found}) RETURNING {removed}";
    const CLEAN: &'static str = "DELETE FROM {t} WHERE key IN \
        (SELECT key FROM {t} WHERE expires <= {now} ORDER BY expires LIMIT $1) \
        RETURNING {removed}";
    const TABLE_EXISTS: &'static str =
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '{t}_meta'";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../../migrations/sqlite/0001_entries.sql")];

    fn begin(&self, _: &str, _: Option<u64>, _: Duration) -> String {
        // A transaction that only became a writer later could find the file changed, and fail.
        // There is one writer at a time, so this is the owner's lock, too.
        "BEGIN IMMEDIATE".to_owned()
    }

    fn options(&mut self, url: &str, timeout: Duration) -> Result<Options<Self>> {
        let path = path(url)?;
        create(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_SIZE as u32)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match self.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            // Before the call's own time is up, so that the error says what it waited for.
            .busy_timeout(timeout * 3 / 4)
            .disable_statement_logging();
        let read = options.clone().pragma("query_only", "ON");
        let write = match self.max_file_size {
            Some(bytes) => options.pragma("max_page_count", (bytes / PAGE_SIZE).max(1).to_string()),
            None => options,
        };
        Ok((read, Some(write)))
    }

    async fn prepare(&self, _: &mut SqliteConnection, _: Duration) -> Outcome<i64> {
        Ok(0)
    }

    by_driver!();

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

/// The path of the file: `sqlite:PATH`, `sqlite://PATH`, or the path alone.
fn path(url: &str) -> Result<&Path> {
    let stripped = url.strip_prefix("sqlite:");
    let path = stripped.map_or(url, |path| path.strip_prefix("//").unwrap_or(path));
    if stripped.is_some() && path.contains('?') {
        return Err(Error::misconfigured(
            "the URL of a SQLite file has parameters, and this store knows none: \
             take out everything from `?` on (a missing file is created)",
        ));
    }
    if path.is_empty()
        || path == ":memory:"
        || stripped.is_none() && (url.contains("://") || url.starts_with("file:"))
    {
        return Err(Error::misconfigured("it is neither sqlite:PATH nor the path of a file"));
    }
    Ok(Path::new(path))
}

/// Creates the file if there is none, readable by its owner only, since it has people's sessions.
/// SQLite gives its other files the same mode.
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
