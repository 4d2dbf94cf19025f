//! The audit log: the latest events of this instance, in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use kvolt::session::{Actor, Device, Event, EventKind, EventListener, Owner, SessionId, Timestamp};

/// The maximum number of kept events of sessions.
const MAX_SESSIONS: usize = 400;

/// The maximum number of kept failed sign-ins, and of other refused requests. Any client can cause
/// these, so they have separate queues and push out no other event.
const MAX_REFUSALS: usize = 100;

/// The latest events. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Audit(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    sessions: VecDeque<Entry>,
    failed_sign_ins: VecDeque<Entry>,
    refusals: VecDeque<Entry>,
}

/// An event in the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    /// A short name, such as `signed_in`.
    pub(crate) event: &'static str,
    pub(crate) reason: String,
    pub(crate) session: Option<SessionId>,
    pub(crate) owner: Option<Owner>,
    /// The user that the owner acts for.
    pub(crate) acting_for: Option<Owner>,
    /// The account that caused it, by its id, where that is not evident from the event.
    pub(crate) actor: Option<Actor>,
    pub(crate) device: Option<Device>,
}

impl Entry {
    pub(crate) fn new(at: Timestamp, event: &'static str) -> Self {
        Self {
            at,
            event,
            reason: String::new(),
            session: None,
            owner: None,
            acting_for: None,
            actor: None,
            device: None,
        }
    }
}

impl Audit {
    /// The events, newest first.
    pub(crate) fn latest(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = {
            let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Queues { sessions, failed_sign_ins, refusals } = &*queues;
            sessions.iter().chain(failed_sign_ins).chain(refusals).cloned().collect()
        };
        entries.sort_by_key(|entry| entry.at);
        entries.reverse();
        entries
    }

    /// Records a new session, with its device.
    pub(crate) fn signed_in(&self, entry: Entry) {
        self.push(|queues| (&mut queues.sessions, MAX_SESSIONS), entry);
    }

    /// Records a failed sign-in, or the lock-out that follows.
    pub(crate) fn sign_in_failed(&self, entry: Entry) {
        self.push(|queues| (&mut queues.failed_sign_ins, MAX_REFUSALS), entry);
    }

    fn push(&self, queue: impl FnOnce(&mut Queues) -> (&mut VecDeque<Entry>, usize), entry: Entry) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, max) = queue(&mut queues);
        if queue.len() == max {
            queue.pop_front();
        }
        queue.push_back(entry);
    }
}

impl EventListener for Audit {
    fn on_event(&self, event: &Event) {
        let reason = match event.kind {
            // Recorded by `signed_in`, which knows the device.
            EventKind::Created { .. } => return,
            // Routine, every few minutes in each browser: it would push out the others.
            EventKind::DeviceProved => return,
            EventKind::Ended { reason } => reason.name().to_owned(),
            EventKind::Refused { reason } => reason.name().to_owned(),
            EventKind::Reauthenticated { level } => format!("level {}", level.number()),
            _ => String::new(),
        };
        let entry = Entry {
            reason,
            session: event.id,
            owner: event.owner.clone(),
            acting_for: event.acting_for.clone(),
            actor: event.actor.clone(),
            ..Entry::new(event.at, event.kind.name())
        };
        match event.kind {
            EventKind::Refused { .. } => {
                self.push(|queues| (&mut queues.refusals, MAX_REFUSALS), entry);
            }
            _ => self.push(|queues| (&mut queues.sessions, MAX_SESSIONS), entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kvolt::cache::MemoryStore;
    use kvolt::session::{Manager, NewSession, RefusalReason};

    use super::*;

    #[tokio::test]
    async fn refusals_push_out_no_other_event() {
        let audit = Audit::default();
        let store = MemoryStore::new();
        let manager = Manager::<u8>::builder(store).idle_timeout(Duration::from_secs(60));
        let manager = manager.listener(audit.clone()).build().unwrap();
        let now = manager.clock().now();
        let token = manager.create(NewSession::new(1).owner("1")).await.unwrap();
        audit.signed_in(Entry::new(now, "signed_in"));
        manager.logout(&token).await.unwrap();
        for _ in 0..1_000 {
            manager.report_refusal(None, RefusalReason::Unknown);
            audit.sign_in_failed(Entry::new(now, "sign_in_failed"));
        }
        // When the manager is dropped, the listener's queue is drained.
        drop(manager);
        while audit.latest().len() < 2 + 2 * MAX_REFUSALS {
            std::thread::yield_now();
        }
        let latest = audit.latest();
        assert!(latest.iter().any(|entry| entry.event == "signed_in"));
        assert!(latest.iter().any(|entry| (entry.event, &*entry.reason) == ("ended", "logout")));
    }
}
