use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{AnyStore, Changes, Insert, Key, NewEntry, Store};

use crate::events::{EndReason, EventListener, Events, RefusalReason};
use crate::level::Proofs;
use crate::policy::{Builder, LIFETIME_DEFAULT, Policy, measured};
use crate::reading::Standing;
use crate::record::{Content, Extras, NewSession, Record};
use crate::{Error, Owner, Result, Session, SessionId, Timeouts, Token, csrf};

/// Makes, reads, changes and ends the sessions of one application. Cloning it
/// is cheap; all clones are one manager.
///
/// What its calls do is done when they return. A token that is unknown, ended
/// or of another kind is `None` or `false`; `Err` means that the question could
/// not be answered.
///
/// # Cancellation
///
/// Dropping a future before it has finished leaves its operation done or not
/// done, never half done.
pub struct Manager<T>(Arc<Inner<T>>);

struct Inner<T> {
    store: AnyStore<Record<T>>,
    policy: Policy<T>,
    events: Arc<Events>,
    changes: Arc<Changes>,
}

/// A new token collides with an existing one once in 2^128 sessions; more than
/// this many times in a row means that the generator is broken.
pub(crate) const INSERT_ATTEMPTS_MAX: u32 = 8;

/// Each attempt that is lost is one that another change has won.
pub(crate) const UPDATE_ATTEMPTS_MAX: u32 = 10_000;

/// Keys are divided into at most 1,024 parts (see [`Store::places`]); to miss
/// one in all of these has a probability below 2^-80.
const PLACE_ATTEMPTS_MAX: u32 = 65_536;

impl<T: Send + Sync + 'static> Manager<T> {
    /// A manager on a store, for sessions that end when unused for this long.
    ///
    /// However much they are used, they end after [`LIFETIME_DEFAULT`], or
    /// after the idle timeout if that is longer.
    pub fn new(store: impl Store<Record<T>>, idle_timeout: Duration) -> Self {
        let timeouts = Timeouts::new(idle_timeout, LIFETIME_DEFAULT.max(idle_timeout));
        let policy = Policy { timeouts, ..Policy::default() };
        Self::from_parts(measured(store), policy, Vec::new())
    }

    /// A manager with other settings.
    pub fn builder(store: impl Store<Record<T>>) -> Builder<T> {
        Builder::new(store)
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
            store.on_expired(Arc::new(move |key: &Key| {
                if let Some(expired) = expired.upgrade() {
                    expired.expired(SessionId::new(*key));
                }
            }));
        }
        let changes = store.changes().unwrap_or_default();
        Self(Arc::new(Inner { store, policy, events, changes }))
    }

    pub(crate) fn store(&self) -> &AnyStore<Record<T>> {
        &self.0.store
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

    /// When sessions end, but those of [remembered](Builder::remembered_timeouts) and
    /// [anonymous](crate::Anonymous::timeouts) ones with timeouts of their own.
    pub fn timeouts(&self) -> Timeouts {
        self.policy().timeouts
    }

    /// How long a session lives unused.
    pub fn idle_timeout(&self) -> Duration {
        self.policy().timeouts.idle
    }

    /// How long a session lives at the most.
    pub fn lifetime(&self) -> Duration {
        self.policy().timeouts.lifetime
    }

    /// When the sessions of those end who asked to be remembered.
    pub fn remembered_timeouts(&self) -> Timeouts {
        self.policy().remembered.unwrap_or(self.policy().timeouts)
    }

    /// The clock by which sessions show their times.
    pub fn clock(&self) -> &kvolt_cache::Clock {
        &self.policy().clock
    }

    /// The public name of the session that a token would have.
    pub fn id(&self, token: &Token) -> SessionId {
        SessionId::new(self.key(token))
    }

    /// Makes a session for one who has proved who they are, and returns its token.
    ///
    /// At a sign-in, [`login`](Self::login) also ends the session that the client had before.
    ///
    /// # Errors
    ///
    /// The store's; [`is_limit_reached`](Error::is_limit_reached) where the
    /// owner has as many as allowed; no randomness; misconfigured, for one without the
    /// [binding](Builder::bound_to) that the manager asks for.
    pub async fn create(&self, session: impl Into<NewSession<T>>) -> Result<Token> {
        let content = self.content(session.into())?;
        self.insert(&Record::new(content)).await
    }

    /// Makes a session for a visitor who has not signed in, and returns its token. A
    /// [login](Self::login) replaces it.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); misconfigured without
    /// [`Builder::anonymous`]; [`is_too_large`](Error::is_too_large) for data beyond its bound.
    pub async fn create_anonymous(&self, data: T) -> Result<Token> {
        let Some(anonymous) = &self.policy().anonymous else {
            return Err(Error::misconfigured(
                "anonymous sessions are not set up: give the builder `anonymous`",
            ));
        };
        if !anonymous.takes(&data) {
            return Err(Error::too_large());
        }
        let mut content = self.bare(data, None)?;
        content.proofs = Proofs::NONE;
        self.insert(&Record::new(content)).await
    }

    /// Ends a session. `true` if there was one.
    ///
    /// When this has returned, no request anywhere finds it any more, whatever was in flight.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn destroy(&self, token: &Token) -> Result<bool> {
        let key = self.key(token);
        // Whom a former token leads to is ended by it in its grace only. Anything that can't
        // be read is ended by who has its token.
        let (key, owner) = match self.peek_entry(&key).await {
            Ok(Some((session, Standing::Good | Standing::Unbound))) => {
                (*session.id().key(), session.owner().cloned())
            }
            Ok(_) => return Ok(false),
            Err(error) if error.is_corrupt() => (key, None),
            Err(error) => return Err(error),
        };
        self.end_key(&key, owner.as_ref(), EndReason::Logout).await
    }

    /// [`destroy`](Self::destroy) for one who has just read the session: on a store elsewhere
    /// it is asked once less.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn destroy_session(&self, session: &Session<T>) -> Result<bool> {
        // Its token may have been changed in between; then this key, a former one, leads to it.
        self.end_key(session.id().key(), session.owner(), EndReason::Logout).await
    }

    /// Ends what is under a key, and says so.
    pub(crate) async fn end_key(
        &self,
        key: &Key,
        owner: Option<&Owner>,
        reason: EndReason,
    ) -> Result<bool> {
        let ended = self.store().remove(key).await.map_err(Error::store)?;
        self.changes().changed(key);
        if ended {
            self.events().ended(SessionId::new(*key), owner, reason);
        }
        Ok(ended)
    }

    pub(crate) fn key(&self, token: &Token) -> Key {
        token.key(&self.policy().kind)
    }

    /// What a session of one who has proved who they are begins with.
    pub(crate) fn content(&self, session: NewSession<T>) -> Result<Content<T>> {
        let NewSession { data, owner, device, level, remembered, binding } = session;
        let policy = self.policy();
        let owner = owner.or_else(|| policy.owned_by.as_ref().map(|owned_by| owned_by(&data)));
        if policy.bound_to.is_some() && binding.is_none() {
            return Err(Error::misconfigured(
                "sessions of this manager are bound to a value: give each new one `bound_to`",
            ));
        }
        let mut content = self.bare(data, owner)?;
        content.proofs.add(level, content.created);
        (content.device, content.remembered) = (device, remembered);
        if binding.is_some() {
            content.extras = Some(Box::new(Extras { binding, ..Extras::default() }));
        }
        Ok(content)
    }

    fn bare(&self, data: T, owner: Option<Owner>) -> Result<Content<T>> {
        let policy = self.policy();
        if let Some(owner) = &owner
            && policy.scoped(owner).as_str().len() > Owner::LEN_MAX
        {
            return Err(Error::misconfigured(format!(
                "an owner has at most {} bytes, its manager's kind included",
                Owner::LEN_MAX
            )));
        }
        let now = policy.clock.now();
        Ok(Content {
            kind: policy.kind.number(),
            data,
            owner,
            created: now,
            proofs: Proofs::NONE,
            rotated: now,
            seed: csrf::seed(policy.random)?,
            remembered: false,
            device: crate::Device::new(),
            extras: None,
        })
    }

    pub(crate) async fn insert(&self, record: &Record<T>) -> Result<Token> {
        let content = record.content();
        let (owner, limit) = self.policy().scope(content);
        for _ in 0..INSERT_ATTEMPTS_MAX {
            let (token, key) = self.token(owner.as_ref(), None)?;
            let entry = NewEntry::new(record.clone(), self.policy().expiry(content))
                .owner(owner.clone())
                .limit(limit);
            match self.store().insert(key, entry).await.map_err(Error::store)? {
                Insert::Inserted { removed } => {
                    let id = SessionId::new(key);
                    self.events().created(id, content.owner.as_ref(), content.is_anonymous());
                    self.ended_by_limit(&removed, content.owner.as_ref());
                    return Ok(token);
                }
                Insert::LimitReached => return Err(self.limit_reached(content.owner.as_ref())),
                Insert::Occupied => {}
            }
        }
        Err(repeating_generator())
    }

    /// A token for the owner's next session, and within one step of the one that it succeeds.
    pub(crate) fn token(
        &self,
        owner: Option<&Owner>,
        succeeds: Option<&Key>,
    ) -> Result<(Token, Key)> {
        // One that lies elsewhere can't be reached from where the owner's lie.
        let succeeds = succeeds.filter(|from| self.store().places(from, owner));
        for _ in 0..PLACE_ATTEMPTS_MAX {
            let token = Token::generate(self.policy().random)?;
            let key = self.key(&token);
            let reached = succeeds.is_none_or(|from| self.store().reaches(from, &key));
            if reached && self.store().places(&key, owner) {
                return Ok((token, key));
            }
        }
        Err(Error::misconfigured("the store takes no key for this owner"))
    }

    pub(crate) fn ended_by_limit(&self, removed: &[Key], owner: Option<&Owner>) {
        self.ended(removed, owner, EndReason::Limit);
    }

    /// Says of sessions that they were ended.
    pub(crate) fn ended(&self, keys: &[Key], owner: Option<&Owner>, reason: EndReason) {
        for key in keys {
            self.changes().changed(key);
            self.events().ended(SessionId::new(*key), owner, reason);
        }
    }

    pub(crate) fn limit_reached(&self, owner: Option<&Owner>) -> Error {
        self.events().refused(None, owner, RefusalReason::Limit);
        Error::limit_reached()
    }
}

pub(crate) fn repeating_generator() -> Error {
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
