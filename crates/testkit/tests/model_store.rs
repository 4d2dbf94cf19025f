//! The suite on the reference store.

use std::time::Duration;

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
}

kvolt_testkit::conformance_suite!(Reference::default());

mod on_a_runtime {
    use super::Reference;

    kvolt_testkit::conformance_suite!(Reference::default(), tokio::test);
}
