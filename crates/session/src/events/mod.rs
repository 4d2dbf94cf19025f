//! The life of sessions as events: in the log, as metrics, and for listeners.
//!
//! Events name the session's public id, never its token, and nothing of the application's data.

mod actor;
mod listener;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
mod reason;
mod reporter;

use kvolt_cache::Timestamp;

pub use self::actor::Actor;
pub use self::listener::EventListener;
pub use self::reason::{EndReason, RefusalReason};
pub(crate) use self::reporter::Reporter;
use crate::{Level, Owner, SessionId, SessionSnapshot};

/// The target of every log line of this crate.
pub(crate) const TARGET: &str = "kvolt::session";

/// Something that happened to a session, or to a request that asked for one.
///
/// ```
/// use std::sync::mpsc;
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{EndReason, Event, EventKind, Manager};
///
/// # pollster::block_on(async {
/// let (sender, events) = mpsc::channel();
/// let manager: Manager<String> = Manager::builder(MemoryStore::new())
///     .listener(move |event: &Event| drop(sender.send(event.clone())))
///     .build()?;
/// let token = manager.create(String::from("Ada")).await?;
/// manager.logout(&token).await?;
///
/// let created = events.recv().expect("the manager is alive");
/// assert_eq!((created.id, created.kind.name()), (Some(token.id()), "created"));
/// let ended = events.recv().expect("the manager is alive");
/// assert_eq!(ended.kind, EventKind::Ended { reason: EndReason::Logout });
/// assert_eq!(manager.events_missed(), 0);
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The time, by the manager's clock.
    pub at: Timestamp,
    /// The kind, with its details.
    pub kind: EventKind,
    /// The session's public id; for a refused token, the id that the token names. `None` if the
    /// request had no token, or if the event is about more than one session.
    pub id: Option<SessionId>,
    /// The session's owner, if it has one and it is known. In an impersonation, the administrator;
    /// if it was ended together with the user's sessions, the user.
    pub owner: Option<Owner>,
    /// The user that the owner acts for, in an impersonation.
    pub acting_for: Option<Owner>,
    /// Who caused it, and why: see [`Manager::by`](crate::Manager::by). `None` for what the library
    /// does itself (a timeout, the reaction to a stolen token) and for calls that name no actor.
    ///
    /// A call by a session that revokes others or starts an impersonation names the owner of that
    /// session: in an impersonation, the administrator.
    pub actor: Option<Actor>,
}

/// The owner of a session that an event is about, and the user that the owner acts for.
#[derive(Clone, Copy)]
pub(crate) struct Parties<'a> {
    /// As the store knows it: for an anonymous session, its group.
    pub(crate) owner: Option<&'a Owner>,
    pub(crate) acting_for: Option<&'a Owner>,
}

impl<'a> From<Option<&'a Owner>> for Parties<'a> {
    fn from(owner: Option<&'a Owner>) -> Self {
        Self { owner, acting_for: None }
    }
}

impl<'a, T> From<&'a SessionSnapshot<T>> for Parties<'a> {
    fn from(session: &'a SessionSnapshot<T>) -> Self {
        match session.acting_for() {
            None => session.filed_under().into(),
            acting_for => Self { owner: session.owner(), acting_for },
        }
    }
}

/// The kind of an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A session was created.
    Created {
        /// Whether it is an anonymous visitor's.
        anonymous: bool,
    },
    /// An administrator began to act for a user, in a session of its own.
    Impersonated,
    /// The user proved their identity again.
    Reauthenticated {
        /// The level that was proved.
        level: Level,
    },
    /// The session has a new token. Its id stays the same.
    Rotated,
    /// The session was ended.
    Ended {
        /// The reason.
        reason: EndReason,
    },
    /// The session reached one of its timeouts. Reported when the store frees the memory, which
    /// may be later, and only by stores that report it.
    Expired,
    /// A request was refused.
    Refused {
        /// The reason.
        reason: RefusalReason,
    },
    /// A previous token was used after its grace: a sign of theft, or of a client that missed its
    /// new token.
    Reused,
    /// The session was bound to the device of its browser.
    DeviceBound,
    /// The device of a bound session proved that it has its key.
    DeviceProved,
}

impl EventKind {
    /// A short name for logs and audits, such as `created`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Impersonated => "impersonated",
            Self::Reauthenticated { .. } => "reauthenticated",
            Self::Rotated => "rotated",
            Self::Ended { .. } => "ended",
            Self::Expired => "expired",
            Self::Refused { .. } => "refused",
            Self::Reused => "reused",
            Self::DeviceBound => "device_bound",
            Self::DeviceProved => "device_proved",
        }
    }

    /// Whether the library does it itself, whichever call has noticed the reason.
    const fn is_of_library(&self) -> bool {
        use EndReason::{Reuse, Undecodable};
        matches!(self, Self::Reused | Self::Expired | Self::Ended { reason: Reuse | Undecodable })
    }

    /// Whether a client without an account can cause it, as often as it likes. An anonymous
    /// session expires as any other, and the store does not say which one it was.
    const fn is_open_to_all(&self) -> bool {
        use RefusalReason::{Ambiguous, CrossOrigin, Csrf, Unavailable, Unknown};
        matches!(
            self,
            Self::Refused { reason: Unknown | CrossOrigin | Csrf | Ambiguous | Unavailable }
                | Self::Expired
        )
    }
}
