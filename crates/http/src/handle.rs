use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Response};
use kvolt_cache::Access;

use kvolt_session::{
    Binding, Flash, Level, Manager, NewSession, Owner, RefusalReason, Rotated, StepUp, Token,
};

use crate::bounded::bounded;
use crate::lookup::Source;
use crate::sessions::Keep;
use crate::slot::Slot;
use crate::{Error, Refused, Result, Session, SetToken};

/// What a handler does with the client's session: sign in, change, rotate, sign out.
///
/// What its calls do is done when they return. Behind the layer the client is
/// told by itself, with whatever the handler answers; elsewhere by returning the [`SetToken`].
pub struct Handle<T> {
    pub(crate) slot: Arc<Slot<T>>,
    /// Whether a layer finishes the response.
    layered: bool,
}

impl<T: Send + Sync + 'static> Handle<T> {
    fn behind(slot: Arc<Slot<T>>) -> Self {
        Self { slot, layered: true }
    }

    /// The handle that the layer has left in a request; `None` where there was no layer.
    ///
    /// For services that are not axum's, whose handlers extract it.
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Arc<Slot<T>>>().cloned().map(Self::behind)
    }

    /// The answer for a request that needs a session and has none: the layer's.
    pub fn refuse(&self, refused: Refused<'_>) -> Response<Bytes> {
        self.slot.refuse(refused)
    }

    pub(crate) fn outside(slot: Arc<Slot<T>>) -> Self {
        Self { slot, layered: false }
    }

    /// The session that the client came with, if it had one.
    pub fn session(&self) -> Option<Session<T>> {
        self.slot.session.is_some().then(|| Session { handle: self.clone() })
    }

    /// Whether the client has a session that can't be decoded. It is neither let in nor
    /// taken for a visitor; a login replaces what it has, and a logout ends it.
    pub fn is_unreadable(&self) -> bool {
        self.slot.is_unreadable()
    }

    /// The manager, for what is not the client's own.
    pub fn manager(&self) -> &Manager<T> {
        self.slot.sessions().manager()
    }

    /// The client's session as it is in the store at this moment, by a
    /// [strict](Access::strict) read that does not count as use.
    ///
    /// Before a sensitive act, where a near cache's answer may be too old; a
    /// [strict layer](crate::SessionLayer::strict) does it for whole routes.
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn confirm(&self) -> Result<kvolt_session::Session<T>> {
        let token = self.own().ok_or_else(Error::ended)?;
        let confirmed = self.manager().get_with(&token, Access::PEEK.strict());
        self.bounded(confirmed).await?.ok_or_else(Error::ended)
    }

    /// Makes a session for one who has just proved who they are, with a new
    /// token, and ends the one they came with in the same step.
    ///
    /// # Errors
    ///
    /// As for [`Manager::login`].
    pub async fn login(&self, session: impl Into<NewSession<T>>) -> Result<SetToken> {
        let channel = self.slot.sessions().channel(self.slot.came_by())?;
        let old = self.current();
        let session = session.into();
        let keep = Keep::new(self.manager(), session.is_remembered());
        let token = self.bounded(self.manager().login(old.as_ref(), session)).await?;
        self.give(channel, token, keep)
    }

    /// Makes a session for a visitor who has not signed in, for a basket or the like. See
    /// [`Manager::create_anonymous`].
    ///
    /// # Errors
    ///
    /// As there; a client that has a session here keeps it, and gets 500.
    pub async fn create_anonymous(&self, data: T) -> Result<SetToken> {
        if self.slot.session.is_some() {
            return Err(Error::session_exists());
        }
        let channel = self.slot.sessions().channel(self.slot.came_by())?;
        let keep = Keep::new(self.manager(), false);
        let token = self.bounded(self.manager().create_anonymous(data)).await?;
        self.give(channel, token, keep)
    }

    /// Gives the session a new token; the data stays. At a change of rights that is no new sign-in.
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn rotate(&self) -> Result<SetToken>
    where
        T: Clone,
    {
        let (old, keep) = self.renewable()?;
        let rotated = self.bounded(self.manager().rotate(&old)).await?;
        self.give_rotated(rotated, keep)
    }

    /// Notes that the user has just proved again who they are, at this level, and gives the session a
    /// new token. See [`Manager::reauthenticate`].
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn reauthenticate(&self, level: Level) -> Result<SetToken>
    where
        T: Clone,
    {
        let (old, keep) = self.renewable()?;
        let rotated = self.bounded(self.manager().reauthenticate(&old, level)).await?;
        self.give_rotated(rotated, keep.anew(self.manager()))
    }

    /// After a change of the account's credentials: ends the owner's other sessions, and gives
    /// this one a new token. Says how many were ended, too. See [`Manager::change_credentials`].
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn change_credentials(&self, binding: Option<Binding>) -> Result<(SetToken, usize)>
    where
        T: Clone,
    {
        let (old, keep) = self.renewable()?;
        let changed = self.bounded(self.manager().change_credentials(&old, binding)).await;
        let (rotated, ended) = changed?;
        Ok((self.give_rotated(rotated, keep)?, ended))
    }

    /// Refuses what the user may not do unless they have proved who they are not long
    /// ago, or strongly enough; a [layer](crate::SessionLayer::require) does it for whole routes.
    ///
    /// # Errors
    ///
    /// [`missing_step_up`](Error::missing_step_up) says what is missing; [`is_ended`](Error::is_ended)
    /// where there is no session.
    pub fn require(&self, step_up: StepUp) -> Result<()> {
        let session = self.slot.session.as_ref().ok_or_else(Error::ended)?;
        if session.meets(&step_up, self.manager().clock().now()) {
            return Ok(());
        }
        self.manager().report_refusal(Some(session), RefusalReason::StepUp);
        let bearer = self.slot.sessions().inner().lookup.sources().contains(&Source::Bearer);
        Err(Error::step_up(step_up, bearer))
    }

    /// Leaves a message for the next page that is shown.
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn flash(&self, flash: Flash) -> Result<()>
    where
        T: Clone,
    {
        let token = self.own().ok_or_else(Error::ended)?;
        let left = self.bounded(self.manager().flash(&token, flash)).await?;
        left.then_some(()).ok_or_else(Error::ended)
    }

    /// Takes the messages that wait for a page, the oldest first. Each is given to one request.
    ///
    /// Where none waited when the request arrived, the store is not asked.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn take_flashes(&self) -> Result<Vec<Flash>>
    where
        T: Clone,
    {
        let (Some(token), Some(session)) = (self.current(), &self.slot.session) else {
            return Ok(Vec::new());
        };
        let taken = self.manager().take_flashes_from(&token, session.clone());
        Ok(self.bounded(taken).await?)
    }

    /// The token to be changed, and how long the client is to keep the next one.
    fn renewable(&self) -> Result<(Token, Keep)> {
        let (Some(token), Some(session)) = (self.current(), &self.slot.session) else {
            return Err(Error::ended());
        };
        // Asked for before anything is done: a token from a query can't be given back.
        self.slot.sessions().channel(self.slot.came_by())?;
        Ok((token, Keep::rest(self.manager(), session)))
    }

    fn give_rotated(&self, rotated: Rotated, keep: Keep) -> Result<SetToken> {
        match rotated {
            Rotated::Token(token) => {
                let channel = self.slot.sessions().channel(self.slot.came_by())?;
                self.give(channel, token, keep)
            }
            // Another request of this client's is being given the new one.
            Rotated::AlreadyRotated => Ok(SetToken::by_layer(None)),
            Rotated::Absent => Err(Error::ended()),
        }
    }

    fn give(&self, channel: &Source, token: Token, keep: Keep) -> Result<SetToken> {
        let (name, value) = self.slot.sessions().header(channel, &token, keep)?;
        Ok(self.tell(name, value, Some(token)))
    }

    /// Changes the session's data, and returns the session as it is then. See [`Manager::update`].
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn update(&self, change: impl FnMut(&mut T)) -> Result<kvolt_session::Session<T>>
    where
        T: Clone,
    {
        let token = self.own().ok_or_else(Error::ended)?;
        let updated = match self.slot.used() {
            Some(read) => {
                self.bounded(self.manager().update_from(&token, read.clone(), change)).await
            }
            None => self.bounded(self.manager().update(&token, change)).await,
        };
        updated?.ok_or_else(Error::ended)
    }

    /// Ends the session, and makes the client forget its token. No error if it had ended before.
    ///
    /// # Errors
    ///
    /// The store's: then the session may live on, and the client keeps its token to try again.
    pub async fn logout(&self) -> Result<SetToken> {
        if let Some(session) = self.slot.read_by_current() {
            self.bounded(self.manager().destroy_session(session)).await?;
        } else if let Some(token) = self.current() {
            self.bounded(self.manager().destroy(&token)).await?;
        }
        Ok(self.forget())
    }

    /// Ends all other sessions of the same owner, and says how many.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_others(&self) -> Result<usize> {
        match self.own() {
            Some(token) => {
                self.bounded(self.manager().end_others(&token)).await.map_err(Error::from)
            }
            None => Ok(0),
        }
    }

    /// Ends all sessions of an owner, this one included if it is theirs, and makes the client forget its token.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_all(&self, owner: &Owner) -> Result<SetToken> {
        self.bounded(self.manager().end_all(owner)).await?;
        Ok(self.forget())
    }

    pub(crate) async fn bounded<R>(
        &self,
        operation: impl Future<Output = kvolt_session::Result<R>>,
    ) -> kvolt_session::Result<R> {
        bounded(self.slot.sessions().inner().store_timeout, operation).await
    }

    /// The token that is good now: the client's, or one that this handler has made since.
    pub(crate) fn current(&self) -> Option<Token> {
        let state = self.slot.state();
        state.token.as_ref().and_then(|token| Token::parse(token.expose()))
    }

    /// [`current`](Self::current), of a session that is one here: an anonymous visitor's is
    /// none where the layer does not say so.
    fn own(&self) -> Option<Token> {
        let is_one = self.slot.session.is_some() || self.slot.state().replaced;
        self.current().filter(|_| is_one)
    }

    fn forget(&self) -> SetToken {
        {
            let mut state = self.slot.state();
            (state.token, state.replaced) = (None, true);
        }
        let sessions = self.slot.sessions();
        // A client that sent nothing has nothing to forget: it is sent no cookie either.
        let header = self.slot.came_by().and_then(|source| sessions.clearing_header(source));
        match header {
            Some((name, value)) => self.tell(name, value, None),
            None => {
                self.slot.state().outgoing = None;
                SetToken::by_layer(None)
            }
        }
    }

    fn tell(
        &self,
        name: http::HeaderName,
        value: http::HeaderValue,
        token: Option<Token>,
    ) -> SetToken {
        let mut state = self.slot.state();
        state.token = token.as_ref().and_then(|token| Token::parse(token.expose()));
        state.replaced = true;
        if self.layered {
            state.outgoing = Some(Box::new((name, value)));
            SetToken::by_layer(token)
        } else {
            SetToken::headers(name, value, token)
        }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), layered: self.layered }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("session", &self.slot.session).finish_non_exhaustive()
    }
}
