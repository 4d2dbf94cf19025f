//! Reading sessions, and what a token is to a session.

use kvolt_cache::{At, Deadlines, EntryRef, Freshness, Key, Store, Timestamp, Use};

use crate::events::{self, EndReason, RefusalReason};
use crate::level::Proofs;
use crate::policy::{TokenReuse, Undecodable};
use crate::record::{Content, Record};
use crate::token::SecretDigest;
use crate::{Access, Error, Manager, Result, Session, SessionId, Token};

/// Whether a token's session is acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenStatus {
    /// The session's own token.
    Valid,
    /// A previous token in its grace, with the rights that it had.
    InGrace(Proofs),
    /// A previous token that is no longer accepted, so lately replaced that a request with it may
    /// have been under way. `true` if a change of credentials replaced it.
    Replaced { by_credentials: bool },
    /// A token that was issued for this session and replaced, used after its grace.
    Reused,
    /// The session was made before its account's credentials were changed. The token is its own.
    CredentialsChanged,
    /// Not a token of this session.
    WrongSecret,
}

/// A token that a client presented, and what a store and a record know it by.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a Token,
    pub(crate) key: Key,
    digest: SecretDigest,
}

/// Outcome of [`Manager::get_ready`].
#[derive(Debug)]
#[must_use = "a read that is not ready has to be finished"]
pub enum Ready<T> {
    /// The answer.
    Yes(Result<Option<Session<T>>>),
    /// The store has to be asked: by [`Manager::finish`].
    No(Unread<T>),
}

/// A read that can't be answered without waiting for the store.
#[derive(Debug)]
pub struct Unread<T> {
    key: Key,
    digest: SecretDigest,
    access: Access,
    next: Next<T>,
}

/// What is left to do of a read.
#[derive(Debug)]
enum Next<T> {
    Ask(Freshness),
    Touch(Session<T>),
}

/// How much later than its sealed end a session may be found by the store's word, since two
/// clocks never agree exactly.
const END_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(60);

impl<T: Send + Sync + 'static> Manager<T> {
    /// The session of a token, if there is one. It counts as use: the idle time starts again.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn get(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.get_with(token, Access::SLIDE).await
    }

    /// The session of a token, if there is one. It does not count as use: for
    /// polls, health checks and open streams, which must not keep an idle session alive.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.get_with(token, Access::PEEK).await
    }

    /// [`get`](Self::get) or [`peek`](Self::peek), by the access that is given, which may be
    /// [strict](Access::strict): answered by the store itself and by no copy of it.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn get_with(&self, token: &Token, access: Access) -> Result<Option<Session<T>>> {
        match self.get_ready(token, access) {
            Ready::Yes(answer) => answer,
            Ready::No(unread) => self.finish(token, unread).await,
        }
    }

    /// [`get_with`](Self::get_with) without waiting, where the store can answer at once: for
    /// adapters, which then need no boxed future.
    #[inline]
    pub fn get_ready(&self, token: &Token, access: Access) -> Ready<T> {
        let presented = self.presented(token);
        let mut found = None;
        let mut is_slide_due = false;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            found = self.admitted(&presented, &entry);
            let is_used = access.slides() && matches!(found, Some((_, TokenStatus::Valid)));
            is_slide_due = is_used && entry.slide_due;
            if is_used { Use::Slide } else { Use::Look }
        };
        let unread = |next| {
            let Presented { key, digest, .. } = presented;
            Ready::No(Unread { key, digest, access, next })
        };
        match self.store().get_ready(&presented.key, access.freshness(), &mut visit) {
            None => unread(Next::Ask(access.freshness())),
            Some(Err(error)) => Ready::Yes(Err(Error::store(error))),
            Some(Ok(false)) => {
                self.events().refused(Some(token.id()), None, RefusalReason::Unknown);
                Ready::Yes(Ok(None))
            }
            Some(Ok(true)) => match found {
                Some((session, _)) if is_slide_due => unread(Next::Touch(session)),
                Some((session, _)) => Ready::Yes(Ok(Some(session))),
                // A copy may be old, and a refusal may have to end the session.
                None => unread(Next::Ask(Freshness::Strict)),
            },
        }
    }

    /// Finishes a read that [`get_ready`](Self::get_ready) could not answer, with the same token.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn finish(&self, token: &Token, unread: Unread<T>) -> Result<Option<Session<T>>> {
        let Unread { key, digest, access, next } = unread;
        let presented = Presented { token, key, digest };
        let freshness = match next {
            Next::Touch(session) => return self.touched(&presented, session).await,
            Next::Ask(freshness) => freshness,
        };
        let Some((session, status, is_slide_due)) = self.verified(&presented, freshness).await?
        else {
            self.events().refused(Some(token.id()), None, RefusalReason::Unknown);
            return Ok(None);
        };
        match status {
            TokenStatus::Valid | TokenStatus::InGrace(_) => {}
            refused => return self.refuse(&session, refused).await.map(|()| None),
        }
        if !self.is_readable(&session).await? {
            return Ok(None);
        }
        if status == TokenStatus::Valid && access.slides() && is_slide_due {
            return self.touched(&presented, session).await;
        }
        Ok(Some(session))
    }

    /// Looks at the data of a session in place, where the store has it in memory.
    ///
    /// Like [`get`](Self::get) without handing the session out: no reference
    /// count is touched, so any number of threads read one session at full speed. `look` may run
    /// again where the session is changed in the meantime; its last answer counts.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn read<R>(
        &self,
        token: &Token,
        access: Access,
        mut look: impl FnMut(&T) -> R,
    ) -> Result<Option<R>> {
        let presented = self.presented(token);
        let mut looked = None;
        let ready = self.store().get_ready(&presented.key, access.freshness(), &mut |entry| {
            looked = None;
            let status = self.status(&presented, &entry);
            if let (TokenStatus::Valid, false) = (status, entry.slide_due)
                && let Ok(data) = entry.value.data()
            {
                looked = Some(look(data));
                return if access.slides() { Use::Slide } else { Use::Look };
            }
            Use::Look
        });
        match ready {
            Some(Ok(true)) if looked.is_some() => Ok(looked),
            Some(Err(error)) => Err(Error::store(error)),
            // The other way also slides by the store, and reports what it refuses.
            _ => {
                let session = self.get_with(token, access).await?;
                Ok(session.map(|session| look(session.data())))
            }
        }
    }

    #[inline]
    pub(crate) fn presented<'a>(&self, token: &'a Token) -> Presented<'a> {
        let namespace = self.namespace();
        Presented { token, key: token.id().key(namespace), digest: token.digest(namespace) }
    }

    /// The session of an entry, if the token that was presented lets its holder in and the data
    /// can be read.
    #[inline]
    fn admitted(
        &self,
        presented: &Presented<'_>,
        entry: &EntryRef<'_, Record<T>>,
    ) -> Option<(Session<T>, TokenStatus)> {
        let status = self.status(presented, entry);
        let restricted_to = match status {
            TokenStatus::Valid => None,
            TokenStatus::InGrace(proofs) => Some(proofs),
            _ => return None,
        };
        entry.value.data().ok()?;
        Some((Session::from_ref(*entry).restricted_to(restricted_to), status))
    }

    /// What a token is to the session of an entry. Every read and every change passes here.
    #[inline]
    fn status(&self, presented: &Presented<'_>, entry: &EntryRef<'_, Record<T>>) -> TokenStatus {
        let content = entry.value.content();
        if content.secret == presented.digest && !self.is_tampered(content, entry.owner) {
            return self.bound(content, TokenStatus::Valid);
        }
        self.status_of_other(presented, content, entry.owner, entry.read_at)
    }

    /// What a token is to a session that this process has at hand, at this time of the store.
    pub(crate) fn status_at(
        &self,
        presented: &Presented<'_>,
        session: &Session<T>,
        now: Timestamp,
    ) -> TokenStatus {
        let content = session.content();
        if content.secret == presented.digest {
            return self.bound(content, TokenStatus::Valid);
        }
        self.status_of_other(presented, content, session.filed_under(), now)
    }

    #[cold]
    fn status_of_other(
        &self,
        presented: &Presented<'_>,
        content: &Content<T>,
        owner: Option<&kvolt_cache::Owner>,
        now: Timestamp,
    ) -> TokenStatus {
        if self.is_tampered(content, owner) {
            return TokenStatus::WrongSecret;
        }
        let rare = content.rare.as_deref();
        // All are compared, so that the time tells nothing of which one matched.
        let previous = rare.and_then(|rare| {
            let mut found = None;
            for previous in &rare.previous {
                if previous.secret == presented.digest {
                    found = Some(previous);
                }
            }
            found
        });
        match previous {
            Some(previous) if now < previous.until && previous.is_accepted => {
                return self.bound(content, TokenStatus::InGrace(previous.proofs));
            }
            // A request that was under way may be late by another grace.
            Some(previous) if now < previous.until.saturating_add(self.policy().rotation_grace) => {
                return TokenStatus::Replaced { by_credentials: !previous.is_accepted };
            }
            _ => {}
        }
        if !presented.token.was_issued(&content.seed, self.namespace()) {
            return TokenStatus::WrongSecret;
        }
        match rare.and_then(|rare| rare.quiet_until) {
            Some(quiet_until) if now < quiet_until => {
                TokenStatus::Replaced { by_credentials: false }
            }
            _ => TokenStatus::Reused,
        }
    }

    /// Whether someone else than a manager has changed what a store says of a session: its
    /// owner, or its absolute end. In memory there is no one.
    #[inline]
    fn is_tampered(&self, content: &Content<T>, owner: Option<&kvolt_cache::Owner>) -> bool {
        content.data.is_encoded()
            && ((content.owner.is_some() && content.owner.as_ref() != owner)
                || self.clock().now() > content.ends_at.saturating_add(END_TOLERANCE))
    }

    /// The status if the session's binding is the one that its account has now.
    #[inline]
    fn bound(&self, content: &Content<T>, status: TokenStatus) -> TokenStatus {
        let Some(bound_to) = &self.policy().bound_to else {
            return status;
        };
        // Data that can't be read says nothing of its account, and lets no one in.
        let is_bound = content.is_anonymous()
            || !content.data.get().is_ok_and(|data| bound_to(data).as_ref() != content.binding());
        if is_bound { status } else { TokenStatus::CredentialsChanged }
    }

    /// A session that the caller has read before, as it is now, whichever token it has; `None`
    /// once it has ended or its account's credentials were changed. It does not count as use.
    ///
    /// For what outlives a request, such as an open stream: the token that it began with may have
    /// been replaced since, and to present it again would look like a theft.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek_session(
        &self,
        session: &Session<T>,
        freshness: Freshness,
    ) -> Result<Option<Session<T>>> {
        let found = self.by_id(session.id(), freshness).await?;
        let found = found.filter(|found| self.continues(session, found));
        Ok(found.map(|found| found.with_rights_of(session)))
    }

    /// Whether an open connection that began in a session may go on, now that the session is as
    /// it is: no credentials were changed in between, and its data can be read.
    pub(crate) fn continues(&self, began: &Session<T>, now: &Session<T>) -> bool {
        let content = now.content();
        content.epoch == began.content().epoch
            && content.data.get().is_ok()
            && self.bound(content, TokenStatus::Valid) == TokenStatus::Valid
    }

    /// The session that a token names and what the token is to it, whatever that is, and whether
    /// a slide is due. `None` if there is no such session.
    ///
    /// At most one question to the store before the secret was verified; a copy that the token
    /// does not fit may be old, so then the store itself is asked.
    pub(crate) async fn verified(
        &self,
        presented: &Presented<'_>,
        mut freshness: Freshness,
    ) -> Result<Option<(Session<T>, TokenStatus, bool)>> {
        loop {
            let mut found = None;
            let mut is_copy = false;
            let mut visit = |entry: EntryRef<'_, Record<T>>| {
                let status = self.status(presented, &entry);
                is_copy = entry.is_copy;
                found = Some((Session::from_ref(entry), status, entry.slide_due));
                Use::Look
            };
            match self.store().get_ready(&presented.key, freshness, &mut visit) {
                Some(ready) => _ = ready.map_err(Error::store)?,
                None => {
                    let entry = self.store().get(&presented.key, freshness).await;
                    if let Some(entry) = entry.map_err(Error::store)? {
                        let _ = visit(entry.as_ref());
                    }
                }
            }
            let Some((session, status, is_slide_due)) = found else {
                return Ok(None);
            };
            let restricted_to = match status {
                TokenStatus::Valid => None,
                TokenStatus::InGrace(proofs) => Some(proofs),
                _ if is_copy && freshness != Freshness::Strict => {
                    freshness = Freshness::Strict;
                    continue;
                }
                _ => None,
            };
            return Ok(Some((session.restricted_to(restricted_to), status, is_slide_due)));
        }
    }

    /// The session after a use of which the store has to know; `None` if it has ended meanwhile.
    async fn touched(
        &self,
        presented: &Presented<'_>,
        session: Session<T>,
    ) -> Result<Option<Session<T>>> {
        match self.touch(session.at()).await {
            Ok(Some(deadlines)) => Ok(Some(session.slid(deadlines))),
            Ok(None) => {
                let (id, owner) = (presented.token.id(), session.owner());
                self.events().refused(Some(id), owner, RefusalReason::Unknown);
                Ok(None)
            }
            // It is live: the use that could not be written down costs it a part of its idle
            // time, and a store that is full or read-only locks no one out.
            Err(error) => {
                self.events().slide_failed(session.id(), &error);
                Ok(Some(session))
            }
        }
    }

    async fn touch(&self, at: At<'_>) -> Result<Option<Deadlines>, kvolt_cache::Error> {
        let touched = self.store().touch(at).await;
        if touched.is_ok() {
            self.events().slide_succeeded();
        }
        touched
    }

    /// Reports a token that lets no one in, and ends the session where that is the policy.
    async fn refuse(&self, session: &Session<T>, status: TokenStatus) -> Result<()> {
        let (id, owner) = (session.id(), session.owner());
        let reason = match status {
            TokenStatus::CredentialsChanged | TokenStatus::Replaced { by_credentials: true } => {
                RefusalReason::CredentialsChanged
            }
            TokenStatus::Reused if self.policy().reuse != TokenReuse::Ignore => {
                self.events().reused(id, owner);
                if self.policy().reuse == TokenReuse::EndSession {
                    self.end_session(session, EndReason::Reuse).await?;
                }
                RefusalReason::Reuse
            }
            TokenStatus::Replaced { .. } => RefusalReason::Replaced,
            _ => {
                self.events().refused(Some(id), None, RefusalReason::Unknown);
                return Ok(());
            }
        };
        self.events().refused(Some(id), owner, reason);
        Ok(())
    }

    /// Whether the data of a session can be read, whose token was verified. One that can't be is
    /// an error, or is ended: the policy decides.
    async fn is_readable(&self, session: &Session<T>) -> Result<bool> {
        let Err(error) = session.content().data.get() else {
            return Ok(true);
        };
        if self.policy().undecodable == Undecodable::Keep {
            return Err(Error::corrupt(session.id(), error));
        }
        events::undecodable(error);
        self.end_session(session, EndReason::Undecodable).await?;
        Ok(false)
    }

    /// A session by its id, whatever its token.
    pub(crate) async fn by_id(
        &self,
        id: SessionId,
        freshness: Freshness,
    ) -> Result<Option<Session<T>>> {
        let key = id.key(self.namespace());
        let mut found = None;
        let ready = self.store().get_ready(&key, freshness, &mut |entry| {
            found = Some(Session::from_ref(entry));
            Use::Look
        });
        match ready {
            Some(ready) => ready.map(|_| found).map_err(Error::store),
            None => {
                let entry = self.store().get(&key, freshness).await.map_err(Error::store)?;
                Ok(entry.map(|entry| Session::from_entry(&entry)))
            }
        }
    }
}
