//! What the scripts answer.

use std::time::Duration;

use kvolt_cache::{Deadlines, Entry, Error, Key, Owner, Result, Timestamp, Version};
use redis::Value;

use crate::names;

/// An answer: what became of it, and what belongs to that.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) rest: Vec<Value>,
}

impl Answer {
    pub(crate) fn parse(value: Value) -> Result<Self> {
        let mut values = array(value).ok_or_else(strange)?.into_iter();
        let status = values.next().and_then(text).ok_or_else(strange)?;
        Ok(Self { status, rest: values.collect() })
    }

    /// The keys, where the answer is a list of them.
    pub(crate) fn keys(self) -> Result<Vec<Key>> {
        keys(self.rest)
    }

    /// An answer that the script has not.
    pub(crate) fn strange(&self) -> Error {
        strange()
    }
}

fn strange() -> Error {
    Error::misconfigured("the server answered what no script of this store answers")
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
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

pub(crate) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

pub(crate) fn keys(values: Vec<Value>) -> Result<Vec<Key>> {
    values.into_iter().map(|value| key(value).ok_or_else(strange)).collect()
}

pub(crate) fn key(value: Value) -> Option<Key> {
    text(value)?.parse().ok()
}

/// Former keys, and the id of the entry that they lead to.
pub(crate) struct Former {
    pub(crate) id: String,
    pub(crate) keys: Vec<Key>,
}

impl Former {
    /// The id, and the keys as `was` of an entry has them: their bytes one after the other.
    pub(crate) fn parse(id: Option<Value>, keys: Option<Value>) -> Option<Self> {
        let (id, keys) = (id.and_then(text)?, keys.and_then(bytes)?);
        let keys = keys.as_chunks().0.iter().map(|key| Key::from_bytes(*key)).collect();
        Some(Self { id, keys })
    }
}

/// An entry, with what a store needs to make it anew elsewhere.
pub(crate) struct Found {
    pub(crate) entry: Entry<Vec<u8>>,
    pub(crate) id: String,
    pub(crate) idle: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) used: Option<u64>,
    pub(crate) made: String,
}

/// The fields after the status, as `show` of `common.lua` gives them.
pub(crate) fn found(fields: Vec<Value>) -> Result<Found> {
    let mut fields = fields.into_iter();
    let key = fields.next().and_then(key).ok_or_else(strange)?;
    let corrupt = |what: &str| Error::corrupt(key, format!("its field `{what}` is not valid"));
    let value = fields.next().and_then(bytes).ok_or_else(|| corrupt("val"))?;
    let version = fields.next().and_then(number).ok_or_else(|| corrupt("ver"))?;
    let owner = match fields.next() {
        None | Some(Value::Nil) => None,
        Some(owner) => Some(Owner::from(text(owner).ok_or_else(|| corrupt("own"))?)),
    };
    let mut optional = |what| match fields.next() {
        None | Some(Value::Nil) => Ok(None),
        Some(value) => number(value).map(Some).ok_or_else(|| corrupt(what)),
    };
    let (idle, end, used) = (optional("idle")?, optional("end")?, optional("used")?);
    let id = fields.next().and_then(text).ok_or_else(|| corrupt("id"))?;
    let made = fields.next().and_then(text).unwrap_or_default();
    let sliding = idle.zip(used).map(|(idle, used)| {
        (Duration::from_millis(idle), Timestamp::from_millis(used.saturating_add(idle)))
    });
    let deadlines = Deadlines::new(sliding, end.map(Timestamp::from_millis));
    let version = Version::from_number(version);
    let entry = Entry::new(key, value, version, owner, deadlines);
    Ok(Found { entry, id, idle, end, used, made })
}

fn number(value: Value) -> Option<u64> {
    text(value)?.parse().ok()
}

/// A key and the former ones that lead to it, as far as they are known.
///
/// In a cluster only the last ones, as many as share a slot; `id` is then of
/// the entry that they have to lead to.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) id: String,
    pub(crate) keys: Vec<Key>,
    /// How many came before the first of these.
    steps: usize,
}

/// So many former keys lead to an entry. `was` of an entry has as many: see `common.lua`.
const CHAIN_MAX: usize = 16;

impl Chain {
    pub(crate) fn of(key: &Key) -> Self {
        Self { id: String::new(), keys: vec![*key], steps: 0 }
    }

    /// A key that leads to nothing, if it is a former key of the entry `id`.
    pub(crate) fn of_nothing(key: Key, id: String) -> Self {
        Self { id, keys: vec![key], steps: 0 }
    }

    pub(crate) fn part(&self) -> u16 {
        self.keys.first().map_or(0, names::part_of)
    }

    /// Goes on to what an answer says comes next. `false` if that is further than a former key
    /// leads: then it leads to nothing, and the id is that of the entry that it led to.
    pub(crate) fn walk(&mut self, answer: Answer, in_parts: bool) -> Result<bool> {
        let mut rest = answer.rest.into_iter();
        let position = rest.next().and_then(number).ok_or_else(strange)?;
        let next = rest.next().and_then(key).ok_or_else(strange)?;
        let id = rest.next().and_then(text).ok_or_else(strange)?;
        let position = usize::try_from(position).map_err(|_| strange())?;
        let steps = self.steps.saturating_add(position).saturating_add(1);
        if steps > CHAIN_MAX {
            self.id = id;
            return Ok(false);
        }
        if in_parts && names::part_of(&next) != self.part() {
            *self = Self { id, keys: vec![next], steps };
        } else {
            self.keys.truncate(position + 1);
            self.keys.push(next);
        }
        Ok(true)
    }
}
