use crate::{Deadlines, Entry, Expiry, Key, Owner, OwnerLimit, Timestamp, Version};

/// An entry for [`Store::insert`](crate::Store::insert).
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, InsertOutcome, Key, MemoryStore, NewEntry, OwnerLimit, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let basket = NewEntry::new("a basket", Expiry::idle(Duration::from_secs(1_800)))
///     .owner(42)
///     .limit(OwnerLimit::refuse(1));
/// let inserted = store.insert(Key::of("first"), basket.clone()).await?;
/// assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
/// assert_eq!(store.insert(Key::of("second"), basket).await?, InsertOutcome::LimitReached);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "an entry does nothing until it is inserted"]
pub struct NewEntry<V> {
    /// The value.
    pub value: V,
    /// How long it lives.
    pub expiry: Expiry,
    /// The owner, if it has one.
    pub owner: Option<Owner>,
    /// The limit on the owner's entries, enforced in the same atomic step.
    pub limit: Option<OwnerLimit>,
    /// An entry that is removed in the same step.
    pub replaces: Option<Predecessor>,
    /// The times of an entry that was read from another store. They override `expiry`.
    pub times: Option<EntryTimes>,
}

impl<V> NewEntry<V> {
    /// An entry without an owner.
    pub const fn new(value: V, expiry: Expiry) -> Self {
        Self { value, expiry, owner: None, limit: None, replaces: None, times: None }
    }

    /// An entry that [`scan`](crate::Store::scan) has returned, with its owner and its times.
    ///
    /// ```
    /// use kvolt_cache::{MemoryStore, NewEntry, Result, Store};
    ///
    /// /// Copies a page of entries to another store.
    /// async fn copy(from: &impl Store<String>, to: &impl Store<String>) -> Result<()> {
    ///     for entry in from.scan(None, 1_000).await?.listing.entries {
    ///         let _ = to.insert(entry.key, NewEntry::restored(entry)).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # pollster::block_on(async {
    /// copy(&MemoryStore::new(), &MemoryStore::new()).await?;
    /// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
    /// ```
    ///
    /// The insertion is refused ([`InsertOutcome::Expired`](crate::InsertOutcome::Expired)) if the
    /// entry has ended by the clock of the store that it is inserted into.
    pub fn restored(entry: Entry<V>) -> Self {
        let Entry { value, owner, deadlines, created, .. } = entry;
        let expiry = deadlines.expiry();
        let times = Some(EntryTimes { created, deadlines });
        Self { value, expiry, owner, limit: None, replaces: None, times }
    }

    /// Sets the owner: an [`Owner`], or the number of an account. Defaults to none.
    pub fn owner(mut self, owner: impl Into<Owner>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sets the owner, or none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::{Expiry, NewEntry, Owner};
    ///
    /// let expiry = Expiry::after(Duration::from_secs(60));
    /// for owner in [None, Some(Owner::from(42))] {
    ///     let entry = NewEntry::new("17", expiry).maybe_owner(owner.clone());
    ///     let entry = entry.with_value(17);
    ///     assert_eq!((entry.owner, entry.value), (owner, 17));
    /// }
    /// ```
    pub fn maybe_owner(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// Sets the limit on the owner's entries. It has no effect without an owner. Defaults to none.
    pub fn limit(mut self, limit: impl Into<Option<OwnerLimit>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// Sets an entry that is removed in the same step. Defaults to none.
    pub fn replaces(mut self, replaces: impl Into<Option<Predecessor>>) -> Self {
        self.replaces = replaces.into();
        self
    }

    /// Replaces the value, as a codec does.
    pub fn with_value<W>(self, value: W) -> NewEntry<W> {
        let Self { expiry, owner, limit, replaces, times, .. } = self;
        NewEntry { value, expiry, owner, limit, replaces, times }
    }
}

/// An entry that an insertion removes in the same step.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{
///     Expiry, Freshness, InsertOutcome, Key, MemoryStore, NewEntry, Predecessor, Store,
/// };
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let [old, new] = ["old", "new"].map(Key::of);
/// let entry = |value| NewEntry::new(value, Expiry::after(Duration::from_secs(60)));
/// let _ = store.insert(old, entry(1)).await?;
/// let seen = store.get(&old, Freshness::Strict).await?.expect("it is live").version;
///
/// // Only if the old entry has not changed since it was read:
/// let replacement = entry(2).replaces(Predecessor::new(old).seen(seen));
/// let _ = store.insert(new, replacement.clone()).await?;
/// assert_eq!(store.len(), 1);
/// let again = store.insert(Key::of("third"), replacement).await?;
/// assert_eq!(again, InsertOutcome::Conflict);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a predecessor does nothing until it is set on a new entry"]
pub struct Predecessor {
    /// Its key. An entry is never its own predecessor: while it is live, it occupies the key.
    pub key: Key,
    /// Its owner, a hint as in [`Target`](crate::Target).
    pub owner: Option<Owner>,
    /// The version that it must have. If this is set and the entry is absent or has another
    /// version, the insertion is a [conflict](crate::InsertOutcome::Conflict) and changes nothing.
    /// Without it, the entry may be absent.
    pub seen: Option<Version>,
}

impl Predecessor {
    /// Removes the entry under a key, if there is one.
    pub const fn new(key: Key) -> Self {
        Self { key, owner: None, seen: None }
    }

    /// Sets the owner that the entry had when the caller read it.
    pub fn owner(mut self, owner: impl Into<Option<Owner>>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets the version that the entry must have.
    pub fn seen(mut self, seen: impl Into<Option<Version>>) -> Self {
        self.seen = seen.into();
        self
    }
}

/// The times of an entry that was read from another store: see [`NewEntry::restored`].
///
/// ```
/// use kvolt_cache::{EntryTimes, NewEntry, Timestamp};
///
/// /// The end of an entry for a store that has just received it.
/// fn end(entry: &NewEntry<String>) -> Option<Timestamp> {
///     let times: EntryTimes = entry.times?;
///     times.deadlines.expires_at()
/// }
/// # let _ = end;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryTimes {
    /// When it was inserted there; `None` if it is inserted now.
    pub created: Option<Timestamp>,
    /// When it was last used and when it ends.
    pub deadlines: Deadlines,
}
