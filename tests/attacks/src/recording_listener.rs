//! A listener that records all events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_session::{Event, EventListener};
use tokio::time::Instant;

/// The recorded events.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordingListener(Arc<Mutex<Vec<Event>>>);

/// A listener has its own thread, which may be slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

impl RecordingListener {
    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of matching events so far.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| is_it(event)).count()
    }

    /// Waits for a matching event.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.until_more(what, 0, is_it).await
    }

    /// Waits for more than `before` matching events, and returns the last.
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
            assert!(
                begun.elapsed() < PATIENCE,
                "no event: {what}; the events are {:?}",
                self.events()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl EventListener for RecordingListener {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
