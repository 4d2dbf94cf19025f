//! A row of the table.

use std::time::Duration;

use kvolt_cache::{Deadlines, Entry, Error, Key, Owner, Result, Timestamp, Version};

use crate::dialect::{DbRow, Dialect};

/// A row, and the database's clock when it was read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) version: Version,
    value: Vec<u8>,
    owner: Option<Owner>,
    created: i64,
    pub(crate) times: Times,
}

impl Row {
    /// Reads the columns in the order of the statements.
    ///
    /// # Errors
    ///
    /// Returns an error with the key if the row can't be read ([`Error::is_corrupt`]).
    pub(crate) fn read<D: Dialect>(row: &DbRow<D>) -> Result<Self> {
        let key = key::<D>(row)?;
        let bytes = |index, column| D::bytes(row, index).map_err(|_| damaged(key, column));
        let integer = |index, column| match D::integer(row, index) {
            Ok(Some(number)) => Ok(number),
            _ => Err(damaged(key, column)),
        };
        let owner = bytes(3, "owner")?.map(|owner| {
            let owner = str::from_utf8(&owner).ok().and_then(Owner::from_stored);
            owner.ok_or_else(|| damaged(key, "owner"))
        });
        Ok(Self {
            key,
            version: Version::from_number(integer(1, "version")?.cast_unsigned()),
            value: bytes(2, "value")?.ok_or_else(|| damaged(key, "value"))?,
            owner: owner.transpose()?,
            created: integer(4, "created")?,
            times: Times::read::<D>(row, 5, key)?,
        })
    }

    /// The entry. A slide is due once this fraction of the idle time has passed.
    pub(crate) fn into_entry(self, slide_after: f64) -> Entry<Vec<u8>> {
        let Self { key, version, value, owner, times, .. } = self;
        Entry::new(key, value, version, owner, times.deadlines(), timestamp(times.now))
            .slide_due(times.is_slide_due(slide_after))
    }

    /// The entry as a list has it: with its creation, if it has an owner.
    pub(crate) fn into_listed(self, slide_after: f64) -> Entry<Vec<u8>> {
        let created = self.owner.as_ref().map(|_| timestamp(self.created / 1_000));
        self.into_entry(slide_after).created(created)
    }
}

/// The deadlines of a row, and the database's clock when they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    idle: Option<i64>,
    idle_deadline: Option<i64>,
    absolute_deadline: Option<i64>,
    now: i64,
}

impl Times {
    /// Reads four columns, from `first` on.
    ///
    /// # Errors
    ///
    /// Returns an error with the key if they can't be read ([`Error::is_corrupt`]).
    pub(crate) fn read<D: Dialect>(row: &DbRow<D>, first: usize, key: Key) -> Result<Self> {
        let integer = |index, column| D::integer(row, index).map_err(|_| damaged(key, column));
        let idle = integer(first, "idle")?;
        let idle_deadline = integer(first + 1, "idle_deadline")?;
        if idle.is_some() != idle_deadline.is_some() || idle.is_some_and(|idle| idle < 0) {
            return Err(damaged(key, "idle"));
        }
        let absolute_deadline = integer(first + 2, "absolute_deadline")?;
        let now = integer(first + 3, "now")?.ok_or_else(|| damaged(key, "now"))?;
        Ok(Self { idle, idle_deadline, absolute_deadline, now })
    }

    /// Whether the row was live when it was read.
    pub(crate) fn is_live(&self) -> bool {
        let is_before = |deadline: Option<i64>| deadline.is_none_or(|deadline| self.now < deadline);
        is_before(self.idle_deadline) && is_before(self.absolute_deadline)
    }

    /// Whether this fraction of the idle time has passed since the last recorded use. The statement
    /// that slides decides in the same way.
    pub(crate) fn is_slide_due(&self, slide_after: f64) -> bool {
        let (Some(idle), Some(deadline)) = (self.idle, self.idle_deadline) else {
            return false;
        };
        let passed = self.now.saturating_add(idle).saturating_sub(deadline);
        passed > 0 && passed as f64 >= idle as f64 * slide_after
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        let idle = self.idle.zip(self.idle_deadline);
        let idle =
            idle.map(|(idle, ends)| (Duration::from_millis(unsigned(idle)), timestamp(ends)));
        Deadlines::new(idle, self.absolute_deadline.map(timestamp))
    }
}

/// A row that was removed.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) key: Key,
    pub(crate) was_live: bool,
    created: i64,
}

impl Removed {
    /// Reads the columns in the order of the statements that remove, oldest first.
    ///
    /// Only the key must be readable, because a damaged row must be removable.
    pub(crate) fn read_all<D: Dialect>(rows: &[DbRow<D>]) -> Result<Vec<Self>> {
        let read = |row: &DbRow<D>| {
            let number = |index| D::integer(row, index).ok().flatten();
            Ok(Self {
                key: key::<D>(row)?,
                created: number(1).unwrap_or(0),
                was_live: number(2) > number(3),
            })
        };
        let mut removed = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        removed.sort_by_key(|removed| removed.created);
        Ok(removed)
    }
}

/// The key of a row.
pub(crate) fn key<D: Dialect>(row: &DbRow<D>) -> Result<Key> {
    let key = D::bytes(row, 0).ok().flatten();
    let key = key.and_then(|key| Some(Key::from_bytes(key.try_into().ok()?)));
    key.ok_or_else(|| Error::misconfigured("a row of the table has a key that is not 32 bytes"))
}

fn damaged(key: Key, column: &str) -> Error {
    Error::corrupt(key, format!("its column {column} is damaged"))
}

fn unsigned(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

pub(crate) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}

/// The longest duration. Added to the time, it does not overflow 64 bits.
const MAX_MILLIS: i64 = 1 << 61;

/// Whole milliseconds, rounded up, so that no positive duration becomes zero.
pub(crate) fn millis(duration: Duration) -> i64 {
    let whole = duration.as_nanos().div_ceil(1_000_000);
    i64::try_from(whole).unwrap_or(MAX_MILLIS).min(MAX_MILLIS)
}

/// The milliseconds of a moment.
pub(crate) fn moment(timestamp: Timestamp) -> i64 {
    i64::try_from(timestamp.as_millis()).unwrap_or(MAX_MILLIS * 2 - 1).min(MAX_MILLIS * 2 - 1)
}

/// A random number, for a new version.
///
/// It has 63 bits of the operating system's randomness. The chance that two of a million versions
/// under one key are equal is one in 18 million. A sequence would cost a round trip, or a table that
/// every writer locks.
pub(crate) fn random_number() -> Result<i64> {
    let number = getrandom::u64().map_err(|error| {
        Error::unavailable("the operating system's random generator failed").with_source(error)
    })?;
    Ok((number >> 1).cast_signed())
}
