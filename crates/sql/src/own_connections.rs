//! The connections that a store opens itself.
//!
//! The driver's own pool is not used: it pings the server after every use and, by default, before
//! it, and reports why it can't connect only once its time is up. This pool checks a connection only
//! if it was idle for a while, and returns an error at once.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::{Clock, CredentialsProvider, Error, Timestamp};
use sqlx::Connection as _;
use tokio::time::timeout;

use crate::dialect::{ConnectOptions, Connection, Dialect, failure};
use crate::failure::{Failure, Kind, Outcome};

/// A connection that was idle for longer is checked before it is used.
const CHECKED_AFTER: Duration = Duration::from_secs(1);
/// A connection that is idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// An older connection is closed, so that changed addresses and permissions take effect.
const MAX_AGE: Duration = Duration::from_secs(1_800);

/// Connections that are opened when a call needs one, and kept for the next call.
pub(crate) struct OwnConnections<D: Dialect> {
    pub(crate) options: ConnectOptions<D>,
    provider: Option<CredentialsProvider>,
    clock: Clock,
    /// The most recently used last.
    idle: Mutex<Vec<OwnConnection<D>>>,
    /// Identifies the server of the newest connection.
    server: AtomicI64,
}

/// A connection, with what is known of it.
pub(crate) struct OwnConnection<D: Dialect> {
    pub(crate) connection: Connection<D>,
    /// Identifies its server.
    server: i64,
    opened: Timestamp,
    /// When its credentials are about to expire.
    expires: Option<Timestamp>,
    used: Timestamp,
}

impl<D: Dialect> OwnConnections<D> {
    pub(crate) fn new(options: ConnectOptions<D>, provider: Option<CredentialsProvider>) -> Self {
        let (clock, server) = (Clock::system(), AtomicI64::new(0));
        Self { options, provider, clock, idle: Mutex::default(), server }
    }

    /// The options with the credentials of this moment, and how long a connection may use them.
    pub(crate) async fn authorized(
        &self,
        options: ConnectOptions<D>,
        limit: Duration,
    ) -> Outcome<(ConnectOptions<D>, Option<Duration>)> {
        let Some(provider) = &self.provider else { return Ok((options, None)) };
        match timeout(limit, provider.ask()).await {
            Ok(Ok(given)) => {
                let valid_for = given.validity().map(|time| time / 4 * 3);
                Ok((D::with_credentials(options, &given), valid_for))
            }
            Ok(Err(error)) => {
                let why = "the callback of `credentials_from` returned an error";
                Err(Error::unavailable(why).with_source(error).into())
            }
            Err(_) => Err(Failure::new(
                Kind::Unavailable,
                format!("the callback of `credentials_from` did not return within {limit:?}"),
            )),
        }
    }

    /// An idle connection or a new one, and whether it was idle for so long that it may be dead.
    pub(crate) async fn take(
        &self,
        dialect: &D,
        timeout: Duration,
    ) -> Outcome<(OwnConnection<D>, bool)> {
        self.trim();
        let idle = self.idle().pop();
        let taken = match idle {
            Some(idle) => idle,
            None => self.connect(dialect, timeout).await?,
        };
        let is_unchecked = D::IS_REMOTE && self.clock.now().since(taken.used) > CHECKED_AFTER;
        Ok((taken, is_unchecked))
    }

    async fn connect(&self, dialect: &D, timeout: Duration) -> Outcome<OwnConnection<D>> {
        let (options, valid_for) = self.authorized(self.options.clone(), timeout).await?;
        let connected = Connection::<D>::connect_with(&options).await;
        let mut connection = connected.map_err(|error| match error {
            // This is how rustls rejects a certificate.
            sqlx::Error::Io(why) if why.kind() == ErrorKind::InvalidData => {
                failure::<D>(sqlx::Error::Tls(why.into()))
            }
            error => failure::<D>(error),
        })?;
        dialect.check_version(&mut connection).await?;
        let server = dialect.prepare(&mut connection, timeout).await?;
        // Another server has taken over, and nothing may be read from the previous one.
        if self.server.swap(server, Ordering::SeqCst) != server {
            self.clear();
        }
        let now = self.clock.now();
        let expires = valid_for.map(|time| now.saturating_add(time));
        Ok(OwnConnection { connection, server, opened: now, expires, used: now })
    }

    /// Keeps a connection for the next call.
    pub(crate) fn keep(&self, mut connection: OwnConnection<D>) {
        if connection.server == self.server.load(Ordering::SeqCst) {
            connection.used = self.clock.now();
            self.idle().push(connection);
        }
    }

    /// Closes idle connections.
    pub(crate) fn clear(&self) {
        self.idle().clear();
    }

    /// Closes idle connections that are old or were idle for long.
    pub(crate) fn trim(&self) {
        let now = self.clock.now();
        self.idle().retain(|idle| {
            let is_valid = idle.expires.is_none_or(|expires| now < expires);
            is_valid && now.since(idle.opened) <= MAX_AGE && now.since(idle.used) <= MAX_IDLE
        });
    }

    /// Closes idle connections, and notifies the server.
    pub(crate) async fn close(&self, limit: Duration) {
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            // If the server does not reply, the connection is dropped.
            let _ = timeout(limit, idle.connection.close()).await;
        }
    }

    /// The connections that no call uses.
    fn idle(&self) -> MutexGuard<'_, Vec<OwnConnection<D>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
