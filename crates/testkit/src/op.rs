//! A store's operations as data, on few enough keys that they meet.

use std::time::Duration;

use kvolt_cache::{Access, AtLimit, Expiry, OwnerLimit};

/// One operation of a store on a small universe: [`Op::KEYS`] keys and [`Op::OWNERS`] owners, by
/// their numbers.
///
/// A sequence of them is what [`check_ops`](crate::check_ops) runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Moves the clock.
    Advance(Duration),
    /// Reads an entry.
    Get {
        /// The key's number.
        key: u8,
        /// Whether it counts as use.
        access: Access,
    },
    /// Inserts an entry.
    Insert {
        /// The key's number.
        key: u8,
        /// The owner's number.
        owner: Option<u8>,
        /// When it ends.
        expiry: Expiry,
        /// The limit on the owner's entries.
        limit: Option<OwnerLimit>,
    },
    /// Replaces a value.
    Replace {
        /// The key's number.
        key: u8,
        /// Which version it names.
        seen: Seen,
        /// New deadlines.
        expiry: Option<Expiry>,
    },
    /// Renames an entry.
    Rename {
        /// The number of the key it has.
        from: u8,
        /// The number of the key it gets.
        to: u8,
        /// Whether it gets a new value, and which version that names.
        value: Option<Seen>,
        /// The number of a new owner.
        owner: Option<u8>,
        /// New deadlines.
        expiry: Option<Expiry>,
        /// How long the former key leads to it.
        grace: Duration,
        /// The limit on the owner's entries.
        limit: Option<OwnerLimit>,
    },
    /// Removes an entry.
    Remove {
        /// The key's number.
        key: u8,
    },
    /// Lists an owner's entries.
    List {
        /// The owner's number.
        owner: u8,
    },
    /// Removes an owner's entries.
    RemoveOwner {
        /// The owner's number.
        owner: u8,
        /// The number of the key that stays.
        keep: Option<u8>,
    },
    /// Scans all entries, page by page.
    Scan {
        /// The size of a page.
        entries_max: usize,
    },
    /// Removes everything.
    Clear,
}

/// Which version a change names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The one that the entry has.
    Current,
    /// The last one that was seen under the key and that the entry no longer
    /// has; the current one if there is none.
    Stale,
}

impl Op {
    /// How many keys the universe has.
    pub const KEYS: u8 = 6;
    /// How many owners the universe has.
    pub const OWNERS: u8 = 3;
}

/// Operations from bytes, for fuzzers and property tests: any bytes are some operations, and
/// fewer bytes are fewer operations.
///
/// ```
/// use kvolt_testkit::{Op, ops_from_bytes};
///
/// assert_eq!(ops_from_bytes(&[]), []);
/// assert!(!ops_from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8]).is_empty());
/// ```
pub fn ops_from_bytes(bytes: &[u8]) -> Vec<Op> {
    let mut bytes = Bytes(bytes);
    let mut ops = Vec::new();
    while !bytes.0.is_empty() {
        ops.push(bytes.op());
    }
    ops
}

/// A reader that gives zeros once it has come to the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn op(&mut self) -> Op {
        // Weighted by hand: what makes and moves entries comes more often than what ends all.
        match self.byte() % 32 {
            0..6 => {
                let (key, owner) = (self.key(), self.owner_or_none());
                let (expiry, limit) = (self.expiry(), self.limit());
                Op::Insert { key, owner, expiry, limit }
            }
            6..12 => Op::Get { key: self.key(), access: self.access() },
            12..16 => Op::Replace { key: self.key(), seen: self.seen(), expiry: self.new_expiry() },
            16..22 => {
                let (from, to) = (self.key(), self.key());
                let value = match self.byte() % 3 {
                    0 => None,
                    1 => Some(Seen::Current),
                    _ => Some(Seen::Stale),
                };
                let (owner, expiry) = (self.owner_or_none(), self.new_expiry());
                let (grace, limit) = (self.grace(), self.limit());
                Op::Rename { from, to, value, owner, expiry, grace, limit }
            }
            22..24 => Op::Remove { key: self.key() },
            24..26 => Op::List { owner: self.owner() },
            26 => {
                let owner = self.owner();
                let keep = (self.byte() % 2 == 1).then(|| self.key());
                Op::RemoveOwner { owner, keep }
            }
            27 => Op::Scan { entries_max: usize::from(self.byte() % 4) + 1 },
            28 if self.byte().is_multiple_of(4) => Op::Clear,
            _ => Op::Advance(self.duration()),
        }
    }

    fn key(&mut self) -> u8 {
        self.byte() % Op::KEYS
    }

    fn owner(&mut self) -> u8 {
        self.byte() % Op::OWNERS
    }

    fn owner_or_none(&mut self) -> Option<u8> {
        let owner = self.byte() % (Op::OWNERS + 1);
        (owner < Op::OWNERS).then_some(owner)
    }

    fn access(&mut self) -> Access {
        if self.byte().is_multiple_of(2) { Access::SLIDE } else { Access::PEEK }
    }

    fn seen(&mut self) -> Seen {
        if self.byte().is_multiple_of(4) { Seen::Stale } else { Seen::Current }
    }

    fn duration(&mut self) -> Duration {
        const MILLIS: [u64; 8] = [1, 2, 5, 10, 20, 50, 200, 1_000];
        Duration::from_millis(MILLIS[usize::from(self.byte()) % MILLIS.len()])
    }

    fn grace(&mut self) -> Duration {
        if self.byte().is_multiple_of(3) { Duration::ZERO } else { self.duration() }
    }

    fn expiry(&mut self) -> Expiry {
        match self.byte() % 3 {
            0 => Expiry::idle(self.duration()),
            1 => Expiry::after(self.duration()),
            _ => Expiry::idle_within(self.duration(), self.duration()),
        }
    }

    fn new_expiry(&mut self) -> Option<Expiry> {
        (self.byte().is_multiple_of(4)).then(|| self.expiry())
    }

    fn limit(&mut self) -> Option<OwnerLimit> {
        let byte = self.byte();
        let at_limit = match byte % 4 {
            0 | 1 => return None,
            2 => AtLimit::Refuse,
            _ => AtLimit::RemoveOldest,
        };
        Some(OwnerLimit { entries_max: u32::from(byte / 4) % 4, at_limit })
    }
}
