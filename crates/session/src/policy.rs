use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{AnyStore, Clock, Expiry, OwnerLimit, Store};

use crate::token::{Kind, Random, system_random};
use crate::{Error, Manager, Owner, Record, Result};

/// How long a session lives unused unless set otherwise: 30 minutes.
///
/// Within what OWASP recommends for low-risk applications (15 to 30 minutes),
/// and half of what NIST SP 800-63B-4 allows at level 2.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// How long a session lives at the most unless set otherwise: 12 hours, what
/// NIST SP 800-63B-4 allows at level 3.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(12 * 60 * 60);

/// What holds for all sessions of a manager.
pub(crate) struct Policy<T> {
    pub(crate) idle_timeout: Duration,
    pub(crate) lifetime: Duration,
    pub(crate) kind: Kind,
    pub(crate) rotation_grace: Duration,
    pub(crate) owner_limit: Option<OwnerLimit>,
    pub(crate) owned_by: Option<OwnedBy<T>>,
    pub(crate) undecodable: Undecodable,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

type OwnedBy<T> = Arc<dyn Fn(&T) -> Owner + Send + Sync>;

impl<T> Policy<T> {
    pub(crate) fn expiry(&self) -> Expiry {
        Expiry::idle_within(self.idle_timeout, self.lifetime)
    }

    /// The owner as a store knows it: managers of different kinds list only their own.
    ///
    /// A kind has no colon, so the first one ends it, whatever the owner's name has.
    pub(crate) fn scoped(&self, owner: &Owner) -> Owner {
        Owner::new(format!("{}:{owner}", self.kind.name()))
    }
}

impl<T> Default for Policy<T> {
    fn default() -> Self {
        Self {
            idle_timeout: IDLE_TIMEOUT_DEFAULT,
            lifetime: LIFETIME_DEFAULT,
            kind: Kind::Plain,
            rotation_grace: Duration::ZERO,
            owner_limit: None,
            owned_by: None,
            undecodable: Undecodable::default(),
            clock: Clock::system(),
            random: system_random,
        }
    }
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
}

impl<T: Send + Sync + 'static> Builder<T> {
    pub(crate) fn new(store: impl Store<Record<T>>) -> Self {
        Self { store: AnyStore::new(store), policy: Policy::default() }
    }

    /// How long a session lives unused. [`IDLE_TIMEOUT_DEFAULT`] unless set.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.policy.idle_timeout = idle_timeout;
        self
    }

    /// How long a session lives at the most, however much it is used. [`LIFETIME_DEFAULT`] unless set.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.lifetime = lifetime;
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
    /// lifetime, a grace longer than the idle timeout, a limit of zero, a kind
    /// longer than 64 bytes or with a colon.
    pub fn build(self) -> Result<Manager<T>> {
        let Policy { idle_timeout, lifetime, rotation_grace, owner_limit, kind, .. } = &self.policy;
        if idle_timeout.is_zero() || lifetime.is_zero() {
            return Err(Error::misconfigured("the idle timeout and the lifetime must not be zero"));
        }
        if idle_timeout > lifetime {
            return Err(Error::misconfigured(format!(
                "the idle timeout ({idle_timeout:?}) is longer than the lifetime ({lifetime:?})"
            )));
        }
        if rotation_grace > idle_timeout {
            return Err(Error::misconfigured(format!(
                "the rotation's grace ({rotation_grace:?}) is longer than the idle timeout ({idle_timeout:?})"
            )));
        }
        if owner_limit.is_some_and(|limit| limit.entries_max == 0) {
            return Err(Error::misconfigured("a limit of zero sessions allows no sign-in"));
        }
        if kind.name().len() > 64 || kind.name().contains(':') {
            return Err(Error::misconfigured("the kind is longer than 64 bytes or has a colon"));
        }
        Ok(Manager::from_parts(self.store, self.policy))
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Policy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("idle_timeout", &self.idle_timeout)
            .field("lifetime", &self.lifetime)
            .field("kind", &self.kind)
            .field("rotation_grace", &self.rotation_grace)
            .field("owner_limit", &self.owner_limit)
            .field("undecodable", &self.undecodable)
            .finish_non_exhaustive()
    }
}
