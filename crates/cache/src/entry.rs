use std::time::Duration;

use crate::{Key, Owner, Timestamp};

/// Which state of an entry was seen: changed by every
/// [`replace`](crate::Store::replace) and every [`rename`](crate::Store::rename).
///
/// Only equality means anything. No two states that are ever seen under one key
/// have the same, also when the key is removed and inserted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version by its number, for those who write a store.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number, for those who write a store.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// When an entry ends: some time after it was last read, some time after it was made, or
/// whichever of both comes first.
///
/// Given as durations, so that the store's own clock decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expiry {
    idle: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Expiry {
    /// Ends `lifetime` after it was made, whatever happens.
    pub const fn after(lifetime: Duration) -> Self {
        Self { idle: None, lifetime: Some(lifetime) }
    }

    /// Ends when it has not been used for `idle`.
    pub const fn idle(idle: Duration) -> Self {
        Self { idle: Some(idle), lifetime: None }
    }

    /// Ends when it has not been used for `idle`, and at the latest after `lifetime`.
    pub const fn idle_within(idle: Duration, lifetime: Duration) -> Self {
        Self { idle: Some(idle), lifetime: Some(lifetime) }
    }

    /// How long it lives unused; `None` if reading does not prolong it.
    pub const fn idle_timeout(&self) -> Option<Duration> {
        self.idle
    }

    /// How long it lives at the most; `None` if without end while it is used.
    pub const fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
}

/// When an entry was last used and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    idle: Option<(Duration, Timestamp)>,
    absolute: Option<Timestamp>,
}

impl Deadlines {
    /// Deadlines by their parts, for those who write a store: the idle time
    /// with the moment at which it will have passed, and the absolute end.
    pub const fn new(idle: Option<(Duration, Timestamp)>, absolute: Option<Timestamp>) -> Self {
        Self { idle, absolute }
    }

    /// The first moment at which the entry is absent, if nobody uses it until
    /// then; `None` if it has no end.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match (self.idle, self.absolute) {
            (Some((_, idle)), Some(absolute)) => Some(idle.min(absolute)),
            (Some((_, idle)), None) => Some(idle),
            (None, absolute) => absolute,
        }
    }

    /// The end that no use moves.
    pub const fn absolute(&self) -> Option<Timestamp> {
        self.absolute
    }

    /// How long it lives unused; `None` where reading does not prolong it.
    pub const fn idle_timeout(&self) -> Option<Duration> {
        match self.idle {
            Some((timeout, _)) => Some(timeout),
            None => None,
        }
    }

    /// When it was last read with [`Access::SLIDE`], or made; `None` where
    /// reading does not prolong it.
    ///
    /// As exact as the store slides: see [`Store::get`](crate::Store::get).
    pub fn last_used(&self) -> Option<Timestamp> {
        self.idle.map(|(timeout, ends)| ends.saturating_sub(timeout))
    }
}

/// An entry as it was when it was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<V> {
    /// The key it lives under: the successor's, where it was asked for by a
    /// former key in its grace.
    pub key: Key,
    /// The value.
    pub value: V,
    /// What [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// When it was used and when it ends.
    pub deadlines: Deadlines,
}

impl<V> Entry<V> {
    /// An entry by its parts, for those who write a store.
    pub const fn new(
        key: Key,
        value: V,
        version: Version,
        owner: Option<Owner>,
        deadlines: Deadlines,
    ) -> Self {
        Self { key, value, version, owner, deadlines }
    }

    /// The same, looked at.
    pub const fn as_ref(&self) -> EntryRef<'_, V> {
        let Self { key, value, version, owner, deadlines } = self;
        EntryRef { key, value, version: *version, owner: owner.as_ref(), deadlines: *deadlines }
    }
}

/// An entry looked at in its place, without copying it.
#[derive(Debug)]
#[non_exhaustive]
pub struct EntryRef<'a, V> {
    /// The key it lives under.
    pub key: &'a Key,
    /// The value.
    pub value: &'a V,
    /// What [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// Whose it is.
    pub owner: Option<&'a Owner>,
    /// When it was used and when it ends.
    pub deadlines: Deadlines,
}

impl<V> Clone for EntryRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for EntryRef<'_, V> {}

impl<'a, V> EntryRef<'a, V> {
    /// A view by its parts, for those who write a store.
    pub const fn new(
        key: &'a Key,
        value: &'a V,
        version: Version,
        owner: Option<&'a Owner>,
        deadlines: Deadlines,
    ) -> Self {
        Self { key, value, version, owner, deadlines }
    }

    /// The entry, copied out.
    pub fn to_entry(self) -> Entry<V>
    where
        V: Clone,
    {
        Entry::new(*self.key, self.value.clone(), self.version, self.owner.cloned(), self.deadlines)
    }
}

/// How a read is meant: whether it counts as use, and whether a copy will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    slides: bool,
    strict: bool,
}

impl Access {
    /// Looking only: no deadline moves.
    pub const PEEK: Self = Self { slides: false, strict: false };

    /// Use: the idle time starts anew.
    pub const SLIDE: Self = Self { slides: true, strict: false };

    /// The same, answered by the store itself and by no copy that somebody keeps of its entries.
    ///
    /// For what must not be done on an answer that may be as old as a
    /// near cache's bound. Once strict, an access stays so.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// The same, strict if `strict` is set or it was already.
    #[must_use]
    pub const fn strict_if(self, strict: bool) -> Self {
        Self { strict: self.strict || strict, ..self }
    }

    /// Whether the read counts as use.
    pub const fn slides(self) -> bool {
        self.slides
    }

    /// Whether only the store itself may answer.
    pub const fn is_strict(self) -> bool {
        self.strict
    }
}

/// How many live entries one owner may have, and what happens at that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerLimit {
    /// The greatest number; zero allows none.
    pub entries_max: u32,
    /// What happens to one more.
    pub at_limit: AtLimit,
}

/// What happens when an owner has as many entries as allowed, and another is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLimit {
    /// The new one is refused.
    Refuse,
    /// The owner's oldest are removed in the same step. (With a limit of zero
    /// nothing would be left, so the new one is refused.)
    RemoveOldest,
}

/// What [`Store::insert`](crate::Store::insert) is to make.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewEntry<V> {
    /// The value.
    pub value: V,
    /// When it ends.
    pub expiry: Expiry,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// The limit on the owner's entries, held in the same atomic step.
    pub limit: Option<OwnerLimit>,
}

impl<V> NewEntry<V> {
    /// An entry without an owner.
    pub const fn new(value: V, expiry: Expiry) -> Self {
        Self { value, expiry, owner: None, limit: None }
    }

    /// Sets whose it is.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Option<Owner>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets the limit on the owner's entries. Without an owner it does nothing.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<Option<OwnerLimit>>) -> Self {
        self.limit = limit.into();
        self
    }
}

/// How [`Store::rename`](crate::Store::rename) moves an entry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rename<V> {
    /// A new value, and the version it was made from; `None` keeps the value as it is.
    pub value: Option<(Version, V)>,
    /// A new owner; `None` keeps the owner.
    pub owner: Option<Owner>,
    /// New deadlines, counted from now; `None` keeps both as they are.
    pub expiry: Option<Expiry>,
    /// How long the former key still leads to the entry.
    pub grace: Duration,
    /// The limit on the new owner's entries, held in the same atomic step.
    /// The entry itself, where it is the owner's already, does not count.
    pub limit: Option<OwnerLimit>,
}

impl<V> Rename<V> {
    /// Moves the entry as it is; the former key ends at once.
    pub const fn new() -> Self {
        Self { value: None, owner: None, expiry: None, grace: Duration::ZERO, limit: None }
    }
}

impl<V> Default for Rename<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an insertion may have been refused"]
pub enum Insert {
    /// The entry is there. `removed` were the owner's oldest, ended to stay within the limit.
    Inserted {
        /// Keys of entries that ended in the same step.
        removed: Vec<Key>,
    },
    /// There is a live entry, or a former key in its grace, under this key: nothing was changed.
    Occupied,
    /// The owner has as many as allowed: nothing was changed.
    LimitReached,
}

/// What became of a replacement.
#[derive(Debug, Clone)]
#[must_use = "a replacement may have been refused"]
pub enum Replace<V> {
    /// The value is there; this is its version.
    Replaced(Version),
    /// The entry had been changed since: nothing was done. This is how it is now.
    Conflict(Entry<V>),
    /// There is no such entry, and none was made.
    Absent,
}

/// What became of a renaming.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a renaming may have been refused"]
pub enum Renamed {
    /// The entry lives under the new key. `removed` were the owner's oldest, ended to stay within the limit.
    Moved {
        /// Keys of entries that ended in the same step.
        removed: Vec<Key>,
    },
    /// The key had been renamed before and is in its grace: there is one successor, and no second was made.
    Superseded,
    /// The new key is taken: nothing was changed.
    Occupied,
    /// The entry had been changed since the version that was seen: nothing was done.
    Conflict,
    /// The owner has as many as allowed: nothing was changed.
    LimitReached,
    /// There is no such entry, and none was made.
    Absent,
}

/// Where a [`scan`](crate::Store::scan) goes on. Opaque; it may be kept and used later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Box<[u8]>);

impl Cursor {
    /// A cursor by its bytes, for those who write a store or hand it to a client.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Some of a store's entries.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page<V> {
    /// Live entries, in no order that means anything.
    pub entries: Vec<Entry<V>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl<V> Page<V> {
    /// A page by its parts, for those who write a store.
    pub const fn new(entries: Vec<Entry<V>>, next: Option<Cursor>) -> Self {
        Self { entries, next }
    }
}
