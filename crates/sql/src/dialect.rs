//! The differences between the databases. Everything else is written once, for all of them.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Credentials, Key, Owner, Result};
use sqlx::{AssertSqlSafe, Database, Encode, Type};
use tokio::time::timeout;

use crate::failure::{Failure, Kind, Outcome};

/// A connection of a dialect's driver.
pub(crate) type Connection<D> = <<D as Driver>::Db as Database>::Connection;

/// The connection options of a dialect's driver.
pub(crate) type ConnectOptions<D> = <Connection<D> as sqlx::Connection>::Options;

/// A row of a dialect's driver.
pub(crate) type DbRow<D> = <<D as Driver>::Db as Database>::Row;

/// How to connect for everything; with the second, it is for reading and the second for writing.
pub(crate) type Options<D> = (ConnectOptions<D>, Option<ConnectOptions<D>>);

/// A kind of database that a [`SqlStore`](crate::SqlStore) works with. Sealed: other crates can't
/// implement it.
///
/// ```no_run
/// use kvolt_sql::{Dialect, SqlStore};
///
/// /// Works with every database.
/// async fn open<D: Dialect>(url: &str) -> kvolt_cache::Result<SqlStore<D>> {
///     SqlStore::open(url, "shop").await
/// }
/// ```
#[expect(private_bounds, reason = "sealed: its methods are not for other crates")]
pub trait Dialect: Driver {}

/// A driver, its database's SQL where the databases differ, and its error codes.
///
/// In the texts, `{t}` is the table, `{key}` its column `key`, `{now}` the database's clock, and the
/// other braces that a constant's comment names stand for other texts.
pub(crate) trait Driver: Debug + Default + Clone + Send + Sync + 'static {
    /// The driver.
    type Db: Database;

    /// The database's name.
    const NAME: &'static str;

    /// Whether it is reached over a network.
    const IS_REMOTE: bool = true;

    /// Milliseconds since the epoch by the database's clock, rounded down.
    const NOW: &'static str;

    /// Microseconds since the epoch.
    const CREATED: &'static str;

    /// Orders entries that were inserted at the same reading of the clock.
    const TIE: &'static str;

    /// The column `key`, quoted if necessary.
    const KEY: &'static str;

    /// The end of an `INSERT`: replaces an expired row with the same key, and changes no live one.
    /// Empty if a taken key is an error ([`Kind::Taken`]).
    const ON_TAKEN: &'static str;

    /// Runs `{slide}`, an `UPDATE`, and returns `{times}` and a 1 for the row that it changed. May
    /// return `{times}` and a 0 for a live row that it did not change.
    const TOUCH: &'static str;

    /// Whether `TOUCH` returns a row that it did not change, and one statement can delete a row and
    /// insert another.
    const CHANGES_IN_WITH: bool = false;

    /// Deletes the rows whose keys `{found}` selects, and returns `{removed}` of each. If
    /// [`RETURNS_REMOVED`](Self::RETURNS_REMOVED) is `false`, it locks and returns them instead.
    const REMOVE: &'static str;

    /// Like [`REMOVE`](Self::REMOVE), for at most `$1` expired rows that no other process has locked.
    const CLEAN: &'static str;

    /// Whether a `DELETE` can return what it deletes.
    const RETURNS_REMOVED: bool = true;

    /// A condition that takes the owner's lock `$3` in a statement.
    const LOCK: &'static str = "";

    /// How many locks there are for owners.
    const LOCKS: u64 = u64::MAX;

    /// Whether a statement's arguments are numbered (`$1`), rather than in order (`?`).
    const NUMBERS_ARGUMENTS: bool = true;

    /// Returns a row if the tables exist.
    const TABLE_EXISTS: &'static str;

    /// Returns the schema of the tables, as bytes of SQL.
    const SCHEMA: &'static str;

    /// Returns `{found}`, a number, in one round trip and outside of a transaction. Is an error or a
    /// number other than 0 in a transaction that was begun earlier.
    const INSPECT: &'static str;

    /// The migrations, oldest first.
    const MIGRATIONS: &'static [&'static str];

    /// Begins a transaction and takes an owner's lock until its end, in one round trip.
    fn begin(&self, table: &str, lock: Option<u64>, timeout: Duration) -> String;

    /// Takes the lock on the schema, which all processes must hold to read or change it.
    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        let key = Key::of(format!("the schema of {table}"));
        self.begin(table, Some(lock(&key)), timeout)
    }

    /// Releases the lock on the schema. The change takes effect if it is `done`.
    fn unlock_schema(&self, _: &str, done: bool) -> String {
        if done { "COMMIT" } else { "ROLLBACK" }.to_owned()
    }

    /// How to connect for reading and, where that is another pool, for writing. Adopts the
    /// settings in the URL.
    fn options(&mut self, url: &str, timeout: Duration) -> Result<Options<Self>>;

    /// The options with other credentials.
    fn with_credentials(options: ConnectOptions<Self>, _: &Credentials) -> ConnectOptions<Self> {
        options
    }

    /// Rejects a server that is too old.
    fn check_version(&self, _: &mut Connection<Self>) -> impl Future<Output = Outcome<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Sets up a new connection of the store's own, and returns a number that identifies the running
    /// server.
    fn prepare(
        &self,
        connection: &mut Connection<Self>,
        timeout: Duration,
    ) -> impl Future<Output = Outcome<i64>> + Send;

    /// Rejects settings that need connections of the store's own.
    ///
    /// # Errors
    ///
    /// Returns an error that names the setting ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured)).
    fn check_existing(&self) -> Result<()>;

    /// Rejects a pool that leads to a pooler which assigns another connection to every transaction.
    /// It takes two connections.
    fn check_pooler(_: &sqlx::Pool<Self::Db>) -> impl Future<Output = Outcome<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// The states of a connection that would undo a promise, and that other code may leave behind:
    /// a condition, and its name.
    fn flaws(&self) -> &'static [(&'static str, &'static str)];

    /// Whether an error of [`INSPECT`](Self::INSPECT) means that other code has left a transaction open.
    fn is_in_transaction(error: &dyn sqlx::error::DatabaseError) -> bool;

    /// Runs [`INSPECT`](Self::INSPECT), and returns the number that it found; -1 if it returned none.
    fn inspect(
        connection: &mut Connection<Self>,
        sql: &str,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// The statement with its arguments in it, if they can't be sent apart from it.
    fn inlined(&self, _: &Statement, _: &[Argument<'_>]) -> Option<String> {
        None
    }

    /// Runs a statement that returns rows.
    fn fetch(
        &self,
        connection: &mut Connection<Self>,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = sqlx::Result<Vec<DbRow<Self>>>> + Send;

    /// Runs a statement that returns none, and returns how many rows it matched.
    fn execute(
        &self,
        connection: &mut Connection<Self>,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs one or more statements without arguments.
    fn run(
        &self,
        connection: &mut Connection<Self>,
        sql: String,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// An integer column.
    fn integer(row: &DbRow<Self>, index: usize) -> sqlx::Result<Option<i64>>;

    /// A column of bytes.
    fn bytes(row: &DbRow<Self>, index: usize) -> sqlx::Result<Option<Vec<u8>>>;

    /// The most likely cause of an error that the database reported.
    fn hint(_: &dyn sqlx::error::DatabaseError) -> Option<&'static str> {
        None
    }

    /// The kind of an error that the database reported.
    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind;
}

/// An `ON CONFLICT` that replaces an expired row.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const TAKE_OVER: &str = " ON CONFLICT (key) DO UPDATE SET \
    version = excluded.version, value = excluded.value, owner = excluded.owner, \
    created = excluded.created, idle = excluded.idle, idle_deadline = excluded.idle_deadline, \
    absolute_deadline = excluded.absolute_deadline \
    WHERE {t}.expires <= {now}";

/// The failure for an error of the driver.
pub(crate) fn failure<D: Driver>(error: sqlx::Error) -> Failure {
    let (kind, message) = match &error {
        sqlx::Error::Database(reported) => {
            let code = reported.code().unwrap_or_default();
            let mut message = format!("{} says: {} ({code})", D::NAME, reported.message());
            if let Some(hint) = D::hint(&**reported) {
                message += &format!("; {hint}");
            }
            (D::kind(&**reported), message)
        }
        sqlx::Error::Io(error) => {
            (Kind::Lost, format!("the connection to {} failed: {error}", D::NAME))
        }
        sqlx::Error::Tls(why) => {
            (Kind::Misconfigured, format!("no TLS connection to {} could be made: {why}", D::NAME))
        }
        sqlx::Error::Configuration(why) => {
            (Kind::Misconfigured, format!("the settings for {} can't work: {why}", D::NAME))
        }
        _ => (Kind::Lost, format!("the connection to {} broke", D::NAME)),
    };
    let quotes_rows = matches!(&error, sqlx::Error::Database(reported)
        if reported.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23")));
    let mut failure = Failure::new(kind, message);
    // PostgreSQL's message about bad data quotes the row, and with it a session.
    if !quotes_rows {
        failure.error = failure.error.with_source(error);
    }
    failure
}

/// The lock that stands for a key. Two keys may share one, and then wait for each other.
pub(crate) fn lock(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Runs a step; a failure if it takes longer than the limit.
pub(crate) async fn in_time<D: Driver, T>(
    limit: Duration,
    step: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    timeout(limit, step).await.unwrap_or_else(|_| {
        let millis = limit.as_millis();
        Err(Failure::new(Kind::Unavailable, format!("no reply from {} in {millis} ms", D::NAME)))
    })
}

/// A statement with numbered arguments, `$1`, `$2` and so on.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: Arc<str>,
    /// The arguments to bind: each once, or in the order in which the text has them.
    pub(crate) order: Box<[usize]>,
    /// Whether it is prepared, because it is used again.
    pub(crate) persistent: bool,
}

/// An argument of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// An integer, or null.
    Integer(Option<i64>),
    /// Bytes, or null.
    Bytes(Option<&'a [u8]>),
}

macro_rules! argument_from {
    ($($from:ty: |$value:ident| $argument:expr;)+) => {
        $(impl<'a> From<$from> for Argument<'a> {
            fn from($value: $from) -> Self {
                $argument
            }
        })+
    };
}
argument_from! {
    i64: |number| Self::Integer(Some(number));
    Option<i64>: |number| Self::Integer(number);
    &'a [u8]: |bytes| Self::Bytes(Some(bytes));
    &'a Key: |key| Self::Bytes(Some(key.as_bytes()));
    Option<&'a Owner>: |owner| Self::Bytes(owner.map(|owner| owner.as_str().as_bytes()));
    &'a Owner: |owner| Self::from(Some(owner));
}

/// The driver's form of a statement with its arguments.
pub(crate) fn bound<'q, DB>(
    statement: &Statement,
    arguments: &'q [Argument<'_>],
) -> sqlx::query::Query<'q, DB, DB::Arguments>
where
    DB: Database + sqlx::database::HasStatementCache,
    Option<i64>: Encode<'q, DB> + Type<DB>,
    Option<&'q [u8]>: Encode<'q, DB> + Type<DB>,
{
    // The text is ours, but for the name of the namespace, which has no special characters.
    let query = sqlx::query::<DB>(AssertSqlSafe(Arc::clone(&statement.sql)));
    let query = query.persistent(statement.persistent);
    statement.order.iter().fold(query, |query, &index| match arguments[index] {
        Argument::Integer(number) => query.bind(number),
        Argument::Bytes(bytes) => query.bind(bytes),
    })
}

/// The methods whose text is the same for every driver, and whose types are not.
macro_rules! by_driver {
    () => {
        fn integer(row: &$crate::dialect::DbRow<Self>, index: usize) -> sqlx::Result<Option<i64>> {
            sqlx::Row::try_get(row, index)
        }

        fn bytes(
            row: &$crate::dialect::DbRow<Self>,
            index: usize,
        ) -> sqlx::Result<Option<Vec<u8>>> {
            sqlx::Row::try_get(row, index)
        }

        async fn fetch(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            statement: &$crate::dialect::Statement,
            arguments: &[$crate::dialect::Argument<'_>],
        ) -> sqlx::Result<Vec<$crate::dialect::DbRow<Self>>> {
            match self.inlined(statement, arguments) {
                Some(sql) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await,
                None => $crate::dialect::bound(statement, arguments).fetch_all(connection).await,
            }
        }

        async fn execute(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            statement: &$crate::dialect::Statement,
            arguments: &[$crate::dialect::Argument<'_>],
        ) -> sqlx::Result<u64> {
            let done = match self.inlined(statement, arguments) {
                Some(sql) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await,
                None => $crate::dialect::bound(statement, arguments).execute(connection).await,
            };
            Ok(done?.rows_affected())
        }

        async fn inspect(
            connection: &mut $crate::dialect::Connection<Self>,
            sql: &str,
        ) -> sqlx::Result<i64> {
            let sql = sqlx::AssertSqlSafe(sql.to_owned());
            let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
            rows.first().map_or(Ok(-1), |row| sqlx::Row::try_get(row, 0))
        }

        async fn run(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            sql: String,
        ) -> sqlx::Result<()> {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(drop)
        }
    };
}
pub(crate) use by_driver;
