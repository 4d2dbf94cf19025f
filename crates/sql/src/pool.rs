//! Connections that are kept.
//!
//! Not the driver's own pool: that one asks the server for a sign of life after every use and,
//! unless told not to, before it, and hides why it can't connect until its time is up. Here a
//! connection is asked only once it has been idle for a while, and what went wrong is told at once.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};
use sqlx::Connection as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::dialect::{ConnectOptions, Connection, Dialect};
use crate::failure::{Failure, Kind, Outcome};
use crate::lease::Lease;

/// How long a connection may be idle and be used again without asking whether it is still there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long a connection may be idle before it is closed.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How long a connection may live: changes of addresses and rights reach it at the latest then.
const LIVES_FOR: Duration = Duration::from_secs(1_800);

/// Up to so many connections to one database.
pub(crate) struct Pool<D: Dialect> {
    pub(crate) dialect: D,
    options: ConnectOptions<D>,
    timeout: Duration,
    clock: Clock,
    permits: Semaphore,
    /// The most recently used last.
    idle: Mutex<Vec<Kept<D>>>,
}

/// A connection, and since when it is there and idle.
pub(crate) struct Kept<D: Dialect> {
    pub(crate) connection: Connection<D>,
    made: Timestamp,
    used: Timestamp,
}

impl<D: Dialect> Pool<D> {
    pub(crate) fn new(
        dialect: D,
        options: ConnectOptions<D>,
        connections_max: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            dialect,
            options,
            timeout,
            clock: Clock::system(),
            permits: Semaphore::new(connections_max),
            idle: Mutex::default(),
        }
    }

    /// How it connects.
    #[cfg(feature = "postgres")]
    pub(crate) fn options(&self) -> &ConnectOptions<D> {
        &self.options
    }

    /// A connection, once there is one free. Waits without end: the caller has a limit.
    pub(crate) async fn lease(&self) -> Outcome<Lease<'_, D>> {
        let Ok(permit) = self.permits.acquire().await else {
            return Err(Failure::new(Kind::Unavailable, "the store was closed"));
        };
        while let Some(mut kept) = self.pop() {
            let now = self.clock.now();
            if now.since(kept.made) > LIVES_FOR || now.since(kept.used) > KEPT_FOR {
                continue;
            }
            if now.since(kept.used) <= TRUSTED_FOR {
                return Ok(Lease::new(self, kept, permit));
            }
            match timeout(self.timeout / 4, kept.connection.ping()).await {
                Ok(Ok(())) => return Ok(Lease::new(self, kept, permit)),
                // The others are not younger, and most likely as dead.
                _ => self.forget(),
            }
        }
        let kept = self.connect().await?;
        Ok(Lease::new(self, kept, permit))
    }

    async fn connect(&self) -> Outcome<Kept<D>> {
        let connecting = async {
            let mut connection = Connection::<D>::connect_with(&self.options).await?;
            self.dialect.prepare(&mut connection, self.timeout).await?;
            Ok(connection)
        };
        let connection = connecting.await.map_err(Failure::connecting::<D>)?;
        let now = self.clock.now();
        Ok(Kept { connection, made: now, used: now })
    }

    /// Takes a connection back.
    pub(crate) fn keep(&self, mut kept: Kept<D>) {
        if !self.permits.is_closed() {
            kept.used = self.clock.now();
            self.lock().push(kept);
        }
    }

    /// Closes every connection that nobody uses.
    pub(crate) fn forget(&self) {
        let forgotten = std::mem::take(&mut *self.lock());
        drop(forgotten);
    }

    /// Closes those that have been idle for long.
    pub(crate) fn trim(&self) {
        let now = self.clock.now();
        let mut idle = self.lock();
        let (kept, old) =
            idle.drain(..).partition(|kept: &Kept<D>| now.since(kept.used) <= KEPT_FOR);
        *idle = kept;
        drop(idle);
        drop::<Vec<_>>(old);
    }

    /// Says goodbye to the database and makes no more connections.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.lock());
        for kept in idle {
            // It is as gone if it can't be told.
            let _ = timeout(self.timeout, kept.connection.close()).await;
        }
    }

    fn pop(&self) -> Option<Kept<D>> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept<D>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Without the options, which have the password.
impl<D: Dialect> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}
