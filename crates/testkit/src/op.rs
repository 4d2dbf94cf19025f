//! The operations of a store as data, on so few keys that they collide.

use std::time::Duration;

use kvolt_cache::{AtLimit, Expiry, OwnerLimit};

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
    },
    /// Reads an entry and uses it, as a request does.
    Use {
        /// The key's number.
        key: u8,
    },
    /// Touches an entry.
    Touch {
        /// The key's number.
        key: u8,
        /// The number of the owner that the caller takes it for.
        hint: Option<u8>,
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
        /// The number of the key of an entry that it replaces, and the version that names.
        replaces: Option<(u8, Option<Seen>)>,
        /// How long ago it was created, for an entry from another store: it was last used half
        /// as long ago.
        age: Option<Duration>,
    },
    /// Replaces a value.
    Replace {
        /// The key's number.
        key: u8,
        /// The number of the owner that the caller takes it for.
        hint: Option<u8>,
        /// Which version it names.
        seen: Seen,
        /// New deadlines.
        expiry: Option<Expiry>,
    },
    /// Removes an entry.
    Remove {
        /// The key's number.
        key: u8,
        /// The number of the owner that the caller takes it for.
        hint: Option<u8>,
        /// Which version it names.
        seen: Option<Seen>,
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
        max_entries: usize,
    },
    /// Counts all entries.
    Count,
    /// Removes everything.
    Clear,
}

/// Which version a change names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The one that the entry has.
    Current,
    /// The last version that was seen under the key and that the entry no longer has. The current
    /// version if there is no such version.
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
        // Weighted by hand: what makes and changes entries comes more often than what ends all.
        match self.byte() % 32 {
            0..8 => Op::Insert {
                key: self.key(),
                owner: self.owner_or_none(),
                expiry: self.expiry(),
                limit: self.limit(),
                replaces: self.replaces(),
                age: self.byte().is_multiple_of(8).then(|| self.duration()),
            },
            8..10 => Op::Get { key: self.key() },
            10..14 => Op::Use { key: self.key() },
            14..16 => Op::Touch { key: self.key(), hint: self.owner_or_none() },
            16..20 => Op::Replace {
                key: self.key(),
                hint: self.owner_or_none(),
                seen: self.seen(),
                expiry: self.new_expiry(),
            },
            20..23 => Op::Remove {
                key: self.key(),
                hint: self.owner_or_none(),
                seen: self.byte().is_multiple_of(2).then(|| self.seen()),
            },
            23..25 => Op::List { owner: self.owner() },
            25 => {
                let owner = self.owner();
                let keep = (self.byte() % 2 == 1).then(|| self.key());
                Op::RemoveOwner { owner, keep }
            }
            26 => match self.byte() % 8 {
                max_entries @ 1..5 => Op::Scan { max_entries: usize::from(max_entries) },
                _ => Op::Count,
            },
            27 if self.byte().is_multiple_of(8) => Op::Clear,
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

    fn seen(&mut self) -> Seen {
        if self.byte().is_multiple_of(4) { Seen::Stale } else { Seen::Current }
    }

    fn duration(&mut self) -> Duration {
        const MILLIS: [u64; 8] = [1, 2, 5, 10, 20, 50, 200, 1_000];
        Duration::from_millis(MILLIS[usize::from(self.byte()) % MILLIS.len()])
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
        Some(OwnerLimit::new(u32::from(byte / 4) % 3 + 1, at_limit))
    }

    fn replaces(&mut self) -> Option<(u8, Option<Seen>)> {
        match self.byte() % 4 {
            0 => Some((self.key(), None)),
            1 => Some((self.key(), Some(self.seen()))),
            _ => None,
        }
    }
}
