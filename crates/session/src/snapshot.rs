use std::fmt;
use std::ops::Deref;

use kvolt_cache::{Deadlines, EntryRef, Expiry, Key, Owner, Target, Timestamp, Version};

use crate::device_binding::DeviceBinding;
use crate::level::Proofs;
use crate::random::system_random;
use crate::record::{Content, Envelope};
use crate::{
    Binding, CsrfToken, Device, Flash, Level, Record, Result, SessionId, StepUp, Timeouts,
};

/// A live session as it was when it was read. It dereferences to the application's data.
///
/// Later changes, by this process or another, do not show in it. Cloning it is cheap.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Device, Level, Manager, NewSession};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let device = Device::new().with_user_agent("curl/8.5");
/// let ada = NewSession::new(String::from("Ada")).owner("42").device(device);
/// let token = manager.create(ada).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
///
/// // The application's data:
/// assert_eq!(session.len(), 3);
/// assert_eq!(session.data(), "Ada");
/// // The session itself:
/// assert_eq!(session.id(), token.id());
/// assert_eq!(session.owner().map(|owner| owner.as_str()), Some("42"));
/// assert_eq!(session.device().user_agent(), Some("curl/8.5"));
/// assert!(!session.is_anonymous() && !session.is_remembered());
/// assert!(session.binding().is_none() && session.flashes().is_empty());
/// // Its authentication:
/// assert_eq!(session.level(), Some(Level::One));
/// assert_eq!(session.authenticated(), Some(session.created()));
/// assert_eq!(session.authenticated_at(Level::Two), None);
/// // Its times:
/// assert_eq!(session.rotated(), session.created());
/// assert!(session.last_seen() < session.expires_at());
/// assert!(session.expires_at() < session.ends_at());
/// assert_eq!(session.timeouts(), manager.timeouts());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
pub struct SessionSnapshot<T> {
    pub(crate) key: Key,
    pub(crate) record: Record<T>,
    pub(crate) version: Version,
    pub(crate) deadlines: Deadlines,
    /// The moment of the read: by the store's clock, and by the manager's clock.
    pub(crate) read_at: (Timestamp, Timestamp),
    /// The owner under which the store files it, where that is not its own: the group of an
    /// anonymous session.
    pub(crate) group: Option<Owner>,
    /// The rights of a previous token in its grace, if it was read by one.
    pub(crate) restricted_to: Option<Proofs>,
    /// When the device was proved by which the request came that it was read for; zero if by none.
    pub(crate) device_proof: Timestamp,
}

impl<T> SessionSnapshot<T> {
    /// The session of an entry, whose data may not be readable, at this time of the manager, with
    /// the rights of a previous token or all of its own.
    #[inline]
    pub(crate) fn new(
        entry: EntryRef<'_, Record<T>>,
        now: Timestamp,
        restricted_to: Option<Proofs>,
    ) -> Self {
        let group = match &entry.value.content().envelope.owner {
            Some(_) => None,
            None => entry.owner.cloned(),
        };
        Self {
            key: *entry.key,
            record: entry.value.clone(),
            version: entry.version,
            deadlines: entry.deadlines,
            read_at: (entry.read_at, now),
            group,
            restricted_to,
            device_proof: DeviceBinding::NO_PROOF,
        }
    }

    pub(crate) fn proved(&self) -> Proofs {
        self.restricted_to.unwrap_or(self.envelope().proved)
    }

    #[inline]
    pub(crate) fn content(&self) -> &Content<T> {
        self.record.content()
    }

    #[inline]
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.content().envelope
    }

    /// The entry, for an operation of the store.
    pub(crate) fn target(&self) -> Target<'_> {
        Target::new(&self.key).owner(self.filed_under())
    }

    /// The owner that the store knows.
    pub(crate) fn filed_under(&self) -> Option<&Owner> {
        self.envelope().owner.as_ref().or(self.group.as_ref())
    }

    /// The store's time at this time of the manager.
    pub(crate) fn store_time(&self, now: Timestamp) -> Timestamp {
        let (store, manager) = self.read_at;
        store.saturating_add(now.since(manager))
    }

    /// The session after a change, with new deadlines if they restarted at this time of the store.
    pub(crate) fn changed(
        self,
        record: Record<T>,
        version: Version,
        restart: Option<(Expiry, Timestamp)>,
    ) -> Self {
        let deadlines = restart.map_or(self.deadlines, |(expiry, now)| {
            let after = |duration| now.saturating_add(duration);
            let idle = expiry.idle_timeout().map(|idle| (idle, after(idle)));
            Deadlines::new(idle, expiry.lifetime().map(after))
        });
        Self { record, version, deadlines, restricted_to: None, ..self }
    }

    /// The session after a use for which the store restarts the idle time as it is read.
    pub(crate) fn slide_in_place(&mut self) {
        let (now, _) = self.read_at;
        let idle = self.deadlines.idle_timeout().map(|timeout| {
            let used = self.last_seen().max(now);
            (timeout, used.saturating_add(timeout))
        });
        self.deadlines = Deadlines::new(idle, self.deadlines.absolute());
    }

    /// The application's data.
    pub fn data(&self) -> &T {
        // A manager returns no session whose data it has not found readable.
        self.record.data().expect("the data was decoded when the session was admitted")
    }

    /// The public id, which stays the same while the session lives.
    pub fn id(&self) -> SessionId {
        SessionId::from_key(&self.key)
    }

    /// The owner, usually an account's id; `None` if the session has none. In an impersonation, the
    /// administrator.
    pub fn owner(&self) -> Option<&Owner> {
        match self.envelope().impersonator() {
            Some(impersonator) => Some(&impersonator.owner),
            None => self.envelope().owner.as_ref(),
        }
    }

    /// The user that the session's owner acts for: see
    /// [`Manager::impersonate`](crate::Manager::impersonate). `None` if it is no impersonation.
    pub fn acting_for(&self) -> Option<&Owner> {
        self.envelope().impersonator()?;
        self.envelope().owner.as_ref()
    }

    /// When the session was created, at the sign-in.
    pub fn created(&self) -> Timestamp {
        self.envelope().created
    }

    /// When the user last proved their identity, at any level; `None` in an anonymous session, and
    /// in an impersonation.
    pub fn authenticated(&self) -> Option<Timestamp> {
        self.authenticated_at(Level::One)
    }

    /// When the user last proved their identity at this level or above; `None` if never.
    pub fn authenticated_at(&self, level: Level) -> Option<Timestamp> {
        self.proved().at(level)
    }

    /// The highest level at which the user proved their identity; `None` in an anonymous session,
    /// and in an impersonation.
    pub fn level(&self) -> Option<Level> {
        self.proved().highest()
    }

    /// Whether no user has signed in: a session of
    /// [`Manager::create_anonymous`](crate::Manager::create_anonymous).
    pub fn is_anonymous(&self) -> bool {
        self.envelope().is_anonymous()
    }

    /// Whether the session meets the requirements of a sensitive action at `now`. An impersonation
    /// meets none. What is required [of the device](StepUp::device_proved_within) of a bound session
    /// is met only after [`check_device`](Self::check_device), which the session layer calls.
    pub fn meets(&self, step_up: &StepUp, now: Timestamp) -> bool {
        let is_met_by_device = |within| {
            let age = self.store_time(now).since(self.device_proof);
            self.device_bound().is_none() || (self.is_device_proven() && age <= within)
        };
        step_up.is_met(&self.proved(), now) && step_up.max_device_age().is_none_or(is_met_by_device)
    }

    /// Whether the client should keep its token when it is closed: "remember me".
    pub fn is_remembered(&self) -> bool {
        self.envelope().remembered
    }

    /// When the current token was made.
    pub fn rotated(&self) -> Timestamp {
        self.envelope().rotated.unwrap_or(self.created())
    }

    /// The value that the session is bound to, if any.
    pub fn binding(&self) -> Option<&Binding> {
        self.envelope().binding()
    }

    /// The messages that wait for the next page, oldest first. They stay until they are
    /// [taken](crate::Manager::take_flashes).
    pub fn flashes(&self) -> &[Flash] {
        self.envelope().flashes()
    }

    /// Makes a form token of this session. Each call returns another one; all are valid until the
    /// next login.
    ///
    /// # Errors
    ///
    /// Returns an error if the system's random generator fails
    /// ([`Error::is_unavailable`](crate::Error::is_unavailable)).
    pub fn csrf_token(&self) -> Result<CsrfToken> {
        CsrfToken::new(&self.envelope().seed, system_random)
    }

    /// Whether `token` is a form token of this session. Takes the same time for any wrong one.
    pub fn verifies_csrf(&self, token: impl AsRef<[u8]>) -> bool {
        CsrfToken::verify(&self.envelope().seed, token.as_ref())
    }

    /// When the session was last used, as exactly as the store keeps it.
    pub fn last_seen(&self) -> Timestamp {
        self.deadlines.last_used().unwrap_or(self.created())
    }

    /// When the session expires if it is not used until then.
    pub fn expires_at(&self) -> Timestamp {
        // A manager never makes an entry without an end.
        self.deadlines.expires_at().unwrap_or(self.created())
    }

    /// When the session ends, however often it is used.
    pub fn ends_at(&self) -> Timestamp {
        self.deadlines.absolute().unwrap_or(self.expires_at())
    }

    /// The timeouts: those of the manager's sessions of this kind, or the shorter ones that were
    /// [chosen](crate::NewSession::lifetime) at the sign-in.
    pub fn timeouts(&self) -> Timeouts {
        // Both start at the sign-in, and again at each proof.
        let proved = self.envelope().proved.at(Level::One);
        // A proof may be older than the session.
        let started = proved.unwrap_or(self.created()).max(self.created());
        let lifetime = self.envelope().ends.since(started);
        Timeouts::new(self.deadlines.idle_timeout().unwrap_or(lifetime), lifetime)
    }

    /// The device that signed in.
    pub fn device(&self) -> &Device {
        &self.envelope().device
    }
}

impl<T> Deref for SessionSnapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data()
    }
}

impl<T> Clone for SessionSnapshot<T> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), group: self.group.clone(), ..*self }
    }
}

/// Without the data, which may be private.
impl<T> fmt::Debug for SessionSnapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSnapshot").field("id", &self.id()).finish_non_exhaustive()
    }
}
