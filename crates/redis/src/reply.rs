//! What the server answers.

use kvolt_cache::{Error, Result, Timestamp};
use redis::Value;

/// An answer of a script: the server's time, what became of it, and what belongs to that.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) now: Timestamp,
    pub(crate) status: String,
    pub(crate) rest: Vec<Value>,
}

impl Answer {
    pub(crate) fn parse(value: Value) -> Result<Self> {
        let now = time(&value).ok_or_else(strange)?;
        let mut values = array(value).ok_or_else(strange)?.into_iter().skip(1);
        let status = values.next().and_then(text).ok_or_else(strange)?;
        Ok(Self { now, status, rest: values.collect() })
    }

    /// The only value that comes with the status.
    pub(crate) fn value(self) -> Result<Vec<u8>> {
        self.rest.into_iter().next().and_then(bytes).ok_or_else(strange)
    }
}

/// The error for an answer that no command of this store has.
pub(crate) fn strange() -> Error {
    Error::misconfigured("the server answered what no command of this store answers")
}

pub(crate) fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Some(values),
        _ => None,
    }
}

pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::Double(number) => Some(number.to_string().into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

pub(crate) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// The texts of an array.
pub(crate) fn texts(value: Value) -> Result<Vec<String>> {
    array(value).and_then(|all| all.into_iter().map(text).collect()).ok_or_else(strange)
}

/// The moment that a score of an owner's index stands for; scores are in microseconds.
pub(crate) fn score(value: Value) -> Option<Timestamp> {
    let score: f64 = text(value)?.parse().ok()?;
    // A cast saturates; what others wrote there is any moment.
    Some(Timestamp::from_millis((score / 1_000.0) as u64))
}

/// The time with which a script's answer begins.
pub(crate) fn time(answer: &Value) -> Option<Timestamp> {
    match answer {
        Value::Array(values) => match values.first()? {
            Value::Int(millis) => Some(Timestamp::from_millis(u64::try_from(*millis).ok()?)),
            _ => None,
        },
        _ => None,
    }
}

/// The answer to `TIME`.
pub(crate) fn server_time(answer: Value) -> Option<Timestamp> {
    let mut parts = array(answer)?.into_iter().map(|part| text(part)?.parse::<u64>().ok());
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(Timestamp::from_millis(seconds.checked_mul(1_000)? + micros / 1_000))
}
