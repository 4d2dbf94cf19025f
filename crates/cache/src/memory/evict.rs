//! Making room in a store with bounds.

use super::capacity::{AtCapacity, Room};
use super::hash::Prefix;
use super::inner::Inner;
use super::node::{Node, NotLive};
use crate::sync::{lock, yield_now};
use crate::{Key, Result};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Reserves room. Evicts expired entries first and then, if the store evicts live ones, those
    /// that end first. The entry under `except` stays.
    pub(super) fn make_room(&self, room: Room, except: Option<&Key>) -> Result<()> {
        while !self.capacity.take(room) {
            if !self.evict_nearest(except) {
                return Err(self.capacity.full());
            }
        }
        Ok(())
    }

    /// Removes the entry that ends first, if it has expired or the store evicts live ones.
    /// `false` if no entry could be removed.
    fn evict_nearest(&self, except: Option<&Key>) -> bool {
        let now = self.now();
        let evicts = self.capacity.at_capacity == AtCapacity::EvictNearestEnd;
        let by = (!evicts).then_some(now.as_millis());
        let mut kept = None;
        let map = self.map();
        let evicted = loop {
            // A pending entry is filed when it is published.
            let ends =
                |item| map.get(&Prefix(item)).filter(|node| !node.is_pending()).map(Node::ends);
            // A bounded store has one stripe.
            let Some((ends, item)) = lock(&self.stripes[0].0.queue).take_nearest(by, ends) else {
                break false;
            };
            if except.is_some_and(|key| key.prefix() == item) {
                kept = Some(ends);
                continue;
            }
            let removed = map.remove_if(&Prefix(item), |_, node| match node.state(now) {
                Ok(()) => evicts && node.ends() == ends,
                Err(state) => state == NotLive::Expired,
            });
            match removed {
                Ok(Some(taken)) => {
                    self.removed(taken, now);
                    break true;
                }
                // Another call has used or changed it: it ends at another time, and is filed again.
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
