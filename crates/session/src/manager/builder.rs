use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{AnyStore, OwnerLimit, Store};

use super::Manager;
use crate::anonymous::AnonymousSessions;
use crate::events::EventListener;
use crate::policy::{Policy, TokenReuse, Undecodable};
use crate::random::system_random;
use crate::{Binding, Detail, Error, Owner, Record, Result, Timeouts};

/// Settings of a [`Manager`].
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{ManualClock, MemoryStore};
/// use kvolt_session::{Manager, OwnerLimit, Timeouts};
///
/// // A clock that a test moves.
/// let time = ManualClock::new();
/// let store = MemoryStore::builder().clock(time.clock()).build();
/// let manager = Manager::<String>::builder(store)
///     .idle_timeout(Duration::from_secs(20 * 60))
///     .lifetime(Duration::from_secs(8 * 3_600))
///     .remembered_timeouts(Timeouts::NIST_LEVEL_1)
///     .owner_limit(OwnerLimit::remove_oldest(5))
///     .owned_by(|user| user.clone())
///     .live_interval(Duration::from_secs(2))
///     .build()?;
/// # pollster::block_on(async {
/// let token = manager.create(String::from("ada")).await?;
/// time.advance(Duration::from_secs(20 * 60));
/// assert!(manager.get(&token).await?.is_none());
///
/// // Settings that can't work are refused.
/// let zero = Manager::<String>::builder(MemoryStore::new()).idle_timeout(Duration::ZERO);
/// assert!(zero.build().expect_err("no session would live").is_misconfigured());
/// let preset = Manager::<String>::builder(MemoryStore::new()).timeouts(Timeouts::NIST_LEVEL_2);
/// assert_eq!(preset.build()?.timeouts(), Timeouts::NIST_LEVEL_2);
/// # Ok::<(), kvolt_session::Error>(()) })?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct ManagerBuilder<T> {
    pub(super) store: AnyStore<Record<T>>,
    pub(crate) policy: Policy<T>,
    pub(super) listeners: Vec<Arc<dyn EventListener>>,
}

impl<T: Send + Sync + 'static> ManagerBuilder<T> {
    pub(super) fn new(store: impl Store<Record<T>>) -> Self {
        let (clock, store) = (store.clock(), AnyStore::new(store));
        #[cfg(feature = "metrics")]
        let store = store.measured();
        let policy = Policy {
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
            live_interval: Duration::from_secs(1),
            address_detail: Detail::Full,
            user_agent_detail: Detail::Full,
            clock,
            random: system_random,
            #[cfg(all(feature = "device-bound", feature = "testing"))]
            device_fault: None,
        };
        Self { store, policy, listeners: Vec::new() }
    }

    /// Sets how long a session lives without use. Defaults to 30 minutes.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.policy.timeouts.idle = idle_timeout;
        self
    }

    /// Sets how long a session lives at most, however often it is used. Defaults to 12 hours.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.timeouts.lifetime = lifetime;
        self
    }

    /// Sets the idle timeout and the lifetime at once, such as [`Timeouts::NIST_LEVEL_2`].
    /// Defaults to [`Timeouts::DEFAULT`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.policy.timeouts = timeouts;
        self
    }

    /// Sets the timeouts of [remembered](crate::NewSession::remember) sessions. Defaults to the
    /// timeouts of other sessions.
    pub fn remembered_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.policy.remembered = Some(timeouts);
        self
    }

    /// Sets how long a previous token is accepted after a rotation or a re-authentication, for
    /// requests that are already under way. Defaults to zero: not at all.
    pub fn rotation_grace(mut self, grace: Duration) -> Self {
        self.policy.rotation_grace = grace;
        self
    }

    /// Sets the age at which a token is replaced, at the next request: the web layer checks
    /// [`Manager::is_rotation_due`]. Defaults to never.
    ///
    /// Set a [grace](Self::rotation_grace) of some seconds with it, for requests that are already
    /// under way. A session that is bound to a device is not rotated by its age.
    pub fn rotate_every(mut self, every: Duration) -> Self {
        self.policy.rotate_every = Some(every);
        self
    }

    /// Sets what happens when a previous token is used after its grace. Defaults to
    /// [`TokenReuse::Report`].
    pub fn token_reuse(mut self, reuse: TokenReuse) -> Self {
        self.policy.reuse = reuse;
        self
    }

    /// Sets how many sessions an owner may have, and what happens at the limit. Defaults to no
    /// limit; at most [`OwnerLimit::MAX`].
    pub fn owner_limit(mut self, limit: OwnerLimit) -> Self {
        self.policy.owner_limit = Some(limit);
        self
    }

    /// Sets how the owner of a new session is found in its data, for sessions that are created
    /// without one. `owner` returns a name, a number or an [`Owner`].
    pub fn owned_by<O>(mut self, owner: impl Fn(&T) -> O + Send + Sync + 'static) -> Self
    where
        O: TryInto<Owner, Error: std::error::Error + Send + Sync + 'static>,
    {
        self.policy.owned_by =
            Some(Arc::new(move |data| owner(data).try_into().map_err(Error::invalid_owner)));
        self
    }

    /// Sets the value that a session must be [bound to](crate::NewSession::bound_to) at this
    /// moment, such as the version of its account's credentials. A session that is bound to
    /// another value is refused, even if it was not revoked. `None` refuses it too: the account no
    /// longer exists.
    ///
    /// The callback runs at each use of a session and must return at once. An application that
    /// asks a database keeps the values in memory, or compares
    /// [`SessionSnapshot::binding`](crate::SessionSnapshot::binding) itself where it loads the
    /// account.
    pub fn bound_to(
        mut self,
        value: impl Fn(&T) -> Option<Binding> + Send + Sync + 'static,
    ) -> Self {
        self.policy.bound_to = Some(Arc::new(value));
        self
    }

    /// Allows sessions of visitors who have not signed in. Defaults to none.
    pub fn anonymous(mut self, anonymous: AnonymousSessions<T>) -> Self {
        self.policy.anonymous = Some(anonymous);
        self
    }

    /// Adds a listener for what happens to sessions. May be called several times.
    ///
    /// With a listener, the store is [asked](kvolt_cache::Store::on_expired) to report expired
    /// sessions. If several managers share a store, it reports to the first that asked, for all
    /// sessions that it holds.
    pub fn listener(mut self, listener: impl EventListener) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// Sets how often a [live session](crate::LiveSession) checks its session, where the store
    /// pushes nothing. Defaults to every second.
    pub fn live_interval(mut self, interval: Duration) -> Self {
        self.policy.live_interval = interval;
        self
    }

    /// Sets how much of a [device's](crate::Device) network address is recorded. Defaults to all of
    /// it.
    ///
    /// Applies to new sessions, and to each session that is changed. One from before the setting
    /// keeps what it has until it is changed or ends. Events and the log have no address.
    pub fn address_detail(mut self, detail: Detail) -> Self {
        self.policy.address_detail = detail;
        self
    }

    /// Sets how much of a [device's](crate::Device) user agent is recorded, as
    /// [`address_detail`](Self::address_detail) does for the address. Defaults to all of it.
    pub fn user_agent_detail(mut self, detail: Detail) -> Self {
        self.policy.user_agent_detail = detail;
        self
    }

    /// Sets what happens to a session whose data can't be decoded. Defaults to
    /// [`Undecodable::Keep`].
    pub fn undecodable(mut self, undecodable: Undecodable) -> Self {
        self.policy.undecodable = undecodable;
        self
    }

    /// Breaks a rule of device-bound sessions, for the tests of a test.
    #[cfg(all(feature = "device-bound", feature = "testing"))]
    pub fn device_fault(mut self, fault: crate::testing::DeviceFault) -> Self {
        self.policy.device_fault = Some(fault);
        self
    }

    /// Builds the manager.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if a timeout, an interval or a limit is zero,
    /// if an idle timeout is longer than its lifetime, if the grace is longer than an idle timeout
    /// or than the time between rotations, if the owner's limit is above [`OwnerLimit::MAX`], or
    /// for [`TokenReuse::EndSession`] without a grace.
    pub fn build(self) -> Result<Manager<T>> {
        self.policy.check()?;
        Ok(Manager::start(self))
    }
}

impl<T> fmt::Debug for ManagerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeouts = &self.policy.timeouts;
        f.debug_struct("ManagerBuilder").field("timeouts", timeouts).finish_non_exhaustive()
    }
}
