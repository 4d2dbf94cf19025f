use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    AnyStore, Changes, Freshness, InsertOutcome, Key, Namespace, NewEntry, Predecessor,
    RemoveOutcome, Store, Target,
};

use crate::events::{EndReason, EventListener, Events, RefusalReason};
use crate::level::Proofs;
use crate::policy::{ManagerBuilder, Policy, measured};
use crate::record::{Content, Data, NewSession, Record};
use crate::token::SecretDigest;
use crate::turns::Turns;
use crate::{Error, Owner, Result, SessionId, SessionSnapshot, Timeouts, Token, csrf};

/// Makes, reads, changes and ends the sessions of one application. Cloning it
/// is cheap; all clones are one manager.
///
/// What its calls do is done when they return. A token that is unknown, ended
/// or of another namespace is `None` or `false`; `Err` means that the question could
/// not be answered.
///
/// # Cancellation
///
/// Dropping a future before it has finished leaves its operation done or not done. Only
/// [`change_credentials`](Self::change_credentials) has several steps, each of which is done or
/// not done, and so has a [`login`](Self::login) on a cluster where the owner changes.
pub struct Manager<T>(Arc<Inner<T>>);

struct Inner<T> {
    store: AnyStore<Record<T>>,
    policy: Policy<T>,
    events: Arc<Events>,
    changes: Arc<Changes>,
    turns: Turns<SessionSnapshot<T>>,
}

/// A new id collides with an existing one once in 2^48 sessions; more than
/// this many times in a row means that the generator is broken.
const MAX_INSERT_ATTEMPTS: u32 = 8;

impl<T: Send + Sync + 'static> Manager<T> {
    /// A manager on a store, for sessions that end when unused for this long.
    ///
    /// However much they are used, they end after [`DEFAULT_LIFETIME`](crate::DEFAULT_LIFETIME), or
    /// after the idle timeout if that is longer. With an idle timeout of zero, each call that
    /// would create a session is an error ([`Error::is_misconfigured`]).
    pub fn new(store: impl Store<Record<T>>, idle_timeout: Duration) -> Self {
        let timeouts = Timeouts::new(idle_timeout, crate::DEFAULT_LIFETIME.max(idle_timeout));
        let policy = Policy { timeouts, ..Policy::default() };
        Self::from_parts(measured(store), policy, Vec::new())
    }

    /// A manager with other settings.
    pub fn builder(store: impl Store<Record<T>>) -> ManagerBuilder<T> {
        ManagerBuilder::new(store)
    }

    pub(crate) fn from_parts(
        store: AnyStore<Record<T>>,
        policy: Policy<T>,
        listeners: Vec<Arc<dyn EventListener>>,
    ) -> Self {
        let events = Arc::new(Events::new(policy.clock.clone(), listeners));
        if events.are_listened_to() {
            // The store may live on without this manager, whose listeners then have to end.
            let expired = Arc::downgrade(&events);
            // Not every store can tell; the documentation of the event says so.
            let namespace = store.namespace().clone();
            store.on_expired(Arc::new(move |key: &Key| {
                if let Some(expired) = expired.upgrade()
                    && key.is_in(&namespace)
                {
                    expired.expired(SessionId::from_key(key));
                }
            }));
        }
        let changes = store.changes().unwrap_or_default();
        Self(Arc::new(Inner { store, policy, events, changes, turns: Turns::new() }))
    }

    pub(crate) fn store(&self) -> &AnyStore<Record<T>> {
        &self.0.store
    }

    /// The store's namespace: tokens of another mean nothing to this manager.
    #[inline]
    pub fn namespace(&self) -> &Namespace {
        self.0.store.namespace()
    }

    pub(crate) fn turns(&self) -> &Turns<SessionSnapshot<T>> {
        &self.0.turns
    }

    pub(crate) fn policy(&self) -> &Policy<T> {
        &self.0.policy
    }

    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.0.changes
    }

    /// When sessions end, except for [remembered](ManagerBuilder::remembered_timeouts) and
    /// [anonymous](crate::AnonymousSessions::timeouts) ones, which may have timeouts of their own.
    pub fn timeouts(&self) -> Timeouts {
        self.policy().timeouts
    }

    /// How long a session lives unused.
    pub fn idle_timeout(&self) -> Duration {
        self.policy().timeouts.idle
    }

    /// How long a session lives at most.
    pub fn lifetime(&self) -> Duration {
        self.policy().timeouts.lifetime
    }

    /// When sessions end whose users asked to be remembered.
    pub fn remembered_timeouts(&self) -> Timeouts {
        self.policy().remembered.unwrap_or(self.policy().timeouts)
    }

    /// When the sessions of anonymous visitors end.
    pub fn anonymous_timeouts(&self) -> Timeouts {
        let anonymous = self.policy().anonymous.as_ref();
        anonymous.and_then(|anonymous| anonymous.timeouts).unwrap_or(self.policy().timeouts)
    }

    /// The clock by which sessions show their times.
    pub fn clock(&self) -> &kvolt_cache::Clock {
        &self.policy().clock
    }

    /// Creates a session for a user who has proved who they are, and returns its token.
    ///
    /// At a sign-in, [`login`](Self::login) also ends the session that the client had before.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the owner has as many sessions as allowed
    /// ([`Error::is_limit_reached`]), if the data is larger than the store takes
    /// ([`Error::is_too_large`]), if the owner's name is not valid or the session lacks the
    /// [binding](ManagerBuilder::bound_to) that the manager asks for ([`Error::is_misconfigured`]), or if
    /// there is no randomness ([`Error::is_unavailable`]).
    pub async fn create(&self, session: impl Into<NewSession<T>>) -> Result<Token> {
        self.insert_new(self.content(session.into())?).await
    }

    /// Creates a session for a visitor who has not signed in, and returns its token. A
    /// [login](Self::login) replaces it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`create`](Self::create), an error
    /// ([`Error::is_misconfigured`]) without [`ManagerBuilder::anonymous`], and an error
    /// ([`Error::is_too_large`]) for data beyond its bound.
    pub async fn create_anonymous(&self, data: T) -> Result<Token> {
        let Some(anonymous) = &self.policy().anonymous else {
            return Err(Error::misconfigured(
                "anonymous sessions are not set up: give the builder `anonymous`",
            ));
        };
        if !anonymous.takes(&data) {
            return Err(Error::too_large());
        }
        self.insert_new(self.new_content(data, None)?).await
    }

    /// Ends a session. `true` if there was one.
    ///
    /// When this has returned, no request anywhere finds the session, whatever was in flight. A
    /// previous token may end its session only during its grace. A session whose data can't be
    /// read is ended too.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if not even
    /// the session's envelope can be read ([`Error::is_corrupt`]), so that the token can't be
    /// verified.
    pub async fn logout(&self, token: &Token) -> Result<bool> {
        let presented = self.presented(token);
        match self.verified(&presented, Freshness::Bounded).await? {
            Some(found) if found.status.may_end() => {
                self.end_session(&found.session, EndReason::Logout).await
            }
            _ => Ok(false),
        }
    }

    /// [`logout`](Self::logout) for a caller that has just read the session by its token: a
    /// remote store is asked once less.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn logout_session(&self, session: &SessionSnapshot<T>) -> Result<bool> {
        self.end_session(session, EndReason::Logout).await
    }

    pub(crate) async fn end_session(
        &self,
        session: &SessionSnapshot<T>,
        reason: EndReason,
    ) -> Result<bool> {
        self.end_at(session.at(), reason).await
    }

    /// Removes the entry of a session, and reports that it was ended.
    pub(crate) async fn end_at(&self, at: Target<'_>, reason: EndReason) -> Result<bool> {
        let removed = self.store().remove(at, None).await;
        self.changes().changed(at.key);
        let ended = removed.map_err(Error::store)? == RemoveOutcome::Removed;
        if ended {
            self.events().ended(SessionId::from_key(at.key), at.owner, reason);
        }
        Ok(ended)
    }

    /// What the session of a user who has proved who they are begins with.
    pub(crate) fn content(&self, session: NewSession<T>) -> Result<Content<T>> {
        let NewSession { data, owner, device, level, remembered, binding } = session;
        let policy = self.policy();
        let owner = match (owner?, &policy.owned_by) {
            (None, Some(owned_by)) => Some(owned_by(&data)?),
            (owner, _) => owner,
        };
        if policy.bound_to.is_some() && binding.is_none() {
            return Err(Error::misconfigured(
                "sessions of this manager are bound to a value: give each new one `bound_to`",
            ));
        }
        let mut content = self.new_content(data, owner)?;
        content.proofs.add(level, content.created);
        (content.device, content.remembered) = (device, remembered);
        if binding.is_some() {
            content.rare_mut().binding = binding;
        }
        Ok(content)
    }

    /// What every session begins with: its token is made when it is inserted.
    fn new_content(&self, data: T, owner: Option<Owner>) -> Result<Content<T>> {
        let policy = self.policy();
        let now = policy.clock.now();
        Ok(Content {
            secret: SecretDigest::NONE,
            epoch: 0,
            owner,
            created: now,
            ends_at: now,
            proofs: Proofs::NONE,
            rotated: now,
            seed: csrf::seed(policy.random)?,
            remembered: false,
            device: crate::Device::new(),
            rare: None,
            data: Data::new(data),
        })
    }

    pub(crate) async fn insert_new(&self, content: Content<T>) -> Result<Token> {
        // Without one to be replaced there is no conflict.
        self.insert(content, None).await?.ok_or_else(repeating_generator)
    }

    /// Inserts a session, in the place of one that is given; `None` if that is another by now.
    pub(crate) async fn insert(
        &self,
        mut content: Content<T>,
        replaces: Option<&SessionSnapshot<T>>,
    ) -> Result<Option<Token>> {
        let policy = self.policy();
        let timeouts = policy.timeouts_of(&content);
        if timeouts.idle.is_zero() {
            return Err(Error::misconfigured(
                "the idle timeout is zero: no session would live (see `Manager::new`)",
            ));
        }
        content.ends_at = policy.clock.now().saturating_add(timeouts.lifetime);
        let replaced = replaces.map(|session| {
            Predecessor::new(*session.key())
                .owner(session.filed_under().cloned())
                .seen(session.version())
        });
        for _ in 0..MAX_INSERT_ATTEMPTS {
            let mut id = [0; SessionId::LEN];
            (policy.random)(&mut id)?;
            let (owner, limit) = policy.filed_under(&content, &id)?;
            let key = Key::from_id(id, self.namespace());
            let key = self.store().place(key, owner.as_ref());
            let id = SessionId::from_key(&key);
            let token = Token::generate(id, &content.seed, self.namespace(), policy.random)?;
            content.secret = token.digest(self.namespace());
            let entry = NewEntry::new(Record::new(content.clone()), timeouts.expiry())
                .owner(owner.clone())
                .limit(limit)
                .replaces(replaced.clone());
            let inserted = self.store().insert(key, entry).await;
            if let Some(session) = replaces {
                self.changes().changed(session.key());
            }
            let owner = owner.as_ref();
            match inserted.map_err(Error::store)? {
                InsertOutcome::Inserted { removed } => {
                    self.events().created(id, owner, content.is_anonymous());
                    if let Some(session) = replaces {
                        let (id, owner) = (session.id(), session.filed_under());
                        self.events().ended(id, owner, EndReason::NewLogin);
                    }
                    self.ended(&removed, owner, EndReason::Limit);
                    return Ok(Some(token));
                }
                InsertOutcome::LimitReached => {
                    self.events().refused(None, owner, RefusalReason::Limit);
                    return Err(Error::limit_reached());
                }
                InsertOutcome::Conflict => return Ok(None),
                InsertOutcome::Occupied | InsertOutcome::Expired => {}
            }
        }
        Err(repeating_generator())
    }

    /// Reports of sessions that they were ended.
    pub(crate) fn ended(&self, keys: &[Key], owner: Option<&Owner>, reason: EndReason) {
        for key in keys {
            self.changes().changed(key);
            self.events().ended(SessionId::from_key(key), owner, reason);
        }
    }
}

fn repeating_generator() -> Error {
    Error::misconfigured("the random generator repeats itself: no session was made")
}

impl<T> Clone for Manager<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Manager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}
