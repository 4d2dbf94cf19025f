use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Access, AnyStore, EntryRef, Insert, Key, NewEntry, Rename, Renamed, Replace, Store,
};

use crate::events::{self, Reason};
use crate::policy::{Builder, LIFETIME_DEFAULT, Policy, Undecodable};
use crate::record::{Content, NewSession, Record};
use crate::{Error, Owner, Result, Session, SessionId, Token};

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
}

/// What became of a rotation.
#[derive(Debug)]
#[must_use = "the new token has to be given to the client"]
pub enum Rotated {
    /// The session has this token now.
    Token(Token),
    /// The token had been replaced and is in its grace: the session has one
    /// successor already, which the client was or is being given.
    AlreadyRotated,
    /// There is no such session.
    Absent,
}

/// A new token collides with an existing one once in 2^128 sessions; more than
/// this many times in a row means that the generator is broken.
const INSERT_ATTEMPTS_MAX: u32 = 8;

/// Each attempt that is lost is one that another change has won.
const UPDATE_ATTEMPTS_MAX: u32 = 10_000;

/// Keys are divided into at most 1,024 parts (see [`Store::places`]); to miss
/// one in all of these has a probability below 2^-80.
const PLACE_ATTEMPTS_MAX: u32 = 65_536;

impl<T: Send + Sync + 'static> Manager<T> {
    /// A manager on a store, for sessions that end when unused for this long.
    ///
    /// However much they are used, they end after [`LIFETIME_DEFAULT`], or
    /// after the idle timeout if that is longer.
    pub fn new(store: impl Store<Record<T>>, idle_timeout: Duration) -> Self {
        let lifetime = LIFETIME_DEFAULT.max(idle_timeout);
        let policy = Policy { idle_timeout, lifetime, ..Policy::default() };
        Self::from_parts(AnyStore::new(store), policy)
    }

    /// A manager with other settings.
    pub fn builder(store: impl Store<Record<T>>) -> Builder<T> {
        Builder::new(store)
    }

    pub(crate) fn from_parts(store: AnyStore<Record<T>>, policy: Policy<T>) -> Self {
        Self(Arc::new(Inner { store, policy }))
    }

    pub(crate) fn store(&self) -> &AnyStore<Record<T>> {
        &self.0.store
    }

    pub(crate) fn policy(&self) -> &Policy<T> {
        &self.0.policy
    }

    /// How long a session lives unused.
    pub fn idle_timeout(&self) -> Duration {
        self.policy().idle_timeout
    }

    /// How long a session lives at the most.
    pub fn lifetime(&self) -> Duration {
        self.policy().lifetime
    }

    /// The public name of the session that a token would have.
    pub fn id(&self, token: &Token) -> SessionId {
        SessionId::new(token.key(&self.policy().kind))
    }

    /// Makes a session and returns its token.
    ///
    /// At a sign-in, [`login`](Self::login) also ends the session that the client had before.
    ///
    /// # Errors
    ///
    /// The store's; [`is_limit_reached`](Error::is_limit_reached) where the
    /// owner has as many as allowed; no randomness.
    pub async fn create(&self, session: impl Into<NewSession<T>>) -> Result<Token> {
        let record = self.record(session.into())?;
        self.insert(record).await
    }

    /// Makes a session for one who has just proved who they are, and ends the one they had, if any.
    ///
    /// One step: either the old token is accepted or the new one, and the limit
    /// of sessions per owner does not count the old one. Both timeouts start anew.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub async fn login(
        &self,
        old: Option<&Token>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Token> {
        let record = self.record(session.into())?;
        let Some(old) = old else {
            return self.insert(record).await;
        };
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let previous = match self.read_session(&self.key(old), Access::PEEK).await {
                Ok(Some(previous)) => previous,
                Ok(None) => return self.insert(record).await,
                // Whoever signs in anew is not held up by what can't be decoded.
                Err(error) if error.is_corrupt() => {
                    let token = self.insert(record).await?;
                    self.replaced(&self.key(old)).await?;
                    return Ok(token);
                }
                Err(error) => return Err(error),
            };
            let from = *previous.id().key();
            let owner = record.content().owner.clone();
            let (token, to) = self.token(owner.as_ref(), None)?;
            let scoped = owner.as_ref().map(|owner| self.policy().scoped(owner));
            let one_step = self.store().reaches(&from, &to);
            // An entry can be given another owner but not be taken from its owner.
            if !one_step || (owner.is_none() && previous.owner().is_some()) {
                let token = self.insert(record).await?;
                self.replaced(&from).await?;
                return Ok(token);
            }
            let mut rename = Rename::new();
            rename.value = Some((previous.version(), record.clone()));
            rename.owner = scoped;
            rename.expiry = Some(self.policy().expiry());
            rename.limit = self.policy().owner_limit;
            match self.store().rename(&from, to, rename).await.map_err(Error::store)? {
                Renamed::Moved { removed } => {
                    events::created(SessionId::new(to));
                    events::ended(SessionId::new(from), Reason::NewLogin);
                    ended_by_limit(&removed);
                    return Ok(token);
                }
                Renamed::LimitReached => return Err(Error::limit_reached()),
                // Looked up again: it is another's by now, or gone.
                Renamed::Superseded | Renamed::Absent | Renamed::Conflict | Renamed::Occupied => {}
            }
        }
        Err(Error::contended(UPDATE_ATTEMPTS_MAX))
    }

    /// The session of a token, if there is one. It counts as use: the idle time starts anew.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.read_session(&self.key(token), Access::SLIDE).await
    }

    /// The session of a token, if there is one. It does not count as use: for
    /// polls, health checks and open streams, which must not keep an idle session alive.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn peek(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.read_session(&self.key(token), Access::PEEK).await
    }

    /// [`get`](Self::get) or [`peek`](Self::peek), by the access that is given, which may be
    /// [strict](Access::strict): answered by the store itself and by no copy of it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get_with(&self, token: &Token, access: Access) -> Result<Option<Session<T>>> {
        self.read_session(&self.key(token), access).await
    }

    /// [`get`](Self::get) or [`peek`](Self::peek) on a store that answers at
    /// once; `None` if it does not, and has to be asked with one of them.
    #[inline]
    pub fn get_ready(&self, token: &Token, access: Access) -> Option<Result<Option<Session<T>>>> {
        self.ready(&self.key(token), access)
    }

    /// Looks at the data of a session in place, where the store has it in memory.
    ///
    /// Like [`get`](Self::get) without handing the session out: no reference
    /// count is touched, so any number of threads read one session at full speed.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn read<R>(
        &self,
        token: &Token,
        access: Access,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>> {
        let key = self.key(token);
        let mut look = Some(look);
        let mut looked = None;
        let ready = self.store().get_ready(&key, access, &mut |entry| {
            if self.admits(entry.value)
                && let Some(look) = look.take()
            {
                looked = Some(look(entry.value.data()));
            }
        });
        match ready {
            Some(found) => found.map(|_| looked).map_err(Error::store),
            None => {
                let session = self.ask_session(&key, access).await?;
                Ok(session.and_then(|session| look.take().map(|look| look(session.data()))))
            }
        }
    }

    /// Changes the data of a session. It counts as use.
    ///
    /// `change` is called on a copy of the data, and again on a newer one if
    /// somebody else changed it in between: two concurrent updates both take
    /// effect. Returns the session as it is after the change, or `None` if
    /// there is none any more; an update never brings one back.
    ///
    /// # Errors
    ///
    /// The store's; [`is_contended`](Error::is_contended) after 10,000 attempts.
    pub async fn update(
        &self,
        token: &Token,
        change: impl FnMut(&mut T),
    ) -> Result<Option<Session<T>>>
    where
        T: Clone,
    {
        match self.get(token).await? {
            Some(session) => self.update_from(token, session, change).await,
            None => Ok(None),
        }
    }

    /// [`update`](Self::update) for one who has just read the session by this
    /// token: the store is asked once less. It does not count as use by itself.
    ///
    /// What was read may be old: then the store says how it is, and the change is made to that.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update_from(
        &self,
        token: &Token,
        mut session: Session<T>,
        mut change: impl FnMut(&mut T),
    ) -> Result<Option<Session<T>>>
    where
        T: Clone,
    {
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let mut content = session.record().content().clone();
            change(&mut content.data);
            let record = Record::new(content);
            let key = *session.id().key();
            let replaced =
                self.store().replace(&key, session.version(), record.clone(), None).await;
            match replaced.map_err(Error::store)? {
                Replace::Replaced(version) => return Ok(Some(session.changed(record, version))),
                Replace::Conflict(entry) => session = Session::from_entry(entry),
                // It may have been rotated in between; then the token, in its grace, leads on.
                Replace::Absent => match self.read_session(&self.key(token), Access::PEEK).await? {
                    Some(moved) => session = moved,
                    None => return Ok(None),
                },
            }
        }
        Err(Error::contended(UPDATE_ATTEMPTS_MAX))
    }

    /// Gives a session a new token. The data and both deadlines stay.
    ///
    /// The old token is refused at once, or after
    /// [`rotation_grace`](Builder::rotation_grace).
    ///
    /// # Errors
    ///
    /// The store's; no randomness.
    pub async fn rotate(&self, token: &Token) -> Result<Rotated> {
        let from = self.key(token);
        for _ in 0..INSERT_ATTEMPTS_MAX {
            let Some(session) = self.read_session(&from, Access::PEEK).await? else {
                return Ok(Rotated::Absent);
            };
            let (successor, to) = self.token(session.owner(), Some(&from))?;
            let mut rename = Rename::new();
            rename.grace = self.policy().rotation_grace;
            match self.store().rename(&from, to, rename).await.map_err(Error::store)? {
                Renamed::Moved { .. } => {
                    events::rotated(SessionId::new(from), SessionId::new(to));
                    return Ok(Rotated::Token(successor));
                }
                Renamed::Superseded => return Ok(Rotated::AlreadyRotated),
                Renamed::Absent => return Ok(Rotated::Absent),
                // Without a value to set and a limit to hold, only this is left.
                Renamed::Occupied | Renamed::Conflict | Renamed::LimitReached => {}
            }
        }
        Err(repeating_generator())
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
        let ended = self.store().remove(&key).await.map_err(Error::store)?;
        if ended {
            events::ended(SessionId::new(key), Reason::Logout);
        }
        Ok(ended)
    }

    /// Ends the session that a sign-in has replaced.
    async fn replaced(&self, key: &Key) -> Result<()> {
        self.store().remove(key).await.map_err(Error::store)?;
        events::ended(SessionId::new(*key), Reason::NewLogin);
        Ok(())
    }

    /// Whether a record is this manager's. Every read passes here.
    pub(crate) fn admits(&self, record: &Record<T>) -> bool {
        record.content().kind == self.policy().kind.number()
    }

    fn key(&self, token: &Token) -> Key {
        token.key(&self.policy().kind)
    }

    #[inline]
    fn ready(&self, key: &Key, access: Access) -> Option<Result<Option<Session<T>>>> {
        let mut session = None;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            if self.admits(entry.value) {
                session = Some(Session::from_ref(entry));
            }
        };
        let found = self.store().get_ready(key, access, &mut visit)?;
        Some(found.map(|_| session).map_err(Error::store))
    }

    pub(crate) async fn read_session(
        &self,
        key: &Key,
        access: Access,
    ) -> Result<Option<Session<T>>> {
        if let Some(ready) = self.ready(key, access) {
            return ready;
        }
        self.ask_session(key, access).await
    }

    async fn ask_session(&self, key: &Key, access: Access) -> Result<Option<Session<T>>> {
        match self.store().get(key, access).await {
            Ok(entry) => {
                Ok(entry.filter(|entry| self.admits(&entry.value)).map(Session::from_entry))
            }
            Err(error) => self.end_undecodable(error).await.map(|()| None),
        }
    }

    /// Ends the session that an error is about, if that is what to do with one that can't be decoded.
    pub(crate) async fn end_undecodable(&self, error: kvolt_cache::Error) -> Result<()> {
        let (Some(key), true, Undecodable::End) =
            (error.key(), error.is_corrupt(), self.policy().undecodable)
        else {
            return Err(Error::store(error));
        };
        events::undecodable(&error);
        if self.store().remove(&key).await.map_err(Error::store)? {
            events::ended(SessionId::new(key), Reason::Undecodable);
        }
        Ok(())
    }

    fn record(&self, session: NewSession<T>) -> Result<Record<T>> {
        let NewSession { data, owner, device } = session;
        let policy = self.policy();
        let owner = owner.or_else(|| policy.owned_by.as_ref().map(|owned_by| owned_by(&data)));
        if let Some(owner) = &owner
            && policy.scoped(owner).as_str().len() > Owner::LEN_MAX
        {
            return Err(Error::misconfigured(format!(
                "an owner has at most {} bytes, its manager's kind included",
                Owner::LEN_MAX
            )));
        }
        let now = policy.clock.now();
        let kind = policy.kind.number();
        Ok(Record::new(Content { data, owner, created: now, authenticated: now, device, kind }))
    }

    async fn insert(&self, record: Record<T>) -> Result<Token> {
        let owner = record.content().owner.clone();
        for _ in 0..INSERT_ATTEMPTS_MAX {
            let (token, key) = self.token(owner.as_ref(), None)?;
            let entry = NewEntry::new(record.clone(), self.policy().expiry())
                .owner(owner.as_ref().map(|owner| self.policy().scoped(owner)))
                .limit(self.policy().owner_limit);
            match self.store().insert(key, entry).await.map_err(Error::store)? {
                Insert::Inserted { removed } => {
                    events::created(SessionId::new(key));
                    ended_by_limit(&removed);
                    return Ok(token);
                }
                Insert::LimitReached => return Err(Error::limit_reached()),
                Insert::Occupied => {}
            }
        }
        Err(repeating_generator())
    }

    /// A new token whose key may live next to the owner's others, and that key.
    /// A token for the owner's next session, and within one step of the one that it succeeds.
    fn token(&self, owner: Option<&Owner>, succeeds: Option<&Key>) -> Result<(Token, Key)> {
        let owner = owner.map(|owner| self.policy().scoped(owner));
        // One that lies elsewhere can't be reached from where the owner's lie.
        let succeeds = succeeds.filter(|from| self.store().places(from, owner.as_ref()));
        for _ in 0..PLACE_ATTEMPTS_MAX {
            let token = Token::generate(self.policy().random)?;
            let key = self.key(&token);
            let reached = succeeds.is_none_or(|from| self.store().reaches(from, &key));
            if reached && self.store().places(&key, owner.as_ref()) {
                return Ok((token, key));
            }
        }
        Err(Error::misconfigured("the store takes no key for this owner"))
    }
}

fn ended_by_limit(removed: &[Key]) {
    for key in removed {
        events::ended(SessionId::new(*key), Reason::Limit);
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
