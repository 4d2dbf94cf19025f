//! Keys that were renamed and are in their grace.

use std::collections::HashMap;

use super::hash::{OwnHash, Prefix};
use super::wheel::Wheel;
use crate::Key;
use crate::sync::{Mutex, lock};

/// Where former keys lead. Looked at only for keys that the map does not have.
pub(super) struct FormerKeys {
    steps: papaya::HashMap<Key, Step, OwnHash>,
    /// Which former keys lead to a key, so that they can be forgotten when another entry takes it.
    leading: Mutex<HashMap<Key, Vec<Key>, OwnHash>>,
    wheel: Mutex<Wheel>,
}

/// Where a former key leads, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) to: Key,
    pub(super) ends: u64,
}

impl FormerKeys {
    pub(super) fn new() -> Self {
        Self {
            steps: papaya::HashMap::with_hasher(OwnHash),
            leading: Mutex::default(),
            wheel: Mutex::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Step> {
        self.steps.pin().get(key).copied()
    }

    pub(super) fn insert(&self, from: Key, to: Key, ends: u64) {
        lock(&self.leading).entry(to).or_default().push(from);
        self.steps.pin().insert(from, Step { to, ends });
    }

    pub(super) fn remove(&self, from: &Key) {
        if let Some(step) = self.steps.pin().remove(from) {
            self.unlink(from, &step.to);
        }
    }

    /// Forgets what leads to a key, and where it leads itself: it is to have another entry.
    pub(super) fn forget(&self, key: &Key) {
        if self.is_empty() {
            return;
        }
        let leading = lock(&self.leading).remove(key).unwrap_or_default();
        let steps = self.steps.pin();
        for from in leading {
            let _ = steps.remove_if(&from, |_, step| step.to == *key);
        }
        self.remove(key);
    }

    pub(super) fn clear(&self) {
        self.steps.pin().clear();
        lock(&self.leading).clear();
    }

    /// Has a former key cleaned when its grace ends. Returns when that comes due.
    pub(super) fn file(&self, from: &Key, ends: u64, now: u64) -> u64 {
        lock(&self.wheel).file(from.prefix(), ends, now)
    }

    /// Looks at up to a chunk of what is due. Returns when to go on.
    pub(super) fn clean(&self, now: u64) -> Option<u64> {
        let due = {
            let mut wheel = lock(&self.wheel);
            let due = wheel.take_due(now);
            if due.is_empty() {
                return wheel.next_due();
            }
            due
        };
        let steps = self.steps.pin();
        for item in due {
            match steps.remove_if(&Prefix(item), |_, step| now >= step.ends) {
                Ok(Some((from, step))) => self.unlink(from, &step.to),
                Ok(None) => {}
                Err((_, step)) => {
                    lock(&self.wheel).file(item, step.ends, now);
                }
            }
        }
        Some(now)
    }

    fn unlink(&self, from: &Key, to: &Key) {
        let mut leading = lock(&self.leading);
        if let Some(keys) = leading.get_mut(to) {
            keys.retain(|key| key != from);
            if keys.is_empty() {
                leading.remove(to);
            }
        }
    }
}
