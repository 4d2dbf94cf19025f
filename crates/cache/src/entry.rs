use crate::{Deadlines, Key, Owner, Timestamp};

/// Identifies one state of an entry. Every [`replace`](crate::Store::replace) changes it.
///
/// Versions can be compared for equality only. No two states of a key ever have the same version,
/// also if the key is removed and inserted again.
///
/// ```
/// use kvolt_cache::Version;
///
/// assert_ne!(Version::from_number(1), Version::from_number(2));
/// assert_eq!(Version::from_number(7).number(), 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// Makes a version of the number that a store keeps.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number for a store to keep.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// An entry as it was when it was read.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, Freshness, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let key = Key::of("greeting");
/// let lifetime = Duration::from_secs(60);
/// let _ = store.insert(key, NewEntry::new("hello", Expiry::after(lifetime)).owner(42)).await?;
///
/// let entry = store.get(&key, Freshness::Bounded).await?.expect("it was inserted");
/// assert_eq!((entry.value, entry.owner), ("hello", Some(42.into())));
/// assert!(entry.deadlines.expires_at() > Some(entry.read_at));
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<V> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: V,
    /// The version that [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// The owner, which never changes.
    pub owner: Option<Owner>,
    /// When the entry ends.
    pub deadlines: Deadlines,
    /// When the entry was read, by the store's clock.
    ///
    /// Exact if the store's answer contains the time. Otherwise an estimate: never earlier than the
    /// store's clock was, and later by one round trip at most.
    pub read_at: Timestamp,
    /// Whether a near cache answered from a copy, which may be as old as its bound.
    pub is_copy: bool,
    /// Whether the caller should report a use of the entry by [`touch`](crate::Store::touch). A
    /// store to which that is a write sets this only once enough of the idle time has passed.
    pub slide_due: bool,
    /// When the entry was inserted, by the store's clock. Set by [`list`](crate::Store::list) and
    /// [`scan`](crate::Store::scan) for entries that have an owner.
    pub created: Option<Timestamp>,
}

impl<V> Entry<V> {
    /// Makes an entry that a store has read: not a copy, with no slide due, and with an unknown
    /// time of insertion. For implementors of [`Store`](crate::Store).
    ///
    /// ```
    /// use kvolt_cache::{Deadlines, Entry, Key, Timestamp, Version};
    ///
    /// let (key, version, now) = (Key::of("a"), Version::from_number(1), Timestamp::from_millis(9));
    /// let entry = Entry::new(key, "17", version, None, Deadlines::new(None, None), now)
    ///     .created(Timestamp::from_millis(5))
    ///     .slide_due(true);
    /// let number = entry.value.parse::<u32>().expect("it is a number");
    /// let entry = entry.with_value(number);
    /// assert_eq!((entry.value, entry.as_ref().to_entry().slide_due), (17, true));
    /// ```
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

    /// Sets [`slide_due`](Self::slide_due).
    #[must_use]
    pub fn slide_due(mut self, slide_due: bool) -> Self {
        self.slide_due = slide_due;
        self
    }

    /// Sets [`created`](Self::created).
    #[must_use]
    pub fn created(mut self, created: impl Into<Option<Timestamp>>) -> Self {
        self.created = created.into();
        self
    }

    /// Replaces the value, as a codec does.
    pub fn with_value<W>(self, value: W) -> Entry<W> {
        let Self { key, version, owner, deadlines, read_at, is_copy, slide_due, created, .. } =
            self;
        Entry { key, value, version, owner, deadlines, read_at, is_copy, slide_due, created }
    }

    /// Borrows the entry.
    pub const fn as_ref(&self) -> EntryRef<'_, V> {
        let Self { key, value, version, owner, deadlines, read_at, is_copy, slide_due, .. } = self;
        EntryRef {
            is_copy: *is_copy,
            slide_due: *slide_due,
            ..EntryRef::new(key, value, *version, owner.as_ref(), *deadlines, *read_at)
        }
    }
}

/// An entry that a visitor sees in the store's memory, without a copy: see
/// [`Store::get_ready`](crate::Store::get_ready).
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{AfterRead, Expiry, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let key = Key::of("greeting");
/// let lifetime = Duration::from_secs(60);
/// let _ = store.insert(key, NewEntry::new("hello", Expiry::after(lifetime))).await?;
///
/// assert_eq!(store.read(&key, |entry| (AfterRead::Keep, entry.value.len())), Some(5));
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct EntryRef<'a, V> {
    /// The key.
    pub key: &'a Key,
    /// The value.
    pub value: &'a V,
    /// The version that [`replace`](crate::Store::replace) compares.
    pub version: Version,
    /// The owner, which never changes.
    pub owner: Option<&'a Owner>,
    /// When the entry ends.
    pub deadlines: Deadlines,
    /// When the entry was read, by the store's clock; see [`Entry::read_at`].
    pub read_at: Timestamp,
    /// Whether a near cache answered from a copy.
    pub is_copy: bool,
    /// Whether the caller should report a use of the entry by [`touch`](crate::Store::touch).
    /// Never set by a store that slides in place, in [`get_ready`](crate::Store::get_ready).
    pub slide_due: bool,
}

impl<V> Clone for EntryRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for EntryRef<'_, V> {}

impl<'a, V> EntryRef<'a, V> {
    /// Makes a view of an entry in a store: not a copy, with no slide due. For implementors of
    /// [`Store`](crate::Store).
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

    /// Copies the entry.
    pub fn to_entry(self) -> Entry<V>
    where
        V: Clone,
    {
        let Self { key, value, version, owner, deadlines, read_at, is_copy, slide_due } = self;
        let (value, owner) = (value.clone(), owner.cloned());
        let entry = Entry::new(*key, value, version, owner, deadlines, read_at);
        Entry { is_copy, slide_due, ..entry }
    }
}
