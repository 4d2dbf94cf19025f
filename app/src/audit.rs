//! What has happened to sessions lately, for administrators.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use kvolt::session::{Event, EventListener, What};

/// How many events are kept of what happened to sessions.
const SESSIONS_MAX: usize = 400;

/// How many are kept of requests that were refused. These anybody can cause, so they
/// push no others out.
const REFUSALS_MAX: usize = 100;

/// The latest events, in memory. Cloning it is cheap; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Audit(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    sessions: VecDeque<Event>,
    refusals: VecDeque<Event>,
}

impl Audit {
    /// The events, the latest first.
    pub(crate) fn latest(&self) -> Vec<Event> {
        let mut events: Vec<Event> = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.sessions.iter().chain(&kept.refusals).cloned().collect()
        };
        events.sort_by_key(|event| event.at);
        events.reverse();
        events
    }
}

impl EventListener for Audit {
    fn on_event(&self, event: &Event) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, most) = match event.what {
            What::Refused { .. } => (&mut kept.refusals, REFUSALS_MAX),
            _ => (&mut kept.sessions, SESSIONS_MAX),
        };
        if events.len() == most {
            events.pop_front();
        }
        events.push_back(event.clone());
    }
}

/// Why, in a word or two.
pub(crate) fn reason(event: &Event) -> String {
    match event.what {
        What::Ended { reason } => reason.name().to_owned(),
        What::Refused { reason } => reason.name().to_owned(),
        What::Reauthenticated { level } => format!("level {}", level.number()),
        What::Created { anonymous: true } => String::from("anonymous"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kvolt::cache::MemoryStore;
    use kvolt::session::{Manager, NewSession, RefusalReason};

    use super::*;

    #[tokio::test]
    async fn refusals_push_nothing_else_out() {
        let audit = Audit::default();
        let store = MemoryStore::new();
        let manager = Manager::<u8>::builder(store).idle_timeout(Duration::from_secs(60));
        let manager = manager.listener(audit.clone()).build().unwrap();
        let token = manager.create(NewSession::new(1).owner("1")).await.unwrap();
        manager.destroy(&token).await.unwrap();
        for _ in 0..1_000 {
            manager.report_refusal(None, RefusalReason::Unknown);
        }
        // Its queue is empty once the manager is gone.
        drop(manager);
        while audit.latest().len() < 2 + REFUSALS_MAX {
            std::thread::yield_now();
        }
        let latest = audit.latest();
        let names: Vec<_> = latest.iter().rev().take(2).map(|event| event.what.name()).collect();
        assert_eq!(names, ["created", "ended"]);
        assert_eq!(reason(&latest[latest.len() - 2]), "logout");
    }
}
