//! Outcomes of the operations that change an entry.

use crate::{Entry, Key, Version};

/// The outcome of [`Store::insert`](crate::Store::insert).
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, InsertOutcome, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// let (store, key) = (MemoryStore::new(), Key::of("greeting"));
/// let entry = NewEntry::new("hello", Expiry::after(Duration::from_secs(60)));
/// let inserted = InsertOutcome::Inserted { removed: Vec::new() };
/// assert_eq!(store.insert(key, entry.clone()).await?, inserted);
/// assert_eq!(store.insert(key, entry).await?, InsertOutcome::Occupied);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an insertion may have been refused"]
pub enum InsertOutcome {
    /// The entry was inserted.
    Inserted {
        /// Keys of the owner's oldest entries, removed in the same step to stay within the limit.
        removed: Vec<Key>,
    },
    /// A live entry has this key. Nothing was changed.
    Occupied,
    /// The owner has as many entries as allowed. Nothing was changed.
    LimitReached,
    /// The [predecessor](crate::Predecessor) is absent or has another version. Nothing was changed.
    Conflict,
    /// The entry has ended, by its [times](crate::NewEntry::times). Nothing was changed.
    Expired,
}

/// The outcome of [`Store::replace`](crate::Store::replace).
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, Freshness, Key, MemoryStore, NewEntry, ReplaceOutcome, Store};
///
/// # pollster::block_on(async {
/// let (store, key) = (MemoryStore::new(), Key::of("counter"));
/// let _ = store.insert(key, NewEntry::new(0, Expiry::after(Duration::from_secs(60)))).await?;
///
/// // A compare-and-swap loop:
/// let mut seen = store.get(&key, Freshness::Strict).await?.expect("it is live");
/// loop {
///     let next = seen.value + 1;
///     match store.replace((&key).into(), seen.version, next, None).await? {
///         ReplaceOutcome::Replaced(_) => break,
///         ReplaceOutcome::Conflict(changed) => seen = changed,
///         ReplaceOutcome::Absent => panic!("it has ended"),
///     }
/// }
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "a replacement may have been refused"]
pub enum ReplaceOutcome<V> {
    /// The value was replaced. The entry has this version now.
    Replaced(Version),
    /// The entry has another version: it is returned as it is. Nothing was changed.
    Conflict(Entry<V>),
    /// No live entry has this key. Nothing was changed.
    Absent,
}

/// The outcome of [`Store::remove`](crate::Store::remove).
///
/// ```
/// use kvolt_cache::{Key, MemoryStore, RemoveOutcome, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::<String>::new();
/// let removed = store.remove((&Key::of("missing")).into(), None).await?;
/// assert_eq!(removed, RemoveOutcome::Absent);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a removal may have been refused"]
pub enum RemoveOutcome {
    /// The entry was live, and was removed.
    Removed,
    /// The entry has another version than the caller has named. Nothing was changed.
    Conflict,
    /// No live entry had this key.
    Absent,
}
