//! What differs between the databases.

use std::borrow::Cow;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::Result;
use sqlx::{AssertSqlSafe, Database, Encode, Type};

use crate::failure::Kind;

/// A connection of a dialect's driver.
pub(crate) type Connection<D> = <<D as Dialect>::Db as Database>::Connection;

/// How to connect, of a dialect's driver.
pub(crate) type ConnectOptions<D> = <Connection<D> as sqlx::Connection>::Options;

/// A row of a dialect's driver.
pub(crate) type DbRow<D> = <<D as Dialect>::Db as Database>::Row;

/// One kind of database: its driver, its words for the few things that have no common word, and
/// its codes for what went wrong.
///
/// Sealed: it can't be implemented elsewhere. Everything that a store does is
/// written once, for all of them.
pub trait Dialect: Debug + Default + Clone + Send + Sync + 'static {
    /// The driver.
    type Db: Database;

    /// What people call it.
    const NAME: &'static str;

    /// The beginnings of its URLs.
    const SCHEMES: &'static [&'static str];

    /// Milliseconds since the epoch by the database's clock, rounded down.
    const NOW: &'static str;

    /// Microseconds since the epoch, later than for whatever came to the owner `$5` before.
    const CREATED: &'static str;

    /// The column `key`, quoted as need be.
    const KEY: &'static str;

    /// What makes a `SELECT` lock what it returns, and see what was committed while it waited.
    const FOR_UPDATE: &'static str;

    /// What an `INSERT` ends with, to take over a key whose row has ended and leave any other as it is.
    const ON_TAKEN: &'static str;

    /// Deletes some of what has ended, with `$1` for how many at the most.
    const CLEAN: &'static str;

    /// Where `CLEAN` can't be told to return what it deletes: locks and returns `key` and
    /// `successor` of what it would delete.
    const FIND_ENDED: Option<&'static str> = None;

    /// Whether a statement that looks at all of an owner's rows can miss one that is being renamed.
    const RENAMES_ESCAPE: bool;

    /// Whether arguments have numbers in a statement, or go by the order in which they appear.
    const NUMBERS_ARGUMENTS: bool = true;

    /// Returns a row if there are tables.
    const TABLE_EXISTS: &'static str;

    /// The migrations, oldest first. `{t}` is the table.
    const MIGRATIONS: &'static [&'static str];

    /// Begins a transaction and takes these locks until its end, in one round trip.
    fn begin(&self, table: &str, locks: &[Lock], timeout: Duration) -> String;

    /// Keeps all others from looking at the schema and changing it, until [`unlock_schema`](Self::unlock_schema).
    fn lock_schema(&self, table: &str, timeout: Duration) -> String;

    /// Lets them in again; what was done takes effect if it is `done`.
    fn unlock_schema(&self, table: &str, done: bool) -> String;

    /// Takes over the settings that the URL asks for.
    fn read_url(&mut self, url: &str) {
        let _ = url;
    }

    /// How to connect for reading, and for writing where that is another pool with this many connections.
    fn options(&self, url: &str, timeout: Duration) -> Result<Options<Self>>;

    /// Readies a new connection, and refuses a server that is too old.
    fn prepare(
        &self,
        connection: &mut Connection<Self>,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Runs a statement that returns rows.
    fn fetch(
        &self,
        connection: &mut Connection<Self>,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = sqlx::Result<Vec<DbRow<Self>>>> + Send;

    /// Runs a statement that does not, and says how many rows it matched.
    fn execute(
        &self,
        connection: &mut Connection<Self>,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs one or more statements that have no arguments.
    fn run(
        &self,
        connection: &mut Connection<Self>,
        sql: String,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// An integer of a row.
    fn integer(row: &DbRow<Self>, index: usize) -> sqlx::Result<Option<i64>>;

    /// A string of bytes of a row.
    fn bytes(row: &DbRow<Self>, index: usize) -> sqlx::Result<Option<Vec<u8>>>;

    /// What an error that the database reported is most likely a sign of.
    fn hint(error: &dyn sqlx::error::DatabaseError) -> Option<&'static str> {
        let _ = error;
        None
    }

    /// Who has to act on an error that the database reported.
    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind;
}

/// An `ON CONFLICT` that takes over a key whose row has ended.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const TAKE_OVER: &str = " ON CONFLICT (key) DO UPDATE SET \
    id = excluded.id, version = excluded.version, value = excluded.value, \
    owner = excluded.owner, created = excluded.created, idle = excluded.idle, \
    idle_deadline = excluded.idle_deadline, absolute_deadline = excluded.absolute_deadline, \
    successor = excluded.successor \
    WHERE {t}.expires <= {now}";

/// How a store connects.
#[derive(Debug)]
pub struct Options<D: Dialect> {
    /// For everything, or for reading where there is another for writing.
    pub(crate) read: ConnectOptions<D>,
    /// For the one connection that writes, where there is but one.
    pub(crate) write: Option<ConnectOptions<D>>,
}

/// Why a connection can't be used.
#[derive(Debug)]
pub enum Trouble {
    /// The driver says why.
    Driver(sqlx::Error),
    /// It is not what this crate needs.
    Refused(kvolt_cache::Error),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// What a transaction keeps others from doing until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// What is done to one owner's rows as a whole; a digest of the owner.
    Owner(u64),
    /// What is done to anybody's.
    Everything,
}

impl Lock {
    /// By the first bytes of a digest: two that share them only wait for each other.
    pub(crate) fn of(digest: &kvolt_cache::Key) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        Self::Owner(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A statement with numbered arguments, `$1` to `$9`.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) sql: Arc<str>,
    /// Which arguments to hand over: each once, or as often as and in the order in which they appear.
    pub(crate) order: Box<[usize]>,
    /// Whether it comes again, so that it is worth preparing.
    pub(crate) persistent: bool,
}

/// An argument of a statement.
#[derive(Debug, Clone)]
pub enum Argument<'a> {
    /// An integer, or none.
    Integer(Option<i64>),
    /// A string of bytes, or none.
    Bytes(Option<Cow<'a, [u8]>>),
}

impl From<i64> for Argument<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Argument<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl<'a> From<Option<&'a [u8]>> for Argument<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes.map(Cow::Borrowed))
    }
}

impl<'a> From<&'a kvolt_cache::Key> for Argument<'a> {
    fn from(key: &'a kvolt_cache::Key) -> Self {
        Self::from(key.as_bytes().as_slice())
    }
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
    // Made of our own text and a table's name that was looked at.
    let query = sqlx::query::<DB>(AssertSqlSafe(Arc::clone(&statement.sql)));
    let query = query.persistent(statement.persistent);
    statement.order.iter().fold(query, |query, &index| match &arguments[index] {
        Argument::Integer(number) => query.bind(*number),
        Argument::Bytes(bytes) => query.bind(bytes.as_deref()),
    })
}

/// The methods that are the same text for every driver, and for none the same types.
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

        async fn run(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            sql: String,
        ) -> sqlx::Result<()> {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(drop)
        }
    };
    (statements) => {
        async fn fetch(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            statement: &$crate::dialect::Statement,
            arguments: &[$crate::dialect::Argument<'_>],
        ) -> sqlx::Result<Vec<$crate::dialect::DbRow<Self>>> {
            $crate::dialect::bound(statement, arguments).fetch_all(connection).await
        }

        async fn execute(
            &self,
            connection: &mut $crate::dialect::Connection<Self>,
            statement: &$crate::dialect::Statement,
            arguments: &[$crate::dialect::Argument<'_>],
        ) -> sqlx::Result<u64> {
            let done = $crate::dialect::bound(statement, arguments).execute(connection).await?;
            Ok(done.rows_affected())
        }
    };
}
pub(crate) use by_driver;
