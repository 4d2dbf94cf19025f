use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{AnyStore, Clock, Expiry, OwnerLimit, Store};

use crate::anonymous::Anonymous;
use crate::events::EventListener;
use crate::record::Content;
use crate::token::{Kind, Random, system_random};
use crate::{Binding, Error, Manager, Owner, Record, Result, Timeouts};

/// How long a session lives unused unless set otherwise: 30 minutes.
///
/// Within what OWASP recommends for low-risk applications (15 to 30 minutes),
/// and half of what NIST SP 800-63B-4 allows at level 2.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Timeouts::DEFAULT.idle;

/// How long a session lives at the most unless set otherwise: 12 hours, what
/// NIST SP 800-63B-4 allows at level 3.
pub const LIFETIME_DEFAULT: Duration = Timeouts::DEFAULT.lifetime;

/// How often a [live connection](crate::Live) looks by itself whether its session
/// lives, where the store pushes nothing, unless set otherwise: every second.
pub const LIVE_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// How many former keys of an entry a store knows.
const FORMER_MAX: u32 = 16;

/// How long a former token leads live connections on where reuse is not looked for.
const FOLLOWED_FOR: Duration = Duration::from_secs(60);

/// What holds for all sessions of a manager.
pub(crate) struct Policy<T> {
    pub(crate) timeouts: Timeouts,
    pub(crate) remembered: Option<Timeouts>,
    pub(crate) kind: Kind,
    pub(crate) rotation_grace: Duration,
    pub(crate) rotation: Option<Rotation<T>>,
    pub(crate) reuse: TokenReuse,
    pub(crate) owner_limit: Option<OwnerLimit>,
    pub(crate) owned_by: Option<OwnedBy<T>>,
    pub(crate) bound_to: Option<BoundTo<T>>,
    pub(crate) anonymous: Option<Anonymous<T>>,
    pub(crate) undecodable: Undecodable,
    pub(crate) live_interval: Duration,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

type OwnedBy<T> = Arc<dyn Fn(&T) -> Owner + Send + Sync>;
type BoundTo<T> = Arc<dyn Fn(&T) -> Option<Binding> + Send + Sync>;

/// A rotation on a schedule.
pub(crate) struct Rotation<T> {
    pub(crate) every: Duration,
    /// Known where data can be copied.
    pub(crate) copy: fn(&Content<T>) -> Content<T>,
}

impl<T> Policy<T> {
    /// When a session ends, counted from now.
    pub(crate) fn expiry(&self, content: &Content<T>) -> Expiry {
        let timeouts = if content.is_anonymous() {
            self.anonymous.as_ref().and_then(|anonymous| anonymous.timeouts)
        } else if content.remembered {
            self.remembered
        } else {
            None
        };
        let Timeouts { idle, lifetime } = timeouts.unwrap_or(self.timeouts);
        Expiry::idle_within(idle, lifetime)
    }

    /// The owner as a store knows it: managers of different kinds list only their own.
    ///
    /// A kind has no colon, so the first one ends it, whatever the owner's name has.
    pub(crate) fn scoped(&self, owner: &Owner) -> Owner {
        Owner::new(format!("{}:{owner}", self.kind.name()))
    }

    /// Whose a session is for the store, and how many of these there may be.
    pub(crate) fn scope(&self, content: &Content<T>) -> (Option<Owner>, Option<OwnerLimit>) {
        if let Some(owner) = &content.owner {
            return (Some(self.scoped(owner)), self.owner_limit);
        }
        let Some(anonymous) = self.anonymous.as_ref().filter(|_| content.is_anonymous()) else {
            return (None, None);
        };
        // Without a colon, so nobody's name as `scoped` makes it.
        let group = u32::from(content.seed[0]) % anonymous.groups();
        let owner = Owner::new(format!("{}/anonymous/{group}", self.kind.name()));
        let entries_max = anonymous.sessions_max / anonymous.groups();
        (Some(owner), Some(OwnerLimit { entries_max, at_limit: anonymous.at_limit }))
    }

    /// How long a store remembers the key of a token that was replaced.
    pub(crate) fn remembers_former(&self) -> Duration {
        let followed = FOLLOWED_FOR.max(self.rotation_grace);
        match self.reuse {
            TokenReuse::Ignore => followed,
            TokenReuse::Report | TokenReuse::EndSession => {
                let remembered = self.remembered.map_or(Duration::ZERO, |of| of.lifetime);
                let lifetime = remembered.max(self.timeouts.lifetime);
                // A store leads on over 16 renamings, so older ones would be kept for nothing.
                let rotation = self.rotation.as_ref();
                let useful = rotation.map_or(lifetime, |rotation| rotation.every * FORMER_MAX);
                lifetime.min(useful).max(followed)
            }
        }
    }
}

impl<T> Default for Policy<T> {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::DEFAULT,
            remembered: None,
            kind: Kind::Plain,
            rotation_grace: Duration::ZERO,
            rotation: None,
            reuse: TokenReuse::default(),
            owner_limit: None,
            owned_by: None,
            bound_to: None,
            anonymous: None,
            undecodable: Undecodable::default(),
            live_interval: LIVE_INTERVAL_DEFAULT,
            clock: Clock::system(),
            random: system_random,
        }
    }
}

/// What happens when a token is used that was replaced by a rotation, and whose grace has passed.
///
/// Either its owner's client missed the new one, or somebody else has had the old one,
/// or has the new one. The token is refused in any case. The last 16 tokens of a session are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenReuse {
    /// Nothing more: it is not remembered for long.
    Ignore,
    /// It is told of, by a warning in the log, as a metric and to listeners.
    #[default]
    Report,
    /// It is told of, and the session ends: whoever has its token, too, has to sign in anew.
    ///
    /// With it, give rotations a [grace](Builder::rotation_grace): without one, a request that
    /// was under way while the token changed ends the session.
    EndSession,
}

/// What becomes of a session that is in the store but can't be decoded: its
/// data has a form that this program does not read, or was damaged, or sealed with a key that it was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undecodable {
    /// It stays, and each use is an error that [says so](Error::is_corrupt)
    /// and names the session's public id. A new sign-in replaces it.
    #[default]
    Keep,
    /// It is ended at its next use, with a warning in the log, and the client has to sign in again.
    ///
    /// While servers of two versions run, an older one also ends what only a newer one can read.
    End,
}

/// Settings of a [`Manager`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<T> {
    store: AnyStore<Record<T>>,
    policy: Policy<T>,
    listeners: Vec<Arc<dyn EventListener>>,
}

impl<T: Send + Sync + 'static> Builder<T> {
    pub(crate) fn new(store: impl Store<Record<T>>) -> Self {
        let store = measured(store);
        Self { store, policy: Policy::default(), listeners: Vec::new() }
    }

    /// How long a session lives unused. [`IDLE_TIMEOUT_DEFAULT`] unless set.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.policy.timeouts.idle = idle_timeout;
        self
    }

    /// How long a session lives at the most, however much it is used. [`LIFETIME_DEFAULT`] unless set.
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

    /// What sort of session it is, such as `admin`, where several managers share a store.
    ///
    /// Tokens of one kind are unknown to the others, and an owner's sessions
    /// are listed and ended kind by kind. Changing it ends every session.
    pub fn kind(mut self, kind: &str) -> Self {
        self.policy.kind = Kind::new(kind);
        self
    }

    /// How long a token is still accepted after [`Manager::rotate`] has
    /// replaced it, for requests that are already on their way. Zero, so not at all, unless set.
    pub fn rotation_grace(mut self, grace: Duration) -> Self {
        self.policy.rotation_grace = grace;
        self
    }

    /// How old a token may be: one that is older is changed at the next request
    /// (which the HTTP layer sees to, by [`Manager::rotate_if_due`]). Never unless set.
    ///
    /// Give it a [grace](Self::rotation_grace) of some seconds, for requests that are already on their way.
    pub fn rotate_every(mut self, every: Duration) -> Self
    where
        T: Clone,
    {
        self.policy.rotation = Some(Rotation { every, copy: Content::clone });
        self
    }

    /// What happens when a token is used that was replaced. It is reported unless set.
    pub fn token_reuse(mut self, reuse: TokenReuse) -> Self {
        self.policy.reuse = reuse;
        self
    }

    /// How many sessions an owner may have, and what happens to one more. No limit unless set.
    pub fn owner_limit(mut self, limit: OwnerLimit) -> Self {
        self.policy.owner_limit = Some(limit);
        self
    }

    /// Finds the owner in the data, for sessions that are made without naming one.
    pub fn owned_by(mut self, owner: impl Fn(&T) -> Owner + Send + Sync + 'static) -> Self {
        self.policy.owned_by = Some(Arc::new(owner));
        self
    }

    /// The value that a session has to be [bound to](crate::NewSession::bound_to) at this moment,
    /// such as the version of its account's credentials: once it is another, the
    /// session is refused, even if nobody has ended it. `None` refuses it too: there is no such account.
    ///
    /// It is called at each use of a session and must return at once; an application that
    /// has to ask a database keeps the values in memory, or compares
    /// [`Session::binding`](crate::Session::binding) itself where it loads the account.
    pub fn bound_to(
        mut self,
        value: impl Fn(&T) -> Option<Binding> + Send + Sync + 'static,
    ) -> Self {
        self.policy.bound_to = Some(Arc::new(value));
        self
    }

    /// Keeps sessions of visitors who have not signed in. None are made unless set.
    pub fn anonymous(mut self, anonymous: Anonymous<T>) -> Self {
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

    /// How often a [live connection](crate::Live) looks by itself, where the store pushes
    /// nothing. [`LIVE_INTERVAL_DEFAULT`] unless set.
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
    /// Misconfigured: a timeout of zero, an idle timeout longer than the
    /// lifetime, a grace longer than the idle timeout, a limit of zero, a
    /// rotation or a look every zero seconds, a kind longer than 64 bytes or with a colon.
    pub fn build(self) -> Result<Manager<T>> {
        let policy = &self.policy;
        let anonymous = policy.anonymous.as_ref();
        let all = [
            ("", Some(policy.timeouts)),
            (" of those who are remembered", policy.remembered),
            (" of anonymous visitors", anonymous.and_then(|anonymous| anonymous.timeouts)),
        ];
        for (whose, timeouts) in all {
            if let Some(timeouts) = timeouts {
                check_timeouts(whose, timeouts, policy.rotation_grace)?;
            }
        }
        if policy.owner_limit.is_some_and(|limit| limit.entries_max == 0) {
            return Err(Error::misconfigured("a limit of zero sessions allows no sign-in"));
        }
        if anonymous.is_some_and(|anonymous| anonymous.sessions_max == 0) {
            return Err(Error::misconfigured("a limit of zero anonymous sessions allows none"));
        }
        let rotation = policy.rotation.as_ref().map(|rotation| rotation.every);
        if rotation.is_some_and(|every| every.is_zero()) || policy.live_interval.is_zero() {
            return Err(Error::misconfigured("a rotation or a look every zero seconds never ends"));
        }
        if rotation.is_some_and(|every| every < policy.rotation_grace) {
            return Err(Error::misconfigured(
                "a rotation's grace is longer than the time to the next one",
            ));
        }
        if policy.kind.name().len() > 64 || policy.kind.name().contains(':') {
            return Err(Error::misconfigured("the kind is longer than 64 bytes or has a colon"));
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
    #[cfg(feature = "metrics")]
    let store = kvolt_cache::Measured::new(store);
    AnyStore::new(store)
}

impl<T> fmt::Debug for Builder<T> {
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
            .field("kind", &self.kind)
            .field("rotation_grace", &self.rotation_grace)
            .field("rotate_every", &self.rotation.as_ref().map(|rotation| rotation.every))
            .field("token_reuse", &self.reuse)
            .field("owner_limit", &self.owner_limit)
            .field("anonymous", &self.anonymous)
            .field("undecodable", &self.undecodable)
            .finish_non_exhaustive()
    }
}
