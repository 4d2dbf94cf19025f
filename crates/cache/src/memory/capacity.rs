use std::sync::Arc;

use super::node::Node;
use crate::sync::{Mutex, lock};
use crate::{Error, Key, Result};

/// The reaction of a full [`MemoryStore`](crate::MemoryStore) to another entry.
///
/// See [`MemoryStoreBuilder`](crate::MemoryStoreBuilder) for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AtCapacity {
    /// Refuses the new entry, with an error that says that the store is full.
    #[default]
    Refuse,
    /// Removes the entry that would end first.
    EvictNearestEnd,
}

type Weigh<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

/// The bounds of a store, and how much it holds if it has bounds.
pub(super) struct Capacity<V> {
    pub(super) max: Room,
    /// Set if the bytes are bounded.
    pub(super) weigh: Option<Weigh<V>>,
    pub(super) at_capacity: AtCapacity,
    /// Exact at each moment: a store never holds more than `max`. Unused in a store without bounds.
    held: Mutex<Room>,
}

/// Room in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Room {
    const UNBOUNDED: Self = Self { entries: usize::MAX, bytes: usize::MAX };
}

impl<V> Capacity<V> {
    /// The size of an entry besides the memory that its value points to: node, key, map slot and
    /// wheel item.
    const ENTRY_BYTES: usize = size_of::<Node<V>>() + size_of::<Key>() + 32;

    pub(super) fn unbounded() -> Self {
        let held = Mutex::new(Room { entries: 0, bytes: 0 });
        Self { max: Room::UNBOUNDED, weigh: None, at_capacity: AtCapacity::Refuse, held }
    }

    /// The bytes that an entry with this value takes; zero if the bytes are not bounded.
    pub(super) fn weigh(&self, value: &V) -> usize {
        self.weigh.as_ref().map_or(0, |weigh| weigh(value).saturating_add(Self::ENTRY_BYTES))
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.max != Room::UNBOUNDED
    }

    /// Takes room; `false` if there is not enough.
    pub(super) fn take(&self, room: Room) -> bool {
        if !self.is_bounded() {
            return true;
        }
        let mut held = lock(&self.held);
        let entries = held.entries.saturating_add(room.entries);
        let bytes = held.bytes.saturating_add(room.bytes);
        let fits = entries <= self.max.entries && bytes <= self.max.bytes;
        if fits {
            *held = Room { entries, bytes };
        }
        fits
    }

    pub(super) fn give_back(&self, room: Room) {
        if self.is_bounded() {
            let mut held = lock(&self.held);
            held.entries = held.entries.saturating_sub(room.entries);
            held.bytes = held.bytes.saturating_sub(room.bytes);
        }
    }

    /// Refuses a value that would not fit into an empty store.
    pub(super) fn check_weight(&self, weight: usize) -> Result<()> {
        if weight > self.max.bytes {
            return Err(Error::full(format!(
                "the entry takes {weight} bytes, more than the {} that the store may hold",
                self.max.bytes
            )));
        }
        Ok(())
    }

    pub(super) fn full(&self) -> Error {
        let max = match self.max {
            Room { entries, bytes: usize::MAX } => format!("{entries} entries"),
            Room { entries: usize::MAX, bytes } => format!("{bytes} bytes"),
            Room { entries, bytes } => format!("{entries} entries or {bytes} bytes"),
        };
        Error::full(format!("it holds as much as it may ({max}) and nothing in it has expired"))
    }
}
