//! Finding an entry, by its key or by a former one.

use super::former::Step;
use super::inner::Inner;
use super::node::Slid;
use crate::sync::yield_now;
use crate::{Access, EntryRef, Key, Timestamp};

/// A chain of former keys is followed this far: more renamings than that within one grace end it.
const FORMER_STEPS_MAX: usize = 16;

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Shows the entry to `visit`, if it is there.
    #[inline]
    pub(super) fn get<R>(
        &self,
        key: &Key,
        access: Access,
        visit: impl FnOnce(EntryRef<'_, V>) -> R,
    ) -> Option<R> {
        loop {
            // The time is read before the look-up: an answer is never younger than it claims.
            let now = self.clock.now();
            let map = self.map.pin();
            let Some((key, node)) = map.get_key_value(key) else {
                drop(map);
                return self.get_by_former(key, visit);
            };
            match node.access(access, now) {
                Slid::Live => return Some(visit(node.view(key))),
                Slid::Expired => return None,
                Slid::Stale => {}
            }
        }
    }

    /// Only ever looks: by a former key, nothing is kept alive.
    #[cold]
    fn get_by_former<R>(&self, key: &Key, visit: impl FnOnce(EntryRef<'_, V>) -> R) -> Option<R> {
        loop {
            let now = self.clock.now();
            let key = self.successor(key, now)?;
            let map = self.map.pin();
            // A successor that has just been renamed in its turn is found by asking again.
            let Some((key, node)) = map.get_key_value(&key) else { continue };
            return node.is_live(now).then(|| visit(node.view(key)));
        }
    }

    /// The key under which the entry of a former key lives now, if its grace lasts and there is one.
    pub(super) fn successor(&self, key: &Key, now: Timestamp) -> Option<Key> {
        if self.former.is_empty() {
            return None;
        }
        let mut key = *key;
        let mut steps = 0;
        while steps < FORMER_STEPS_MAX {
            let Step { to, ends } = self.former.get(&key)?;
            if now.as_millis() >= ends {
                return None;
            }
            match self.map.pin().get(&to) {
                // Between taking the entry from its former key and showing it under the new
                // one, a renaming does nothing that takes time.
                Some(node) if node.is_pending() => yield_now(),
                Some(_) => return Some(to),
                None => {
                    key = to;
                    steps += 1;
                }
            }
        }
        None
    }

    /// Whether it is a former key that leads to a live entry.
    pub(super) fn leads_on(&self, key: &Key, now: Timestamp) -> bool {
        let live = |to: Key| self.map.pin().get(&to).is_some_and(|node| node.is_live(now));
        self.successor(key, now).is_some_and(live)
    }

    /// The key itself where an entry has it, or the successor of a former key.
    pub(super) fn resolve(&self, key: &Key, now: Timestamp) -> Option<Key> {
        if self.map.pin().contains_key(key) { Some(*key) } else { self.successor(key, now) }
    }
}
