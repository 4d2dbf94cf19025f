//! An event listener that records events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_session::{Event, EventListener};
use tokio::time::Instant;

/// The recorded events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Event>>>);

/// Generous, since a listener has its own thread and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

impl Told {
    /// Returns the events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of matching events so far.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| is_it(event)).count()
    }

    /// Waits until a matching event is recorded.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.until_more(what, 0, is_it).await
    }

    /// Waits until more than `before` matching events are recorded, and returns the last.
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

impl EventListener for Told {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
