//! How much may be stored, and what happens at that point.

use std::fmt;
use std::sync::Arc;

use super::hash::Prefix;
use super::inner::Inner;
use super::node::Node;
use crate::sync::{AtomicUsize, Ordering, lock};
use crate::{Error, Key, Result, Timestamp};

/// What a full [`MemoryStore`](crate::MemoryStore) does with one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtCapacity {
    /// Refuses it, with an error that says that the store is full.
    #[default]
    Refuse,
    /// Removes the entry that would end first.
    EvictNearestEnd,
}

type Weigh<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

/// The bounds of a store and what it holds of them.
pub(super) struct Capacity<V> {
    pub(super) entries_max: Option<usize>,
    pub(super) bytes: Option<(usize, Weigh<V>)>,
    pub(super) at_capacity: AtCapacity,
    entries_held: AtomicUsize,
    bytes_held: AtomicUsize,
}

impl<V> Clone for Capacity<V> {
    fn clone(&self) -> Self {
        Self {
            entries_max: self.entries_max,
            bytes: self.bytes.clone(),
            at_capacity: self.at_capacity,
            ..Self::default()
        }
    }
}

impl<V> Default for Capacity<V> {
    fn default() -> Self {
        Self {
            entries_max: None,
            bytes: None,
            at_capacity: AtCapacity::Refuse,
            entries_held: AtomicUsize::new(0),
            bytes_held: AtomicUsize::new(0),
        }
    }
}

impl<V> fmt::Debug for Capacity<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity")
            .field("entries_max", &self.entries_max)
            .field("bytes_max", &self.bytes.as_ref().map(|(bytes_max, _)| bytes_max))
            .field("at_capacity", &self.at_capacity)
            .finish()
    }
}

impl<V> Capacity<V> {
    /// What an entry takes beside what its value points to: node, key, slot, wheel.
    const ENTRY_BYTES: usize = size_of::<Node<V>>() + size_of::<Key>() + 32;

    pub(super) fn weigh(&self, value: &V) -> usize {
        self.bytes.as_ref().map_or(0, |(_, weigh)| weigh(value).saturating_add(Self::ENTRY_BYTES))
    }

    pub(super) fn entries(&self) -> usize {
        self.entries_held.load(Ordering::Relaxed)
    }

    /// Takes room if there is enough. Both counters are exact: what does not fit is given back.
    fn reserve(&self, entries: usize, bytes: usize) -> bool {
        let entries_after = self.entries_held.fetch_add(entries, Ordering::Relaxed) + entries;
        let bytes_after = self.bytes_held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let fits = (entries == 0 || self.entries_max.is_none_or(|max| entries_after <= max))
            && self.bytes.as_ref().is_none_or(|(max, _)| bytes_after <= *max);
        if !fits {
            self.release(entries, bytes);
        }
        fits
    }

    pub(super) fn release(&self, entries: usize, bytes: usize) {
        self.entries_held.fetch_sub(entries, Ordering::Relaxed);
        self.bytes_held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An entry changed its weight without leaving.
    pub(super) fn exchange(&self, before: usize, after: usize) {
        self.bytes_held.fetch_add(after, Ordering::Relaxed);
        self.bytes_held.fetch_sub(before, Ordering::Relaxed);
    }

    fn is_bounded(&self) -> bool {
        self.entries_max.is_some() || self.bytes.is_some()
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Takes room for what is to be stored, at the expense of what has expired
    /// and then, where the store was told so, of what ends first.
    pub(super) fn make_room(&self, entries: usize, bytes: usize) -> Result<()> {
        while !self.capacity.reserve(entries, bytes) {
            let now = self.clock.now();
            let evict = self.capacity.at_capacity == AtCapacity::EvictNearestEnd;
            if !self.evict_nearest(now, evict) {
                return Err(self.full());
            }
        }
        Ok(())
    }

    /// Removes the entry that ends first, if it has ended or `live` ones may go. `false` if there is none.
    fn evict_nearest(&self, now: Timestamp, live: bool) -> bool {
        debug_assert!(self.capacity.is_bounded());
        let by = (!live).then_some(now.as_millis());
        loop {
            let map = self.map.pin();
            let ends = |item| {
                // One that is not shown yet is filed when it is.
                let node = map.get(&Prefix(item)).filter(|node| !node.is_pending());
                node.map(Node::ends)
            };
            let Some((ends, item)) = lock(&self.wheel).take_nearest(by, ends) else {
                return false;
            };
            let ended = ends <= now.as_millis();
            let removed = map.remove_if(&Prefix(item), |_, node: &Node<V>| {
                node.ends() == ends && (!ended || node.has_ended(now))
            });
            match removed {
                Ok(Some((key, node))) => {
                    self.forget(key, node);
                    match ended {
                        true => self.tell_expired(key),
                        false => self.changes.changed(key),
                    }
                    return true;
                }
                // Used in this very moment: it has another end now, and is filed under it.
                Err((key, node)) => self.file(key, node.ends()),
                Ok(None) => {}
            }
        }
    }

    fn full(&self) -> Error {
        let max = match (&self.capacity.entries_max, &self.capacity.bytes) {
            (Some(entries), Some((bytes, _))) => format!("{entries} entries or {bytes} bytes"),
            (Some(entries), None) => format!("{entries} entries"),
            (None, Some((bytes, _))) => format!("{bytes} bytes"),
            (None, None) => String::from("nothing"),
        };
        Error::full(format!("it holds as much as it may ({max}) and nothing in it has expired"))
    }
}
