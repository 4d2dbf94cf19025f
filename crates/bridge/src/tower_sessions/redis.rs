use std::fmt;

use ::redis::aio::ConnectionLike;

use super::record;
use crate::redis::OldRedis;
use crate::{OldCookie, OldSession, OldSessionError, OldSessions};

/// The sessions of tower-sessions 0.14 in the store of `tower-sessions-redis-store`.
///
/// `C` is a connection of the crate `redis` 1 that finds its way back after an interruption, such as
/// its `ConnectionManager`.
///
/// ```
/// use kvolt_bridge::{OldCookie, OldSessions, TowerSessionsRedis};
/// use redis::aio::MultiplexedConnection;
///
/// fn old(connection: MultiplexedConnection) -> impl OldSessions {
///     TowerSessionsRedis::new(connection).cookie(OldCookie::plain("sid"))
/// }
/// ```
#[derive(Clone)]
pub struct TowerSessionsRedis<C> {
    redis: OldRedis<C>,
    cookie: OldCookie,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> TowerSessionsRedis<C> {
    /// The sessions of this Redis, with the cookie `id`, which is the default of tower-sessions.
    pub fn new(connection: C) -> Self {
        Self { redis: OldRedis::new(connection), cookie: OldCookie::plain("id") }
    }

    /// Sets the cookie. Defaults to a plain one with the name `id`.
    #[must_use]
    pub fn cookie(self, cookie: OldCookie) -> Self {
        Self { cookie, ..self }
    }

    /// Sets the name of an id's key. Defaults to the id.
    ///
    /// ```
    /// use kvolt_bridge::TowerSessionsRedis;
    /// use redis::aio::MultiplexedConnection;
    ///
    /// fn old(connection: MultiplexedConnection) -> TowerSessionsRedis<MultiplexedConnection> {
    ///     TowerSessionsRedis::new(connection).key(|id| format!("session:{id}"))
    /// }
    /// ```
    #[must_use]
    pub fn key(self, key: fn(&str) -> String) -> Self {
        Self { redis: self.redis.key(key), ..self }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> OldSessions for TowerSessionsRedis<C> {
    fn cookie(&self) -> &OldCookie {
        &self.cookie
    }

    fn id(&self, cookie: &str) -> Option<String> {
        record::id(&self.cookie.open(cookie)?)
    }

    async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        let record = self.redis.get(id).await?;
        record.map(|(record, _)| OldSession::from_tower_sessions(id, &record)).transpose()
    }

    async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
        self.redis.remove(id).await
    }
}

impl<C> fmt::Debug for TowerSessionsRedis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsRedis").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}
