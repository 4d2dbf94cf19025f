//! What has happened to sessions lately, for administrators.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use kvolt::session::{Event, EventKind, EventListener};

/// How many events are kept of what happened to sessions.
const MAX_SESSIONS: usize = 400;

/// How many are kept of requests that were refused. These anybody can cause, so they
/// push no others out.
const MAX_REFUSALS: usize = 100;

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
        let (events, most) = match event.kind {
            EventKind::Refused { .. } => (&mut kept.refusals, MAX_REFUSALS),
            _ => (&mut kept.sessions, MAX_SESSIONS),
        };
        if events.len() == most {
            events.pop_front();
        }
        events.push_back(event.clone());
    }
}

/// Why, in a word or two.
pub(crate) fn reason(event: &Event) -> String {
    match event.kind {
        EventKind::Ended { reason } => reason.name().to_owned(),
        EventKind::Refused { reason } => reason.name().to_owned(),
        EventKind::Reauthenticated { level } => format!("level {}", level.number()),
        EventKind::Created { anonymous: true } => String::from("anonymous"),
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
        manager.logout(&token).await.unwrap();
        for _ in 0..1_000 {
            manager.report_refusal(None, RefusalReason::Unknown);
        }
        // Its queue is empty once the manager is gone.
        drop(manager);
        while audit.latest().len() < 2 + MAX_REFUSALS {
            std::thread::yield_now();
        }
        let latest = audit.latest();
        let names: Vec<_> = latest.iter().rev().take(2).map(|event| event.kind.name()).collect();
        assert_eq!(names, ["created", "ended"]);
        assert_eq!(reason(&latest[latest.len() - 2]), "logout");
    }
}
