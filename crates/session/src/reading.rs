//! Reading sessions, and what a token is to a session.

use std::time::Duration;

use kvolt_cache::{AfterRead, EntryRef, Freshness, Key, Owner, Store, Timestamp};

use crate::events::{self, EndReason, RefusalReason};
use crate::level::Proofs;
use crate::policy::{TokenReuse, Undecodable};
use crate::record::{Content, Record};
use crate::token::SecretDigest;
use crate::{Access, Error, Manager, Result, SessionId, SessionSnapshot, Token};

/// What a token is to the session that it names.
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
    /// Not a token of this session, or the session has ended.
    WrongSecret,
}

/// A token that a client presented, and what a store and a record know it by.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a Token,
    pub(crate) key: Key,
    digest: SecretDigest,
}

/// A session that a token names, and what the token is to it.
pub(crate) struct Verified<T> {
    /// With the rights of the token.
    pub(crate) session: SessionSnapshot<T>,
    pub(crate) status: TokenStatus,
    is_slide_due: bool,
    is_copy: bool,
}

/// Outcome of [`Manager::get_ready`].
#[derive(Debug)]
#[must_use = "a read that is not ready has to be finished"]
pub enum Ready<T> {
    /// The answer.
    Yes(Result<Option<SessionSnapshot<T>>>),
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
    Touch(SessionSnapshot<T>),
}

/// How far the clocks of the store and of the manager may be apart at the absolute end of a
/// session.
const END_TOLERANCE: Duration = Duration::from_secs(60);

impl<T: Send + Sync + 'static> Manager<T> {
    /// The session of a token, if there is one. It counts as use: the idle time starts again.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn get(&self, token: &Token) -> Result<Option<SessionSnapshot<T>>> {
        self.get_with(token, Access::SLIDE).await
    }

    /// The session of a token, if there is one. It does not count as use: for
    /// polls, health checks and open streams, which must not keep an idle session alive.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek(&self, token: &Token) -> Result<Option<SessionSnapshot<T>>> {
        self.get_with(token, Access::PEEK).await
    }

    /// [`get`](Self::get) or [`peek`](Self::peek), by the access that is given, which may be
    /// [strict](Access::strict): answered by the store itself and by no copy of it.
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

    /// [`get_with`](Self::get_with) without waiting, where the store can answer at once: for
    /// adapters, which then need no boxed future.
    #[inline(always)]
    pub fn get_ready(&self, token: &Token, access: Access) -> Ready<T> {
        let presented = self.presented(token);
        let mut found = None;
        let mut is_slide_due = false;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            let status = self.status(&presented, &entry);
            if !status.lets_in() || entry.value.data().is_err() {
                (found, is_slide_due) = (None, false);
                return AfterRead::Keep;
            }
            let is_used = access.slides() && status == TokenStatus::Valid;
            is_slide_due = is_used && entry.slide_due;
            let slides_in_place = is_used && !entry.slide_due && !entry.is_copy;
            let session = found.insert(SessionSnapshot::from_ref(entry, self.clock().now()));
            session.restrict(status.rights());
            if slides_in_place {
                session.slide_in_place();
            }
            if is_used { AfterRead::Slide } else { AfterRead::Keep }
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
                Some(session) if is_slide_due => unread(Next::Touch(session)),
                Some(session) => Ready::Yes(Ok(Some(session))),
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
    pub async fn finish(
        &self,
        token: &Token,
        unread: Unread<T>,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let Unread { key, digest, access, next } = unread;
        let presented = Presented { token, key, digest };
        let freshness = match next {
            Next::Touch(session) => return self.touched(&presented, session).await,
            Next::Ask(freshness) => freshness,
        };
        let Some(found) = self.verified(&presented, freshness).await? else {
            self.events().refused(Some(token.id()), None, RefusalReason::Unknown);
            return Ok(None);
        };
        let Verified { session, status, is_slide_due, .. } = found;
        if !status.lets_in() {
            return self.refuse(&session, status).await.map(|()| None);
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
            let is_ready = !(access.slides() && entry.slide_due);
            if is_ready
                && self.status(&presented, &entry) == TokenStatus::Valid
                && let Ok(data) = entry.value.data()
            {
                looked = Some(look(data));
                return if access.slides() { AfterRead::Slide } else { AfterRead::Keep };
            }
            AfterRead::Keep
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

    /// What a token is to the session of an entry.
    #[inline]
    fn status(&self, presented: &Presented<'_>, entry: &EntryRef<'_, Record<T>>) -> TokenStatus {
        match self.is_live(entry) {
            Ok(true) => self.status_at(presented, entry.value.content(), entry.read_at),
            _ => TokenStatus::WrongSecret,
        }
    }

    /// What a token is to a session at this time of the store. Every read and every change passes
    /// here.
    #[inline]
    pub(crate) fn status_at(
        &self,
        presented: &Presented<'_>,
        content: &Content<T>,
        now: Timestamp,
    ) -> TokenStatus {
        let status = if content.secret == presented.digest {
            TokenStatus::Valid
        } else {
            self.status_of_other(presented, content, now)
        };
        if status.lets_in() && !self.is_bound(content) {
            return TokenStatus::CredentialsChanged;
        }
        status
    }

    /// What a token is to a session that has another.
    #[cold]
    fn status_of_other(
        &self,
        presented: &Presented<'_>,
        content: &Content<T>,
        now: Timestamp,
    ) -> TokenStatus {
        let rare = content.rare.as_deref();
        let previous = rare.map_or(&[][..], |rare| &rare.previous);
        let previous = previous.iter().find(|previous| previous.secret == presented.digest);
        if let Some(previous) = previous {
            if now < previous.until && previous.is_accepted {
                return TokenStatus::InGrace(previous.proofs);
            }
            // A request that was under way may be late by another grace.
            if now < previous.until.saturating_add(self.policy().rotation_grace) {
                return TokenStatus::Replaced { by_credentials: !previous.is_accepted };
            }
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

    /// Whether a session is live by its own record too; an error if the record names another
    /// owner than the store. Only a manager writes records; others may write to a remote store.
    #[inline]
    pub(crate) fn is_live(&self, entry: &EntryRef<'_, Record<T>>) -> Result<bool> {
        let content = entry.value.content();
        if !content.data.is_encoded() {
            return Ok(true);
        }
        let is_filed_right = match &content.owner {
            Some(owner) => entry.owner == Some(owner),
            None => entry.owner.is_none_or(Owner::is_reserved),
        };
        if !is_filed_right {
            return Err(Error::misfiled(SessionId::from_key(entry.key)));
        }
        Ok(self.clock().now() < content.ends_at.saturating_add(END_TOLERANCE))
    }

    /// Whether a session's binding is the one that its account has now. Data that can't be read
    /// names no account, and lets no one in.
    #[inline]
    pub(crate) fn is_bound(&self, content: &Content<T>) -> bool {
        match (&self.policy().bound_to, content.is_anonymous()) {
            (Some(bound_to), false) => content.data.get().map_or(true, |data| {
                bound_to(data).is_some_and(|now| content.binding() == Some(&now))
            }),
            _ => true,
        }
    }

    /// A session that the caller has read before, as it is now, with the rights that it had then.
    /// `None` if it has ended, or credentials were changed since. It does not count as use.
    ///
    /// For what outlives a request, such as an open connection: the token that it began with may
    /// have been replaced, and to present it again would be taken for a theft.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn peek_session(
        &self,
        began: &SessionSnapshot<T>,
        freshness: Freshness,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let found = self.by_id(began.id(), freshness).await?;
        let continues = |content: &Content<T>| {
            content.epoch == began.content().epoch
                && content.data.get().is_ok()
                && self.is_bound(content)
        };
        let found = found.filter(|session| continues(session.content()));
        Ok(found.map(|session| session.restricted_to(Some(began.proofs()))))
    }

    /// The session that a token names and what the token is to it, whatever that is. `None` if
    /// there is no such session.
    ///
    /// At most one question to the store before the secret was verified; a copy that the token
    /// does not fit may be old, so then the store itself is asked.
    pub(crate) async fn verified(
        &self,
        presented: &Presented<'_>,
        freshness: Freshness,
    ) -> Result<Option<Verified<T>>> {
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            let status = self.status(presented, &entry);
            let session = SessionSnapshot::from_ref(entry, self.clock().now());
            Verified {
                session: session.restricted_to(status.rights()),
                status,
                is_slide_due: entry.slide_due,
                is_copy: entry.is_copy,
            }
        };
        match self.visited(&presented.key, freshness, &mut visit).await? {
            Some(found) if found.is_copy && !found.status.lets_in() => {
                self.visited(&presented.key, Freshness::Strict, &mut visit).await
            }
            found => Ok(found),
        }
    }

    /// A session by its id, whatever its token, and whether or not its data can be read.
    pub(crate) async fn by_id(
        &self,
        id: SessionId,
        freshness: Freshness,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let key = id.key(self.namespace());
        let mut visit =
            |entry: EntryRef<'_, _>| SessionSnapshot::from_ref(entry, self.clock().now());
        self.visited(&key, freshness, &mut visit).await
    }

    /// What `visit` makes of the live entry under a key.
    async fn visited<R: Send>(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut (impl FnMut(EntryRef<'_, Record<T>>) -> R + Send),
    ) -> Result<Option<R>> {
        let mut found = Ok(None);
        let mut look = |entry: EntryRef<'_, Record<T>>| {
            found = self.is_live(&entry).map(|is_live| is_live.then(|| visit(entry)));
            AfterRead::Keep
        };
        match self.store().get_ready(key, freshness, &mut look) {
            Some(Ok(true)) => found,
            Some(Ok(false)) => Ok(None),
            Some(Err(error)) => Err(Error::store(error)),
            None => {
                if let Some(entry) = self.store().get(key, freshness).await.map_err(Error::store)? {
                    let _ = look(entry.as_ref());
                }
                found
            }
        }
    }

    /// The session after a use that the store must know of; `None` if it has ended meanwhile.
    async fn touched(
        &self,
        presented: &Presented<'_>,
        session: SessionSnapshot<T>,
    ) -> Result<Option<SessionSnapshot<T>>> {
        match self.store().touch(session.at()).await {
            Ok(Some(deadlines)) => Ok(Some(session.slid(deadlines))),
            Ok(None) => {
                let (id, owner) = (presented.token.id(), session.filed_under());
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

    /// Reports a token that lets no one in, and ends the session where that is the policy.
    async fn refuse(&self, session: &SessionSnapshot<T>, status: TokenStatus) -> Result<()> {
        let (id, owner) = (session.id(), session.filed_under());
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
    async fn is_readable(&self, session: &SessionSnapshot<T>) -> Result<bool> {
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
}

impl TokenStatus {
    /// Whether a client with such a token may use the session.
    #[inline]
    pub(crate) fn lets_in(self) -> bool {
        matches!(self, Self::Valid | Self::InGrace(_))
    }

    /// Whether a client with such a token may end the session, or log in over it.
    pub(crate) fn may_end(self) -> bool {
        self.lets_in() || self == Self::CredentialsChanged
    }

    /// The rights that a session has by such a token, if they are not all of its own.
    #[inline]
    pub(crate) fn rights(self) -> Option<Proofs> {
        match self {
            Self::InGrace(proofs) => Some(proofs),
            _ => None,
        }
    }
}
