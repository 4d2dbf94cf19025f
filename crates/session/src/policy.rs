use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Clock, OwnerLimit};

use crate::anonymous::AnonymousSessions;
use crate::random::Random;
use crate::record::Envelope;
use crate::{Binding, Detail, Device, Error, Owner, Result, SessionId, Timeouts};

/// The settings of a manager.
pub(crate) struct Policy<T> {
    pub(crate) timeouts: Timeouts,
    pub(crate) remembered: Option<Timeouts>,
    pub(crate) rotation_grace: Duration,
    pub(crate) rotate_every: Option<Duration>,
    pub(crate) reuse: TokenReuse,
    pub(crate) owner_limit: Option<OwnerLimit>,
    pub(crate) owned_by: Option<OwnedBy<T>>,
    pub(crate) bound_to: Option<BoundTo<T>>,
    pub(crate) anonymous: Option<AnonymousSessions<T>>,
    pub(crate) undecodable: Undecodable,
    pub(crate) live_interval: Duration,
    pub(crate) address_detail: Detail,
    pub(crate) user_agent_detail: Detail,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    #[cfg(all(feature = "device-bound", feature = "testing"))]
    pub(crate) device_fault: Option<crate::device_binding::fault::DeviceFault>,
}

type OwnedBy<T> = Arc<dyn Fn(&T) -> Result<Owner> + Send + Sync>;
type BoundTo<T> = Arc<dyn Fn(&T) -> Option<Binding> + Send + Sync>;

/// The reaction to a previous token that is used after its grace.
///
/// Either the owner's client missed its new token, or someone else has the old or the new one. The
/// previous token is refused in any case. Every token that was ever issued for a live session is
/// recognised.
///
/// A use counts as reuse once twice the [grace](crate::ManagerBuilder::rotation_grace) has passed,
/// by the store's clock. Until then, a late request is refused and nothing else happens.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, TokenReuse};
///
/// let manager: Manager<String> = Manager::builder(MemoryStore::new())
///     .rotate_every(Duration::from_secs(15 * 60))
///     .rotation_grace(Duration::from_secs(10))
///     .token_reuse(TokenReuse::EndSession)
///     .build()?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenReuse {
    /// The request is refused like one with an unknown token.
    Ignore,
    /// The reuse is reported: by a warning in the log, a metric and an event.
    #[default]
    Report,
    /// The reuse is reported, and the session ends: its user must sign in again.
    ///
    /// Requires a [grace](crate::ManagerBuilder::rotation_grace) above zero: without one, a
    /// request that was under way while the token changed would end the session.
    EndSession,
}

/// The reaction to a session whose data can't be decoded, because this program does not read its
/// format.
///
/// Applies once the session's token was verified, so only its client can cause it. A session whose
/// envelope can't be read is an error in any case: it can be revoked by its id or its owner.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, Undecodable};
///
/// let manager: Manager<String> =
///     Manager::builder(MemoryStore::new()).undecodable(Undecodable::End).build()?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Undecodable {
    /// The session stays, and each use returns an error ([`Error::is_corrupt`]) that names its id.
    /// It can be signed out, revoked, and replaced by a login.
    #[default]
    Keep,
    /// The session is ended at its next use, with a warning in the log, and its user must sign in
    /// again.
    ///
    /// While servers of two versions run, an older one also ends what only a newer one can read.
    End,
}

impl<T> Policy<T> {
    /// The timeouts of a session.
    pub(crate) fn timeouts_of(&self, envelope: &Envelope) -> Timeouts {
        if envelope.is_anonymous() {
            return self.anonymous_timeouts();
        }
        let (idle, lifetime) = envelope.chosen_timeouts();
        self.signed_in_timeouts(envelope.remembered).shortened(idle, lifetime)
    }

    pub(crate) fn signed_in_timeouts(&self, is_remembered: bool) -> Timeouts {
        if is_remembered { self.remembered_timeouts() } else { self.timeouts }
    }

    pub(crate) fn remembered_timeouts(&self) -> Timeouts {
        self.remembered.unwrap_or(self.timeouts)
    }

    pub(crate) fn anonymous_timeouts(&self) -> Timeouts {
        let anonymous = self.anonymous.as_ref();
        anonymous.and_then(|anonymous| anonymous.timeouts).unwrap_or(self.timeouts)
    }

    /// The owner under which the store files the session with this id, and that owner's limit.
    pub(crate) fn filed_under(
        &self,
        envelope: &Envelope,
        id: &[u8; SessionId::LEN],
    ) -> Result<(Option<Owner>, Option<OwnerLimit>)> {
        match &self.anonymous {
            Some(anonymous) if envelope.is_anonymous() => {
                let (group, limit) = anonymous.group(id)?;
                Ok((Some(group), Some(limit)))
            }
            _ => {
                let owner = envelope.owner.clone();
                let is_limited = owner.is_some() && envelope.impersonator().is_none();
                let limit = self.owner_limit.filter(|_| is_limited);
                Ok((owner, limit))
            }
        }
    }

    /// What is recorded of a device.
    pub(crate) fn recorded(&self, device: Device) -> Device {
        device.limited(self.address_detail, self.user_agent_detail)
    }

    /// Whether a record may have more than that.
    pub(crate) const fn limits_details(&self) -> bool {
        !matches!((self.address_detail, self.user_agent_detail), (Detail::Full, Detail::Full))
    }

    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        check_timeouts("", self.timeouts, self.rotation_grace)?;
        check_timeouts(" of remembered sessions", self.remembered_timeouts(), self.rotation_grace)?;
        check_timeouts(" of anonymous sessions", self.anonymous_timeouts(), self.rotation_grace)?;
        if let Some(limit) = self.owner_limit {
            limit.check().map_err(|error| Error::misconfigured(error.to_string()))?;
        }
        let problem = if self.anonymous.as_ref().is_some_and(|all| all.max_sessions == 0) {
            "a limit of zero anonymous sessions allows none: leave `anonymous` out"
        } else if self.rotate_every == Some(Duration::ZERO) || self.live_interval.is_zero() {
            "`rotate_every` and `live_interval` must not be zero"
        } else if self.rotate_every.is_some_and(|every| every < self.rotation_grace) {
            "`rotation_grace` must not be longer than `rotate_every`"
        } else if self.reuse == TokenReuse::EndSession && self.rotation_grace.is_zero() {
            "`TokenReuse::EndSession` needs a `rotation_grace` above zero: without one, requests \
             under way while a token changes would end the session"
        } else {
            return Ok(());
        };
        Err(Error::misconfigured(problem))
    }
}

fn check_timeouts(whose: &str, timeouts: Timeouts, grace: Duration) -> Result<()> {
    let Timeouts { idle, lifetime } = timeouts;
    let problem = if idle.is_zero() || lifetime.is_zero() {
        format!("the idle timeout and the lifetime{whose} must not be zero")
    } else if idle > lifetime {
        format!("the idle timeout{whose} ({idle:?}) is longer than the lifetime ({lifetime:?})")
    } else if grace > idle {
        format!("the rotation grace ({grace:?}) is longer than the idle timeout{whose} ({idle:?})")
    } else {
        return Ok(());
    };
    Err(Error::misconfigured(problem))
}
