//! Commands on the Redis of another library.

use std::fmt;

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue};

use crate::OldSessionError;

/// A connection and the names of its keys.
#[derive(Clone)]
pub(crate) struct OldRedis<C> {
    connection: C,
    key: fn(&str) -> String,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> OldRedis<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection, key: str::to_owned }
    }

    pub(crate) fn key(self, key: fn(&str) -> String) -> Self {
        Self { key, ..self }
    }

    /// The value of an id, and the milliseconds that it lives: negative if it has no end.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<(Vec<u8>, i64)>, OldSessionError> {
        let key = (self.key)(id);
        let mut both = redis::pipe();
        both.atomic().get(&key).pttl(&key);
        let mut connection = self.connection.clone();
        let answer: Result<(Option<Vec<u8>>, i64), _> = both.query_async(&mut connection).await;
        let (value, millis) = answer.map_err(failure)?;
        Ok(value.map(|value| (value, millis)))
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
        let removed: i64 = self.send(redis::cmd("DEL").arg((self.key)(id))).await?;
        Ok(removed > 0)
    }

    async fn send<R: FromRedisValue>(&self, command: &Cmd) -> Result<R, OldSessionError> {
        command.query_async(&mut self.connection.clone()).await.map_err(failure)
    }
}

fn failure(error: redis::RedisError) -> OldSessionError {
    match error.code() {
        // The key holds something else.
        Some("WRONGTYPE") => OldSessionError::unreadable(error),
        _ => OldSessionError::unavailable(error),
    }
}

impl<C> fmt::Debug for OldRedis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldRedis").finish_non_exhaustive()
    }
}
