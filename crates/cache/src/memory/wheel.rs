//! Which entries come due for cleaning, and when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A timer wheel without cascades: an item waits in the slot that covers its deadline, and comes
/// due once, when the slot has passed.
///
/// The farther a deadline lies ahead, the wider its slot: at most 1/32 of the distance, so an
/// expired entry is reclaimed at most 3 % of its time to live late. Slots exist only while they
/// have items. An entry that was slid in the meantime is filed again when its slot comes due, so a
/// slide costs the wheel nothing. An item is the first eight bytes of a key.
///
/// In a store with a capacity, which must make room at once, items pass through `front`, exact and
/// sorted, before they end.
#[derive(Default)]
pub(super) struct Wheel {
    slots: BTreeMap<u64, Slot>,
    front: BinaryHeap<Reverse<(u64, u64)>>,
    items: usize,
}

/// Chunks, so that a slot of a million neither moves when it grows nor is taken at once.
struct Slot {
    /// Where the slot begins; its end is its key.
    start: u64,
    chunks: Vec<Vec<u64>>,
}

const CHUNK_ITEMS: usize = 256;
const SLOT_MILLIS_MIN: u64 = 64;
const SLOTS_PER_OCTAVE_LOG2: u32 = 5;

impl Wheel {
    /// Files an item under its deadline. Returns when it will come due.
    pub(super) fn file(&mut self, item: u64, deadline: u64, now: u64) -> u64 {
        let distance = deadline.saturating_sub(now).max(1);
        let width = (1u64 << distance.ilog2() >> SLOTS_PER_OCTAVE_LOG2).max(SLOT_MILLIS_MIN);
        let start = deadline - deadline % width;
        let end = start.saturating_add(width);
        let slot = self.slots.entry(end).or_insert_with(|| Slot { start, chunks: Vec::new() });
        slot.start = slot.start.min(start);
        match slot.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ITEMS => chunk.push(item),
            _ => {
                // Small at first: most slots of a small store never fill a chunk.
                let mut chunk =
                    Vec::with_capacity(if slot.chunks.is_empty() { 4 } else { CHUNK_ITEMS });
                chunk.push(item);
                slot.chunks.push(chunk);
            }
        }
        self.items += 1;
        end
    }

    /// A chunk of the items whose slot has passed; empty if there is none.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        while due.len() < CHUNK_ITEMS
            && let Some(Reverse((deadline, item))) = self.front.peek().copied()
            && deadline <= now
        {
            self.front.pop();
            due.push(item);
        }
        if due.is_empty()
            && let Some(mut slot) = self.slots.first_entry()
            && *slot.key() <= now
        {
            due = slot.get_mut().chunks.pop().unwrap_or_default();
            if slot.get().chunks.is_empty() {
                slot.remove();
            }
        }
        self.items -= due.len();
        due
    }

    /// The item nearest to its end with that end, by the deadline that
    /// `deadline_of` says each has now; items for which it says none are dropped.
    ///
    /// With `by`, only one that ends by then.
    pub(super) fn take_nearest(
        &mut self,
        by: Option<u64>,
        mut deadline_of: impl FnMut(u64) -> Option<u64>,
    ) -> Option<(u64, u64)> {
        loop {
            let front = self.front.peek().map(|Reverse((deadline, _))| *deadline);
            // Slots don't follow one another exactly, so every one that begins before the front
            // may hold what is nearer: they are ordered by their ends, and few.
            let bound = front.unwrap_or(u64::MAX).min(by.unwrap_or(u64::MAX));
            let nearer = self
                .slots
                .iter()
                .find(|(_, slot)| slot.start <= bound)
                .map(|(end, _)| *end)
                .filter(|_| bound != u64::MAX || front.is_none());
            if let Some(end) = nearer
                && let Some(slot) = self.slots.remove(&end)
            {
                for item in slot.chunks.into_iter().flatten() {
                    match deadline_of(item) {
                        Some(deadline) => self.front.push(Reverse((deadline, item))),
                        None => self.items -= 1,
                    }
                }
                continue;
            }
            let Reverse((deadline, item)) = self.front.pop()?;
            match deadline_of(item) {
                Some(now) if now == deadline => {
                    if by.is_some_and(|by| deadline > by) {
                        self.front.push(Reverse((deadline, item)));
                        return None;
                    }
                    self.items -= 1;
                    return Some((deadline, item));
                }
                Some(moved) => self.front.push(Reverse((moved, item))),
                None => self.items -= 1,
            }
        }
    }

    /// When something comes due next.
    pub(super) fn next_due(&self) -> Option<u64> {
        let front = self.front.peek().map(|Reverse((deadline, _))| *deadline);
        let slot = self.slots.first_key_value().map(|(end, _)| *end);
        front.into_iter().chain(slot).min()
    }

    /// How many items wait, those of removed entries included.
    pub(super) fn len(&self) -> usize {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_comes_due_at_its_deadline_or_a_thirty_second_of_the_way_later() {
        for distance in [1, 63, 64, 1_000, 30 * 60_000, 12 * 3_600_000, 400 * 86_400_000] {
            let mut wheel = Wheel::default();
            let now = 1_767_225_600_123;
            let deadline = now + distance;
            let due = wheel.file(7, deadline, now);
            assert!(due > deadline && due - deadline <= (distance / 32).max(SLOT_MILLIS_MIN));
            assert!(wheel.take_due(due - 1).is_empty());
            assert_eq!(wheel.take_due(due), [7]);
            assert_eq!((wheel.len(), wheel.next_due()), (0, None));
        }
    }

    #[test]
    fn the_nearest_is_found_among_slots_of_all_widths() {
        let mut wheel = Wheel::default();
        let deadline_of = |item| Some(item);
        let items = [90_000, 5_000, 4_999, 3_600_000, 70, 64_000, 64_001, 86_400_000];
        for item in items {
            wheel.file(item, item, 0);
        }
        let mut sorted = items;
        sorted.sort_unstable();
        assert_eq!(wheel.take_nearest(Some(69), deadline_of), None);
        for item in sorted {
            assert_eq!(wheel.take_nearest(None, deadline_of), Some((item, item)));
        }
        assert_eq!(wheel.take_nearest(None, deadline_of), None);
    }

    #[test]
    fn a_prolonged_item_is_not_the_nearest_any_more() {
        let mut wheel = Wheel::default();
        wheel.file(1, 1_000, 0);
        wheel.file(2, 2_000, 0);
        let prolonged = |item| Some(if item == 1 { 3_000 } else { 2_000 });
        assert_eq!(wheel.take_nearest(None, prolonged), Some((2_000, 2)));
        assert_eq!(wheel.take_nearest(None, |_| None), None);
        assert_eq!(wheel.len(), 0);
    }
}
