//! The keys that scans have gathered for their next pages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use kvolt_cache::Key;

/// How many are kept.
const MAX_SNAPSHOTS: usize = 4;

/// The last snapshots, oldest first.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<VecDeque<Arc<Snapshot>>>);

/// Keys of one pass over the server, sorted.
pub(crate) struct Snapshot {
    pub(crate) id: u64,
    pub(crate) keys: Vec<Key>,
    /// Whether there may be more keys after the last one.
    pub(crate) has_more: bool,
}

impl Snapshots {
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Snapshot>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|snapshot| snapshot.id == id).cloned()
    }

    pub(crate) fn keep(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::clone(&snapshot));
        if kept.len() > MAX_SNAPSHOTS {
            kept.pop_front();
        }
        snapshot
    }
}
