use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{AnyStore, Clock, OwnerLimit, Store};

use crate::anonymous::AnonymousSessions;
use crate::events::EventListener;
use crate::record::Content;
use crate::token::{Random, system_random};
use crate::{Binding, Error, Manager, Owner, Record, Result, SessionId, Timeouts};

/// How long a session lives unused unless set otherwise: 30 minutes.
///
/// Within what OWASP recommends for low-risk applications (15 to 30 minutes),
/// and half of what NIST SP 800-63B-4 allows at level 2.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Timeouts::DEFAULT.idle;

/// How long a session lives at the most unless set otherwise: 12 hours, what
/// NIST SP 800-63B-4 allows at level 3.
pub const DEFAULT_LIFETIME: Duration = Timeouts::DEFAULT.lifetime;

/// How often a [live connection](crate::LiveSession) looks by itself whether its session
/// lives, where the store pushes nothing, unless set otherwise: every second.
pub const DEFAULT_LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// What holds for all sessions of a manager.
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
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

type OwnedBy<T> = Arc<dyn Fn(&T) -> Result<Owner> + Send + Sync>;
type BoundTo<T> = Arc<dyn Fn(&T) -> Option<Binding> + Send + Sync>;

impl<T> Policy<T> {
    /// When a session ends.
    pub(crate) fn timeouts_of(&self, content: &Content<T>) -> Timeouts {
        let timeouts = if content.is_anonymous() {
            self.anonymous.as_ref().and_then(|anonymous| anonymous.timeouts)
        } else if content.remembered {
            self.remembered
        } else {
            None
        };
        timeouts.unwrap_or(self.timeouts)
    }

    /// The owner under which the store files the session with this id, and that owner's limit.
    pub(crate) fn filed_under(
        &self,
        content: &Content<T>,
        id: &[u8; SessionId::LEN],
    ) -> Result<(Option<Owner>, Option<OwnerLimit>)> {
        if content.owner.is_some() {
            return Ok((content.owner.clone(), self.owner_limit));
        }
        match self.anonymous.as_ref().filter(|_| content.is_anonymous()) {
            Some(anonymous) => {
                let (group, limit) = anonymous.group(id)?;
                Ok((Some(group), Some(limit)))
            }
            None => Ok((None, None)),
        }
    }
}

impl<T> Default for Policy<T> {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::DEFAULT,
            remembered: None,
            rotation_grace: Duration::ZERO,
            rotate_every: None,
            reuse: TokenReuse::default(),
            owner_limit: None,
            owned_by: None,
            bound_to: None,
            anonymous: None,
            undecodable: Undecodable::default(),
            live_interval: DEFAULT_LIVE_INTERVAL,
            clock: Clock::system(),
            random: system_random,
        }
    }
}

/// What happens when a token is used that was replaced, and whose grace has passed.
///
/// Either its owner's client missed the new one, or someone else has had the old one,
/// or has the new one. The token is refused in any case. Every token that was ever issued for a
/// live session is recognised.
///
/// A use is a reuse once twice the [grace](ManagerBuilder::rotation_grace) has passed, by the store's
/// clock; until then a late request is refused and means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenReuse {
    /// Nothing more.
    Ignore,
    /// It is reported: by a warning in the log, as a metric and to listeners.
    #[default]
    Report,
    /// It is reported, and the session ends: its user has to sign in again.
    ///
    /// It needs a [grace](ManagerBuilder::rotation_grace) above zero: without one, a request that
    /// was under way while the token changed would end the session.
    EndSession,
}

/// What happens to a session whose data can't be decoded: it has a form that this program does
/// not read.
///
/// It applies once the session's token was verified, so no one but its client causes it. A
/// session whose envelope can't be read is an error in any case: it can be revoked by its id or
/// its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Undecodable {
    /// It stays, and each use is an error ([`Error::is_corrupt`]) that names the session's public
    /// id. It can be signed out, revoked, and logged in over.
    #[default]
    Keep,
    /// It is ended at its next use, with a warning in the log, and the client has to sign in again.
    ///
    /// While servers of two versions run, an older one also ends what only a newer one can read.
    End,
}

/// Settings of a [`Manager`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ManagerBuilder<T> {
    store: AnyStore<Record<T>>,
    policy: Policy<T>,
    listeners: Vec<Arc<dyn EventListener>>,
}

impl<T: Send + Sync + 'static> ManagerBuilder<T> {
    pub(crate) fn new(store: impl Store<Record<T>>) -> Self {
        let store = measured(store);
        Self { store, policy: Policy::default(), listeners: Vec::new() }
    }

    /// How long a session lives unused. [`DEFAULT_IDLE_TIMEOUT`] unless set.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.policy.timeouts.idle = idle_timeout;
        self
    }

    /// How long a session lives at the most, however much it is used. [`DEFAULT_LIFETIME`] unless set.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.timeouts.lifetime = lifetime;
        self
    }

    /// Both at once, such as [`Timeouts::NIST_LEVEL_2`]. [`Timeouts::DEFAULT`] unless set.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.policy.timeouts = timeouts;
        self
    }

    /// When the sessions of those end who asked to be [remembered](crate::NewSession::remember).
    /// As others unless set.
    pub fn remembered_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.policy.remembered = Some(timeouts);
        self
    }

    /// How long a token is still accepted after it was replaced by a rotation or a
    /// re-authentication, for requests that are already under way. Defaults to zero: not at all.
    pub fn rotation_grace(mut self, grace: Duration) -> Self {
        self.policy.rotation_grace = grace;
        self
    }

    /// How old a token may be: an older one is replaced at the next request
    /// (the HTTP layer calls [`Manager::rotate_if_due`]). Defaults to never.
    ///
    /// Give it a [grace](Self::rotation_grace) of some seconds, for requests that are already under way.
    pub fn rotate_every(mut self, every: Duration) -> Self {
        self.policy.rotate_every = Some(every);
        self
    }

    /// What happens when a token is used that was replaced. Defaults to [`TokenReuse::Report`].
    pub fn token_reuse(mut self, reuse: TokenReuse) -> Self {
        self.policy.reuse = reuse;
        self
    }

    /// How many sessions an owner may have, and what happens to a further one. Defaults to no
    /// limit; the largest is [`OwnerLimit::MAX`].
    pub fn owner_limit(mut self, limit: OwnerLimit) -> Self {
        self.policy.owner_limit = Some(limit);
        self
    }

    /// Finds the owner in the data, for sessions that are created without naming one: a name, a
    /// number or an [`Owner`].
    pub fn owned_by<O>(mut self, owner: impl Fn(&T) -> O + Send + Sync + 'static) -> Self
    where
        O: TryInto<Owner, Error: std::error::Error + Send + Sync + 'static>,
    {
        self.policy.owned_by =
            Some(Arc::new(move |data| owner(data).try_into().map_err(Error::invalid_owner)));
        self
    }

    /// The value that a session has to be [bound to](crate::NewSession::bound_to) at this moment,
    /// such as the version of its account's credentials: once it is another, the
    /// session is refused, even if nobody has ended it. `None` refuses it too: there is no such account.
    ///
    /// It is called at each use of a session and must return at once; an application that
    /// has to ask a database keeps the values in memory, or compares
    /// [`SessionSnapshot::binding`](crate::SessionSnapshot::binding) itself where it loads the account.
    pub fn bound_to(
        mut self,
        value: impl Fn(&T) -> Option<Binding> + Send + Sync + 'static,
    ) -> Self {
        self.policy.bound_to = Some(Arc::new(value));
        self
    }

    /// Keeps sessions of visitors who have not signed in. None are made unless set.
    pub fn anonymous(mut self, anonymous: AnonymousSessions<T>) -> Self {
        self.policy.anonymous = Some(anonymous);
        self
    }

    /// Tells somebody what happens to sessions; may be called several times.
    ///
    /// With a listener the store is [asked](kvolt_cache::Store::on_expired) to tell what expires. Of
    /// several managers on one store, the first that asks is told, of all that the store holds.
    pub fn listener(mut self, listener: impl EventListener) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// How often a [live connection](crate::LiveSession) looks by itself, where the store pushes
    /// nothing. [`DEFAULT_LIVE_INTERVAL`] unless set.
    pub fn live_interval(mut self, interval: Duration) -> Self {
        self.policy.live_interval = interval;
        self
    }

    /// What becomes of a session that is there but can't be decoded. Left alone unless set.
    pub fn undecodable(mut self, undecodable: Undecodable) -> Self {
        self.policy.undecodable = undecodable;
        self
    }

    /// Another clock than the system's, for the times that a session shows.
    /// When it ends is up to the store's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.policy.clock = clock;
        self
    }

    #[cfg(test)]
    pub(crate) fn random(mut self, random: Random) -> Self {
        self.policy.random = random;
        self
    }

    /// The manager.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) for a timeout of zero, an idle timeout longer
    /// than the lifetime, a grace longer than the idle timeout or than the time between rotations,
    /// a limit of zero or above [`OwnerLimit::MAX`], a rotation or a check of live connections every
    /// zero seconds, and [`TokenReuse::EndSession`] without a grace.
    pub fn build(self) -> Result<Manager<T>> {
        let policy = &self.policy;
        let anonymous = policy.anonymous.as_ref();
        let all = [
            ("", Some(policy.timeouts)),
            (" of remembered sessions", policy.remembered),
            (" of anonymous visitors", anonymous.and_then(|anonymous| anonymous.timeouts)),
        ];
        for (whose, timeouts) in all {
            if let Some(timeouts) = timeouts {
                check_timeouts(whose, timeouts, policy.rotation_grace)?;
            }
        }
        if let Some(limit) = policy.owner_limit {
            limit.check().map_err(|error| Error::misconfigured(error.to_string()))?;
        }
        if anonymous.is_some_and(|anonymous| anonymous.max_sessions == 0) {
            return Err(Error::misconfigured("a limit of zero anonymous sessions allows none"));
        }
        if policy.rotate_every.is_some_and(|every| every.is_zero())
            || policy.live_interval.is_zero()
        {
            return Err(Error::misconfigured(
                "a rotation, or a check of live connections, every zero seconds never ends",
            ));
        }
        if policy.rotate_every.is_some_and(|every| every < policy.rotation_grace) {
            return Err(Error::misconfigured(
                "a rotation's grace is longer than the time to the next one",
            ));
        }
        if policy.reuse == TokenReuse::EndSession && policy.rotation_grace.is_zero() {
            return Err(Error::misconfigured(
                "`TokenReuse::EndSession` needs a `rotation_grace` above zero, or requests under \
                 way while a token changes end the session",
            ));
        }
        Ok(Manager::from_parts(self.store, self.policy, self.listeners))
    }
}

fn check_timeouts(whose: &str, timeouts: Timeouts, grace: Duration) -> Result<()> {
    let Timeouts { idle, lifetime } = timeouts;
    if idle.is_zero() || lifetime.is_zero() {
        return Err(Error::misconfigured(format!(
            "the idle timeout and the lifetime{whose} must not be zero"
        )));
    }
    if idle > lifetime {
        return Err(Error::misconfigured(format!(
            "the idle timeout{whose} ({idle:?}) is longer than the lifetime ({lifetime:?})"
        )));
    }
    if grace > idle {
        return Err(Error::misconfigured(format!(
            "the rotation's grace ({grace:?}) is longer than the idle timeout{whose} ({idle:?})"
        )));
    }
    Ok(())
}

/// The store, whose calls are measured where metrics are wanted.
pub(crate) fn measured<V: Send + 'static>(store: impl Store<V>) -> AnyStore<V> {
    let store = AnyStore::new(store);
    #[cfg(feature = "metrics")]
    let store = store.measured();
    store
}

impl<T> fmt::Debug for ManagerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("policy", &self.policy)
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Policy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("timeouts", &self.timeouts)
            .field("remembered", &self.remembered)
            .field("rotation_grace", &self.rotation_grace)
            .field("rotate_every", &self.rotate_every)
            .field("token_reuse", &self.reuse)
            .field("owner_limit", &self.owner_limit)
            .field("anonymous", &self.anonymous)
            .field("undecodable", &self.undecodable)
            .finish_non_exhaustive()
    }
}
