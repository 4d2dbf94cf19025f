use std::time::Duration;

use crate::{Error, Key, Owner, Result, Timestamp};

/// Which state of an entry was seen: changed by every [`replace`](crate::Store::replace).
///
/// Only equality means anything. No two states that are ever seen under one key
/// have the same version, also when the key is removed and inserted again.
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
        self.idle_ends().into_iter().chain(self.absolute).min()
    }

    /// The end that no use moves.
    pub const fn absolute(&self) -> Option<Timestamp> {
        self.absolute
    }

    /// How long it lives unused; `None` where reading does not prolong it.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle.map(|(timeout, _)| timeout)
    }

    /// When the idle time will have passed.
    pub(crate) fn idle_ends(&self) -> Option<Timestamp> {
        self.idle.map(|(_, ends)| ends)
    }

    /// The expiry that gives these deadlines: the lifetime is counted from the last use.
    fn expiry(&self) -> Expiry {
        let idle = self.idle_timeout();
        let lifetime = self.absolute.map(|end| end.since(self.last_used().unwrap_or(end)));
        Expiry { idle, lifetime }
    }

    /// When it was last used, or inserted; `None` where use does not prolong it.
    ///
    /// As exact as the store slides: see [`Store::touch`](crate::Store::touch).
    pub fn last_used(&self) -> Option<Timestamp> {
        self.idle.map(|(timeout, ends)| ends.saturating_sub(timeout))
    }
}

/// Which entry an operation is about, and what the caller knows of it.
///
/// A store that keeps an owner's index beside the entry, as on Redis, needs the owner to name
/// both in one command. A wrong hint costs a second command and changes no outcome: an entry's
/// owner never changes, so a hint that was right stays right.
///
/// ```
/// use kvolt_cache::{Target, Key, Owner};
///
/// let key = Key::of("greeting");
/// let ada = Owner::new("ada")?;
/// let known = Target::new(&key).owner(&ada);
/// assert_eq!(known.owner, Some(&ada));
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The entry's key.
    pub key: &'a Key,
    /// The entry's owner, as the caller has read it; `None` if the entry has none or the caller
    /// does not know.
    pub owner: Option<&'a Owner>,
}

impl<'a> Target<'a> {
    /// The entry under this key.
    pub const fn new(key: &'a Key) -> Self {
        Self { key, owner: None }
    }

    /// Sets the owner that the entry had when it was read.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Option<&'a Owner>>) -> Self {
        self.owner = owner.into();
        self
    }
}

impl<'a> From<&'a Key> for Target<'a> {
    fn from(key: &'a Key) -> Self {
        Self::new(key)
    }
}

/// How old the answer to a read may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Freshness {
    /// A copy may answer that is no older than the bound of the near cache that keeps it. Without
    /// a near cache, the store answers.
    #[default]
    Bounded,
    /// The store answers, to a question that was asked no earlier than the call began.
    ///
    /// For what must not be decided on an older answer.
    Strict,
}

/// What a visitor of [`get_ready`](crate::Store::get_ready) wants done with the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum AfterRead {
    /// Nothing: the entry was only looked at.
    Keep,
    /// The entry was used: its idle time starts again, where the store can do that in place.
    Slide,
}

/// An entry as it was when it was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<V> {
    /// The key it is filed under.
    pub key: Key,
    /// The value.
    pub value: V,
    /// What [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// The owner, which never changes.
    pub owner: Option<Owner>,
    /// When it was used and when it ends.
    pub deadlines: Deadlines,
    /// When it was read, by the store's clock.
    ///
    /// Exact where the store's answer has the time; otherwise an estimate that is never earlier
    /// than the store's clock was and later by at most a round trip.
    pub read_at: Timestamp,
    /// Whether a near cache answered from a copy, which may be as old as its bound.
    pub is_copy: bool,
    /// Whether a use of the entry should now be told to the store by
    /// [`touch`](crate::Store::touch). A store on which that is a write says so only once enough
    /// of the idle time has passed.
    pub slide_due: bool,
    /// When it was inserted, by the store's clock: set by [`list`](crate::Store::list) and
    /// [`scan`](crate::Store::scan) for entries that have an owner.
    pub created: Option<Timestamp>,
}

impl<V> Entry<V> {
    /// An entry by its parts, for those who write a store: read from the store itself, with no
    /// slide due and its insertion not known.
    pub const fn new(
        key: Key,
        value: V,
        version: Version,
        owner: Option<Owner>,
        deadlines: Deadlines,
        read_at: Timestamp,
    ) -> Self {
        Self {
            key,
            value,
            version,
            owner,
            deadlines,
            read_at,
            is_copy: false,
            slide_due: false,
            created: None,
        }
    }

    /// Sets whether a use should be told to the store.
    #[must_use]
    pub fn slide_due(mut self, slide_due: bool) -> Self {
        self.slide_due = slide_due;
        self
    }

    /// Sets when it was inserted.
    #[must_use]
    pub fn created(mut self, created: impl Into<Option<Timestamp>>) -> Self {
        self.created = created.into();
        self
    }

    /// The same entry with another value, as a codec makes it.
    pub fn with_value<W>(self, value: W) -> Entry<W> {
        let Self { key, version, owner, deadlines, read_at, is_copy, slide_due, created, .. } =
            self;
        Entry { key, value, version, owner, deadlines, read_at, is_copy, slide_due, created }
    }

    /// The same entry, borrowed.
    pub const fn as_ref(&self) -> EntryRef<'_, V> {
        EntryRef {
            key: &self.key,
            value: &self.value,
            version: self.version,
            owner: self.owner.as_ref(),
            deadlines: self.deadlines,
            read_at: self.read_at,
            is_copy: self.is_copy,
            slide_due: self.slide_due,
        }
    }
}

/// An entry looked at in its place, without copying it.
#[derive(Debug)]
#[non_exhaustive]
pub struct EntryRef<'a, V> {
    /// The key it is filed under.
    pub key: &'a Key,
    /// The value.
    pub value: &'a V,
    /// What [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// The owner, which never changes.
    pub owner: Option<&'a Owner>,
    /// When it was used and when it ends.
    pub deadlines: Deadlines,
    /// When it was read, by the store's clock; see [`Entry::read_at`].
    pub read_at: Timestamp,
    /// Whether a near cache answered from a copy.
    pub is_copy: bool,
    /// Whether a use of the entry should now be told to the store by
    /// [`touch`](crate::Store::touch); never where [`get_ready`](crate::Store::get_ready) slides
    /// in place.
    pub slide_due: bool,
}

impl<V> Clone for EntryRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for EntryRef<'_, V> {}

impl<'a, V> EntryRef<'a, V> {
    /// A view by its parts, for those who write a store: of the store itself, with no slide due.
    pub const fn new(
        key: &'a Key,
        value: &'a V,
        version: Version,
        owner: Option<&'a Owner>,
        deadlines: Deadlines,
        read_at: Timestamp,
    ) -> Self {
        Self { key, value, version, owner, deadlines, read_at, is_copy: false, slide_due: false }
    }

    /// The entry, copied out.
    pub fn to_entry(self) -> Entry<V>
    where
        V: Clone,
    {
        Entry {
            key: *self.key,
            value: self.value.clone(),
            version: self.version,
            owner: self.owner.cloned(),
            deadlines: self.deadlines,
            read_at: self.read_at,
            is_copy: self.is_copy,
            slide_due: self.slide_due,
            created: None,
        }
    }
}

/// How many live entries one owner may have, and what happens at that number.
///
/// The limit is exact, and at most [`MAX`](Self::MAX), so that holding it costs the same at any
/// number of entries.
///
/// ```
/// use kvolt_cache::OwnerLimit;
///
/// assert_eq!(OwnerLimit::refuse(3).max_entries(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerLimit {
    max_entries: u32,
    at_limit: AtLimit,
}

impl OwnerLimit {
    /// The largest limit.
    pub const MAX: u32 = 64;

    /// At most this many; a further one is refused.
    pub const fn refuse(max_entries: u32) -> Self {
        Self::new(max_entries, AtLimit::Refuse)
    }

    /// At most this many; a further one removes the oldest in the same step.
    pub const fn remove_oldest(max_entries: u32) -> Self {
        Self::new(max_entries, AtLimit::RemoveOldest)
    }

    /// At most this many, with what happens to a further one.
    pub const fn new(max_entries: u32, at_limit: AtLimit) -> Self {
        Self { max_entries, at_limit }
    }

    /// How many entries the owner may have.
    pub const fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// What happens to a further one.
    pub const fn at_limit(&self) -> AtLimit {
        self.at_limit
    }

    /// Checks that the limit is one that every store can hold. Each store's
    /// [`insert`](crate::Store::insert) calls it first.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if the limit is zero or above
    /// [`MAX`](Self::MAX).
    pub fn check(&self) -> Result<()> {
        match self.max_entries {
            1..=Self::MAX => Ok(()),
            other => Err(Error::misconfigured(format!(
                "an owner's limit of {other} entries: use 1 to {}",
                Self::MAX
            ))),
        }
    }
}

/// What happens when an owner has as many entries as allowed, and another is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtLimit {
    /// The new one is refused.
    Refuse,
    /// The owner's oldest are removed in the same step.
    RemoveOldest,
}

/// What [`Store::insert`](crate::Store::insert) puts into the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewEntry<V> {
    /// The value.
    pub value: V,
    /// When it ends.
    pub expiry: Expiry,
    /// The owner.
    pub owner: Option<Owner>,
    /// The limit on the owner's entries, held in the same atomic step.
    pub limit: Option<OwnerLimit>,
    /// An entry that is removed in the same step.
    pub replaces: Option<Predecessor>,
    /// Times of an entry that was read from another store, in the place of those that `expiry`
    /// would give.
    pub times: Option<EntryTimes>,
}

impl<V> NewEntry<V> {
    /// An entry without an owner.
    pub const fn new(value: V, expiry: Expiry) -> Self {
        Self { value, expiry, owner: None, limit: None, replaces: None, times: None }
    }

    /// An entry as [`scan`](crate::Store::scan) gave it, with its owner and its times.
    ///
    /// An entry that has ended by the clock of the store it goes to is not inserted:
    /// [`InsertOutcome::Expired`].
    pub fn restored(entry: Entry<V>) -> Self {
        let Entry { value, owner, deadlines, created, .. } = entry;
        let expiry = deadlines.expiry();
        let times = Some(EntryTimes { created, deadlines });
        Self { value, expiry, owner, limit: None, replaces: None, times }
    }

    /// Sets the owner.
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

    /// Sets an entry that is removed in the same step.
    #[must_use]
    pub fn replaces(mut self, replaces: impl Into<Option<Predecessor>>) -> Self {
        self.replaces = replaces.into();
        self
    }

    /// The same entry with another value, as a codec makes it.
    pub fn with_value<W>(self, value: W) -> NewEntry<W> {
        let Self { expiry, owner, limit, replaces, times, .. } = self;
        NewEntry { value, expiry, owner, limit, replaces, times }
    }
}

/// An entry that an insertion removes in the same step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Predecessor {
    /// Its key, which must not be that of the new entry.
    pub key: Key,
    /// Its owner, a hint as in [`Target`].
    pub owner: Option<Owner>,
    /// The version that it must have. With one, an entry that is absent or has another version
    /// makes the insertion a [conflict](InsertOutcome::Conflict), and nothing is done. Without one, the
    /// entry may be absent.
    pub seen: Option<Version>,
}

impl Predecessor {
    /// Removes whatever is under this key, if anything is.
    pub const fn new(key: Key) -> Self {
        Self { key, owner: None, seen: None }
    }

    /// Sets the owner that the entry had when it was read.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Option<Owner>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets the version that the entry must have.
    #[must_use]
    pub fn seen(mut self, seen: impl Into<Option<Version>>) -> Self {
        self.seen = seen.into();
        self
    }
}

/// The times of an entry that is copied from another store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryTimes {
    /// When it was inserted there; `None` for now.
    pub created: Option<Timestamp>,
    /// When it was last used and when it ends.
    pub deadlines: Deadlines,
}

/// Outcome of an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an insertion may have been refused"]
pub enum InsertOutcome {
    /// The entry was inserted.
    Inserted {
        /// Keys of the owner's oldest entries, removed in the same step to stay within the limit.
        removed: Vec<Key>,
    },
    /// There is a live entry under this key: nothing was changed.
    Occupied,
    /// The owner has as many entries as allowed: nothing was changed.
    LimitReached,
    /// The entry that was to be replaced is absent or has another version: nothing was changed.
    Conflict,
    /// The [times](NewEntry::times) say that the entry has ended: nothing was changed.
    Expired,
}

/// Outcome of a replacement.
#[derive(Debug, Clone)]
#[must_use = "a replacement may have been refused"]
pub enum ReplaceOutcome<V> {
    /// The value was set; this is the entry's version now.
    Replaced(Version),
    /// The entry had been changed since: nothing was done. This is how it is now.
    Conflict(Entry<V>),
    /// There is no such entry, and none was made.
    Absent,
}

/// Outcome of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a removal may have been refused"]
pub enum RemoveOutcome {
    /// The entry was live, and was removed.
    Removed,
    /// The entry has another version than the one that was named: nothing was done.
    Conflict,
    /// There was no live entry.
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

/// Entries, and the keys of those that can't be read.
///
/// An entry that is damaged, or whose value can't be decoded, never hides the others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntryList<V> {
    /// Live entries.
    pub entries: Vec<Entry<V>>,
    /// Keys of entries that exist but can't be read. They can be removed.
    pub unreadable: Vec<Key>,
}

impl<V> EntryList<V> {
    /// A listing by its parts, for those who write a store.
    pub const fn new(entries: Vec<Entry<V>>, unreadable: Vec<Key>) -> Self {
        Self { entries, unreadable }
    }

    /// The same listing with each value turned into another; an entry whose value can't be is
    /// unreadable.
    pub fn decode<W>(self, mut decode: impl FnMut(&Key, &V) -> Option<W>) -> EntryList<W> {
        let Self { entries, mut unreadable } = self;
        let mut decoded = Vec::with_capacity(entries.len());
        for entry in entries {
            match decode(&entry.key, &entry.value) {
                Some(value) => decoded.push(entry.with_value(value)),
                None => unreadable.push(entry.key),
            }
        }
        EntryList { entries: decoded, unreadable }
    }
}

/// A part of all entries of a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntryPage<V> {
    /// The entries, in no order that means anything.
    pub listing: EntryList<V>,
    /// Where to continue; `None` at the end.
    pub next: Option<Cursor>,
}

impl<V> EntryPage<V> {
    /// A page by its parts, for those who write a store.
    pub const fn new(listing: EntryList<V>, next: Option<Cursor>) -> Self {
        Self { listing, next }
    }
}
