//! A row of the table.

use std::time::Duration;

use kvolt_cache::{Deadlines, Entry, Error, Expiry, Key, Owner, Result, Timestamp, Version};

use crate::dialect::{Argument, DbRow, Dialect};

/// A row, and the database's clock when it was read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) id: i64,
    pub(crate) version: Version,
    value: Vec<u8>,
    pub(crate) owner: Option<Owner>,
    idle: Option<i64>,
    idle_deadline: Option<i64>,
    absolute_deadline: Option<i64>,
    /// Of a former key.
    pub(crate) is_former: bool,
    now: i64,
    /// When it ends, where that was asked for.
    expires: i64,
}

impl Row {
    /// Reads the columns in the order of the statements.
    pub(crate) fn read<D: Dialect>(row: &DbRow<D>) -> Result<Self> {
        let key = key::<D>(row)?;
        let bad = |column: &str| Error::corrupt(key, format!("its column {column} is not sound"));
        let integer = |index, column| D::integer(row, index).map_err(|_| bad(column));
        let bytes = |index, column| D::bytes(row, index).map_err(|_| bad(column));
        let owner = match bytes(4, "owner")? {
            Some(owner) => Some(Owner::from(String::from_utf8(owner).map_err(|_| bad("owner"))?)),
            None => None,
        };
        let (idle, idle_deadline) = (integer(6, "idle")?, integer(7, "idle_deadline")?);
        if idle.is_some() != idle_deadline.is_some() || idle.is_some_and(|idle| idle < 0) {
            return Err(bad("idle"));
        }
        let version = integer(2, "version")?.ok_or_else(|| bad("version"))?;
        Ok(Self {
            key,
            id: integer(1, "id")?.ok_or_else(|| bad("id"))?,
            version: Version::from_number(version.cast_unsigned()),
            value: bytes(3, "value")?.ok_or_else(|| bad("value"))?,
            owner,
            idle,
            idle_deadline,
            absolute_deadline: integer(8, "absolute_deadline")?,
            is_former: bytes(9, "successor")?.is_some(),
            now: integer(10, "now")?.ok_or_else(|| bad("now"))?,
            expires: D::integer(row, 11).ok().flatten().unwrap_or(i64::MAX),
        })
    }

    pub(crate) fn is_live(&self) -> bool {
        self.now < self.expires
    }

    /// The idle deadline that a use now sets, and the idle time, if enough of it has passed since
    /// the last use that was recorded.
    pub(crate) fn slide(&self, after: f64) -> Option<(i64, i64)> {
        let (idle, deadline) = (self.idle?, self.idle_deadline?);
        let slid = self.now.saturating_add(idle);
        let passed = slid.saturating_sub(deadline);
        // Rounded down, so that a slide never falls short by more than is promised.
        let enough = ((idle as f64 * after) as i64).max(1);
        (passed >= enough).then_some((slid, idle))
    }

    pub(crate) fn set_idle_deadline(&mut self, deadline: i64) {
        self.idle_deadline = Some(deadline);
    }

    pub(crate) fn into_entry(self) -> Entry<Vec<u8>> {
        let idle = self.idle.zip(self.idle_deadline);
        let idle =
            idle.map(|(idle, ends)| (Duration::from_millis(unsigned(idle)), timestamp(ends)));
        let deadlines = Deadlines::new(idle, self.absolute_deadline.map(timestamp));
        Entry::new(self.key, self.value, self.version, self.owner, deadlines)
    }
}

/// The key of a row.
pub(crate) fn key<D: Dialect>(row: &DbRow<D>) -> Result<Key> {
    let key = D::bytes(row, 0).ok().flatten();
    let key = key.and_then(|key| Some(Key::from_bytes(key.try_into().ok()?)));
    key.ok_or_else(|| Error::misconfigured("a row of the table has a key that is not 32 bytes"))
}

fn unsigned(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}

/// Longer than anybody waits, and far enough from the end of 64 bits to be added to the time.
const MILLIS_MAX: i64 = 1 << 61;

/// Whole milliseconds, rounded up, so that no positive duration becomes none.
pub(crate) fn millis(duration: Duration) -> i64 {
    let whole = duration.as_nanos().div_ceil(1_000_000);
    i64::try_from(whole).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
}

/// The idle time and the lifetime as arguments.
pub(crate) fn expiry_arguments(expiry: Option<Expiry>) -> [Argument<'static>; 2] {
    let idle = expiry.and_then(|expiry| expiry.idle_timeout());
    let lifetime = expiry.and_then(|expiry| expiry.lifetime());
    [Argument::from(idle.map(millis)), Argument::from(lifetime.map(millis))]
}

/// A number that was never used before and never will be: a version, or an entry's identity.
///
/// 63 bits of the operating system's randomness: of a million under one key, the chance that two
/// are the same is one in 18 million. A sequence would cost a round trip where it is not
/// returned, or a table that every writer locks.
pub(crate) fn fresh_number() -> Result<i64> {
    let number = getrandom::u64()
        .map_err(|error| Error::unavailable("no random numbers").with_source(error))?;
    Ok((number >> 1).cast_signed())
}
