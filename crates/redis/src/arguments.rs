//! Arguments of the scripts.

use std::time::Duration;

use kvolt_cache::{AtLimit, Error, Expiry, NewEntry, OwnerLimit, Result, Timestamp};

use crate::header;

/// A new version. It is random, so neither a clock that is set back nor a failover yields the same
/// one twice.
pub(crate) fn random_version() -> Result<u64> {
    getrandom::u64().map_err(|source| {
        Error::unavailable("the operating system's random generator failed").with_source(source)
    })
}

/// A version as a header has it.
pub(crate) fn hex(version: u64) -> String {
    format!("{version:016x}")
}

/// Last use, idle time and absolute end of an entry that is used now. `+` counts from now.
pub(crate) fn times(expiry: Expiry) -> [String; 3] {
    let idle = expiry.idle_timeout().map(millis);
    let end = expiry.lifetime().map(|lifetime| format!("+{}", millis(lifetime)));
    let used = idle.map(|_| String::from("+0"));
    [used, idle.map(|idle| idle.to_string()), end].map(Option::unwrap_or_default)
}

/// Last use, idle time, absolute end and creation of a new entry.
pub(crate) fn new_times(entry: &NewEntry<Vec<u8>>) -> [String; 4] {
    let now = || String::from("+0");
    let Some(copied) = &entry.times else {
        let [used, idle, end] = times(entry.expiry);
        return [used, idle, end, now()];
    };
    let deadlines = &copied.deadlines;
    let at = |moment: Option<Timestamp>| moment.map(|at| header::clamp(at.as_millis()).to_string());
    let idle = deadlines.idle_timeout().map(|idle| millis(idle).to_string());
    let [used, end] = [deadlines.last_used(), deadlines.absolute()].map(at);
    let [used, idle, end] = [used, idle, end].map(Option::unwrap_or_default);
    [used, idle, end, at(copied.created).unwrap_or_else(now)]
}

/// An owner's limit, and what happens at it.
pub(crate) fn limit(limit: Option<OwnerLimit>) -> [String; 2] {
    let Some(limit) = limit else { return Default::default() };
    let at_limit = if limit.at_limit() == AtLimit::Refuse { "refuse" } else { "oldest" };
    [limit.max_entries().to_string(), String::from(at_limit)]
}

/// Whole milliseconds, rounded up, at most what a header has room for.
fn millis(duration: Duration) -> u64 {
    header::clamp(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
