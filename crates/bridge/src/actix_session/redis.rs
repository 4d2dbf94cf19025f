use std::fmt;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use kvolt_cache::Clock;

use super::state;
use crate::old_cookie::Meaning;
use crate::redis::OldRedis;
use crate::{OldCookie, OldSession, OldSessionError, OldSessions};

/// The sessions of actix-session 0.11 in its `RedisSessionStore`.
///
/// `C` is a connection of the crate `redis` 1 that finds its way back after an interruption, such as
/// its `ConnectionManager`.
///
/// ```
/// use kvolt_bridge::{ActixSessionRedis, OldCookie, OldSessions};
/// use kvolt_session::Result;
/// use redis::aio::MultiplexedConnection;
///
/// /// With the key that `SessionMiddleware::new` got.
/// fn old(connection: MultiplexedConnection, key: &[u8]) -> Result<impl OldSessions> {
///     Ok(ActixSessionRedis::new(connection, OldCookie::encrypted("id", key)?))
/// }
/// ```
#[derive(Clone)]
pub struct ActixSessionRedis<C> {
    redis: OldRedis<C>,
    cookie: OldCookie,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> ActixSessionRedis<C> {
    /// The sessions of this Redis. The cookie is [encrypted](OldCookie::encrypted) and has the name
    /// `id`, unless the application has set it otherwise. With a plain one,
    /// [`build`](crate::BridgeBuilder::build) returns an error: any client could name any key.
    pub fn new(connection: C, cookie: OldCookie) -> Self {
        Self { redis: OldRedis::new(connection), cookie: cookie.meaning(Meaning::ProtectedId) }
    }

    /// Sets the name of a session's key, as `cache_keygen` of the old store. Defaults to the
    /// session key.
    ///
    /// ```
    /// use kvolt_bridge::{ActixSessionRedis, OldCookie};
    /// use redis::aio::MultiplexedConnection;
    ///
    /// type Old = ActixSessionRedis<MultiplexedConnection>;
    ///
    /// fn old(connection: MultiplexedConnection, cookie: OldCookie) -> Old {
    ///     ActixSessionRedis::new(connection, cookie).key(|key| format!("session:{key}"))
    /// }
    /// ```
    #[must_use]
    pub fn key(self, key: fn(&str) -> String) -> Self {
        Self { redis: self.redis.key(key), ..self }
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> OldSessions for ActixSessionRedis<C> {
    fn cookie(&self) -> &OldCookie {
        &self.cookie
    }

    fn id(&self, cookie: &str) -> Option<String> {
        self.cookie.open(cookie).filter(|key| state::is_key(key))
    }

    async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        let Some((state, millis)) = self.redis.get(id).await? else { return Ok(None) };
        let left = u64::try_from(millis).ok().map(Duration::from_millis);
        let end = left.map(|left| Clock::system().now().saturating_add(left));
        Ok(Some(OldSession::from_actix_session(&state)?.expiring_at(end)))
    }

    async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
        self.redis.remove(id).await
    }
}

impl<C> fmt::Debug for ActixSessionRedis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActixSessionRedis").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}
