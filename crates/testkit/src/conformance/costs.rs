//! What operations cost.

use std::ops::Sub;

/// What a store has asked of its server, counted from some moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Commands or statements. A script is one.
    pub commands: u64,
    /// Round trips: commands that are sent together, and their replies, are one.
    pub turns: u64,
    /// Bytes to the server.
    pub bytes_sent: u64,
    /// Bytes from the server.
    pub bytes_received: u64,
    /// Rows or elements that the server has looked at, where that can be counted.
    pub rows: Option<u64>,
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            commands: self.commands - earlier.commands,
            turns: self.turns - earlier.turns,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
            rows: self.rows.zip(earlier.rows).map(|(now, earlier)| now - earlier),
        }
    }
}

/// What an operation may cost at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Commands or statements.
    pub commands: u64,
    /// Round trips.
    pub turns: u64,
}

impl Cost {
    /// So many commands in so many round trips.
    pub const fn new(commands: u64, turns: u64) -> Self {
        Self { commands, turns }
    }
}

/// What each operation may cost at the most, at any number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the operations of `Store` are")]
pub struct Costs {
    pub get: Cost,
    pub touch: Cost,
    /// Without a limit.
    pub insert: Cost,
    /// With a limit that is not reached.
    pub insert_below_limit: Cost,
    /// At the limit, where the oldest is removed.
    pub insert_at_limit: Cost,
    /// In the place of an entry of the same owner.
    pub insert_over_own: Cost,
    /// In the place of an entry without an owner.
    pub insert_over_other: Cost,
    pub replace: Cost,
    pub remove: Cost,
    pub list: Cost,
    pub remove_owner: Cost,
}

impl Default for Costs {
    fn default() -> Self {
        let one = Cost::new(1, 1);
        Self {
            get: one,
            touch: one,
            insert: one,
            insert_below_limit: one,
            insert_at_limit: one,
            insert_over_own: one,
            insert_over_other: one,
            replace: one,
            remove: one,
            list: one,
            remove_owner: one,
        }
    }
}
