use std::fmt;
use std::ops::Deref;

use kvolt_cache::Freshness;
use kvolt_session::{
    Access, Binding, Flash, Level, LiveSession, Owner, RefusalReason, RotateOutcome, SessionId,
    SessionList, StepUp, Token,
};

use crate::lookup::Source;
use crate::sessions::Keep;
use crate::slot::{Change, Slot};
use crate::{Error, Result, SessionHandle, SetToken};

/// The session of the request: it dereferences to the application's data.
///
/// As an argument of an axum handler it requires a session; as an `Option`, it
/// merely knows about one. The data is as it was when the request arrived.
///
/// What its calls do is done when they return. After a login or a logout in the same handler, the
/// session has ended, and calls that change it return an error ([`Error::is_ended`]).
pub struct Session<T> {
    pub(crate) handle: SessionHandle<T>,
}

impl<T: Send + Sync + 'static> Session<T> {
    fn slot(&self) -> &Slot<T> {
        &self.handle.slot
    }

    /// The session itself: its id, its times, its owner, its device.
    pub fn snapshot(&self) -> &kvolt_session::SessionSnapshot<T> {
        self.slot().session().expect("a `Session` is only made of a slot that has one")
    }

    /// The application's data.
    pub fn data(&self) -> &T {
        self.snapshot().data()
    }

    /// Its public name.
    pub fn id(&self) -> SessionId {
        self.snapshot().id()
    }

    /// Whose it is.
    pub fn owner(&self) -> Option<&Owner> {
        self.snapshot().owner()
    }

    /// The handle by which the client signs in and out.
    pub fn handle(&self) -> &SessionHandle<T> {
        &self.handle
    }

    /// The session as it is now; `None` once it has ended or its account's credentials were
    /// changed. It does not count as use, and does not depend on the token, which may be replaced
    /// meanwhile.
    ///
    /// For what goes on after the request was let in, such as event streams.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// can't be read.
    pub async fn peek(&self) -> Result<Option<kvolt_session::SessionSnapshot<T>>> {
        let peeked = self.handle.manager().peek_session(self.snapshot(), Freshness::Bounded);
        Ok(self.handle.bounded(peeked).await?)
    }

    /// The session as it is in the store at this moment, by a [strict](Access::strict) read with
    /// the client's token that does not count as use.
    ///
    /// Before a sensitive act, where a near cache's answer may be too old; a
    /// [strict layer](crate::SessionLayer::strict) does it for whole routes.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// has ended ([`Error::is_ended`]).
    pub async fn confirm(&self) -> Result<kvolt_session::SessionSnapshot<T>> {
        let (token, _) = self.own()?;
        let confirmed = self.handle.manager().get_with(&token, Access::PEEK.strict());
        self.handle.bounded(confirmed).await?.ok_or_else(Error::ended)
    }

    /// The session for a connection that stays open: it notifies when the session changes, and
    /// when it ends, for whatever reason and on whichever server.
    pub fn live(&self) -> LiveSession<T> {
        self.handle.manager().live(self.snapshot())
    }

    /// Changes the session's data, and returns the session as it is then. See
    /// [`Manager::update`](kvolt_session::Manager::update).
    ///
    /// Costs the store one command beyond what the layer has read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::update`](kvolt_session::Manager::update), and an error if
    /// the session has ended ([`Error::is_ended`]).
    pub async fn update(
        &self,
        change: impl FnMut(&mut T) + Send,
    ) -> Result<kvolt_session::SessionSnapshot<T>>
    where
        T: Clone,
    {
        let (token, read) = self.own()?;
        let manager = self.handle.manager();
        // A change counts as use: a session that was only looked at is read again.
        let updated = match read.filter(|_| self.slot().is_used()) {
            Some(read) => self.handle.bounded(manager.update_from(&token, read, change)).await,
            None => self.handle.bounded(manager.update(&token, change)).await,
        };
        let updated = updated?.ok_or_else(Error::ended)?;
        let mut state = self.slot().state();
        if state.token.as_ref().is_some_and(|now| now.expose() == token.expose()) {
            state.latest = Some(Box::new(updated.clone()));
        }
        Ok(updated)
    }

    /// Gives the session a new token; the data stays. At a change of rights that is not a new
    /// sign-in. See [`Manager::rotate`](kvolt_session::Manager::rotate).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::rotate`](kvolt_session::Manager::rotate), and before
    /// anything is done, an error if the session has ended ([`Error::is_ended`]), or if its
    /// response can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn rotate(&self) -> Result<SetToken> {
        let (channel, token, keep) = self.renewable()?;
        let rotated = self.handle.bounded(self.handle.manager().rotate(&token)).await?;
        self.give(channel, rotated, keep)
    }

    /// [Rotates](Self::rotate) a session that the layer has just read.
    pub(crate) async fn rotate_read(&self) -> Result<SetToken> {
        let (channel, token, keep) = self.renewable()?;
        let rotated = self.handle.manager().rotate_if_due(&token, self.snapshot());
        let rotated = self.handle.bounded(rotated).await?.unwrap_or(RotateOutcome::AlreadyRotated);
        self.give(channel, rotated, keep)
    }

    /// Notes that the user has just proved again who they are, at this level, and gives the session a
    /// new token. See [`Manager::reauthenticate`](kvolt_session::Manager::reauthenticate).
    ///
    /// # Errors
    ///
    /// Returns the errors of
    /// [`Manager::reauthenticate`](kvolt_session::Manager::reauthenticate), and before
    /// anything is done, an error if the session has ended ([`Error::is_ended`]), or if its
    /// response can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn reauthenticate(&self, level: Level) -> Result<SetToken> {
        let (channel, token, keep) = self.renewable()?;
        let manager = self.handle.manager();
        let rotated = self.handle.bounded(manager.reauthenticate(&token, level)).await?;
        if let RotateOutcome::Token(_) = rotated {
            self.slot().state().proof = Some((level, manager.clock().now()));
        }
        self.give(channel, rotated, keep.again(manager))
    }

    /// After a change of the account's credentials: ends the owner's other sessions, and gives
    /// this one a new token. Returns how many were ended, too. See
    /// [`Manager::change_credentials`](kvolt_session::Manager::change_credentials).
    ///
    /// # Errors
    ///
    /// Returns the errors of
    /// [`Manager::change_credentials`](kvolt_session::Manager::change_credentials), and before
    /// anything is done, an error if the session has ended ([`Error::is_ended`]), or if its
    /// response can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn change_credentials(&self, binding: Option<Binding>) -> Result<(SetToken, usize)> {
        let (channel, token, keep) = self.renewable()?;
        let changed = self.handle.manager().change_credentials(&token, binding);
        let (rotated, ended) = self.handle.bounded(changed).await?;
        Ok((self.give(channel, rotated, keep)?, ended))
    }

    /// Refuses what the user may not do unless they have proved who they are not long
    /// ago, or strongly enough. A [layer](crate::SessionLayer::require) does it for whole routes.
    ///
    /// A proof that this handler has just [noted](Self::reauthenticate) counts.
    ///
    /// # Errors
    ///
    /// Returns an error that names what is missing ([`Error::missing_step_up`]), or an error if
    /// the session has ended ([`Error::is_ended`]).
    pub fn require(&self, step_up: StepUp) -> Result<()> {
        if self.slot().is_replaced() {
            return Err(Error::ended());
        }
        let now = self.handle.manager().clock().now();
        let proof = self.slot().state().proof;
        let is_met_by_proof = proof.is_some_and(|(level, at)| {
            level >= step_up.level() && step_up.max_age().is_none_or(|max| now.since(at) <= max)
        });
        if is_met_by_proof || self.snapshot().meets(&step_up, now) {
            return Ok(());
        }
        self.handle.manager().report_refusal(Some(self.snapshot()), RefusalReason::StepUp);
        let bearer = self.slot().sessions().inner().lookup.sources().contains(&Source::Bearer);
        Err(Error::step_up(step_up, bearer))
    }

    /// Leaves a message for the next page that is shown.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::flash`](kvolt_session::Manager::flash), and an error if
    /// the session has ended ([`Error::is_ended`]).
    pub async fn flash(&self, flash: Flash) -> Result<()> {
        let (token, read) = self.own()?;
        let manager = self.handle.manager();
        let left = match read {
            Some(read) => self.handle.bounded(manager.flash_from(&token, read, flash)).await?,
            None => self.handle.bounded(manager.flash(&token, flash)).await?,
        };
        left.then_some(()).ok_or_else(Error::ended)
    }

    /// Takes the messages that wait for a page, oldest first. Each is given to one request.
    ///
    /// If none waited when the request arrived, the store is not asked.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::take_flashes`](kvolt_session::Manager::take_flashes).
    pub async fn take_flashes(&self) -> Result<Vec<Flash>> {
        let (token, read) = match self.slot().own() {
            Some(own) if !self.snapshot().flashes().is_empty() => own,
            _ => return Ok(Vec::new()),
        };
        let manager = self.handle.manager();
        Ok(match read {
            Some(read) => self.handle.bounded(manager.take_flashes_from(&token, read)).await?,
            None => self.handle.bounded(manager.take_flashes(&token)).await?,
        })
    }

    /// Ends the session, and makes the client forget its token. No error if it had ended before.
    /// See [`SessionHandle::logout`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SessionHandle::logout`].
    pub async fn logout(&self) -> Result<SetToken> {
        self.handle.logout().await
    }

    /// All live sessions of its owner, oldest first, and the ids of those that can't be read; none
    /// if it has no owner.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn list(&self) -> Result<SessionList<T>> {
        match self.owner() {
            Some(owner) => Ok(self.handle.bounded(self.handle.manager().list(owner)).await?),
            None => Ok(SessionList::default()),
        }
    }

    /// Ends one of its owner's sessions by its public name. `false` if it is none of theirs.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        match self.owner() {
            Some(owner) => {
                Ok(self.handle.bounded(self.handle.manager().revoke_owned(owner, id)).await?)
            }
            None => Ok(false),
        }
    }

    /// Ends all other sessions of its owner, and returns how many.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// has ended ([`Error::is_ended`]).
    pub async fn revoke_others(&self) -> Result<usize> {
        let (token, _) = self.own()?;
        Ok(self.handle.bounded(self.handle.manager().revoke_others(&token)).await?)
    }

    /// Ends all sessions of its owner, this one included, and makes the client forget its token.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SessionHandle::logout`].
    pub async fn revoke_all(&self) -> Result<SetToken> {
        let Some(owner) = self.owner() else { return self.logout().await };
        self.handle.bounded(self.handle.manager().revoke_owner(owner)).await?;
        Ok(self.handle.forget())
    }

    fn own(&self) -> Result<(Token, Option<kvolt_session::SessionSnapshot<T>>)> {
        self.slot().own().ok_or_else(Error::ended)
    }

    /// Where the next token goes, the token to be replaced, and how long the client is to keep the
    /// next one.
    fn renewable(&self) -> Result<(&Source, Token, Keep)> {
        let (token, _) = self.own()?;
        Ok((self.handle.channel()?, token, Keep::rest(self.handle.manager(), self.snapshot())))
    }

    fn give(&self, channel: &Source, rotated: RotateOutcome, keep: Keep) -> Result<SetToken> {
        match rotated {
            RotateOutcome::Token(token) => self.handle.give(channel, token, keep, Change::Renewed),
            // Another request of this client's is being given the new one.
            RotateOutcome::AlreadyRotated => Ok(SetToken::by_layer(None)),
            RotateOutcome::Absent => Err(Error::ended()),
        }
    }
}

impl<T: Send + Sync + 'static> Deref for Session<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data()
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.slot.session().fmt(f)
    }
}
