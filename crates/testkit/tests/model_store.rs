//! The suite on the reference store.

use std::time::Duration;

use kvolt_cache::Key;
use kvolt_testkit::{Fixture, ManualClock, ModelStore};

#[derive(Clone, Default)]
struct Reference(ManualClock);

impl Fixture for Reference {
    type Store = ModelStore<String>;

    async fn store(&self) -> Self::Store {
        ModelStore::new(self.0.clock())
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        store.within("neighbour").ok()
    }

    async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
        store.damage(key)
    }

    async fn write_newer(&self, store: &Self::Store, key: &Key) -> bool {
        store.damage(key)
    }
}

kvolt_testkit::conformance_suite!(Reference::default());

mod on_a_runtime {
    use super::Reference;

    kvolt_testkit::conformance_suite!(Reference::default(), tokio::test);
}
