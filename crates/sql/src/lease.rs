//! A connection in use.

use kvolt_cache::Key;
use tokio::sync::SemaphorePermit;

use crate::dialect::{Argument, DbRow, Dialect, Lock, Statement};
use crate::failure::{Failure, Kind, Outcome};
use crate::pool::{Kept, Pool};
use crate::row::{self, Row};

/// How a transaction has to end.
pub(crate) enum Step<T> {
    /// It takes effect.
    Done(T),
    /// Nothing was changed, or it is undone.
    Refused(T),
}

/// A connection that somebody uses.
///
/// It goes back to the pool only from between two statements and outside a
/// transaction: a caller that gives up in the middle closes it, and with it the
/// database undoes what was not committed.
pub(crate) struct Lease<'a, D: Dialect> {
    pool: &'a Pool<D>,
    /// Taken by `drop`, and nowhere else.
    kept: Option<Kept<D>>,
    is_idle: bool,
    in_transaction: bool,
    _permit: SemaphorePermit<'a>,
}

impl<'a, D: Dialect> Lease<'a, D> {
    pub(crate) fn new(pool: &'a Pool<D>, kept: Kept<D>, permit: SemaphorePermit<'a>) -> Self {
        Self { pool, kept: Some(kept), is_idle: true, in_transaction: false, _permit: permit }
    }

    /// Begins a transaction and takes the locks, sorted, so that no two wait for each other.
    pub(crate) async fn begin(
        &mut self,
        table: &str,
        mut locks: Vec<Lock>,
        timeout: std::time::Duration,
    ) -> Outcome<()> {
        locks.sort_unstable();
        locks.dedup();
        let sql = self.pool.dialect.begin(table, &locks, timeout);
        self.in_transaction = true;
        self.run(sql).await
    }

    pub(crate) async fn commit(mut self) -> Outcome<()> {
        self.run("COMMIT".to_owned()).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Keeps all others from looking at the schema and changing it.
    pub(crate) async fn lock_schema(
        &mut self,
        table: &str,
        timeout: std::time::Duration,
    ) -> Outcome<()> {
        let sql = self.pool.dialect.lock_schema(table, timeout);
        self.in_transaction = true;
        self.run(sql).await
    }

    /// Lets them in again; what was done takes effect if it is `done`.
    pub(crate) async fn unlock_schema(&mut self, table: &str, done: bool) -> Outcome<()> {
        let sql = self.pool.dialect.unlock_schema(table, done);
        self.run(sql).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn roll_back(mut self) -> Outcome<()> {
        self.run("ROLLBACK".to_owned()).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Ends the transaction as it has to end.
    pub(crate) async fn conclude<T>(self, step: Outcome<Step<T>>) -> Outcome<T> {
        match step {
            Ok(Step::Done(value)) => {
                self.commit().await?;
                Ok(value)
            }
            Ok(Step::Refused(value)) => {
                self.roll_back().await?;
                Ok(value)
            }
            // Somebody came first: what they did is seen at the next try.
            Err(failure) if matches!(failure.kind, Kind::Again | Kind::Taken) => {
                self.roll_back().await?;
                Err(Failure { kind: Kind::Again, ..failure })
            }
            // The connection is closed, and the database undoes it.
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn run(&mut self, sql: String) -> Outcome<()> {
        let dialect = &self.pool.dialect;
        self.is_idle = false;
        let kept = self.kept.as_mut().expect("only `drop` takes it");
        let done = dialect.run(&mut kept.connection, sql).await;
        self.finish(done)
    }

    /// The rows, undecoded.
    pub(crate) async fn fetch(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<DbRow<D>>> {
        let dialect = &self.pool.dialect;
        self.is_idle = false;
        let kept = self.kept.as_mut().expect("only `drop` takes it");
        let done = dialect.fetch(&mut kept.connection, statement, arguments).await;
        self.finish(done)
    }

    /// The rows of a statement that returns entries.
    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<Row>> {
        let rows = self.fetch(statement, arguments).await?;
        Ok(rows.iter().map(Row::read::<D>).collect::<kvolt_cache::Result<_>>()?)
    }

    /// The keys of a statement's rows, whatever else is in them: what can't be read has to be
    /// removed all the same.
    pub(crate) async fn keys(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<Vec<Key>> {
        let rows = self.fetch(statement, arguments).await?;
        Ok(rows.iter().map(row::key::<D>).collect::<kvolt_cache::Result<_>>()?)
    }

    /// How many rows it matched.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> Outcome<u64> {
        let dialect = &self.pool.dialect;
        self.is_idle = false;
        let kept = self.kept.as_mut().expect("only `drop` takes it");
        let done = dialect.execute(&mut kept.connection, statement, arguments).await;
        self.finish(done)
    }

    fn finish<T>(&mut self, done: sqlx::Result<T>) -> Outcome<T> {
        match done {
            Ok(value) => {
                self.is_idle = true;
                Ok(value)
            }
            Err(error) => {
                let failure = Failure::of::<D>(error);
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
