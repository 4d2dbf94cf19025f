//! SQLite.

mod push;

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Executor as _, SqlitePool};
use tokio::time::{Instant, sleep};

use crate::builder::{DEFAULT_TIMEOUT, SqlStoreBuilder};
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

impl SqlStore<Sqlite> {
    /// Returns a builder for a store on a pool of the application, in the table
    /// `{namespace}_sessions` of its file.
    ///
    /// Build the pool with [`connect_options`](Self::connect_options). Its connections are inspected
    /// when the store is opened and each time that a call takes one.
    /// [`open`](SqlStoreBuilder::open) rejects a pool whose settings would undo a promise, and names
    /// the setting. The store uses at most one connection at a time for writing.
    /// [`close`](Self::close) does not close the pool.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kvolt_sql::SqliteStore;
    /// use sqlx::SqlitePool;
    ///
    /// let pool = SqlitePool::connect_with(SqliteStore::connect_options("sqlite:app.db")?).await?;
    /// let store = SqliteStore::builder_on(pool.clone(), "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_on(pool: SqlitePool, namespace: &str) -> SqlStoreBuilder<Sqlite> {
        SqlStoreBuilder::on(pool, namespace)
    }

    /// Returns connection options for a pool that an application shares with a store
    /// ([`builder_on`](Self::builder_on)), and creates the file if it is missing.
    ///
    /// They set `journal_mode` to `WAL`, `synchronous` to `FULL` and `busy_timeout` to 1.5 seconds.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let path = std::env::temp_dir().join(format!("kvolt-{}.db", std::process::id()));
    /// let options = SqliteStore::connect_options(&path.to_string_lossy())?;
    /// assert_eq!(options.get_filename(), path);
    /// # std::fs::remove_file(path)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid or the file can't be created
    /// ([`Error::is_misconfigured`]).
    pub fn connect_options(url: &str) -> Result<SqliteConnectOptions> {
        let options = parse(url, DEFAULT_TIMEOUT)?;
        Ok(options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full))
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
    const SCHEMA: &'static str = "SELECT CAST('main' AS BLOB)";
    // The first statement is an error in a transaction.
    const INSPECT: &'static str = "BEGIN; SELECT {found} \
        FROM pragma_journal_mode, pragma_synchronous, pragma_busy_timeout, pragma_query_only; \
        COMMIT";
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
        let options = parse(url, timeout)?.disable_statement_logging();
        let options = options.page_size(PAGE_SIZE as u32).synchronous(match self.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        });
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

    fn check_existing(&self) -> Result<()> {
        if self.max_file_size.is_some() {
            return Err(Error::misconfigured(
                "`max_file_size` needs a URL: on an existing pool, set the pragma `max_page_count` \
                 in its connection options",
            ));
        }
        Ok(())
    }

    fn flaws(&self) -> &'static [(&'static str, &'static str)] {
        match self.synchronous {
            Synchronous::Full => {
                &[JOURNAL_MODE, BUSY_TIMEOUT, QUERY_ONLY, ("synchronous < 2", SYNCHRONOUS)]
            }
            Synchronous::Normal => {
                &[JOURNAL_MODE, BUSY_TIMEOUT, QUERY_ONLY, ("synchronous < 1", SYNCHRONOUS)]
            }
        }
    }

    fn is_in_transaction(error: &dyn sqlx::error::DatabaseError) -> bool {
        error.message().contains("within a transaction")
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

const JOURNAL_MODE: (&str, &str) =
    ("journal_mode <> 'wal'", "another `journal_mode` than `wal`, or no file");
// A statement that waits for longer could take effect long after its call has failed.
const BUSY_TIMEOUT: (&str, &str) =
    ("timeout NOT BETWEEN 1 AND 50000", "a `busy_timeout` that is 0 or more than 50 seconds");
const QUERY_ONLY: (&str, &str) = ("query_only", "`query_only` on");
const SYNCHRONOUS: &str = "a `synchronous` that is lower than the store's";

/// How to connect to a file, which is created if it is missing.
fn parse(url: &str, timeout: Duration) -> Result<SqliteConnectOptions> {
    let path = path(url)?;
    create(path)?;
    Ok(SqliteConnectOptions::new().filename(path).busy_timeout(busy_timeout(timeout)))
}

/// For how long a statement waits for a lock: shorter than the call's limit, so that the error names
/// the cause.
fn busy_timeout(limit: Duration) -> Duration {
    (limit * 3 / 4).max(Duration::from_millis(1))
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
