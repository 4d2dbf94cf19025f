//! What gives a session another token: signing in, proving it again, rotating.

use std::time::Duration;

use kvolt_cache::{Access, Key, Rename, Renamed, Store};

use crate::events::EndReason;
use crate::manager::{INSERT_ATTEMPTS_MAX, UPDATE_ATTEMPTS_MAX, repeating_generator};
use crate::reading::Standing;
use crate::record::{Content, Former, NewSession, Record};
use crate::{Binding, Error, Level, Manager, Result, Session, SessionId, Token};

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

/// How many former keys a session's record knows to be in their grace.
const FORMER_MAX: usize = 16;

/// What a renewal does to a session besides giving it another token.
struct Renewal<'a, T> {
    copy: fn(&Content<T>) -> Content<T>,
    change: &'a (dyn Fn(&mut Content<T>) + Send + Sync),
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The token is old. Whoever has one in its grace is being given the next.
    Age,
    /// Its user has proved who they are: to them goes the next token, by whichever they came.
    Proof,
    /// So they have, and what was known before is good for nothing any more.
    Credentials,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Makes a session for one who has just proved who they are, and ends the one they had, if any.
    ///
    /// One step: either the old token is accepted or the new one, and the limit
    /// of sessions per owner does not count the old one. Both timeouts start anew. Of an
    /// anonymous session, what the [rule](crate::Anonymous::carry_over) says is carried over.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub async fn login(
        &self,
        old: Option<&Token>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Token> {
        let record = Record::new(self.content(session.into())?);
        let Some(old) = old else {
            return self.insert(&record).await;
        };
        let old = self.key(old);
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let previous = match self.peek_entry(&old).await {
                // One that is refused since the credentials were changed is theirs all the same.
                Ok(Some((previous, Standing::Good | Standing::Unbound))) => previous,
                Ok(_) => return self.insert(&record).await,
                // Whoever signs in anew is not held up by what can't be decoded.
                Err(error) if error.is_corrupt() => {
                    let token = self.insert(&record).await?;
                    self.end_key(&old, None, EndReason::NewLogin).await?;
                    return Ok(token);
                }
                Err(error) => return Err(error),
            };
            if let Some(token) = self.login_over(&previous, &record).await? {
                return Ok(token);
            }
        }
        Err(Error::contended(UPDATE_ATTEMPTS_MAX))
    }

    /// Puts a new session in the place of one; `None` if that is another's by now, or gone.
    async fn login_over(&self, previous: &Session<T>, record: &Record<T>) -> Result<Option<Token>> {
        let mut record = record.clone();
        let anonymous = self.policy().anonymous.as_ref().filter(|_| previous.is_anonymous());
        let carry_over = anonymous.and_then(|anonymous| anonymous.carry_over.as_ref());
        if let Some(carry_over) = carry_over {
            let data = carry_over(previous.data(), record.data());
            record = Record::new(record.content().with_data(data));
        }
        let content = record.content();
        let from = *previous.id().key();
        let owner = content.owner.as_ref();
        let (scoped, limit) = self.policy().scope(content);
        let (had, _) = self.policy().scope(previous.record().content());
        let (token, to) = self.token(scoped.as_ref(), None)?;
        let one_step = self.store().reaches(&from, &to);
        // An entry can be given another owner but not be taken from its owner.
        if !one_step || (scoped.is_none() && had.is_some()) {
            let token = self.insert(&record).await?;
            if carry_over.is_none() {
                self.end_key(&from, previous.owner(), EndReason::NewLogin).await?;
            } else if !self.end_unchanged(previous, EndReason::NewLogin).await? {
                // What was carried over is not what it had at its end, or is another's by now.
                self.end_key(&self.key(&token), owner, EndReason::NewLogin).await?;
                return Ok(None);
            }
            return Ok(Some(token));
        }
        let mut rename = Rename::new();
        rename.expiry = Some(self.policy().expiry(content));
        rename.value = Some((previous.version(), record.clone()));
        rename.owner = scoped;
        rename.limit = limit;
        match self.store().rename(&from, to, rename).await.map_err(Error::store)? {
            Renamed::Moved { removed } => {
                self.events().created(SessionId::new(to), owner, false);
                self.ended(&[from], previous.owner(), EndReason::NewLogin);
                self.ended_by_limit(&removed, owner);
                Ok(Some(token))
            }
            Renamed::LimitReached => Err(self.limit_reached(owner)),
            // Looked up again: it is another's by now, or gone.
            Renamed::Superseded | Renamed::Absent | Renamed::Conflict | Renamed::Occupied => {
                self.changes().changed(&from);
                Ok(None)
            }
        }
    }

    /// Ends a session unless it was changed since it was read. `false` if it was, or is gone.
    async fn end_unchanged(&self, session: &Session<T>, reason: EndReason) -> Result<bool> {
        let from = *session.id().key();
        let (scoped, _) = self.policy().scope(session.record().content());
        // Moved to where no token leads: unlike a removal, that can depend on the version.
        let (_, to) = self.token(scoped.as_ref(), Some(&from))?;
        let mut rename = Rename::new();
        rename.value = Some((session.version(), session.record().clone()));
        let renamed = self.store().rename(&from, to, rename).await.map_err(Error::store)?;
        let Renamed::Moved { .. } = renamed else {
            self.changes().changed(&from);
            return Ok(false);
        };
        // It has ended. If this fails, its memory is given back at its timeout.
        let _ = self.store().remove(&to).await;
        self.ended(&[from], session.owner(), reason);
        Ok(true)
    }

    /// Gives a session a new token. The data and both deadlines stay.
    ///
    /// The old token is refused at once, or after
    /// [`rotation_grace`](crate::Builder::rotation_grace). What happens when it is used after
    /// that is up to [`token_reuse`](crate::Builder::token_reuse).
    ///
    /// # Errors
    ///
    /// The store's; no randomness.
    pub async fn rotate(&self, token: &Token) -> Result<Rotated>
    where
        T: Clone,
    {
        let renewal = Renewal { copy: Content::clone, change: &|_| {}, why: Why::Age };
        self.renew(token, &renewal).await
    }

    /// Whether tokens are changed on a [schedule](crate::Builder::rotate_every) at all.
    pub fn rotates_on_schedule(&self) -> bool {
        self.policy().rotation.is_some()
    }

    /// Whether a session's token is older than [`rotate_every`](crate::Builder::rotate_every) allows.
    #[inline]
    pub fn is_rotation_due(&self, session: &Session<T>) -> bool {
        let policy = self.policy();
        policy
            .rotation
            .as_ref()
            .is_some_and(|rotation| policy.clock.now().since(session.rotated()) >= rotation.every)
    }

    /// [Rotates](Self::rotate) a session whose token is older than
    /// [`rotate_every`](crate::Builder::rotate_every) allows; `None` if it is not.
    ///
    /// # Errors
    ///
    /// As for [`rotate`](Self::rotate).
    pub async fn rotate_if_due(
        &self,
        token: &Token,
        session: &Session<T>,
    ) -> Result<Option<Rotated>> {
        match &self.policy().rotation {
            Some(rotation) if self.is_rotation_due(session) => {
                let copy = rotation.copy;
                let renewal = Renewal { copy, change: &|_| {}, why: Why::Age };
                self.renew(token, &renewal).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Notes that the session's user has just proved again who they are, and gives it a
    /// new token. Both timeouts start anew; the data stays.
    ///
    /// What was proved before, and more strongly, stays as it was: a level is never
    /// lowered. It rises to no more than `level`. In its grace, the old token has the levels
    /// that it had. By a token that is in its grace already, the new one goes to who has proved
    /// it, and not to who may have been given one in between.
    ///
    /// # Errors
    ///
    /// The store's; no randomness; misconfigured, for an anonymous session, which a
    /// [login](Self::login) replaces.
    pub async fn reauthenticate(&self, token: &Token, level: Level) -> Result<Rotated>
    where
        T: Clone,
    {
        let now = self.policy().clock.now();
        let change = |content: &mut Content<T>| content.proofs.add(level, now);
        let renewal = Renewal { copy: Content::clone, change: &change, why: Why::Proof };
        let Some(session) = self.peek_session(&self.key(token)).await? else {
            return Ok(Rotated::Absent);
        };
        if session.is_anonymous() {
            return Err(Error::misconfigured("nobody is signed in in an anonymous session"));
        }
        let rotated = self.renew(token, &renewal).await?;
        if let Rotated::Token(token) = &rotated {
            self.events().reauthenticated(self.id(token), session.owner(), level);
        }
        Ok(rotated)
    }

    /// After a change of the account's credentials: ends all other sessions of the
    /// same owner, and gives this one a new token. Returns how many were ended. The old token, and
    /// any that was in its grace, is refused at once.
    ///
    /// `binding` is the new value where sessions are bound to one; with `None` it is what
    /// [`Builder::bound_to`](crate::Builder::bound_to) says at this moment, or stays as it was. Change the credentials first, then call this. If it
    /// fails in the middle, the others have ended and this session has its old token: call it again.
    ///
    /// # Errors
    ///
    /// The store's; no randomness.
    pub async fn change_credentials(
        &self,
        token: &Token,
        binding: Option<Binding>,
    ) -> Result<(Rotated, usize)>
    where
        T: Clone,
    {
        let ended = self.end_others_as(token, EndReason::CredentialsChanged).await?;
        let change = |content: &mut Content<T>| {
            let current = || self.policy().bound_to.as_ref()?(&content.data);
            if let Some(binding) = binding.clone().or_else(current) {
                content.extras_mut().binding = Some(binding);
            }
        };
        let renewal = Renewal { copy: Content::clone, change: &change, why: Why::Credentials };
        Ok((self.renew(token, &renewal).await?, ended))
    }

    async fn renew(&self, token: &Token, renewal: &Renewal<'_, T>) -> Result<Rotated> {
        let by = self.key(token);
        let mut occupied = 0;
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let Some(session) = self.renewable(&by, Access::PEEK, renewal).await? else {
                return Ok(Rotated::Absent);
            };
            let from = *session.id().key();
            if from != by && renewal.why == Why::Age {
                return Ok(Rotated::AlreadyRotated);
            }
            let mut content = (renewal.copy)(session.record().content());
            (renewal.change)(&mut content);
            self.note_former(&mut content, from, renewal.why);
            let (scoped, _) = self.policy().scope(&content);
            let (successor, to) = self.token(scoped.as_ref(), Some(&from))?;
            let owner = content.owner.clone();
            let mut rename = Rename::new();
            rename.grace = self.policy().remembers_former();
            rename.expiry = (renewal.why == Why::Proof).then(|| self.policy().expiry(&content));
            rename.value = Some((session.version(), Record::new(content)));
            let renamed = self.store().rename(&from, to, rename).await.map_err(Error::store)?;
            self.changes().changed(&from);
            match renamed {
                Renamed::Moved { .. } => {
                    let (from, to) = (SessionId::new(from), SessionId::new(to));
                    self.events().rotated(from, to, owner.as_ref());
                    return Ok(Rotated::Token(successor));
                }
                // Another was faster; without a grace, this token is good for nothing by now.
                Renamed::Superseded if renewal.why == Why::Age => {
                    let found = self.renewable(&by, Access::PEEK.strict(), renewal).await?;
                    return Ok(found.map_or(Rotated::Absent, |_| Rotated::AlreadyRotated));
                }
                Renamed::Occupied if occupied == INSERT_ATTEMPTS_MAX => {
                    return Err(repeating_generator());
                }
                Renamed::Occupied => occupied += 1,
                // Changed or moved in between, or gone: looked for once more. No limit is held here.
                Renamed::Superseded
                | Renamed::Absent
                | Renamed::Conflict
                | Renamed::LimitReached => {}
            }
        }
        Err(Error::contended(UPDATE_ATTEMPTS_MAX))
    }

    async fn renewable(
        &self,
        key: &Key,
        access: Access,
        renewal: &Renewal<'_, T>,
    ) -> Result<Option<Session<T>>> {
        let found = self.entry(key, access).await?;
        Ok(found.and_then(|(session, standing)| match standing {
            Standing::Good => Some(session),
            Standing::Unbound if renewal.why == Why::Credentials => Some(session),
            _ => None,
        }))
    }

    /// Notes in a record that it had this key, and until when that is accepted, or at least no wonder.
    fn note_former(&self, content: &mut Content<T>, key: Key, why: Why) {
        let now = self.policy().clock.now();
        content.rotated = now;
        let accepted = why != Why::Credentials;
        let outdated = (why == Why::Proof).then_some(now);
        let grace = self.policy().rotation_grace;
        let until = now.saturating_add(grace);
        if let Some(extras) = &mut content.extras {
            for former in &mut extras.former {
                // Of several rotations in a row, it is accepted for as long as each one's grace lasts.
                former.until = former.until.min(until);
                former.accepted &= accepted;
                former.outdated = former.outdated.or(outdated);
            }
            extras.former.retain(|former| now < former.until);
        }
        if grace > Duration::ZERO {
            let former = &mut content.extras_mut().former;
            if former.len() >= FORMER_MAX {
                former.remove(0);
            }
            former.push(Former { key, outdated, until, accepted });
        }
        content.tidy();
    }
}
