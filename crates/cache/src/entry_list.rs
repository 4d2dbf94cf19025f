use crate::{Entry, Key};

/// Entries, and the keys of entries that can't be read.
///
/// An entry that is damaged, or whose value can't be decoded, never hides the others.
///
/// ```
/// use kvolt_cache::{MemoryStore, Owner, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::<String>::new();
/// let list = store.list(&Owner::from(42)).await?;
/// assert!(list.entries.is_empty() && list.unreadable.is_empty());
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntryList<V> {
    /// Live entries.
    pub entries: Vec<Entry<V>>,
    /// Keys of entries that exist but can't be read. They can be removed.
    pub unreadable: Vec<Key>,
}

impl<V> EntryList<V> {
    /// Makes a list of its parts. For implementors of [`Store`](crate::Store).
    pub const fn new(entries: Vec<Entry<V>>, unreadable: Vec<Key>) -> Self {
        Self { entries, unreadable }
    }

    /// Decodes each value. An entry for which `decode` returns `None` is unreadable.
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

/// A part of all entries of a store: see [`Store::scan`](crate::Store::scan).
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, Key, MemoryStore, NewEntry, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// for name in ["one", "two", "three"] {
///     let entry = NewEntry::new(name, Expiry::after(Duration::from_secs(60)));
///     let _ = store.insert(Key::of(name), entry).await?;
/// }
///
/// let (mut after, mut found) = (None, 0);
/// loop {
///     let page = store.scan(after.as_ref(), 2).await?;
///     found += page.listing.entries.len();
///     after = page.next;
///     if after.is_none() {
///         break;
///     }
/// }
/// assert_eq!(found, 3);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntryPage<V> {
    /// The entries, in no particular order.
    pub listing: EntryList<V>,
    /// Where to continue; `None` at the end.
    pub next: Option<Cursor>,
}

impl<V> EntryPage<V> {
    /// Makes a page of its parts. For implementors of [`Store`](crate::Store).
    pub const fn new(listing: EntryList<V>, next: Option<Cursor>) -> Self {
        Self { listing, next }
    }
}

/// The position at which a [`scan`](crate::Store::scan) continues. Opaque; it may be kept and used
/// later.
///
/// ```
/// use kvolt_cache::Cursor;
///
/// let cursor = Cursor::from_bytes(*b"after this");
/// assert_eq!(cursor.as_bytes(), b"after this");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Box<[u8]>);

impl Cursor {
    /// Makes a cursor of its bytes. For implementors of [`Store`](crate::Store), and for a cursor
    /// that comes back from a client.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
