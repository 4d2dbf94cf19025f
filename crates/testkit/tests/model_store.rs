//! The suite on the reference store.

use std::time::Duration;

use kvolt_cache::Key;
use kvolt_testkit::{Fixture, ManualClock, ModelStore};

/// The clock, and how often the concurrent laws are tried.
#[derive(Clone)]
struct Reference(ManualClock, usize);

impl Fixture for Reference {
    type Store = ModelStore<String>;

    async fn store(&self) -> Self::Store {
        ModelStore::new(self.0.clock())
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    fn rounds(&self) -> usize {
        self.1
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        store.within("neighbour").ok()
    }

    async fn peer(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(store.clone())
    }

    async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
        store.damage(key)
    }

    async fn write_newer(&self, store: &Self::Store, key: &Key) -> bool {
        store.damage(key)
    }
}

kvolt_testkit::conformance_suite!(Reference(ManualClock::new(), 100));

mod on_a_runtime {
    use super::{ManualClock, Reference};

    kvolt_testkit::conformance_suite!(Reference(ManualClock::new(), 10), tokio::test);
}
