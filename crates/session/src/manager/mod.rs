//! The manager: a folder of files by what is asked of it.

mod builder;
mod changing;
#[cfg(feature = "device-bound")]
mod device_bound;
mod impersonating;
mod listing;
#[cfg(feature = "live")]
mod live;
mod presented;
mod reading;
mod renewing;
mod revoking;
#[cfg(feature = "testing")]
mod testing;
mod token_status;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    AnyStore, Changes, Freshness, InsertOutcome, Key, Namespace, NewEntry, Predecessor,
    RemoveOutcome, Store, Target,
};

pub use self::builder::ManagerBuilder;
#[cfg(feature = "device-bound")]
pub use self::device_bound::{DeviceAnswer, DeviceOutcome};
pub use self::listing::{SessionList, SessionPage};
#[cfg(feature = "live")]
pub use self::live::{LiveSession, UntilEnded};
pub use self::presented::Presented;
pub use self::reading::{Ready, Unread};
pub use self::renewing::RotateOutcome;
use self::token_status::TokenStatus;
use self::turns::Turns;
use crate::error::Kind;
use crate::events::{Actor, EndReason, EventKind, Parties, RefusalReason, Reporter};
use crate::level::Proofs;
use crate::new_session::NewSession;
use crate::policy::Policy;
use crate::record::{Content, Data, Envelope, RareFields, Record};
use crate::secret_digest::SecretDigest;
use crate::{Error, Result, SessionId, SessionSnapshot, Timeouts, Token};

/// Creates, reads, changes and ends the sessions of one application. Cloning it is cheap; all
/// clones are one manager.
///
/// The work of a call is done when it returns. A token that is unknown, expired or of another
/// namespace is `None` or `false`; an `Err` means that the question could not be answered.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, NewSession};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// // After the password was checked:
/// let ada = NewSession::new(String::from("Ada")).owner("42");
/// let token = manager.create(ada).await?;
/// // With the next request's token:
/// let session = manager.get(&token).await?.expect("it was just created");
/// assert_eq!(*session, "Ada");
/// // At the sign-out:
/// assert!(manager.logout(&token).await?);
/// assert!(manager.get(&token).await?.is_none());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
///
/// # Cancellation
///
/// Dropping a future before it has finished leaves its operation done or not done. These calls have
/// several steps, each of which is done or not done:
/// [`change_credentials`](Self::change_credentials), a [`login`](Self::login) on a cluster where
/// the owner changes, and the calls that start or end an [impersonation](Self::impersonate). A
/// [`logout`](Self::logout) and a login from an impersonation end the administrator's own session
/// first: nothing that is left is accepted.
pub struct Manager<T>(Arc<Inner<T>>, Option<Actor>);

struct Inner<T> {
    store: AnyStore<Record<T>>,
    policy: Policy<T>,
    reporter: Arc<Reporter>,
    changes: Arc<Changes>,
    turns: Turns<SessionSnapshot<T>>,
}

/// A new id collides with an existing one once in 2^48 sessions. More collisions than this in a
/// row mean that the generator is broken.
const MAX_INSERT_ATTEMPTS: u32 = 8;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Makes a manager on a store with the default settings: a session ends after 30 minutes
    /// without use, and after 12 hours in any case ([`Timeouts::DEFAULT`]).
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, Timeouts};
    ///
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// assert_eq!(manager.timeouts(), Timeouts::DEFAULT);
    /// assert_eq!(manager.remembered_timeouts(), Timeouts::DEFAULT);
    /// assert_eq!(manager.anonymous_timeouts(), Timeouts::DEFAULT);
    /// assert_eq!(manager.namespace().as_str(), "memory");
    /// ```
    pub fn new(store: impl Store<Record<T>>) -> Self {
        // The defaults are valid.
        Self::start(ManagerBuilder::new(store))
    }

    /// Starts a manager on a store with other settings.
    pub fn builder(store: impl Store<Record<T>>) -> ManagerBuilder<T> {
        ManagerBuilder::new(store)
    }

    fn start(builder: ManagerBuilder<T>) -> Self {
        let ManagerBuilder { store, policy, listeners } = builder;
        let reporter = Arc::new(Reporter::new(policy.clock.clone(), listeners));
        if reporter.has_listeners() {
            report_expired(&store, &reporter);
        }
        let changes = store.changes().unwrap_or_default();
        Self(Arc::new(Inner { store, policy, reporter, changes, turns: Turns::new() }), None)
    }

    /// The store's namespace. Tokens of another one are unknown to this manager.
    #[inline]
    pub fn namespace(&self) -> &Namespace {
        self.0.store.namespace()
    }

    /// The timeouts of sessions, except for [remembered](Self::remembered_timeouts) and
    /// [anonymous](Self::anonymous_timeouts) ones, which may have their own.
    pub fn timeouts(&self) -> Timeouts {
        self.0.policy.timeouts
    }

    /// The timeouts of [remembered](NewSession::remember) sessions.
    pub fn remembered_timeouts(&self) -> Timeouts {
        self.0.policy.remembered_timeouts()
    }

    /// The timeouts of anonymous visitors' sessions.
    pub fn anonymous_timeouts(&self) -> Timeouts {
        self.0.policy.anonymous_timeouts()
    }

    /// The timeouts that a new session would have: those of its kind, or the shorter ones that were
    /// [chosen](NewSession::lifetime) for it.
    pub fn timeouts_of(&self, session: &NewSession<T>) -> Timeouts {
        let timeouts = self.0.policy.signed_in_timeouts(session.remembered);
        timeouts.shortened(session.idle_timeout, session.lifetime)
    }

    /// The clock by which sessions show their times: that of the [store](Store::clock).
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::{ManualClock, MemoryStore};
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let time = ManualClock::new();
    /// let manager = Manager::<String>::new(MemoryStore::builder().clock(time.clock()).build());
    /// let token = manager.create(String::from("Ada")).await?;
    /// // In a test; an error if the store's time can't be moved.
    /// manager.clock().advance(Duration::from_secs(30 * 60)).expect("a clock that a test moves");
    /// assert!(manager.get(&token).await?.is_none());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn clock(&self) -> &kvolt_cache::Clock {
        &self.0.policy.clock
    }

    /// Returns this manager, with an actor: the log and the [events](crate::Event::actor) name it
    /// as the cause of what is done through the returned one. For administrators, and for jobs.
    ///
    /// It is the same manager in all else.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::testing::RecordedEvents;
    /// use kvolt_session::{Actor, Manager, NewSession, Owner};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// manager.create(NewSession::new(String::from("Ada")).owner("42")).await?;
    /// let events = RecordedEvents::of(&manager);
    ///
    /// let actor = Actor::new("admin:7").because("phone stolen");
    /// manager.by(actor.clone()).revoke_owner(&Owner::from(42u64)).await?;
    /// assert_eq!(events.take()[0].actor, Some(actor));
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    #[must_use = "only what is done through the returned manager has the actor"]
    pub fn by(&self, actor: impl Into<Actor>) -> Self {
        Self(Arc::clone(&self.0), Some(actor.into()))
    }

    /// This manager, with the owner of a session as the actor, unless it has one.
    fn by_owner_of(&self, session: &SessionSnapshot<T>) -> Self {
        match session.owner() {
            Some(owner) if self.1.is_none() => self.by(owner),
            _ => self.clone(),
        }
    }

    /// Creates a session for a user who has proved their identity, and returns its token.
    ///
    /// At a sign-in, use [`login`](Self::login), which also ends the session that the client had
    /// before. Costs the store one command.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the owner has reached the limit of sessions
    /// ([`Error::is_limit_reached`]), if the data is too large for the store
    /// ([`Error::is_too_large`]) or can't be encoded ([`Error::is_unencodable`]), if the owner's
    /// name is invalid or the session lacks the [binding](ManagerBuilder::bound_to) that the
    /// manager requires ([`Error::is_misconfigured`]), or if the system's random generator fails
    /// ([`Error::is_unavailable`]).
    pub async fn create(&self, session: impl Into<NewSession<T>>) -> Result<Token> {
        self.insert_new(self.content(session.into())?).await
    }

    /// Creates a session for a visitor who has not signed in, and returns its token. A
    /// [login](Self::login) replaces it. Costs the store one command.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`create`](Self::create), an error if the manager has no
    /// [anonymous sessions](ManagerBuilder::anonymous) ([`Error::is_misconfigured`]), and an error
    /// if the data is larger than they allow ([`Error::is_too_large`]).
    pub async fn create_anonymous(&self, data: T) -> Result<Token> {
        let Some(anonymous) = &self.0.policy.anonymous else {
            return Err(Error::misconfigured(
                "the manager has no anonymous sessions: set `ManagerBuilder::anonymous`",
            ));
        };
        anonymous.check_size(&data)?;
        let session = NewSession { level: None, ..NewSession::new(data) };
        self.insert_new(self.content(session)?).await
    }

    /// Ends a session. Returns whether the token was accepted and the session existed.
    ///
    /// When this has returned, no request to any server finds the session, even one that was under
    /// way. A previous token may end its session only during its grace. A session whose data can't
    /// be read is ended too. With an impersonation, the administrator's own session ends too. Costs
    /// the store two commands, or one with the session as it was read; from an impersonation, five
    /// or three.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the
    /// session's envelope can't be read, so that the token can't be verified
    /// ([`Error::is_corrupt`]).
    pub async fn logout<'a>(&self, presented: impl Into<Presented<'a, T>>) -> Result<bool> {
        match self.session_of(presented, Freshness::Bounded, TokenStatus::may_end).await? {
            Some((_, session)) => {
                let with_own = self.end_own(&session, EndReason::Logout).await?;
                Ok(self.end(&session, EndReason::Logout).await? || with_own)
            }
            None => Ok(false),
        }
    }

    /// Removes the entry of a session, and reports that the session was ended. An impersonation that
    /// it has started ends with it.
    async fn end(&self, session: &SessionSnapshot<T>, reason: EndReason) -> Result<bool> {
        let ended = self.end_entry(session.target(), session, reason).await?;
        if let Some(id) = session.envelope().impersonation() {
            self.end_by_id(id, reason).await?;
        }
        Ok(ended)
    }

    /// Removes the entry of an impersonation. Returns whether the store had it.
    async fn end_by_id(&self, id: SessionId, reason: EndReason) -> Result<bool> {
        match self.by_id(id, Freshness::Strict).await? {
            Some(session) => self.end_entry(session.target(), &session, reason).await,
            None => Ok(false),
        }
    }

    async fn end_entry<'a>(
        &self,
        target: Target<'_>,
        parties: impl Into<Parties<'a>>,
        reason: EndReason,
    ) -> Result<bool> {
        let parties = parties.into();
        let removed = self.0.store.remove(target, None).await.map_err(Error::store)?;
        let is_removed = removed == RemoveOutcome::Removed;
        if is_removed {
            self.ended(&[*target.key], parties, reason);
        }
        Ok(is_removed)
    }

    /// Reports that sessions were ended.
    fn ended<'a>(&self, keys: &[Key], parties: impl Into<Parties<'a>>, reason: EndReason) {
        let parties = parties.into();
        for key in keys {
            self.0.changes.changed(key);
            self.report(EventKind::Ended { reason }, SessionId::from_key(key), parties);
        }
    }

    fn report<'a>(
        &self,
        kind: EventKind,
        id: impl Into<Option<SessionId>>,
        parties: impl Into<Parties<'a>>,
    ) {
        self.0.reporter.report(kind, id.into(), parties.into(), self.1.as_ref());
    }

    /// The first content of a session. Its token is made when it is inserted.
    fn content(&self, session: NewSession<T>) -> Result<Content<T>> {
        let NewSession { data, owner, device, level, remembered, .. } = session;
        let NewSession { binding, idle_timeout, lifetime, authenticated, offer_due, seed, .. } =
            session;
        let policy = &self.0.policy;
        let (mut owner, mut proved, now) = (owner?, Proofs::NONE, policy.clock.now());
        if let Some(level) = level {
            if policy.bound_to.is_some() && binding.is_none() {
                return Err(Error::misconfigured(
                    "the manager has `bound_to`: give each new session a value to be bound to",
                ));
            }
            if let (None, Some(owned_by)) = (&owner, &policy.owned_by) {
                owner = Some(owned_by(&data)?);
            }
            proved.add(level, authenticated.map_or(now, |at| at.min(now)));
        }
        let seed = match seed {
            Some(seed) => seed,
            None => self.random_bytes()?,
        };
        let (idle, lifetime) = (millis(idle_timeout)?, millis(lifetime)?);
        let mut envelope = Envelope {
            v: Envelope::FORMAT,
            secret: SecretDigest::NONE,
            epoch: 0,
            owner,
            created: now,
            ends: now,
            proved,
            rotated: None,
            seed,
            remembered,
            device: policy.recorded(device),
            rare: None,
        };
        let rare = RareFields { binding, idle, lifetime, offer_due, ..RareFields::default() };
        envelope.rare = (rare != RareFields::default()).then(|| Box::new(rare));
        envelope.ends = now.saturating_add(policy.timeouts_of(&envelope).lifetime);
        Ok(Content { envelope, data: Data::new(data) })
    }

    fn random_bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        (self.0.policy.random)(&mut bytes)?;
        Ok(bytes)
    }

    async fn insert_new(&self, content: Content<T>) -> Result<Token> {
        // Without a session to replace, there is no conflict.
        self.insert(content, None).await?.ok_or_else(repeating_generator)
    }

    /// Inserts a session, in place of `replaced` if given. `None` if that has changed since.
    async fn insert(
        &self,
        mut content: Content<T>,
        replaced: Option<&SessionSnapshot<T>>,
    ) -> Result<Option<Token>> {
        let Policy { random, .. } = self.0.policy;
        let timeouts = self.0.policy.timeouts_of(&content.envelope);
        let predecessor = replaced.map(|session| {
            Predecessor::new(session.key)
                .owner(session.filed_under().cloned())
                .seen(session.version)
        });
        for _ in 0..MAX_INSERT_ATTEMPTS {
            let mut id = [0; SessionId::LEN];
            random(&mut id)?;
            let (owner, limit) = self.0.policy.filed_under(&content.envelope, &id)?;
            let key = Key::from_id(id, self.namespace());
            let key = self.0.store.place(key, owner.as_ref());
            let id = SessionId::from_key(&key);
            let token = Token::generate(id, &content.envelope.seed, self.namespace(), random)?;
            content.envelope.secret = token.digest(self.namespace());
            let entry = NewEntry::new(Record::new(content.clone()), timeouts.expiry())
                .maybe_owner(owner.clone())
                .limit(limit)
                .replaces(predecessor.clone());
            let owner = owner.as_ref();
            match self.0.store.insert(key, entry).await.map_err(Error::store)? {
                InsertOutcome::Inserted { removed } => {
                    // An impersonation has not started before the administrator's session names it.
                    if content.envelope.impersonator().is_none() {
                        let anonymous = content.envelope.is_anonymous();
                        self.report(EventKind::Created { anonymous }, id, owner);
                    }
                    if let Some(session) = replaced {
                        self.ended(&[session.key], session, EndReason::NewLogin);
                    }
                    self.ended(&removed, owner, EndReason::Limit);
                    return Ok(Some(token));
                }
                InsertOutcome::LimitReached => {
                    if self.make_room(owner).await? {
                        continue;
                    }
                    self.report(EventKind::Refused { reason: RefusalReason::Limit }, None, owner);
                    return Err(Error::new(
                        Kind::LimitReached,
                        "the owner, or the visitors, reached the limit of sessions",
                    ));
                }
                InsertOutcome::Conflict => return Ok(None),
                InsertOutcome::Occupied | InsertOutcome::Expired => {}
            }
        }
        Err(repeating_generator())
    }
}

/// A time that was chosen for a session, in milliseconds.
fn millis(chosen: Option<Duration>) -> Result<Option<u64>> {
    let millis = chosen.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if millis == Some(0) {
        return Err(Error::misconfigured(
            "the idle timeout and the lifetime of a session must be at least one millisecond",
        ));
    }
    Ok(millis)
}

/// Asks a store to report expired sessions. One that can't ignores this: see `EventKind::Expired`.
fn report_expired<T: Send + Sync + 'static>(store: &AnyStore<Record<T>>, reporter: &Arc<Reporter>) {
    // The store may outlive this manager, whose listeners must end with it.
    let weak = Arc::downgrade(reporter);
    let namespace = store.namespace().clone();
    store.on_expired(Arc::new(move |key: &Key| {
        if let Some(reporter) = weak.upgrade()
            && key.is_in(&namespace)
        {
            let id = Some(SessionId::from_key(key));
            reporter.report(EventKind::Expired, id, None.into(), None);
        }
    }));
}

fn repeating_generator() -> Error {
    Error::misconfigured("the random generator repeats itself: no session was created")
}

impl<T> Clone for Manager<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), self.1.clone())
    }
}

impl<T> fmt::Debug for Manager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("store", &self.0.store).finish_non_exhaustive()
    }
}
