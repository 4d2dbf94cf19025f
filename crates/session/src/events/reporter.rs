use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};
use tracing::field::display;
use tracing::{debug, info, warn};

use super::listener::Queue;
use super::{Actor, EndReason, Event, EventKind, EventListener, Parties, TARGET};
use crate::{Owner, SessionId};

/// Writes what happens to the log, the metrics and the listeners.
pub(crate) struct Reporter {
    clock: Clock,
    queues: Vec<Queue>,
    #[cfg(feature = "testing")]
    recorded: std::sync::Mutex<Vec<crate::testing::RecordedEvents>>,
    pub(crate) slide_failures: Throttle,
    #[cfg(feature = "live")]
    pub(crate) check_failures: Throttle,
}

/// When a warning was last logged, in milliseconds: a failure that every request meets is logged
/// once a minute.
#[derive(Default)]
pub(crate) struct Throttle(AtomicU64);

impl Reporter {
    pub(crate) fn new(clock: Clock, listeners: Vec<Arc<dyn EventListener>>) -> Self {
        Self {
            clock,
            queues: listeners.into_iter().map(Queue::start).collect(),
            #[cfg(feature = "testing")]
            recorded: std::sync::Mutex::default(),
            slide_failures: Throttle::default(),
            #[cfg(feature = "live")]
            check_failures: Throttle::default(),
        }
    }

    pub(crate) fn has_listeners(&self) -> bool {
        !self.queues.is_empty()
    }

    /// How many events the listeners missed because they were too slow.
    pub(crate) fn missed(&self) -> u64 {
        self.queues.iter().map(Queue::missed).sum()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn record(&self, recorded: crate::testing::RecordedEvents) {
        self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(recorded);
    }

    /// Reports an event.
    pub(crate) fn report(
        &self,
        kind: EventKind,
        id: Option<SessionId>,
        parties: Parties<'_>,
        actor: Option<&Actor>,
    ) {
        let Parties { owner, acting_for } = parties;
        let actor = actor.filter(|_| !kind.is_of_library());
        let is_of_visitor = owner.is_some_and(Owner::is_reserved);
        let owner = owner.filter(|_| !is_of_visitor);
        log(kind, id, Parties { owner, acting_for }, actor);
        #[cfg(feature = "metrics")]
        super::metrics::count(kind);
        let event = || {
            let (owner, acting_for) = (owner.cloned(), acting_for.cloned());
            Event { at: self.clock.now(), kind, id, owner, acting_for, actor: actor.cloned() }
        };
        #[cfg(feature = "testing")]
        for recorded in &*self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            recorded.push(event());
        }
        if self.has_listeners() {
            let event = event();
            for queue in &self.queues {
                queue.put(&event, is_of_visitor || kind.is_open_to_all());
            }
        }
    }

    /// Logs a failure of the store that the caller gets no error for.
    pub(crate) fn warn(
        &self,
        throttle: &Throttle,
        id: SessionId,
        error: &(dyn StdError + 'static),
        message: &'static str,
    ) {
        if throttle.is_due(self.clock.now()) {
            warn!(target: TARGET, %id, error, "{message}");
        }
    }
}

fn log(kind: EventKind, id: Option<SessionId>, parties: Parties<'_>, actor: Option<&Actor>) {
    use EventKind::{
        Created, DeviceBound, DeviceProved, Ended, Expired, Impersonated, Reauthenticated, Refused,
        Reused, Rotated,
    };
    let (id, owner) = (id.map(display), parties.owner.map(display));
    let acting_for = parties.acting_for.map(display);
    // As strings, which a subscriber quotes: a reason is any text.
    let because = actor.and_then(Actor::reason);
    let actor = actor.map(Actor::name);
    match kind {
        Created { anonymous } => {
            info!(target: TARGET, id, owner, anonymous, actor, because, "session created");
        }
        Impersonated => {
            info!(target: TARGET, id, owner, acting_for, actor, because, "impersonation started");
        }
        Reauthenticated { level } => {
            let level = level.number();
            info!(target: TARGET, id, owner, level, actor, because, "session reauthenticated");
        }
        Rotated => {
            info!(target: TARGET, id, owner, acting_for, actor, because, "session rotated");
        }
        Ended { reason: EndReason::RevokedEveryone } => {
            warn!(target: TARGET, actor, because, "all sessions of all users revoked");
        }
        Ended { reason } => {
            let reason = reason.name();
            info!(target: TARGET, id, owner, acting_for, reason, actor, because, "session ended");
        }
        Expired => debug!(target: TARGET, id, "session expired"),
        // Any client can cause refusals, so they are not in the log by default.
        Refused { reason } => {
            debug!(
                target: TARGET, id, owner, acting_for, reason = reason.name(), "request refused"
            );
        }
        Reused => warn!(
            target: TARGET, id, owner, acting_for,
            "a replaced token was used after its grace: it may have been stolen (see `TokenReuse`)"
        ),
        DeviceBound => info!(target: TARGET, id, owner, acting_for, "session bound to its device"),
        DeviceProved => debug!(target: TARGET, id, owner, acting_for, "device proved its key"),
    }
}

impl Throttle {
    const INTERVAL: Duration = Duration::from_secs(60);

    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(Timestamp::from_millis(last)) >= Self::INTERVAL;
        let now = now.as_millis().max(1);
        let swap = |last| self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        is_due && swap(last).is_ok()
    }
}
