//! The connections of a store, its own or those of the application's pool. Each is used by one call
//! at a time.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::dialect::{Argument, Connection, DbRow, Dialect, Statement, failure};
use crate::existing_pool::ExistingPool;
use crate::failure::{Failure, Kind, Outcome};
use crate::own_connections::{OwnConnection, OwnConnections};
use crate::row::Removed;
use crate::statements::Statements;
use crate::turns::Turns;

/// By how much opening may take longer than a call: it may wait for the migrations of other
/// processes.
pub(crate) const OPEN_TIMEOUTS: u32 = 5;

/// How many rows one statement removes by key.
const MAX_KEYS: usize = 100;

/// How many connections of the application's pool are tried, without those that are idle.
const MAX_TRIES: u32 = 3;

/// A bounded number of connections to one database.
pub(crate) struct Pool<D: Dialect> {
    pub(crate) dialect: D,
    pub(crate) turns: Turns,
    source: Source<D>,
    timeout: Duration,
    permits: Semaphore,
}

/// Where connections come from.
pub(crate) enum Source<D: Dialect> {
    Own(OwnConnections<D>),
    Existing(ExistingPool<D>),
}

/// A connection that a call uses.
enum Held<D: Dialect> {
    Own(OwnConnection<D>),
    Borrowed(PoolConnection<D::Db>),
}

impl<D: Dialect> Pool<D> {
    pub(crate) fn new(
        dialect: D,
        source: Source<D>,
        max_connections: usize,
        timeout: Duration,
    ) -> Self {
        let permits = Semaphore::new(max_connections);
        Self { dialect, turns: Turns::default(), source, timeout, permits }
    }

    /// How to open another connection.
    #[cfg(feature = "postgres")]
    pub(crate) fn options(&self) -> crate::dialect::ConnectOptions<D> {
        match &self.source {
            Source::Own(own) => own.options.clone(),
            Source::Existing(existing) => existing.options(),
        }
    }

    /// The options with the credentials of this moment.
    #[cfg(feature = "postgres")]
    pub(crate) async fn authorized(
        &self,
        options: crate::dialect::ConnectOptions<D>,
    ) -> Outcome<crate::dialect::ConnectOptions<D>> {
        match &self.source {
            Source::Own(own) => Ok(own.authorized(options, self.timeout).await?.0),
            Source::Existing(_) => Ok(options),
        }
    }

    /// Whether the connections belong to the application's pool.
    pub(crate) const fn is_existing(&self) -> bool {
        matches!(self.source, Source::Existing(_))
    }

    /// Waits for a connection; the caller limits the time.
    ///
    /// A connection that was idle is pinged first, so that a call that must not be repeated does not
    /// fail only because the server has closed it.
    pub(crate) async fn lease(&self) -> Outcome<Lease<'_, D>> {
        loop {
            let mut lease = self.lease_unchecked().await?;
            if !std::mem::take(&mut lease.is_unchecked) {
                return Ok(lease);
            }
            let (_, connection) = lease.start();
            if let Ok(Ok(())) = timeout(self.timeout / 4, connection.ping()).await {
                lease.is_idle = true;
                return Ok(lease);
            }
            // The others were idle for longer, and are most likely dead too.
            self.clear_idle();
        }
    }

    /// Waits for a connection, without the ping, for a call that can be repeated.
    ///
    /// A connection of the application's pool is inspected in either case.
    pub(crate) async fn lease_unchecked(&self) -> Outcome<Lease<'_, D>> {
        let Ok(permit) = self.permits.acquire().await else {
            return Err(Failure::new(Kind::Unavailable, "the store was closed"));
        };
        let mut lease = Lease {
            pool: self,
            held: None,
            is_unchecked: false,
            is_idle: true,
            in_transaction: false,
            _permit: permit,
        };
        match &self.source {
            Source::Own(own) => {
                let (connection, is_unchecked) = own.take(&self.dialect, self.timeout).await?;
                lease.is_unchecked = is_unchecked;
                lease.held = Some(Held::Own(connection));
            }
            // Boxed, so that the futures of calls on the store's own connections are small.
            Source::Existing(existing) => Box::pin(self.borrow(existing, &mut lease)).await?,
        }
        Ok(lease)
    }

    /// Takes a connection of the application's pool on which no promise is undone.
    ///
    /// Other code may have changed a setting of an idle connection, or left it in a transaction.
    /// Such a connection is closed, and another is taken.
    async fn borrow(&self, from: &ExistingPool<D>, lease: &mut Lease<'_, D>) -> Outcome<()> {
        let mut tries = 0;
        loop {
            let (connection, was_idle) = from.take(self.timeout / 4 * 3).await?;
            tries += u32::from(!was_idle);
            lease.held = Some(Held::Borrowed(connection));
            let limit = self.timeout / 4;
            let (_, connection) = lease.start();
            let inspected = timeout(limit, from.inspect(connection)).await;
            let failure = match inspected {
                Ok(Ok(None)) => {
                    lease.is_idle = true;
                    return Ok(());
                }
                Ok(Ok(Some(flaw))) => {
                    tracing::warn!(
                        database = D::NAME,
                        flaw,
                        "closed a connection of the application's pool"
                    );
                    from.unfit(flaw)
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(Kind::Lost, "a connection of the pool does not reply"),
            };
            // It was not found to be idle, so this closes it.
            lease.release();
            if failure.kind == Kind::Lost {
                self.clear_idle();
            }
            if tries == MAX_TRIES || failure.kind == Kind::Unavailable {
                return Err(failure);
            }
        }
    }

    /// Removes the rows that the statement finds, in one statement or in a transaction that takes
    /// this lock.
    pub(crate) async fn remove(
        &self,
        sql: &Statements,
        statement: &Statement,
        arguments: &[Argument<'_>],
        lock: Option<u64>,
    ) -> Outcome<Vec<Removed>> {
        let mut lease = self.lease().await?;
        if D::RETURNS_REMOVED {
            return lease.remove(sql, statement, arguments).await;
        }
        lease.begin(&sql.qualified, lock).await?;
        let step = lease.remove(sql, statement, arguments).await;
        lease.conclude(step, |_| true).await
    }

    /// Closes idle connections, after one of them turned out to be dead.
    fn clear_idle(&self) {
        match &self.source {
            Source::Own(own) => own.clear(),
            Source::Existing(existing) => existing.clear(),
        }
    }

    /// Closes idle connections that are old or were idle for long.
    pub(crate) fn trim(&self) {
        if let Source::Own(own) = &self.source {
            own.trim();
        }
    }

    /// Closes the store's own connections, and uses no further ones.
    pub(crate) async fn close(&self) {
        self.permits.close();
        if let Source::Own(own) = &self.source {
            own.close(self.timeout).await;
        }
    }
}

/// A connection in use.
///
/// It returns to the pool only between two statements and outside of a transaction. If the caller
/// gives up earlier, it is closed, and the database undoes what was not committed.
pub(crate) struct Lease<'a, D: Dialect> {
    pool: &'a Pool<D>,
    held: Option<Held<D>>,
    /// Whether it was idle and may be dead.
    is_unchecked: bool,
    is_idle: bool,
    in_transaction: bool,
    _permit: SemaphorePermit<'a>,
}

impl<'a, D: Dialect> Lease<'a, D> {
    /// Closes the connection.
    pub(crate) fn close(mut self) {
        self.is_idle = false;
    }

    /// Rejects a server that is too old.
    pub(crate) async fn check_version(&mut self) -> Outcome<()> {
        let (dialect, connection) = self.start();
        dialect.check_version(connection).await?;
        self.is_idle = true;
        Ok(())
    }

    /// Begins a transaction and takes an owner's lock.
    pub(crate) async fn begin(&mut self, table: &str, lock: Option<u64>) -> Outcome<()> {
        let sql = self.pool.dialect.begin(table, lock, self.pool.timeout);
        self.in_transaction = true;
        self.run(sql).await
    }

    /// Takes the lock on the schema.
    pub(crate) async fn lock_schema(&mut self, table: &str) -> Outcome<()> {
        let sql = self.pool.dialect.lock_schema(table, self.pool.timeout * OPEN_TIMEOUTS);
        self.in_transaction = true;
        self.run(sql).await
    }

    /// Releases the lock on the schema. The change takes effect if it is `done`.
    pub(crate) async fn unlock_schema(&mut self, table: &str, done: bool) -> Outcome<()> {
        let sql = self.pool.dialect.unlock_schema(table, done);
        self.end(sql).await
    }

    async fn end(&mut self, sql: impl Into<String>) -> Outcome<()> {
        self.run(sql.into()).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Ends the transaction. It takes effect if the step succeeded and its outcome is `accepted`.
    pub(crate) async fn conclude<T>(
        mut self,
        step: Outcome<T>,
        accepted: impl FnOnce(&T) -> bool,
    ) -> Outcome<T> {
        match step {
            Ok(value) => {
                self.end(if accepted(&value) { "COMMIT" } else { "ROLLBACK" }).await?;
                Ok(value)
            }
            // Another call came first: the next try sees what it did.
            Err(failure) if matches!(failure.kind, Kind::Again | Kind::Taken) => {
                self.end("ROLLBACK").await?;
                Err(Failure { kind: Kind::Again, ..failure })
            }
            // The connection is closed, and the database undoes the transaction.
            Err(failure) => Err(failure),
        }
    }

    /// Returns the connection, or closes it.
    fn release(&mut self) {
        let is_reusable = self.is_idle && !self.in_transaction && !self.pool.permits.is_closed();
        match (self.held.take(), &self.pool.source) {
            (Some(Held::Own(connection)), Source::Own(own)) if is_reusable => own.keep(connection),
            // Returning to the driver's pool takes a task.
            (Some(Held::Borrowed(connection)), _)
                if !self.is_idle || self.in_transaction || Handle::try_current().is_err() =>
            {
                drop(connection.detach());
            }
            _ => {}
        }
    }

    pub(crate) async fn run(&mut self, sql: String) -> Outcome<()> {
        tracing::trace!(%sql, "statement");
        let (dialect, connection) = self.start();
        let done = dialect.run(connection, sql).await;
        self.finish(done)
    }

    /// Runs a statement and returns its rows, undecoded.
    pub(crate) async fn fetch(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<DbRow<D>>> {
        tracing::trace!(sql = &*statement.sql, "statement");
        let is_unchecked = std::mem::take(&mut self.is_unchecked);
        let limit = self.pool.timeout / 4;
        let (dialect, connection) = self.start();
        let fetching = dialect.fetch(connection, statement, arguments);
        if !is_unchecked {
            let done = fetching.await;
            return self.finish(done);
        }
        match timeout(limit, fetching).await {
            Ok(done) => self.finish(done),
            Err(_) => {
                self.pool.clear_idle();
                Err(Failure::new(Kind::Lost, "an idle connection does not reply"))
            }
        }
    }

    /// The integer that the statement returns, if any.
    pub(crate) async fn fetch_integer(&mut self, statement: &Statement) -> Outcome<Option<i64>> {
        let rows = self.fetch(statement, &[]).await?;
        Ok(rows.first().and_then(|row| D::integer(row, 0).ok().flatten()))
    }

    /// Removes the rows that the statement finds, whether or not they can be read.
    pub(crate) async fn remove(
        &mut self,
        sql: &Statements,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<Removed>> {
        let rows = self.fetch(statement, arguments).await?;
        let removed = Removed::read_all::<D>(&rows)?;
        if !D::RETURNS_REMOVED {
            for removed in removed.chunks(MAX_KEYS) {
                let keys: Vec<_> = removed.iter().map(|row| Argument::from(&row.key)).collect();
                self.execute(&sql.remove_rows::<D>(keys.len()), &keys).await?;
            }
        }
        Ok(removed)
    }

    /// Runs a statement and returns how many rows it matched.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<u64> {
        tracing::trace!(sql = &*statement.sql, "statement");
        let (dialect, connection) = self.start();
        let done = dialect.execute(connection, statement, arguments).await;
        self.finish(done)
    }

    fn start(&mut self) -> (&'a D, &mut Connection<D>) {
        self.is_idle = false;
        let connection = match self.held.as_mut().expect("a lease that was returned has one") {
            Held::Own(own) => &mut own.connection,
            Held::Borrowed(borrowed) => &mut **borrowed,
        };
        (&self.pool.dialect, connection)
    }

    fn finish<T>(&mut self, done: sqlx::Result<T>) -> Outcome<T> {
        match done {
            Ok(value) => {
                self.is_idle = true;
                Ok(value)
            }
            Err(error) => {
                let failure = failure::<D>(error);
                self.is_idle = failure.kind != Kind::Lost;
                if failure.kind == Kind::Lost {
                    self.pool.clear_idle();
                }
                Err(failure)
            }
        }
    }
}

impl<D: Dialect> Drop for Lease<'_, D> {
    fn drop(&mut self) {
        self.release();
    }
}
