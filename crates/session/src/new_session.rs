use std::time::Duration;

use kvolt_cache::Timestamp;

use crate::random::Seed;
use crate::{Binding, Device, Error, Level, Owner, Result};

/// A session to create: the application's data, its owner and its device.
///
/// The data alone is one too: `manager.create(user)`.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Device, Level, Manager, NewSession};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let new = NewSession::new(String::from("Ada"))
///     .owner(42u64)
///     .device(Device::new().with_user_agent("curl/8.5"))
///     .level(Level::Two)
///     .remember(true)
///     .bound_to(7);
/// assert!(new.is_remembered());
///
/// let token = manager.create(new).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
/// assert_eq!(session.owner().map(|owner| owner.as_str()), Some("42"));
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "a new session does nothing until it is created"]
#[derive(Debug)]
pub struct NewSession<T> {
    pub(crate) data: T,
    pub(crate) owner: Result<Option<Owner>>,
    pub(crate) device: Device,
    pub(crate) level: Option<Level>,
    pub(crate) authenticated: Option<Timestamp>,
    pub(crate) remembered: bool,
    pub(crate) binding: Option<Binding>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) offer_due: bool,
    /// The seed with which an offer was made.
    pub(crate) seed: Option<Seed>,
}

impl<T> NewSession<T> {
    /// Starts with this data.
    pub const fn new(data: T) -> Self {
        Self {
            data,
            owner: Ok(None),
            device: Device::new(),
            level: Some(Level::One),
            authenticated: None,
            remembered: false,
            binding: None,
            idle_timeout: None,
            lifetime: None,
            offer_due: false,
            seed: None,
        }
    }

    /// Sets the owner, usually an account's id. Sessions are listed and revoked by it. Defaults to
    /// no owner, or to [`ManagerBuilder::owned_by`](crate::ManagerBuilder::owned_by).
    ///
    /// Accepts a name, a number or an [`Owner`]. With an invalid name, the call that receives this
    /// session returns an error ([`Error::is_misconfigured`]).
    pub fn owner<O>(mut self, owner: O) -> Self
    where
        O: TryInto<Owner, Error: std::error::Error + Send + Sync + 'static>,
    {
        self.owner = owner.try_into().map(Some).map_err(Error::invalid_owner);
        self
    }

    /// Sets the device that signs in. Defaults to an unknown one.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets the level at which the user proved their identity. Defaults to [`Level::One`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Sets when the user proved their identity, if that was before this session: such as at the
    /// sign-in of an older session that this one continues. Defaults to now. A moment in the future
    /// counts as now.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession, StepUp};
    ///
    /// # pollster::block_on(async {
    /// const HOUR: Duration = Duration::from_secs(60 * 60);
    ///
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let now = manager.clock().now();
    /// let signed_in = now.saturating_sub(2 * HOUR);
    /// let token = manager.create(NewSession::new(String::from("Ada")).authenticated(signed_in)).await?;
    /// let session = manager.get(&token).await?.expect("it was just created");
    /// assert_eq!(session.authenticated(), Some(signed_in));
    /// assert!(!session.meets(&StepUp::within(HOUR), now));
    /// // Its lifetime starts now.
    /// assert_eq!(session.timeouts(), manager.timeouts());
    ///
    /// let early = NewSession::new(String::from("Ada")).authenticated(now.saturating_add(HOUR));
    /// let session = manager.get(&manager.create(early).await?).await?.expect("it was just created");
    /// assert_eq!(session.authenticated(), Some(session.created()));
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn authenticated(mut self, at: Timestamp) -> Self {
        self.authenticated = Some(at);
        self
    }

    /// When the user proved their identity, if that was [set](Self::authenticated).
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.authenticated
    }

    /// Sets whether the client should keep its token when it is closed: "remember me". Defaults to
    /// false.
    ///
    /// The server decides how long the session lives
    /// ([`ManagerBuilder::remembered_timeouts`](crate::ManagerBuilder::remembered_timeouts)).
    pub fn remember(mut self, remember: bool) -> Self {
        self.remembered = remember;
        self
    }

    /// Whether the client should keep its token when it is closed.
    pub fn is_remembered(&self) -> bool {
        self.remembered
    }

    /// Sets how long this session lives without use: at most the timeout of the manager's sessions,
    /// which is the default. A longer time has no effect: see [`lifetime`](Self::lifetime).
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// Sets how long this session lives at most, however often it is used: such as until the
    /// identity provider's session ends, or for a day on a shared computer. Defaults to the lifetime
    /// of the manager's sessions, or for a [remembered](Self::remember) one to theirs.
    ///
    /// Every bound holds: the session ends at the earlier of this time and the lifetime that the
    /// manager sets. A longer time is no error, so that no change of the manager's settings stops
    /// users from signing in. The session keeps its own times through rotations and
    /// re-authentications, and [shows](crate::SessionSnapshot::timeouts) those that apply.
    ///
    /// With a time below one millisecond, the call that receives this session returns an error
    /// ([`Error::is_misconfigured`]).
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession, Timeouts};
    ///
    /// # pollster::block_on(async {
    /// const HOUR: Duration = Duration::from_secs(60 * 60);
    ///
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let shared = NewSession::new(String::from("Ada")).idle_timeout(HOUR / 12).lifetime(HOUR);
    /// let token = manager.create(shared).await?;
    /// let session = manager.get(&token).await?.expect("it was just created");
    /// assert_eq!(session.timeouts(), Timeouts::new(HOUR / 12, HOUR));
    ///
    /// // The manager's lifetime is 12 hours.
    /// let long = NewSession::new(String::from("Ada")).lifetime(24 * HOUR);
    /// assert_eq!(manager.timeouts_of(&long), manager.timeouts());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Binds the session to a value, such as the version of the account's credentials: see
    /// [`ManagerBuilder::bound_to`](crate::ManagerBuilder::bound_to).
    ///
    /// Use the value that was read together with the credentials that were checked, so that a
    /// change in between is noticed.
    pub fn bound_to(mut self, value: impl Into<Binding>) -> Self {
        self.binding = Some(value.into());
        self
    }

    /// The application's data.
    ///
    /// ```
    /// use kvolt_session::NewSession;
    ///
    /// assert_eq!(NewSession::new("Ada").data(), &"Ada");
    /// ```
    pub fn data(&self) -> &T {
        &self.data
    }
}

impl<T> From<T> for NewSession<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}
