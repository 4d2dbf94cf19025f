//! What gives a client another token: signing in, proving it again, rotating.

use std::time::Duration;

use kvolt_cache::{Freshness, Timestamp};

use crate::changing::MAX_ATTEMPTS;
use crate::events::EndReason;
use crate::level::Proofs;
use crate::reading::{Presented, TokenStatus};
use crate::record::{Content, Data, NewSession, Previous};
use crate::token::SecretDigest;
use crate::{Binding, Error, Level, Manager, Result, SessionSnapshot, Token};

/// Outcome of a rotation.
#[derive(Debug)]
#[must_use = "the new token has to be given to the client"]
pub enum RotateOutcome {
    /// The session has this token now.
    Token(Token),
    /// The token had been replaced and is in its grace: the session has one
    /// successor already, which the client was or is being given.
    AlreadyRotated,
    /// There is no such session.
    Absent,
}

/// How many previous tokens a record keeps.
const MAX_PREVIOUS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum RenewalReason {
    /// The token is old. A client that presents it in its grace is being given the next.
    Age,
    /// Its user has proved who they are: the next token goes to that client, whichever token it
    /// presented.
    Proof(Level),
    /// The same, and what was known before is worth nothing.
    Credentials,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Creates a session for a user who has just proved who they are, and ends the one that the
    /// client had, if any.
    ///
    /// One step: either the old token is accepted or the new one, and the limit
    /// of sessions per owner does not count the old one. (On a Redis Cluster, where the two have
    /// different owners, the new session is created first and the old one ended after it.) Both
    /// timeouts start again. From an anonymous session, data is carried over by the
    /// [rule](crate::AnonymousSessions::carry_over).
    ///
    /// Only a token that is right ends its session: one that merely names it does not.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`create`](Self::create), and an error ([`Error::is_contended`]) if
    /// the old session keeps changing meanwhile.
    pub async fn login(
        &self,
        old: Option<&Token>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Token> {
        let content = self.content(session.into())?;
        let Some(presented) = old.map(|old| self.presented(old)) else {
            return self.insert_new(content).await;
        };
        match self.replaceable(&presented, Freshness::Bounded).await? {
            Some(previous) => self.login_over(&presented, previous, content).await,
            None => self.insert_new(content).await,
        }
    }

    /// [`login`](Self::login) for a caller that has just read the old session by this token: the
    /// store is asked once less.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`login`](Self::login).
    pub async fn login_from(
        &self,
        old: &Token,
        read: SessionSnapshot<T>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Token> {
        let content = self.content(session.into())?;
        self.login_over(&self.presented(old), read, content).await
    }

    async fn login_over(
        &self,
        presented: &Presented<'_>,
        previous: SessionSnapshot<T>,
        content: Content<T>,
    ) -> Result<Token> {
        let mut turn = self.turns().take(presented.key).await?;
        let mut previous = self.newest(presented, &turn, previous);
        for attempt in 0..MAX_ATTEMPTS {
            let carrying = self.carried_over(&previous, &content);
            if let Some(token) = self.insert(carrying, Some(&previous)).await? {
                return Ok(token);
            }
            self.lost(&mut turn, attempt).await;
            previous = match self.replaceable(presented, Freshness::Strict).await? {
                Some(previous) => previous,
                None => return self.insert_new(content).await,
            };
        }
        Err(Error::contended("the session that the login replaces kept changing"))
    }

    /// The session that a login with this token replaces, if there is one.
    async fn replaceable(
        &self,
        presented: &Presented<'_>,
        freshness: Freshness,
    ) -> Result<Option<SessionSnapshot<T>>> {
        match self.verified(presented, freshness).await {
            // Without its record, no token of the session can be verified: it stays as it is.
            Err(error) if error.is_corrupt() => Ok(None),
            found => Ok(found?.filter(|found| found.status.may_end()).map(|found| found.session)),
        }
    }

    /// What a login creates, with what it takes over from an anonymous session.
    fn carried_over(&self, previous: &SessionSnapshot<T>, content: &Content<T>) -> Content<T> {
        let mut content = content.clone();
        let anonymous = self.policy().anonymous.as_ref().filter(|_| previous.is_anonymous());
        let carry_over = anonymous.and_then(|anonymous| anonymous.carry_over.as_ref());
        if let (Some(carry_over), Ok(visitor), Ok(user)) =
            (carry_over, previous.content().data.get(), content.data.get())
        {
            content.data = Data::new(carry_over(visitor, user));
        }
        content
    }

    /// Gives a session a new token. The id, the data and both deadlines stay.
    ///
    /// The old token is refused at once, or after
    /// [`rotation_grace`](crate::ManagerBuilder::rotation_grace). What happens when it is used after
    /// that is up to [`token_reuse`](crate::ManagerBuilder::token_reuse).
    ///
    /// If the store's answer is lost, it is asked whether the rotation took effect.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), if the session's
    /// envelope can't be read ([`Error::is_corrupt`]), if other changes leave no turn
    /// ([`Error::is_contended`]), or if there is no randomness ([`Error::is_unavailable`]).
    pub async fn rotate(&self, token: &Token) -> Result<RotateOutcome> {
        self.renew_by(token, RenewalReason::Age).await
    }

    /// Whether tokens are rotated on a [schedule](crate::ManagerBuilder::rotate_every) at all.
    pub fn rotates_on_schedule(&self) -> bool {
        self.policy().rotate_every.is_some()
    }

    /// Whether a session's token is older than [`rotate_every`](crate::ManagerBuilder::rotate_every) allows.
    #[inline]
    pub fn is_rotation_due(&self, session: &SessionSnapshot<T>) -> bool {
        let policy = self.policy();
        policy
            .rotate_every
            .is_some_and(|every| policy.clock.now().since(session.rotated()) >= every)
    }

    /// [Rotates](Self::rotate) a session that was just read, whose token is older than
    /// [`rotate_every`](crate::ManagerBuilder::rotate_every) allows; `None` if it is not. Costs the store
    /// one command.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate).
    pub async fn rotate_if_due(
        &self,
        token: &Token,
        session: &SessionSnapshot<T>,
    ) -> Result<Option<RotateOutcome>> {
        if !self.is_rotation_due(session) {
            return Ok(None);
        }
        let presented = self.presented(token);
        self.renew(&presented, session.clone(), RenewalReason::Age, None).await.map(Some)
    }

    /// Notes that the session's user has just proved again who they are, and gives it a
    /// new token. Both timeouts start again; the data stays.
    ///
    /// What was proved before, and more strongly, stays as it was: a level is never
    /// lowered. It rises to no more than `level`. In its grace, the old token has the rights
    /// that it had. If the token is in its grace already, the new one goes to the client that has
    /// proved it, and not to one that may have been given one in between.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate), and an error
    /// ([`Error::is_misconfigured`]) for an anonymous session, which a
    /// [login](Self::login) replaces.
    pub async fn reauthenticate(&self, token: &Token, level: Level) -> Result<RotateOutcome> {
        self.renew_by(token, RenewalReason::Proof(level)).await
    }

    /// After a change of the account's credentials: ends all other sessions of the
    /// same owner, and gives this one a new token. Returns how many were ended. The old token, and
    /// any that was in its grace, is refused at once, and open connections of this session end.
    ///
    /// `binding` is the new value where sessions are bound to one; with `None` it is what
    /// [`ManagerBuilder::bound_to`](crate::ManagerBuilder::bound_to) says at this moment, or stays as it was.
    /// Change the credentials first, then call this.
    ///
    /// It fails closed: if this session can't be given a new token, it is ended.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate). After one, the other sessions may have
    /// ended, and this one has, unless the store is unavailable: call it again.
    pub async fn change_credentials(
        &self,
        token: &Token,
        binding: Option<Binding>,
    ) -> Result<(RotateOutcome, usize)> {
        let presented = self.presented(token);
        let found = self.verified(&presented, Freshness::Strict).await?;
        let Some(found) = found.filter(|found| found.status.may_end()) else {
            return Ok((RotateOutcome::Absent, 0));
        };
        let session = found.session;
        let ended = self.end_others_of(&session, EndReason::CredentialsChanged).await?;
        let reason = RenewalReason::Credentials;
        let rotated = self.renew(&presented, session.clone(), reason, binding).await;
        if !matches!(rotated, Ok(RotateOutcome::Token(_))) {
            // Someone else may have changed its token meanwhile, or keeps it changing.
            self.end_session(&session, EndReason::CredentialsChanged).await?;
        }
        Ok((rotated?, ended))
    }

    async fn renew_by(&self, token: &Token, reason: RenewalReason) -> Result<RotateOutcome> {
        let presented = self.presented(token);
        match self.verified(&presented, Freshness::Bounded).await? {
            Some(found) if found.status.lets_in() => {
                self.renew(&presented, found.session, reason, None).await
            }
            _ => Ok(RotateOutcome::Absent),
        }
    }

    async fn renew(
        &self,
        presented: &Presented<'_>,
        read: SessionSnapshot<T>,
        reason: RenewalReason,
        binding: Option<Binding>,
    ) -> Result<RotateOutcome> {
        let mut made = None;
        let mut left = RotateOutcome::Absent;
        let changed = self
            .change(presented, read, |session, status, now| {
                (made, left) = (None, RotateOutcome::Absent);
                match (status, reason) {
                    (TokenStatus::InGrace(_), RenewalReason::Age) => {
                        left = RotateOutcome::AlreadyRotated;
                        return Ok(None);
                    }
                    (TokenStatus::Valid | TokenStatus::InGrace(_), _)
                    | (TokenStatus::CredentialsChanged, RenewalReason::Credentials) => {}
                    _ => return Ok(None),
                }
                if session.is_anonymous() && matches!(reason, RenewalReason::Proof(_)) {
                    return Err(Error::misconfigured(
                        "no one is signed in in an anonymous session: use `login`",
                    ));
                }
                let (content, policy) = (session.content(), self.policy());
                let token =
                    Token::generate(session.id(), &content.seed, self.namespace(), policy.random)?;
                let content = self.renewed(content, &token, reason, binding.clone(), now);
                made = Some(token);
                let is_proof = matches!(reason, RenewalReason::Proof(_));
                let expiry = is_proof.then(|| policy.timeouts_of(&content).expiry());
                Ok(Some((content, expiry)))
            })
            .await;
        let (session, token) = match (changed, made) {
            (Ok(Some(session)), Some(token)) => (session, token),
            (Ok(_), _) => return Ok(left),
            // The answer may be lost and the token changed: unless the store is asked again, the
            // client is left with a token that is refused.
            (Err(error), Some(token)) if error.is_unavailable() => {
                match self.verified(&self.presented(&token), Freshness::Strict).await {
                    Ok(Some(found)) if found.status.lets_in() => (found.session, token),
                    _ => return Err(error),
                }
            }
            (Err(error), _) => return Err(error),
        };
        self.events().rotated(session.id(), session.filed_under());
        if let RenewalReason::Proof(level) = reason {
            self.events().reauthenticated(session.id(), session.owner(), level);
        }
        Ok(RotateOutcome::Token(token))
    }

    /// A record with a new token, at this time of the store.
    fn renewed(
        &self,
        before: &Content<T>,
        token: &Token,
        reason: RenewalReason,
        binding: Option<Binding>,
        now: Timestamp,
    ) -> Content<T> {
        let policy = self.policy();
        let mut content = before.clone();
        content.secret = token.digest(self.namespace());
        content.rotated = policy.clock.now();
        let replaced = (before.secret, before.proofs);
        note_previous(&mut content, replaced, reason, now, policy.rotation_grace);
        match reason {
            RenewalReason::Age => {}
            RenewalReason::Proof(level) => {
                let timeouts = policy.timeouts_of(before);
                content.proofs.add(level, content.rotated);
                content.ends_at = content.rotated.saturating_add(timeouts.lifetime);
            }
            RenewalReason::Credentials => {
                content.epoch = content.epoch.wrapping_add(1);
                let data = before.data.get().ok();
                let current = || policy.bound_to.as_ref().zip(data).and_then(|(to, data)| to(data));
                if let Some(binding) = binding.or_else(current) {
                    content.rare_mut().binding = Some(binding);
                }
            }
        }
        content.drop_empty();
        content
    }
}

/// Notes which token a session had and what it had proved, and until when that is accepted, or at
/// least no sign of a theft.
///
/// No more than [`MAX_PREVIOUS`] are kept. When one has to go, what was issued for the session is
/// no sign of a theft until that one's time would have passed.
fn note_previous<T>(
    content: &mut Content<T>,
    (secret, proofs): (SecretDigest, Proofs),
    reason: RenewalReason,
    now: Timestamp,
    grace: Duration,
) {
    let is_accepted = reason != RenewalReason::Credentials;
    let until = now.saturating_add(grace);
    let is_of_use = |until: Timestamp| now < until.saturating_add(grace);
    if let Some(rare) = &mut content.rare {
        for previous in &mut rare.previous {
            // Of several rotations in a row, it is accepted for as long as each one's grace lasts.
            previous.until = previous.until.min(until);
            previous.is_accepted &= is_accepted;
        }
        rare.previous.retain(|previous| is_of_use(previous.until));
        rare.quiet_until = rare.quiet_until.filter(|quiet_until| now < *quiet_until);
    }
    if grace.is_zero() {
        return;
    }
    let rare = content.rare_mut();
    if rare.previous.len() >= MAX_PREVIOUS {
        // Each one's time was cut to that of its successor, so the first is the first to end.
        let dropped = rare.previous.remove(0);
        let quiet_until = dropped.until.saturating_add(grace);
        rare.quiet_until = rare.quiet_until.max(Some(quiet_until));
    }
    rare.previous.push(Previous { secret, proofs, until, is_accepted });
}
