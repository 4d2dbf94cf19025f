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
    // Also those within a transaction.
    let errors = error.clone().into_server_errors().unwrap_or_default();
    let is_one_of = |codes: &[&str]| errors.iter().any(|(_, error)| codes.contains(&error.code()));
    if is_one_of(&["WRONGTYPE"]) {
        // The key holds something else.
        OldSessionError::unreadable(error)
    } else if is_one_of(&["NOPERM", "NOAUTH", "WRONGPASS"]) {
        OldSessionError::misconfigured(error)
    } else {
        OldSessionError::unavailable(error)
    }
}

impl<C> fmt::Debug for OldRedis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldRedis").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redis::{Pipeline, RedisFuture, Value};

    use super::*;

    /// A Redis that answers the first command of each transaction with an error.
    #[derive(Clone)]
    struct Failing(&'static str);

    impl ConnectionLike for Failing {
        fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
            unreachable!("a session is read in a transaction")
        }

        fn req_packed_commands<'a>(
            &'a mut self,
            _: &'a Pipeline,
            _: usize,
            _: usize,
        ) -> RedisFuture<'a, Vec<Value>> {
            let error = redis::parse_redis_value(format!("-{} why\r\n", self.0).as_bytes());
            Box::pin(async move { Ok(vec![Value::Array(vec![error?, Value::Int(-1)])]) })
        }

        fn get_db(&self) -> i64 {
            0
        }
    }

    #[tokio::test]
    async fn errors_within_a_transaction_have_their_kind() {
        let read = async |code| OldRedis::new(Failing(code)).get("id").await.unwrap_err();
        let wrong_type = read("WRONGTYPE").await;
        assert!(!wrong_type.is_failure(), "{wrong_type:?}");
        assert!(read("NOPERM").await.is_misconfigured());
        assert!(read("LOADING").await.is_unavailable());
    }
}
