//! Entries in the order in which they come due for cleaning.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of entries, by the deadlines under which they were filed.
///
/// A use moves an entry's deadline and not its item, so it costs the queue nothing. When an item
/// comes due and its entry ends later, the item is filed again. An item is the first eight bytes of
/// a key; items of removed entries stay until they come due.
#[derive(Default)]
pub(super) struct DueQueue(BinaryHeap<Reverse<(u64, u64)>>);

/// How many items are taken at once, so that other threads wait only briefly for the lock.
const CHUNK_ITEMS: usize = 128;

/// Entries come due in steps of this many milliseconds, so that the thread that cleans wakes up to
/// 16 times a second, however many entries expire.
const STEP_MILLIS: u64 = 64;

/// When an entry that ends at `deadline` is reclaimed.
fn due(deadline: u64) -> u64 {
    (deadline / STEP_MILLIS + 1) * STEP_MILLIS
}

impl DueQueue {
    /// Files an item under its deadline. Returns when it comes due.
    pub(super) fn file(&mut self, item: u64, deadline: u64) -> u64 {
        self.0.push(Reverse((deadline, item)));
        due(deadline)
    }

    /// Takes up to a chunk of the items whose deadline has passed.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<u64> {
        let mut items = Vec::new();
        while items.len() < CHUNK_ITEMS
            && let Some(Reverse((deadline, item))) = self.0.peek().copied()
            && deadline <= now
        {
            self.0.pop();
            items.push(item);
        }
        items
    }

    /// Takes the item that ends first, by the deadlines that `deadline_of` returns. Drops items for
    /// which it returns `None`. With `by`, takes only an item that ends by then.
    pub(super) fn take_nearest(
        &mut self,
        by: Option<u64>,
        deadline_of: impl Fn(u64) -> Option<u64>,
    ) -> Option<(u64, u64)> {
        loop {
            let Reverse((filed, item)) = *self.0.peek()?;
            if by.is_some_and(|by| filed > by) {
                return None;
            }
            self.0.pop();
            // No deadline moves back, so every other entry ends no earlier than this item.
            match deadline_of(item) {
                Some(deadline) if deadline == filed => return Some((deadline, item)),
                Some(deadline) => self.0.push(Reverse((deadline, item))),
                None => {}
            }
        }
    }

    /// When the next item comes due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((deadline, _))| due(*deadline))
    }

    /// How many items wait, those of removed entries included.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_comes_due_shortly_after_its_deadline() {
        for distance in [1, 63, 64, 1_000, 30 * 60_000, 12 * 3_600_000, 400 * 86_400_000] {
            let mut queue = DueQueue::default();
            let deadline = 1_767_225_600_123 + distance;
            let due = queue.file(7, deadline);
            assert!(due > deadline && due - deadline <= STEP_MILLIS);
            assert_eq!(queue.next_due(), Some(due));
            assert!(queue.take_due(deadline - 1).is_empty());
            assert_eq!(queue.take_due(due), [7]);
            assert_eq!((queue.len(), queue.next_due()), (0, None));
        }
    }

    #[test]
    fn nearest_item_is_taken_first() {
        let mut queue = DueQueue::default();
        let deadline_of = |item| Some(item);
        let items = [90_000, 5_000, 4_999, 3_600_000, 70, 64_000, 64_001, 86_400_000];
        for item in items {
            queue.file(item, item);
        }
        let mut sorted = items;
        sorted.sort_unstable();
        assert_eq!(queue.take_nearest(Some(69), deadline_of), None);
        for item in sorted {
            assert_eq!(queue.take_nearest(None, deadline_of), Some((item, item)));
        }
        assert_eq!(queue.take_nearest(None, deadline_of), None);
    }

    #[test]
    fn prolonged_item_is_no_longer_the_nearest() {
        let mut queue = DueQueue::default();
        queue.file(1, 1_000);
        queue.file(2, 2_000);
        let prolonged = |item| Some(if item == 1 { 3_000 } else { 2_000 });
        assert_eq!(queue.take_nearest(None, prolonged), Some((2_000, 2)));
        assert_eq!(queue.take_nearest(None, |_| None), None);
        assert_eq!(queue.len(), 0);
    }
}
