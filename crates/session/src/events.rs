//! The life of sessions as events: in the log, as metrics, and for listeners.
//!
//! They name the public id, never the token, and nothing of the application's data.

mod listening;
pub(crate) mod metric;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};

pub use self::listening::EventListener;
use self::listening::Queue;
use self::metric::count;
use crate::{Level, Owner, SessionId};

const TARGET: &str = "kvolt::session";

/// Something that happened to a session, or to one who wanted to use one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, by the manager's clock.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The public id of the session; of a refused token, the id that it names. None where a
    /// request had no token, or not one session is meant.
    pub id: Option<SessionId>,
    /// Whose it is, where that is known.
    pub owner: Option<Owner>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A session was made, for one who had proved who they are or for an anonymous visitor.
    Created {
        /// Whether nobody has proved anything.
        anonymous: bool,
    },
    /// Its user has proved again who they are.
    Reauthenticated {
        /// At which level.
        level: Level,
    },
    /// Its token was replaced; its id stays.
    Rotated,
    /// It was ended.
    Ended {
        /// Why.
        reason: EndReason,
    },
    /// It has ended by itself, at one of its timeouts. Told when the store gives its
    /// memory back, which may be later, and only where the store can tell.
    Expired,
    /// A request was refused.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
    /// A token was used that had been replaced, after its grace: the sign of a theft,
    /// or of a client that has missed its new one.
    Reused,
}

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its user signed out.
    Logout,
    /// Its client signed in anew.
    NewLogin,
    /// Its owner, or the number of anonymous visitors, reached the limit.
    Limit,
    /// It was ended by its public name.
    Revoked,
    /// Its owner ended all others but one.
    RevokedOthers,
    /// All of its owner's were ended.
    RevokedOwner,
    /// A credential of its owner's was changed.
    CredentialsChanged,
    /// Everybody's were ended.
    RevokedEveryone,
    /// A token that had been replaced was used after its grace.
    Reuse,
    /// It could not be decoded.
    Undecodable,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// No session has the token: it was made up, or its session has ended.
    Unknown,
    /// The token had been replaced, and its grace had passed.
    Reuse,
    /// The token was replaced a short time ago, and is no longer accepted.
    Replaced,
    /// A credential was changed since the session was made.
    CredentialsChanged,
    /// The owner, or visitors together, have as many sessions as allowed.
    Limit,
    /// The act asks for a more recent or a stronger authentication.
    StepUp,
    /// Another site made a browser send the request.
    CrossOrigin,
    /// The form token was missing or wrong.
    Csrf,
    /// The request has several different tokens, of which none is believed.
    Ambiguous,
    /// The store could not be asked.
    Unavailable,
}

impl EventKind {
    /// A short name, for logs and audits.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Reauthenticated { .. } => "reauthenticated",
            Self::Rotated => "rotated",
            Self::Ended { .. } => "ended",
            Self::Expired => "expired",
            Self::Refused { .. } => "refused",
            Self::Reused => "reused",
        }
    }
}

impl EventKind {
    /// Whether a client without an account can cause it, as often as it likes. An anonymous
    /// session expires as any other, and the store does not say which it was.
    const fn is_open_to_all(&self) -> bool {
        use RefusalReason::{Ambiguous, CrossOrigin, Csrf, Unavailable, Unknown};
        matches!(
            self,
            Self::Refused { reason: Unknown | CrossOrigin | Csrf | Ambiguous | Unavailable }
                | Self::Expired
        )
    }
}

impl EndReason {
    /// A short name, for logs, metrics and audits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::NewLogin => "new login",
            Self::Limit => "limit",
            Self::Revoked => "revoked",
            Self::RevokedOthers => "others revoked",
            Self::RevokedOwner => "all revoked",
            Self::CredentialsChanged => "credentials changed",
            Self::RevokedEveryone => "everyone",
            Self::Reuse => "reuse",
            Self::Undecodable => "undecodable",
        }
    }
}

impl RefusalReason {
    /// A short name, for logs, metrics and audits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reuse => "reuse",
            Self::Replaced => "replaced",
            Self::CredentialsChanged => "credentials changed",
            Self::Limit => "limit",
            Self::StepUp => "step up",
            Self::CrossOrigin => "cross origin",
            Self::Csrf => "csrf",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Where the events of a manager go.
pub(crate) struct Events {
    clock: Clock,
    queues: Vec<Queue>,
    slide_warnings: Warnings,
    #[cfg(feature = "live")]
    check_warnings: Warnings,
}

/// When the same warning was last logged, in milliseconds: an outage that each request meets is
/// logged once a minute.
#[derive(Default)]
struct Warnings(AtomicU64);

impl Warnings {
    const INTERVAL: Duration = Duration::from_secs(60);

    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(Timestamp::from_millis(last)) >= Self::INTERVAL;
        let now = now.as_millis().max(1);
        let swap = |last| self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        is_due && swap(last).is_ok()
    }
}

impl Events {
    pub(crate) fn new(clock: Clock, listeners: Vec<Arc<dyn EventListener>>) -> Self {
        let queues = listeners.into_iter().map(Queue::start).collect();
        Self {
            clock,
            queues,
            slide_warnings: Warnings::default(),
            #[cfg(feature = "live")]
            check_warnings: Warnings::default(),
        }
    }

    /// Whether somebody listens.
    pub(crate) fn are_listened_to(&self) -> bool {
        !self.queues.is_empty()
    }

    /// How many events were not taken by a listener that was too slow.
    pub(crate) fn missed(&self) -> u64 {
        self.queues.iter().map(Queue::missed).sum()
    }

    pub(crate) fn created(&self, id: SessionId, owner: Option<&Owner>, anonymous: bool) {
        tracing::info!(target: TARGET, %id, anonymous, "session created");
        count(metric::CREATED, [("anonymous", if anonymous { "true" } else { "false" })]);
        self.tell(EventKind::Created { anonymous }, Some(id), owner);
    }

    pub(crate) fn reauthenticated(&self, id: SessionId, owner: Option<&Owner>, level: Level) {
        tracing::info!(target: TARGET, %id, level = level.number(), "session reauthenticated");
        self.tell(EventKind::Reauthenticated { level }, Some(id), owner);
    }

    pub(crate) fn rotated(&self, id: SessionId, owner: Option<&Owner>) {
        tracing::info!(target: TARGET, %id, "session rotated");
        count(metric::ROTATED, []);
        self.tell(EventKind::Rotated, Some(id), owner);
    }

    pub(crate) fn ended(&self, id: SessionId, owner: Option<&Owner>, reason: EndReason) {
        tracing::info!(target: TARGET, %id, reason = reason.name(), "session ended");
        count(metric::ENDED, [("reason", reason.name())]);
        self.tell(EventKind::Ended { reason }, Some(id), owner);
    }

    pub(crate) fn everyone_ended(&self) {
        let reason = EndReason::RevokedEveryone;
        tracing::warn!(target: TARGET, reason = reason.name(), "all sessions ended");
        count(metric::ENDED, [("reason", reason.name())]);
        self.tell(EventKind::Ended { reason }, None, None);
    }

    pub(crate) fn expired(&self, id: SessionId) {
        tracing::debug!(target: TARGET, %id, "session expired");
        count(metric::EXPIRED, []);
        self.tell(EventKind::Expired, Some(id), None);
    }

    pub(crate) fn refused(
        &self,
        id: Option<SessionId>,
        owner: Option<&Owner>,
        reason: RefusalReason,
    ) {
        // Anybody can send what is refused, so the log has it only where it was asked for.
        let shown = id.as_ref().map(tracing::field::display);
        tracing::debug!(target: TARGET, id = shown, reason = reason.name(), "request refused");
        count(metric::REFUSED, [("reason", reason.name())]);
        self.tell(EventKind::Refused { reason }, id, owner);
    }

    pub(crate) fn reused(&self, id: SessionId, owner: Option<&Owner>) {
        tracing::warn!(target: TARGET, %id, "a token was used that had been replaced: it may have been stolen");
        count(metric::REUSED, []);
        self.tell(EventKind::Reused, Some(id), owner);
    }

    /// A use of a session could not be written down; the request went on.
    pub(crate) fn slide_failed(&self, id: SessionId, error: &kvolt_cache::Error) {
        count(metric::SLIDES_FAILED, []);
        if self.slide_warnings.is_due(self.clock.now()) {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(
                target: TARGET, %id, error,
                "the store could not prolong a session: sessions in use may end early until it can"
            );
        }
    }

    /// An open connection's session could not be checked; the connection stays open.
    #[cfg(feature = "live")]
    pub(crate) fn check_failed(&self, id: SessionId, error: &crate::Error) {
        if self.check_warnings.is_due(self.clock.now()) {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::warn!(
                target: TARGET, %id, error,
                "the store could not check sessions of open connections: these stay open until it can"
            );
        }
    }

    /// `owner` is the one that the store knows: of an anonymous session, its group.
    fn tell(&self, kind: EventKind, id: Option<SessionId>, owner: Option<&Owner>) {
        if self.queues.is_empty() {
            return;
        }
        let is_of_visitor = owner.is_some_and(Owner::is_reserved);
        let owner = owner.filter(|_| !is_of_visitor).cloned();
        let event = Event { at: self.clock.now(), kind, id, owner };
        for queue in &self.queues {
            queue.put(&event, is_of_visitor || kind.is_open_to_all());
        }
    }
}

pub(crate) fn undecodable(error: &kvolt_cache::Error) {
    let error: &(dyn std::error::Error + 'static) = error;
    tracing::warn!(target: TARGET, error, "the data of a session can't be decoded: the session is ended (see `Builder::undecodable`)");
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("listeners", &self.queues.len()).finish_non_exhaustive()
    }
}
