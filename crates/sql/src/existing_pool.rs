//! The connections of a pool that belongs to the application.
//!
//! Other code uses them too, and may change them. So each call inspects the connection that it
//! takes, in one round trip. The driver's own check of an idle connection, which is a round trip
//! too, is left out (`try_acquire`).

use std::time::Duration;

use sqlx::pool::PoolConnection;
use tokio::time::{Instant, sleep, timeout};

use crate::dialect::{Connection, Dialect, failure};
use crate::failure::{Failure, Kind, Outcome};

/// A pool of the application.
pub(crate) struct ExistingPool<D: Dialect> {
    pool: sqlx::Pool<D::Db>,
    /// The statement that finds flaws, and their names.
    inspection: String,
    flaws: &'static [(&'static str, &'static str)],
}

/// The flaw of a connection on which other code has begun a transaction and not ended it.
const IN_TRANSACTION: &str = "a transaction that other code left open";

impl<D: Dialect> ExistingPool<D> {
    pub(crate) fn new(pool: sqlx::Pool<D::Db>, dialect: &D) -> Self {
        let flaws = dialect.flaws();
        let conditions = (1..)
            .zip(flaws)
            .map(|(number, (is_flawed, _))| format!("WHEN {is_flawed} THEN {number} "));
        let found = format!("CASE {}ELSE 0 END", conditions.collect::<String>());
        Self { pool, inspection: D::INSPECT.replace("{found}", &found), flaws }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn options(&self) -> crate::dialect::ConnectOptions<D> {
        (*self.pool.connect_options()).clone()
    }

    /// A connection, and whether it was idle: that ends with the last idle one.
    pub(crate) async fn take(&self, limit: Duration) -> Outcome<(PoolConnection<D::Db>, bool)> {
        if let Some(idle) = self.pool.try_acquire() {
            return Ok((idle, true));
        }
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            let error = match timeout(left, self.pool.acquire()).await {
                Ok(Ok(connection)) => return Ok((connection, false)),
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            let failure = match error {
                sqlx::Error::PoolClosed => {
                    Failure::new(Kind::Unavailable, "the application closed its pool")
                }
                sqlx::Error::PoolTimedOut => self.timed_out(limit),
                error => failure::<D>(error),
            };
            // SQLite returns at once if another program changes the file's journal mode at the
            // same time, as when it creates the file.
            let is_locked = !D::IS_REMOTE && !self.pool.is_closed() && !left.is_zero();
            if !(is_locked && failure.kind == Kind::Unavailable) {
                return Err(failure);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes the connections that are idle now.
    pub(crate) fn clear(&self) {
        for _ in 0..self.pool.num_idle() {
            let Some(idle) = self.pool.try_acquire() else { return };
            drop(idle.detach());
        }
    }

    fn timed_out(&self, limit: Duration) -> Failure {
        let (max, millis) = (self.pool.options().get_max_connections(), limit.as_millis());
        let message = if self.pool.size() >= max {
            format!("all {max} connections of the application's pool were in use for {millis} ms")
        } else {
            format!("the application's pool could not connect to {} in {millis} ms", D::NAME)
        };
        Failure::new(Kind::Unavailable, message)
    }

    /// Returns the name of a flaw that this connection has.
    pub(crate) async fn inspect(
        &self,
        connection: &mut Connection<D>,
    ) -> Outcome<Option<&'static str>> {
        match D::inspect(connection, &self.inspection).await {
            Ok(0) => Ok(None),
            Ok(number) => {
                let flaw = usize::try_from(number - 1).ok().and_then(|index| self.flaws.get(index));
                Ok(Some(flaw.map_or("a setting that hides rows", |(_, flaw)| *flaw)))
            }
            Err(sqlx::Error::Database(reported)) if D::is_in_transaction(&*reported) => {
                Ok(Some(IN_TRANSACTION))
            }
            Err(error) => Err(failure::<D>(error)),
        }
    }

    /// The failure of a call for which no connection without this flaw was found.
    pub(crate) fn unfit(&self, flaw: &str) -> Failure {
        let message = format!(
            "a connection of the application's pool has {flaw}: build the pool with the store's \
             `connect_options`, and let no other code change this"
        );
        Failure::new(Kind::Misconfigured, message)
    }
}
