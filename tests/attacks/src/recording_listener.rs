//! A listener that remembers what it was told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_session::{Event, EventListener};
use tokio::time::Instant;

/// What a listener was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordingListener(Arc<Mutex<Vec<Event>>>);

/// A listener has a thread of its own, and a busy machine lets it wait.
const PATIENCE: Duration = Duration::from_secs(10);

impl RecordingListener {
    /// All of it so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many events so far are like this.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| is_it(event)).count()
    }

    /// Waits until something was told that is like this.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.until_more(what, 0, is_it).await
    }

    /// Waits until more than so many events were told that are like this, and returns the last.
    pub(crate) async fn until_more(
        &self,
        what: &str,
        before: usize,
        is_it: impl Fn(&Event) -> bool,
    ) -> Event {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.events().into_iter().filter(&is_it).nth(before) {
                return event;
            }
            assert!(begun.elapsed() < PATIENCE, "not told: {what}; but {:?}", self.events());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl EventListener for RecordingListener {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
