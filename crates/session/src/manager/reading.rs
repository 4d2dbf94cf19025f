use kvolt_cache::{AfterRead, EntryRef, Freshness, Key, Store};

use super::Manager;
use super::presented::{HashedToken, Presented};
use super::token_status::TokenStatus;
use crate::events::{EndReason, EventKind, Parties, RefusalReason, TARGET};
use crate::policy::{TokenReuse, Undecodable};
use crate::record::{Content, Record};
use crate::secret_digest::SecretDigest;
use crate::{Access, Error, Result, SessionId, SessionSnapshot, Token};

/// Outcome of [`Manager::get_ready`].
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Access, Manager, Ready};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
/// let session = match manager.get_ready(&token, Access::SLIDE) {
///     // A store in memory answers at once.
///     Ready::Yes(answer) => answer?,
///     Ready::No(unread) => manager.finish(&token, unread).await?,
/// };
/// assert_eq!(*session.expect("it was just created"), "Ada");
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a read that is not ready must be finished"]
pub enum Ready<T> {
    /// The answer.
    Yes(Result<Option<SessionSnapshot<T>>>),
    /// The caller must wait for the store, with [`Manager::finish`].
    No(Unread<T>),
}

/// A read that can't be answered without waiting for the store: see [`Ready`].
///
/// ```
/// use kvolt_session::{Manager, Result, SessionSnapshot, Token, Unread};
///
/// async fn wait(
///     manager: &Manager<String>,
///     token: &Token,
///     unread: Unread<String>,
/// ) -> Result<Option<SessionSnapshot<String>>> {
///     manager.finish(token, unread).await
/// }
/// ```
#[derive(Debug)]
pub struct Unread<T> {
    key: Key,
    digest: SecretDigest,
    access: Access,
    freshness: Freshness,
    /// The session, if its use must be recorded and nothing else is left to do.
    used: Option<SessionSnapshot<T>>,
}

/// A session that a token names, and the token's status in it.
pub(super) struct Found<T> {
    /// With the rights of the token.
    pub(super) session: SessionSnapshot<T>,
    pub(super) status: TokenStatus,
    is_slide_due: bool,
    is_copy: bool,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Returns the session of a token, if it exists. Counts as use: the idle time restarts.
    ///
    /// Costs the store one command, and a second one when a slide is due.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn get(&self, token: &Token) -> Result<Option<SessionSnapshot<T>>> {
        self.get_with(token, Access::SLIDE).await
    }

    /// Returns the session of a token, if it exists. Does not count as use: for polls, health
    /// checks and open streams, which must not keep an idle session alive.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::{ManualClock, MemoryStore};
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let time = ManualClock::new();
    /// let store = MemoryStore::builder().clock(time.clock()).build();
    /// let manager = Manager::<String>::new(store);
    /// let token = manager.create(String::from("Ada")).await?;
    /// time.advance(Duration::from_secs(20 * 60));
    /// assert!(manager.peek(&token).await?.is_some());
    /// time.advance(Duration::from_secs(10 * 60));
    /// assert!(manager.peek(&token).await?.is_none());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// Costs the store one command.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek(&self, token: &Token) -> Result<Option<SessionSnapshot<T>>> {
        self.get_with(token, Access::PEEK).await
    }

    /// Returns the session of a token, if it exists, read with this [`Access`].
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn get_with(
        &self,
        token: &Token,
        access: Access,
    ) -> Result<Option<SessionSnapshot<T>>> {
        match self.get_ready(token, access) {
            Ready::Yes(answer) => answer,
            Ready::No(unread) => self.finish(token, unread).await,
        }
    }

    /// [`get_with`](Self::get_with) without waiting, if the store can answer at once: for
    /// adapters, which then need no boxed future.
    #[inline(always)]
    pub fn get_ready(&self, token: &Token, access: Access) -> Ready<T> {
        let hashed = self.hashed(token);
        let mut found = None;
        let mut is_slide_due = false;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            let status = self.status(&hashed, &entry);
            // Another read decides whether an impersonation is backed.
            let is_own = entry.value.content().envelope.impersonator().is_none();
            let is_used = access.slides() && status == TokenStatus::Valid;
            if !status.is_accepted() || !is_own || entry.value.data().is_err() {
                (found, is_slide_due) = (None, false);
                // The use of an impersonation extends nothing, but shows.
                return if is_used && !is_own { AfterRead::Slide } else { AfterRead::Keep };
            }
            is_slide_due = is_used && entry.slide_due;
            let slides_in_place = is_used && !entry.slide_due && !entry.is_copy;
            let now = self.clock().now();
            let session = found.insert(SessionSnapshot::new(entry, now, status.rights()));
            if slides_in_place {
                session.slide_in_place();
            }
            if is_used { AfterRead::Slide } else { AfterRead::Keep }
        };
        let unread = |freshness, used| {
            let HashedToken { key, digest, .. } = hashed;
            Ready::No(Unread { key, digest, access, freshness, used })
        };
        match self.0.store.get_ready(&hashed.key, access.freshness(), &mut visit) {
            None => unread(access.freshness(), None),
            Some(Err(error)) => Ready::Yes(Err(Error::store(error))),
            Some(Ok(false)) => Ready::Yes(self.refused(token.id(), None, RefusalReason::Unknown)),
            Some(Ok(true)) => match found {
                Some(session) if is_slide_due => unread(access.freshness(), Some(session)),
                Some(session) => Ready::Yes(Ok(Some(session))),
                // A copy may be old, and a refusal may end the session.
                None => unread(Freshness::Strict, None),
            },
        }
    }

    /// Finishes a read that [`get_ready`](Self::get_ready) could not answer, with the same token.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn finish(
        &self,
        token: &Token,
        unread: Unread<T>,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let Unread { key, digest, access, freshness, used } = unread;
        if let Some(session) = used {
            return self.touched(session).await;
        }
        let found = self.found(&HashedToken { token, key, digest }, freshness).await?;
        let Some(Found { session, status, is_slide_due, .. }) = found else {
            return self.refused(token.id(), None, RefusalReason::Unknown);
        };
        // What few reads need is boxed, so that the future of each read stays small.
        let is_impersonation = session.acting_for().is_some();
        if status != TokenStatus::WrongSecret
            && is_impersonation
            && !Box::pin(self.is_backed(&session)).await?
        {
            return self.refused(session.id(), &session, RefusalReason::Unknown);
        }
        if !status.is_accepted() {
            return Box::pin(self.refuse(&session, status)).await;
        }
        if let Err(error) = session.content().data.get() {
            if self.0.policy.undecodable == Undecodable::Keep {
                return Err(Error::corrupt(session.id(), error));
            }
            tracing::warn!(
                target: TARGET, id = %session.id(), error = error as &(dyn std::error::Error + 'static),
                "ended a session whose data can't be decoded (see `ManagerBuilder::undecodable`)"
            );
            Box::pin(self.end(&session, EndReason::Undecodable)).await?;
            return Ok(None);
        }
        if status == TokenStatus::Valid && access.slides() && is_slide_due {
            return self.touched(session).await;
        }
        Ok(Some(session))
    }

    /// Calls `read` on the data of a session in place, if the store has it in memory.
    ///
    /// Like [`get_with`](Self::get_with), but makes no snapshot and changes no reference count, so
    /// any number of threads read one session at full speed. `read` may run again if the session
    /// changes meanwhile; its last result counts.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Access, Manager};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let letters = manager.read(&token, Access::SLIDE, |name| name.len()).await?;
    /// assert_eq!(letters, Some(3));
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn read<R>(
        &self,
        token: &Token,
        access: Access,
        mut read: impl FnMut(&T) -> R,
    ) -> Result<Option<R>> {
        let hashed = self.hashed(token);
        let mut result = None;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            let is_ready = !(access.slides() && entry.slide_due)
                && entry.value.content().envelope.impersonator().is_none()
                && self.status(&hashed, &entry) == TokenStatus::Valid;
            let data = entry.value.data().ok().filter(|_| is_ready);
            result = data.map(&mut read);
            if result.is_some() && access.slides() { AfterRead::Slide } else { AfterRead::Keep }
        };
        match self.0.store.get_ready(&hashed.key, access.freshness(), &mut visit) {
            Some(Ok(true)) if result.is_some() => Ok(result),
            // This also waits for the store, and reports refusals.
            _ => Ok(self.get_with(token, access).await?.map(|session| read(session.data()))),
        }
    }

    /// Returns the current state of a session that the caller read before, with the rights that it
    /// had then. `None` if it has ended, or if the credentials were changed since. Does not count
    /// as use.
    ///
    /// For what outlives a request, such as an open connection: the token that it began with may
    /// have been replaced, and presenting it again would count as theft.
    ///
    /// ```
    /// use kvolt_cache::{Freshness, MemoryStore};
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let earlier = manager.get(&token).await?.expect("it was just created");
    /// manager.update(&token, |name| name.push('!')).await?;
    /// let now = manager.peek_session(&earlier, Freshness::Strict).await?;
    /// assert_eq!(*now.expect("it is live"), "Ada!");
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek_session(
        &self,
        earlier: &SessionSnapshot<T>,
        freshness: Freshness,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let continues = |content: &Content<T>| {
            content.envelope.epoch == earlier.envelope().epoch
                && content.data.get().is_ok()
                && self.is_bound(content)
        };
        let session = self.by_id(earlier.id(), freshness).await?;
        let session = session.filter(|session| continues(session.content()));
        let session = self.if_backed(session).await?;
        let (restricted_to, device_proof) = (Some(earlier.proved()), earlier.device_proof);
        Ok(session.map(|session| SessionSnapshot { restricted_to, device_proof, ..session }))
    }

    #[inline]
    pub(super) fn hashed<'a>(&self, token: &'a Token) -> HashedToken<'a> {
        let namespace = self.namespace();
        HashedToken { token, key: token.id().key(namespace), digest: token.digest(namespace) }
    }

    /// A presented token, and its session if the caller has read it.
    pub(super) fn opened<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> (HashedToken<'a>, Option<SessionSnapshot<T>>) {
        let Presented { token, read } = presented.into();
        let token = self.hashed(token);
        (token, read.filter(|session| session.key == token.key))
    }

    /// The session that a client presented, if the status of the token is accepted; as the caller
    /// has read it, if it has.
    pub(super) async fn session_of<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        freshness: Freshness,
        accepts: fn(TokenStatus) -> bool,
    ) -> Result<Option<(HashedToken<'a>, SessionSnapshot<T>)>> {
        let (token, read) = self.opened(presented);
        let session = match read {
            Some(session) => Some(session),
            None => {
                let found = self.found(&token, freshness).await?;
                let found = found.filter(|found| accepts(found.status));
                self.if_backed(found.map(|found| found.session)).await?
            }
        };
        Ok(session.map(|session| (token, session)))
    }

    /// The session that a token names and the token's status in it. `None` if the session does not
    /// exist.
    ///
    /// Asks the store at most once before the secret is verified. A copy that does not accept the
    /// token may be old, so the store itself is asked then.
    pub(super) async fn found(
        &self,
        token: &HashedToken<'_>,
        freshness: Freshness,
    ) -> Result<Option<Found<T>>> {
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            let (status, now) = (self.status(token, &entry), self.clock().now());
            Found {
                session: SessionSnapshot::new(entry, now, status.rights()),
                status,
                is_slide_due: entry.slide_due,
                is_copy: entry.is_copy,
            }
        };
        match self.visited(&token.key, freshness, &mut visit).await? {
            Some(found) if found.is_copy && !found.status.is_accepted() => {
                self.visited(&token.key, Freshness::Strict, &mut visit).await
            }
            found => Ok(found),
        }
    }

    /// A session by its id, whether or not its data can be read.
    pub(super) async fn by_id(
        &self,
        id: SessionId,
        freshness: Freshness,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let visit = |entry: EntryRef<'_, _>| SessionSnapshot::new(entry, self.clock().now(), None);
        self.visited(&id.key(self.namespace()), freshness, visit).await
    }

    /// The result of `visit` on the live entry under a key.
    async fn visited<R: Send>(
        &self,
        key: &Key,
        freshness: Freshness,
        mut visit: impl FnMut(EntryRef<'_, Record<T>>) -> R + Send,
    ) -> Result<Option<R>> {
        let mut visited = Ok(None);
        let mut visit_live = |entry: EntryRef<'_, Record<T>>| {
            visited = self.is_live(&entry).map(|is_live| is_live.then(|| visit(entry)));
            AfterRead::Keep
        };
        let is_live = match self.0.store.get_ready(key, freshness, &mut visit_live) {
            Some(shown) => shown.map_err(Error::store)?,
            None => {
                let entry = self.0.store.get(key, freshness).await.map_err(Error::store)?;
                entry.map(|entry| visit_live(entry.as_ref())).is_some()
            }
        };
        // An entry may have been removed after it was visited.
        if is_live { visited } else { Ok(None) }
    }

    /// The session after a use that the store must record. `None` if it has ended meanwhile.
    async fn touched(&self, session: SessionSnapshot<T>) -> Result<Option<SessionSnapshot<T>>> {
        match self.0.store.touch(session.target()).await {
            Ok(Some(deadlines)) => Ok(Some(SessionSnapshot { deadlines, ..session })),
            Ok(None) => self.refused(session.id(), &session, RefusalReason::Unknown),
            // The session is live. A use that could not be recorded costs it a part of its idle
            // time; a store that is full or read-only locks no client out.
            Err(error) => {
                #[cfg(feature = "metrics")]
                metrics::counter!(crate::events::metrics::SLIDES_FAILED).increment(1);
                let reporter = &self.0.reporter;
                reporter.warn(
                    &reporter.slide_failures,
                    session.id(),
                    &error,
                    "the store could not extend a session: sessions in use may expire early until it can",
                );
                Ok(Some(session))
            }
        }
    }

    /// Refuses a token that is not accepted, and ends the session if the policy says so.
    pub(super) async fn refuse(
        &self,
        session: &SessionSnapshot<T>,
        status: TokenStatus,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let (id, reuse) = (session.id(), self.0.policy.reuse);
        let parties = Parties::from(session);
        let (parties, reason) = match status {
            TokenStatus::CredentialsChanged => (parties, RefusalReason::CredentialsChanged),
            TokenStatus::Replaced(reason) => (parties, reason),
            TokenStatus::Reused if reuse != TokenReuse::Ignore => {
                self.report(EventKind::Reused, id, parties);
                if reuse == TokenReuse::EndSession {
                    self.end(session, EndReason::Reuse).await?;
                }
                (parties, RefusalReason::Reuse)
            }
            _ => (None.into(), RefusalReason::Unknown),
        };
        self.refused(id, parties, reason)
    }

    /// Reports a request that was refused; it gets no session.
    pub(super) fn refused<'a, R>(
        &self,
        id: impl Into<Option<SessionId>>,
        parties: impl Into<Parties<'a>>,
        reason: RefusalReason,
    ) -> Result<Option<R>> {
        self.report(EventKind::Refused { reason }, id, parties);
        Ok(None)
    }

    /// Reports a request that was refused for a reason that the manager can't see, such as an
    /// invalid form token: for adapters.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, RefusalReason};
    ///
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// manager.report_refusal(None, RefusalReason::CrossOrigin);
    /// ```
    pub fn report_refusal(&self, session: Option<&SessionSnapshot<T>>, reason: RefusalReason) {
        let parties = session.map_or(None.into(), Parties::from);
        self.report(EventKind::Refused { reason }, session.map(SessionSnapshot::id), parties);
    }
}
