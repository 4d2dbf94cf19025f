//! Replacing the value of an entry.

use papaya::{Compute, Operation};

use super::capacity::Room;
use super::inner::Inner;
use super::node::deadlines_of;
use crate::sync::yield_now;
use crate::{Expiry, Key, ReplaceOutcome, Result, Version};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<V>> {
        let weight = self.capacity.weigh(&value);
        self.capacity.check_weight(weight)?;
        let map = self.map();
        loop {
            let Some(found) = self.find(&map, key) else {
                return Ok(ReplaceOutcome::Absent);
            };
            if found.node.version != seen.number() {
                return Ok(ReplaceOutcome::Conflict(found.to_entry()));
            }
            // No other node ever has this version, so this is the weight of the one that is
            // replaced below.
            let before = self.capacity.weigh(&found.node.value);
            let growth = Room { entries: 0, bytes: weight.saturating_sub(before) };
            self.make_room(growth, Some(key))?;
            let version = self.next_version();
            let mut sealed = None;
            let replaced = map.compute(*key, |current| {
                let Some((_, node)) = current.filter(|(_, node)| node.version == seen.number())
                else {
                    return Operation::Abort(());
                };
                // Before the seal, because `clone` may panic.
                let value = value.clone();
                // The map may call this again with the node that this call has sealed.
                sealed = sealed.or_else(|| node.seal(found.now));
                let Some(deadlines) = sealed else { return Operation::Abort(()) };
                let deadlines = expiry.map_or(deadlines, |expiry| deadlines_of(expiry, found.now));
                Operation::Insert(node.successor(value, version, deadlines))
            });
            if let Compute::Updated { new: (key, new), .. } = replaced {
                if expiry.is_some() {
                    self.file(key, new.ends());
                }
                let bytes = before.saturating_sub(weight);
                self.capacity.give_back(Room { entries: 0, bytes });
                self.changes.changed(key);
                return Ok(ReplaceOutcome::Replaced(Version::from_number(version)));
            }
            // Another call has changed the entry, or is about to.
            self.capacity.give_back(growth);
            yield_now();
        }
    }
}
