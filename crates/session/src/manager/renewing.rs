//! New tokens: at a sign-in, at a new proof of identity, and by rotation.

use kvolt_cache::{Freshness, Timestamp};

use super::Manager;
use super::changing::MAX_ATTEMPTS;
use super::presented::{HashedToken, Presented};
use super::token_status::TokenStatus;
use crate::error::Kind;
use crate::events::{EndReason, EventKind};
use crate::new_session::NewSession;
use crate::record::{Content, Data, PreviousToken};
use crate::{Binding, Error, Level, Result, SessionId, SessionSnapshot, Token};

/// Outcome of a rotation.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Level, Manager, RotateOutcome};
///
/// # pollster::block_on(async {
/// let manager: Manager<String> = Manager::builder(MemoryStore::new())
///     .rotation_grace(Duration::from_secs(10))
///     .build()?;
/// let old = manager.create(String::from("Ada")).await?;
/// let RotateOutcome::Token(new) = manager.rotate(&old).await? else {
///     panic!("the session exists");
/// };
/// assert_eq!(new.id(), old.id());
/// // Another request with the old token gets no second successor.
/// assert!(matches!(manager.rotate(&old).await?, RotateOutcome::AlreadyRotated));
///
/// // After the password was checked again:
/// let RotateOutcome::Token(token) = manager.reauthenticate(&new, Level::Two).await? else {
///     panic!("the session exists");
/// };
/// let session = manager.get(&token).await?.expect("it was just renewed");
/// assert_eq!(session.level(), Some(Level::Two));
/// assert!(!manager.is_rotation_due(&session), "there is no schedule");
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "the new token must be given to the client"]
pub enum RotateOutcome {
    /// The session's new token.
    Token(Token),
    /// The presented token was replaced before and is in its grace: the session has one successor,
    /// which another request of the client receives.
    AlreadyRotated,
    /// The session does not exist.
    Absent,
}

pub(super) enum RenewalReason {
    /// The token is old. In its grace, another request of the client receives the next one.
    Age,
    /// The user proved their identity: the next token goes to that client, even if it presented a
    /// token in its grace.
    Proof(Level),
    /// As for a proof, and no previous token is accepted. With the new binding, if it is given.
    Credentials(Option<Binding>),
    /// The administrator ends this impersonation, which the session has started, and goes on with the
    /// session. The token was verified to be the impersonation's current one.
    Return(SessionId),
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Creates a session for a user who has just proved their identity, and ends the one that the
    /// client had, if any, with an impersonation that belongs to it. Both timeouts restart.
    ///
    /// One step: either the old token is accepted or the new one, and the owner's limit does not
    /// count the old session. (On a Redis Cluster, where the two have different owners, the new
    /// session is created first and the old one ended after it.) From an anonymous session, data
    /// is carried over by the [rule](crate::AnonymousSessions::carry_over).
    ///
    /// From an impersonation, the administrator's own session ends first, also if the login then
    /// fails: it takes two steps.
    ///
    /// If the client presented no token, [`create`](Self::create) does the same.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let ada = || NewSession::new(String::from("Ada")).owner("42");
    /// let old = manager.create(ada()).await?;
    /// let new = manager.login(Some(&old), ada()).await?;
    /// assert!(manager.get(&old).await?.is_none());
    /// assert!(manager.get(&new).await?.is_some());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// Only an accepted token ends its session: a token that merely names it does not. Costs the
    /// store two commands, or one with the old session as it was read. From an impersonation, it
    /// costs five or three.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`create`](Self::create), and an error if the old session keeps
    /// changing meanwhile ([`Error::is_contended`]).
    pub async fn login<'a>(
        &self,
        old: Option<impl Into<Presented<'a, T>>>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Token> {
        let content = self.content(session.into())?;
        let replaced = match old {
            Some(old) => self.replaceable(old, Freshness::Bounded).await?,
            None => None,
        };
        if let Some((_, session)) = &replaced {
            self.end_own(session, EndReason::NewLogin).await?;
        }
        let Some((token, read)) = replaced else {
            return self.insert_new(content).await;
        };
        let mut turn = self.0.turns.take(token.key).await?;
        let mut session = self.newest(&token, &turn, read);
        for attempt in 0..MAX_ATTEMPTS {
            let carrying = self.carried_over(&session, &content);
            if let Some(token) = self.insert(carrying, Some(&session)).await? {
                if let Some(id) = session.envelope().impersonation() {
                    let _ = self.end_by_id(id, EndReason::NewLogin).await;
                }
                return Ok(token);
            }
            self.lost(&mut turn, attempt).await;
            session = match self.replaceable(token.token, Freshness::Strict).await? {
                Some((_, session)) => session,
                None => return self.insert_new(content).await,
            };
        }
        Err(Error::new(Kind::Contended, "the session that the login replaces kept changing"))
    }

    /// The session that a login with this token replaces, if it exists.
    async fn replaceable<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        freshness: Freshness,
    ) -> Result<Option<(HashedToken<'a>, SessionSnapshot<T>)>> {
        match self.session_of(presented, freshness, TokenStatus::may_end).await {
            // Without its record, no token of the session can be verified: it stays as it is.
            Err(error) if error.is_corrupt() => Ok(None),
            found => found,
        }
    }

    /// The content of a login's session, with what it takes over from an anonymous session.
    fn carried_over(&self, old: &SessionSnapshot<T>, content: &Content<T>) -> Content<T> {
        let mut content = content.clone();
        let anonymous = self.0.policy.anonymous.as_ref().filter(|_| old.is_anonymous());
        let carry_over = anonymous.and_then(|anonymous| anonymous.carry_over.as_ref());
        if let (Some(carry_over), Ok(visitor), Ok(user)) =
            (carry_over, old.content().data.get(), content.data.get())
        {
            content.data = Data::new(carry_over(visitor, user));
        }
        content
    }

    /// Gives a session a new token. The id, the data and both deadlines stay.
    ///
    /// The previous token is refused at once, or after its
    /// [grace](crate::ManagerBuilder::rotation_grace). [`TokenReuse`](crate::TokenReuse) decides
    /// what happens when it is used after that. If the store's answer is lost, the store is asked
    /// whether the rotation took effect. Costs the store two commands, or one with the session as
    /// it was read.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), if the session's
    /// envelope can't be read ([`Error::is_corrupt`]), if other changes leave no turn
    /// ([`Error::is_contended`]), or if the system's random generator fails
    /// ([`Error::is_unavailable`]).
    pub async fn rotate<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> Result<RotateOutcome> {
        self.renew_by(presented, RenewalReason::Age).await
    }

    /// Whether the session's token is older than
    /// [`rotate_every`](crate::ManagerBuilder::rotate_every): then call [`rotate`](Self::rotate). Never
    /// for a session that is bound to a device: a copy of its cookies is worthless soon, and until
    /// then its thief would get the new token, and the owner would be signed out.
    #[inline]
    pub fn is_rotation_due(&self, session: &SessionSnapshot<T>) -> bool {
        let every = self.0.policy.rotate_every.filter(|_| session.device_bound().is_none());
        every.is_some_and(|every| self.clock().now().since(session.rotated()) >= every)
    }

    /// Records that the user has just proved their identity again, and gives the session a new
    /// token. Both timeouts restart; the data stays.
    ///
    /// A level is never lowered, and rises at most to `level`. In its grace, the previous
    /// token has the rights that it had. If the presented token is in its grace already, the new
    /// token goes to the client that proved the identity, even if another client received one in
    /// between. Costs the store two commands, or one with the session as it was read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate), an error for an anonymous session, which a
    /// [login](Self::login) replaces ([`Error::is_misconfigured`]), and an error for an impersonation
    /// ([`Error::is_impersonation`]).
    pub async fn reauthenticate<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        level: Level,
    ) -> Result<RotateOutcome> {
        self.renew_by(presented, RenewalReason::Proof(level)).await
    }

    /// After a change of the account's credentials: ends all other sessions of the same owner, and
    /// gives this one a new token. Also returns how many sessions were ended. All previous tokens
    /// are refused at once, and open connections of this session and its impersonation end.
    ///
    /// `binding` is the new value that the session is bound to. With `None` it is what
    /// [`ManagerBuilder::bound_to`](crate::ManagerBuilder::bound_to) returns now, or stays as it
    /// was.
    ///
    /// Before you store the new credentials, check a [`StepUp`](crate::StepUp) with
    /// [`SessionSnapshot::meets`]: an impersonation meets none. Store them, then call this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession, RotateOutcome, StepUp};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let ada = || NewSession::new(String::from("Ada")).owner("42");
    /// let (phone, laptop) = (manager.create(ada()).await?, manager.create(ada()).await?);
    /// let required = StepUp::within(Duration::from_secs(300));
    /// let session = manager.get(&laptop).await?.expect("it was just created");
    /// assert!(session.meets(&required, manager.clock().now()), "the user proves it first");
    /// // After the new password was stored:
    /// let (renewed, ended) = manager.change_credentials(&laptop, None).await?;
    /// assert!(matches!(renewed, RotateOutcome::Token(_)));
    /// assert_eq!(ended, 1);
    /// assert!(manager.get(&phone).await?.is_none());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// It fails closed: if this session can't be given a new token, it is ended. Costs the store
    /// three commands, and two more to end an impersonation that this session has started.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate), and an error for an impersonation, which
    /// changes nothing ([`Error::is_impersonation`]). After another error, the other sessions may have
    /// ended, and this one has ended unless the store is unavailable: call it again.
    pub async fn change_credentials(
        &self,
        token: &Token,
        binding: Option<Binding>,
    ) -> Result<(RotateOutcome, usize)> {
        let found = self.session_of(token, Freshness::Strict, TokenStatus::may_end).await?;
        let Some((token, session)) = found else {
            return Ok((RotateOutcome::Absent, 0));
        };
        if session.acting_for().is_some() {
            return Err(Error::not_the_user());
        }
        let (acting, reason) = (self.by_owner_of(&session), EndReason::CredentialsChanged);
        let ended = acting.end_owned(session.owner(), Some(&token.key), reason).await?;
        let renewal = RenewalReason::Credentials(binding);
        let rotated = acting.renew(&token, session.clone(), &renewal).await;
        if !matches!(rotated, Ok(RotateOutcome::Token(_))) {
            // Another client may have changed its token meanwhile, or keeps changing it.
            acting.end(&session, reason).await?;
        }
        let (rotated, mut ended) = (rotated?, ended);
        // The session no longer names its impersonation, so a failure is no error.
        if let Some(id) = session.envelope().impersonation() {
            ended += usize::from(acting.end_by_id(id, reason).await.unwrap_or(false));
        }
        Ok((rotated, ended))
    }

    async fn renew_by<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        reason: RenewalReason,
    ) -> Result<RotateOutcome> {
        let accepts = TokenStatus::is_accepted;
        match self.session_of(presented, Freshness::Bounded, accepts).await? {
            Some((token, session)) => self.renew(&token, session, &reason).await,
            None => Ok(RotateOutcome::Absent),
        }
    }

    pub(super) async fn renew(
        &self,
        presented: &HashedToken<'_>,
        read: SessionSnapshot<T>,
        reason: &RenewalReason,
    ) -> Result<RotateOutcome> {
        let mut made = None;
        let mut otherwise = RotateOutcome::Absent;
        let changed = self
            .change(presented, read, |session, status, now| {
                (made, otherwise) = (None, RotateOutcome::Absent);
                match (status, reason) {
                    (_, RenewalReason::Return(id)) => {
                        let names_it = session.envelope().impersonation() == Some(*id);
                        if !names_it || !self.is_bound(session.content()) {
                            return Ok(None);
                        }
                    }
                    (TokenStatus::InGrace(_), RenewalReason::Age) => {
                        otherwise = RotateOutcome::AlreadyRotated;
                        return Ok(None);
                    }
                    (TokenStatus::Valid | TokenStatus::InGrace(_), _)
                    | (TokenStatus::CredentialsChanged, RenewalReason::Credentials(_)) => {}
                    _ => return Ok(None),
                }
                let is_proof = matches!(reason, RenewalReason::Proof(_));
                if is_proof && session.acting_for().is_some() {
                    return Err(Error::not_the_user());
                }
                if is_proof && session.is_anonymous() {
                    return Err(Error::misconfigured(
                        "no user is signed in in an anonymous session: use `login`",
                    ));
                }
                let (seed, policy) = (&session.envelope().seed, &self.0.policy);
                let token = Token::generate(session.id(), seed, self.namespace(), policy.random)?;
                let content = self.renewed(session.content(), &token, reason, now);
                made = Some(token);
                let expiry = is_proof.then(|| policy.timeouts_of(&content.envelope).expiry());
                Ok(Some((content, expiry)))
            })
            .await;
        let (session, token) = match (changed, made) {
            (Ok(Some(session)), Some(token)) => (session, token),
            (Ok(_), _) => return Ok(otherwise),
            // The answer may be lost and the token changed: unless the store is asked again, the
            // client is left with a token that is refused.
            (Err(error), Some(token)) if error.is_unavailable() => {
                let accepts = TokenStatus::is_accepted;
                match self.session_of(&token, Freshness::Strict, accepts).await {
                    Ok(Some((_, session))) => (session, token),
                    _ => return Err(error),
                }
            }
            (Err(error), _) => return Err(error),
        };
        self.report(EventKind::Rotated, session.id(), &session);
        if let &RenewalReason::Proof(level) = reason {
            self.report(EventKind::Reauthenticated { level }, session.id(), &session);
        }
        Ok(RotateOutcome::Token(token))
    }

    /// The content with a new token, at this time of the store.
    fn renewed(
        &self,
        before: &Content<T>,
        token: &Token,
        reason: &RenewalReason,
        now: Timestamp,
    ) -> Content<T> {
        let policy = &self.0.policy;
        let mut content = before.clone();
        let (envelope, time) = (&mut content.envelope, policy.clock.now());
        envelope.secret = token.digest(self.namespace());
        envelope.rotated = Some(time).filter(|time| *time != envelope.created);
        let replaced = PreviousToken {
            secret: before.envelope.secret,
            proved: before.envelope.proved,
            until: now.saturating_add(policy.rotation_grace),
            accepted: !matches!(reason, RenewalReason::Credentials(_)),
        };
        envelope.edit_rare(|rare| rare.add_previous(replaced, now, policy.rotation_grace));
        match reason {
            RenewalReason::Age => {}
            RenewalReason::Return(_) => envelope.edit_rare(|rare| rare.impersonation = None),
            RenewalReason::Proof(level) => {
                envelope.proved.add(*level, time);
                envelope.ends = time.saturating_add(policy.timeouts_of(envelope).lifetime);
            }
            RenewalReason::Credentials(binding) => {
                envelope.epoch = envelope.epoch.wrapping_add(1);
                envelope.edit_rare(|rare| rare.impersonation = None);
                let data = before.data.get().ok();
                let current = || policy.bound_to.as_ref().zip(data).and_then(|(to, data)| to(data));
                if let Some(binding) = binding.clone().or_else(current) {
                    envelope.edit_rare(|rare| rare.binding = Some(binding));
                }
            }
        }
        content
    }
}
