//! A listener that remembers what it was told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_session::{Event, EventListener};
use tokio::time::Instant;

/// What a listener was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Event>>>);

/// A listener has a thread of its own, and a busy machine lets it wait.
const PATIENCE: Duration = Duration::from_secs(10);

impl Told {
    /// All of it so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something was told that is like this.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.events().into_iter().find(&is_it) {
                return event;
            }
            assert!(begun.elapsed() < PATIENCE, "not told: {what}; but {:?}", self.events());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl EventListener for Told {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
