//! SQLite.

mod push;

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::time::{Instant, sleep};

use crate::builder::SqlStoreBuilder;
use crate::dialect::{Dialect, Driver, Options, TAKE_OVER, by_driver, failure};
use crate::failure::{Kind, Outcome};
use crate::store::SqlStore;

/// A store in a file, with SQLite.
///
/// ```no_run
/// use kvolt_sql::SqliteStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let store = SqliteStore::open("sqlite:sessions.db", "shop").await?;
///     Ok(())
/// }
/// ```
pub type SqliteStore = SqlStore<Sqlite>;

/// SQLite, as the type parameter of [`SqlStore`].
///
/// ```no_run
/// use kvolt_sql::{Sqlite, SqlStore};
///
/// /// `SqliteStore` is an alias of this type.
/// async fn open(url: &str) -> kvolt_cache::Result<SqlStore<Sqlite>> {
///     SqlStore::open(url, "shop").await
/// }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Sqlite {
    synchronous: Synchronous,
    max_file_size: Option<u64>,
}

/// When a write is durable (SQLite's `synchronous`).
///
/// ```
/// use kvolt_sql::{SqliteStore, Synchronous};
///
/// let builder = SqliteStore::builder("sessions.db", "shop").synchronous(Synchronous::Normal);
/// assert_eq!(Synchronous::default(), Synchronous::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Synchronous {
    /// When the call returns: a power failure loses no acknowledged write. The default.
    #[default]
    Full,
    /// Some time later. A crash of the program loses nothing, and the file is never damaged. A power
    /// failure may undo the last writes: a session that was ended just before may be live again. A
    /// write costs a tenth or less.
    Normal,
}

impl SqlStoreBuilder<Sqlite> {
    /// Sets when a write is durable. Defaults to [`Synchronous::Full`].
    ///
    /// ```
    /// use kvolt_sql::{SqliteStore, Synchronous};
    ///
    /// let builder = SqliteStore::builder("sessions.db", "shop").synchronous(Synchronous::Normal);
    /// ```
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        self.with_dialect(|dialect| dialect.synchronous = synchronous)
    }

    /// Sets the largest size of the file, in bytes. Defaults to no bound.
    ///
    /// A write that would make the file larger returns an error
    /// ([`is_full`](kvolt_cache::Error::is_full)). Reading and removing still work, and removing
    /// makes room.
    ///
    /// ```
    /// use kvolt_sql::SqliteStore;
    ///
    /// let builder = SqliteStore::builder("sessions.db", "shop").max_file_size(1 << 30);
    /// ```
    pub fn max_file_size(self, bytes: u64) -> Self {
        self.with_dialect(|dialect| dialect.max_file_size = Some(bytes))
    }
}

impl Dialect for Sqlite {}

impl Driver for Sqlite {
    type Db = sqlx::Sqlite;

    const NAME: &'static str = "SQLite";
    const IS_REMOTE: bool = false;
    // Rounded, because the fraction stands for whole milliseconds.
    const NOW: &'static str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
    const CREATED: &'static str = "{now} * 1000";
    // The clock has milliseconds, and there may be several insertions in each.
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
        // A transaction that becomes a writer later fails if the file was changed meanwhile. There is
        // one writer at a time, so this is the owner's lock too.
        "BEGIN IMMEDIATE".to_owned()
    }

    fn options(&mut self, url: &str, timeout: Duration) -> Result<Options<Self>> {
        let path = path(url)?;
        create(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_SIZE as u32)
            .synchronous(match self.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .busy_timeout(busy_timeout(timeout))
            .disable_statement_logging();
        let read = options.clone().pragma("query_only", "ON");
        let write = match self.max_file_size {
            Some(bytes) => options.pragma("max_page_count", (bytes / PAGE_SIZE).max(1).to_string()),
            None => options,
        };
        Ok((read, Some(write)))
    }

    async fn prepare(&self, connection: &mut SqliteConnection, timeout: Duration) -> Outcome<i64> {
        let start = Instant::now();
        loop {
            // Changes a new file only. SQLite returns at once if another process has locked the
            // file for the same change, whatever `busy_timeout` says.
            let done = connection.execute("PRAGMA journal_mode = WAL").await;
            match done.map_err(failure::<Self>) {
                Err(failure) if failure.kind == Kind::Unavailable => {
                    if start.elapsed() > busy_timeout(timeout) {
                        return Err(failure);
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                done => return done.map(|_| 0),
            }
        }
    }

    by_driver!();

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
        match code & 0xff {
            // A busy snapshot: retry. Busy or locked: the call has waited already.
            5 if code == 517 => Kind::Again,
            5 | 6 => Kind::Unavailable,
            13 => Kind::Full,
            19 if matches!(code, 1555 | 2067) => Kind::Taken,
            // An error of the disk. A new connection may help.
            10 => Kind::Lost,
            // No such table; no permission; read-only; damaged; can't be opened; not a database.
            1 | 3 | 8 | 11 | 14 | 23 | 26 => Kind::Misconfigured,
            _ => Kind::Unavailable,
        }
    }
}

/// For how long a statement waits for a lock: shorter than the call's limit, so that the error names
/// the cause.
fn busy_timeout(limit: Duration) -> Duration {
    limit * 3 / 4
}

/// SQLite's own default.
const PAGE_SIZE: u64 = 4_096;

/// The path of the file: `sqlite:PATH`, `sqlite://PATH`, or the path alone.
fn path(url: &str) -> Result<&Path> {
    let stripped = url.strip_prefix("sqlite:");
    let path = stripped.map_or(url, |path| path.strip_prefix("//").unwrap_or(path));
    if stripped.is_some() && path.contains('?') {
        return Err(Error::misconfigured(
            "the URL of a SQLite file must have no parameters: \
             remove everything from `?` on (a missing file is created)",
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

/// Creates a missing file, readable only by its owner, because it contains sessions. SQLite gives its
/// other files the same mode.
fn create(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::misconfigured(format!(
            "the file {} can't be created: {error}",
            path.display()
        ))
        .with_source(error)),
    }
}
