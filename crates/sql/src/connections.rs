//! A pool of connections. Each is used by one call at a time.
//!
//! The driver's own pool is not used: it pings the server after every use and, by default, before
//! it, and reports why it can't connect only once its time is up. This pool checks a connection only
//! if it was idle for a while, and returns an error at once.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};
use sqlx::Connection as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::dialect::{Argument, ConnectOptions, Connection, DbRow, Dialect, Statement, failure};
use crate::failure::{Failure, Kind, Outcome};
use crate::row::Removed;
use crate::statements::Statements;
use crate::turns::Turns;

/// A connection that was idle for longer is checked before it is used.
const CHECKED_AFTER: Duration = Duration::from_secs(1);
/// A connection that is idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// An older connection is closed, so that changed addresses and permissions take effect.
const MAX_AGE: Duration = Duration::from_secs(1_800);

/// By how much opening may take longer than a call: it may wait for the migrations of other
/// processes.
pub(crate) const OPEN_TIMEOUTS: u32 = 5;

/// How many rows one statement removes by key.
const MAX_KEYS: usize = 100;

/// A bounded number of connections to one database.
pub(crate) struct Pool<D: Dialect> {
    pub(crate) dialect: D,
    pub(crate) turns: Turns,
    pub(crate) options: ConnectOptions<D>,
    timeout: Duration,
    clock: Clock,
    permits: Semaphore,
    /// The most recently used last.
    idle: Mutex<Vec<PooledConnection<D>>>,
    /// Identifies the server of the newest connection.
    server: AtomicI64,
}

/// An idle connection.
struct PooledConnection<D: Dialect> {
    connection: Connection<D>,
    /// Identifies its server.
    server: i64,
    opened: Timestamp,
    used: Timestamp,
}

impl<D: Dialect> Pool<D> {
    pub(crate) fn new(
        dialect: D,
        options: ConnectOptions<D>,
        max_connections: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            dialect,
            turns: Turns::default(),
            options,
            timeout,
            clock: Clock::system(),
            permits: Semaphore::new(max_connections),
            idle: Mutex::default(),
            server: AtomicI64::new(0),
        }
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
            self.idle().clear();
        }
    }

    /// Waits for a connection, without the ping, for a call that can be repeated.
    pub(crate) async fn lease_unchecked(&self) -> Outcome<Lease<'_, D>> {
        let Ok(permit) = self.permits.acquire().await else {
            return Err(Failure::new(Kind::Unavailable, "the store was closed"));
        };
        self.trim();
        let idle = self.idle().pop();
        let kept = match idle {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let is_unchecked = D::IS_REMOTE && self.clock.now().since(kept.used) > CHECKED_AFTER;
        Ok(Lease {
            pool: self,
            kept: Some(kept),
            is_unchecked,
            is_idle: true,
            in_transaction: false,
            _permit: permit,
        })
    }

    async fn connect(&self) -> Outcome<PooledConnection<D>> {
        let connected = Connection::<D>::connect_with(&self.options).await;
        let mut connection = connected.map_err(|error| match error {
            // This is how rustls rejects a certificate.
            sqlx::Error::Io(why) if why.kind() == ErrorKind::InvalidData => {
                failure::<D>(sqlx::Error::Tls(why.into()))
            }
            error => failure::<D>(error),
        })?;
        let server = self.dialect.prepare(&mut connection, self.timeout).await?;
        // Another server has taken over, and nothing may be read from the previous one.
        if self.server.swap(server, Ordering::SeqCst) != server {
            self.idle().clear();
        }
        let now = self.clock.now();
        Ok(PooledConnection { connection, server, opened: now, used: now })
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
        lease.begin(&sql.table, lock).await?;
        let step = lease.remove(sql, statement, arguments).await;
        lease.conclude(step, |_| true).await
    }

    /// Returns a connection to the pool.
    fn keep(&self, mut kept: PooledConnection<D>) {
        if !self.permits.is_closed() && kept.server == self.server.load(Ordering::SeqCst) {
            kept.used = self.clock.now();
            self.idle().push(kept);
        }
    }

    /// Closes idle connections that are old or were idle for long.
    pub(crate) fn trim(&self) {
        let now = self.clock.now();
        self.idle()
            .retain(|kept| now.since(kept.opened) <= MAX_AGE && now.since(kept.used) <= MAX_IDLE);
    }

    /// Closes the connections, and opens no further ones.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for kept in idle {
            // If the server does not reply, the connection is dropped.
            let _ = timeout(self.timeout, kept.connection.close()).await;
        }
    }

    /// The connections that no call uses.
    fn idle(&self) -> MutexGuard<'_, Vec<PooledConnection<D>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use.
///
/// It returns to the pool only between two statements and outside of a transaction. If the caller
/// gives up earlier, it is closed, and the database undoes what was not committed.
pub(crate) struct Lease<'a, D: Dialect> {
    pool: &'a Pool<D>,
    /// Taken only by `drop`.
    kept: Option<PooledConnection<D>>,
    /// Whether it was idle and may be dead.
    is_unchecked: bool,
    is_idle: bool,
    in_transaction: bool,
    _permit: SemaphorePermit<'a>,
}

impl<'a, D: Dialect> Lease<'a, D> {
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
                self.pool.idle().clear();
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
        let kept = self.kept.as_mut().expect("only `drop` takes it");
        (&self.pool.dialect, &mut kept.connection)
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
                    self.pool.idle().clear();
                }
                Err(failure)
            }
        }
    }
}

impl<D: Dialect> Drop for Lease<'_, D> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && self.is_idle
            && !self.in_transaction
        {
            self.pool.keep(kept);
        }
    }
}
