//! Replies of the server.

use kvolt_cache::{Error, Result, Timestamp};
use redis::{FromRedisValue, Value};

/// A reply of a script: the server's time, a status, and what belongs to that status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) now: Timestamp,
    pub(crate) status: String,
    pub(crate) rest: Vec<Value>,
}

impl Answer {
    pub(crate) fn parse(value: Value) -> Result<Self> {
        let now = script_time(&value).ok_or_else(unexpected)?;
        let mut values = parse::<Vec<Value>>(value).ok_or_else(unexpected)?.into_iter().skip(1);
        let status = values.next().and_then(parse).ok_or_else(unexpected)?;
        Ok(Self { now, status, rest: values.collect() })
    }

    /// The one value that comes with the status.
    pub(crate) fn value<T: FromRedisValue>(self) -> Result<T> {
        self.rest.into_iter().next().and_then(parse).ok_or_else(unexpected)
    }

    /// All that comes with the status, as text.
    pub(crate) fn texts(self) -> Result<Vec<String>> {
        parse(Value::Array(self.rest)).ok_or_else(unexpected)
    }
}

/// The error for a reply that no command of this store has.
pub(crate) fn unexpected() -> Error {
    Error::misconfigured("the server's reply is not one that a command of this store has")
}

/// A reply, as the driver converts it.
pub(crate) fn parse<T: FromRedisValue>(value: Value) -> Option<T> {
    T::from_redis_value(value).ok()
}

/// The texts and numbers in a reply, one after the other.
pub(crate) fn texts_in(reply: Value) -> Vec<String> {
    match reply {
        Value::Array(values) | Value::Set(values) => {
            values.into_iter().flat_map(texts_in).collect()
        }
        Value::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(name, value)| [texts_in(name), texts_in(value)].concat())
            .collect(),
        Value::Nil => Vec::new(),
        value => parse::<String>(value).into_iter().collect(),
    }
}

/// The time with which a script's reply begins.
pub(crate) fn script_time(reply: &Value) -> Option<Timestamp> {
    let Value::Array(values) = reply else { return None };
    match values.first()? {
        Value::Int(millis) => Some(Timestamp::from_millis(u64::try_from(*millis).ok()?)),
        _ => None,
    }
}

/// The reply to `TIME`.
pub(crate) fn time(reply: Value) -> Option<Timestamp> {
    let (seconds, micros): (u64, u64) = parse(reply)?;
    Some(Timestamp::from_millis(seconds.checked_mul(1_000)? + micros / 1_000))
}

/// The time that a score in an owner's index stands for. Scores are in microseconds.
pub(crate) fn score(reply: Value) -> Option<Timestamp> {
    let score: f64 = parse(reply)?;
    // A cast saturates; another program may have written any number.
    Some(Timestamp::from_millis((score / 1_000.0) as u64))
}

/// A field of a reply to `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
