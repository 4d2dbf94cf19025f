//! How much may be stored, and what happens at that bound.

use std::fmt;
use std::sync::Arc;

use super::hash::Prefix;
use super::inner::Inner;
use super::node::{Node, State};
use crate::sync::{Mutex, lock, yield_now};
use crate::{Error, Key, Result};

/// What a full [`MemoryStore`](crate::MemoryStore) does with one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AtCapacity {
    /// Refuses it, with an error that says that the store is full.
    #[default]
    Refuse,
    /// Removes the entry that would end first.
    EvictNearestEnd,
}

type Weigh<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

/// The bounds of a store, and how much it holds where it has bounds.
pub(super) struct Capacity<V> {
    pub(super) max_entries: Option<usize>,
    pub(super) max_bytes: Option<(usize, Weigh<V>)>,
    pub(super) at_capacity: AtCapacity,
    /// Exact at each moment: room that is not there is never taken. Nothing touches it in a
    /// store without bounds.
    held: Mutex<Room>,
}

/// Room in a store.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl<V> Capacity<V> {
    pub(super) fn new() -> Self {
        Self {
            max_entries: None,
            max_bytes: None,
            at_capacity: AtCapacity::Refuse,
            held: Mutex::default(),
        }
    }

    /// What an entry takes beside what its value points to: node, key, slot, wheel.
    const ENTRY_BYTES: usize = size_of::<Node<V>>() + size_of::<Key>() + 32;

    pub(super) fn weigh(&self, value: &V) -> usize {
        self.max_bytes
            .as_ref()
            .map_or(0, |(_, weigh)| weigh(value).saturating_add(Self::ENTRY_BYTES))
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.max_entries.is_some() || self.max_bytes.is_some()
    }

    fn take(&self, room: Room) -> bool {
        if !self.is_bounded() {
            return true;
        }
        let mut held = lock(&self.held);
        let entries = held.entries.saturating_add(room.entries);
        let bytes = held.bytes.saturating_add(room.bytes);
        let fits = (room.entries == 0 || self.max_entries.is_none_or(|max| entries <= max))
            && (room.bytes == 0 || self.max_bytes.as_ref().is_none_or(|(max, _)| bytes <= *max));
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
        match &self.max_bytes {
            Some((max, _)) if weight > *max => Err(Error::full(format!(
                "the entry takes {weight} bytes, more than the {max} that the store may hold"
            ))),
            _ => Ok(()),
        }
    }

    fn full(&self) -> Error {
        let max = match (&self.max_entries, &self.max_bytes) {
            (Some(entries), Some((bytes, _))) => format!("{entries} entries or {bytes} bytes"),
            (Some(entries), None) => format!("{entries} entries"),
            (None, Some((bytes, _))) => format!("{bytes} bytes"),
            (None, None) => String::from("nothing"),
        };
        Error::full(format!("it holds as much as it may ({max}) and nothing in it has expired"))
    }
}

impl<V> fmt::Debug for Capacity<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capacity")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes.as_ref().map(|(max, _)| max))
            .field("at_capacity", &self.at_capacity)
            .finish()
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Takes room, at the expense of what has expired and then, if the store evicts, of what ends
    /// first. The entry under `except` stays.
    pub(super) fn make_room(&self, room: Room, except: Option<&Key>) -> Result<()> {
        while !self.capacity.take(room) {
            if !self.evict_nearest(except) {
                return Err(self.capacity.full());
            }
        }
        Ok(())
    }

    /// Removes the entry that ends first, if it has expired or the store evicts live ones.
    /// `false` if there is none.
    fn evict_nearest(&self, except: Option<&Key>) -> bool {
        let now = self.now();
        let evicts = self.capacity.at_capacity == AtCapacity::EvictNearestEnd;
        let by = (!evicts).then_some(now.as_millis());
        let mut kept = None;
        let evicted = loop {
            let map = self.map();
            let ends = |item| {
                // An entry that is not shown yet is filed when it is.
                map.get(&Prefix(item)).filter(|node| !node.is_pending()).map(Node::ends)
            };
            // A bounded store has one stripe.
            let Some((ends, item)) = lock(&self.stripes[0].0.wheel).take_nearest(by, ends) else {
                break false;
            };
            if except.is_some_and(|key| key.prefix() == item) {
                kept = Some(ends);
                continue;
            }
            let removed = map.remove_if(&Prefix(item), |_, node| match node.state(now) {
                State::Expired => true,
                State::Live => evicts && node.ends() == ends,
                State::Undecided => false,
            });
            match removed {
                Ok(Some(taken)) => {
                    self.removed(taken, now);
                    break true;
                }
                // Used or changed at this moment: it has another end now, and is filed under it.
                Err((key, node)) => {
                    self.file(key, node.ends());
                    yield_now();
                }
                Ok(None) => {}
            }
        };
        if let (Some(ends), Some(key)) = (kept, except) {
            self.file(key, ends);
        }
        evicted
    }
}
