//! Connections that are kept, and lent to one call at a time.
//!
//! Not the driver's own pool: that one pings the server after every use and, by default, before
//! it, and hides why it can't connect until its time is up. Here a connection is checked only
//! after it has been idle for a while, and what went wrong is returned at once.

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

/// How long a connection may be idle and be used again unchecked.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long a connection may be idle before it is closed.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How long a connection may live: changes of addresses and rights reach it no later than then.
const LIVES_FOR: Duration = Duration::from_secs(1_800);

/// How much longer than a call opening may take: a server that starts beside others waits for
/// their migrations.
pub(crate) const OPEN_TIMEOUTS: u32 = 5;

/// How many rows one statement removes by their keys.
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
    idle: Mutex<Vec<Kept<D>>>,
    /// The server that the youngest connection is to.
    server: AtomicI64,
}

/// A connection, its server, and since when it exists and is idle.
struct Kept<D: Dialect> {
    connection: Connection<D>,
    server: i64,
    made: Timestamp,
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

    /// A connection, once one is free. Waits without end: the caller has a limit.
    ///
    /// One that was idle is pinged first, so that a call that must not be repeated does not fail
    /// only because the server has closed it.
    pub(crate) async fn lease(&self) -> Outcome<Lease<'_, D>> {
        loop {
            let mut lease = self.lease_unchecked().await?;
            if !std::mem::take(&mut lease.is_doubted) {
                return Ok(lease);
            }
            let (_, connection) = lease.start();
            if let Ok(Ok(())) = timeout(self.timeout / 4, connection.ping()).await {
                lease.is_idle = true;
                return Ok(lease);
            }
            // The others are not younger, and most likely as dead.
            self.forget();
        }
    }

    /// The same without the ping, for a call that can be repeated.
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
        let is_doubted = D::IS_REMOTE && self.clock.now().since(kept.used) > TRUSTED_FOR;
        Ok(Lease {
            pool: self,
            kept: Some(kept),
            is_doubted,
            is_idle: true,
            in_transaction: false,
            _permit: permit,
        })
    }

    async fn connect(&self) -> Outcome<Kept<D>> {
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
            self.forget();
        }
        let now = self.clock.now();
        Ok(Kept { connection, server, made: now, used: now })
    }

    /// Removes what the statement finds, in one statement or in one transaction with this lock.
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

    /// Takes a connection back.
    fn keep(&self, mut kept: Kept<D>) {
        if !self.permits.is_closed() && kept.server == self.server.load(Ordering::SeqCst) {
            kept.used = self.clock.now();
            self.idle().push(kept);
        }
    }

    /// Closes every connection that no call uses.
    fn forget(&self) {
        self.idle().clear();
    }

    /// Closes those that are old or have been idle for long.
    pub(crate) fn trim(&self) {
        let now = self.clock.now();
        self.idle()
            .retain(|kept| now.since(kept.made) <= LIVES_FOR && now.since(kept.used) <= KEPT_FOR);
    }

    /// Ends the sessions at the database and makes no more connections.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for kept in idle {
            // It is as gone if the server can't be told.
            let _ = timeout(self.timeout, kept.connection.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept<D>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use.
///
/// It goes back to the pool only from between two statements and outside of a transaction: a
/// caller that gives up in the middle closes it, and the database undoes what was not committed.
pub(crate) struct Lease<'a, D: Dialect> {
    pool: &'a Pool<D>,
    /// Taken by `drop` only.
    kept: Option<Kept<D>>,
    /// Whether it may be dead unnoticed.
    is_doubted: bool,
    is_idle: bool,
    in_transaction: bool,
    _permit: SemaphorePermit<'a>,
}

impl<'a, D: Dialect> Lease<'a, D> {
    /// Begins a transaction and takes this owner's lock.
    pub(crate) async fn begin(&mut self, table: &str, lock: Option<u64>) -> Outcome<()> {
        let sql = self.pool.dialect.begin(table, lock, self.pool.timeout);
        self.in_transaction = true;
        self.run(sql).await
    }

    /// Keeps all others from reading and changing the schema.
    pub(crate) async fn lock_schema(&mut self, table: &str) -> Outcome<()> {
        let sql = self.pool.dialect.lock_schema(table, self.pool.timeout * OPEN_TIMEOUTS);
        self.in_transaction = true;
        self.run(sql).await
    }

    /// Lets them in again. The change takes effect if it is `done`.
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

    /// The rows, undecoded.
    pub(crate) async fn fetch(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<DbRow<D>>> {
        tracing::trace!(sql = &*statement.sql, "statement");
        let is_doubted = std::mem::take(&mut self.is_doubted);
        let patience = self.pool.timeout / 4;
        let (dialect, connection) = self.start();
        let fetching = dialect.fetch(connection, statement, arguments);
        if !is_doubted {
            let done = fetching.await;
            return self.finish(done);
        }
        match timeout(patience, fetching).await {
            Ok(done) => self.finish(done),
            Err(_) => {
                self.pool.forget();
                Err(Failure::new(Kind::Lost, "an idle connection does not answer"))
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

    /// How many rows it matched.
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
                    self.pool.forget();
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
