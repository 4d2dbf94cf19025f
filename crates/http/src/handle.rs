use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Response};
use kvolt_cache::Access;

use kvolt_session::{Manager, NewSession, Owner, Rotated, SessionId, Token};

use crate::bounded::bounded;
use crate::slot::Slot;
use crate::{Error, Refused, Result, SetToken};

/// What a handler does with the client's session: sign in, change, rotate, sign out.
///
/// What its calls do is done when they return. Behind the layer the client is
/// told by itself, with whatever the handler answers; elsewhere by returning the [`SetToken`].
pub struct Handle<T> {
    slot: Arc<Slot<T>>,
    /// Whether a layer finishes the response.
    layered: bool,
}

/// The session of the request: it dereferences to the application's data.
///
/// As an argument of an axum handler it requires a session; as an `Option`, it
/// merely knows about one. The data is as it was when the request arrived.
pub struct Session<T> {
    handle: Handle<T>,
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
        let token = self.current().ok_or_else(Error::ended)?;
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
        let token = self.bounded(self.manager().login(old.as_ref(), session)).await?;
        let (name, value) = self.slot.sessions().header(channel, &token)?;
        Ok(self.tell(name, value, Some(token)))
    }

    /// Gives the session a new token; the data stays. At a change of rights that is no new sign-in.
    ///
    /// # Errors
    ///
    /// The store's; [`is_ended`](Error::is_ended) if there is no session any more.
    pub async fn rotate(&self) -> Result<SetToken> {
        let channel = self.slot.sessions().channel(self.slot.came_by())?;
        let old = self.current().ok_or_else(Error::ended)?;
        match self.bounded(self.manager().rotate(&old)).await? {
            Rotated::Token(token) => {
                let (name, value) = self.slot.sessions().header(channel, &token)?;
                Ok(self.tell(name, value, Some(token)))
            }
            // Another request of this client's is being given the new one.
            Rotated::AlreadyRotated => Ok(SetToken::by_layer(None)),
            Rotated::Absent => Err(Error::ended()),
        }
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
        let token = self.current().ok_or_else(Error::ended)?;
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
        if let Some(token) = self.current() {
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
        match self.current() {
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

    async fn bounded<R>(
        &self,
        operation: impl Future<Output = kvolt_session::Result<R>>,
    ) -> kvolt_session::Result<R> {
        bounded(self.slot.sessions().inner().store_timeout, operation).await
    }

    /// The token that is good now: the client's, or one that this handler has made since.
    fn current(&self) -> Option<Token> {
        let state = self.slot.state();
        state.token.as_ref().and_then(|token| Token::parse(token.expose()))
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

impl<T: Send + Sync + 'static> Session<T> {
    fn snapshot(&self) -> &kvolt_session::Session<T> {
        let session = self.handle.slot.session.as_ref();
        session.expect("a `Session` is only made of a slot that has one")
    }

    /// The session itself: its id, its times, its owner, its device.
    pub fn details(&self) -> &kvolt_session::Session<T> {
        self.snapshot()
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

    /// The handle by which it is changed, rotated and ended.
    pub fn handle(&self) -> &Handle<T> {
        &self.handle
    }

    /// The session as it is now; `None` once it has ended. Looking is no use: it
    /// does not keep the session alive.
    ///
    /// For what goes on after the request was let in, such as event streams.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn peek(&self) -> Result<Option<kvolt_session::Session<T>>> {
        match self.handle.current() {
            Some(token) => {
                self.handle.bounded(self.handle.manager().peek(&token)).await.map_err(Error::from)
            }
            None => Ok(None),
        }
    }

    /// See [`Handle::confirm`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn confirm(&self) -> Result<kvolt_session::Session<T>> {
        self.handle.confirm().await
    }

    /// See [`Handle::update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update(&self, change: impl FnMut(&mut T)) -> Result<kvolt_session::Session<T>>
    where
        T: Clone,
    {
        self.handle.update(change).await
    }

    /// See [`Handle::rotate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn rotate(&self) -> Result<SetToken> {
        self.handle.rotate().await
    }

    /// See [`Handle::logout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn logout(&self) -> Result<SetToken> {
        self.handle.logout().await
    }

    /// All live sessions of its owner, oldest first; none where nobody owns it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn list(&self) -> Result<Vec<kvolt_session::Session<T>>> {
        match self.owner() {
            Some(owner) => {
                self.handle.bounded(self.handle.manager().list(owner)).await.map_err(Error::from)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Ends one of its owner's sessions by its public name. `false` if it is none of theirs.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end(&self, id: SessionId) -> Result<bool> {
        match self.owner() {
            Some(owner) => {
                self.handle.bounded(self.handle.manager().end(owner, id)).await.map_err(Error::from)
            }
            None => Ok(false),
        }
    }

    /// Ends all other sessions of its owner, and says how many.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_others(&self) -> Result<usize> {
        self.handle.end_others().await
    }

    /// Ends all sessions of its owner, this one included.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_all(&self) -> Result<SetToken> {
        match self.owner() {
            Some(owner) => self.handle.end_all(owner).await,
            None => self.logout().await,
        }
    }
}

impl<T: Send + Sync + 'static> Deref for Session<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), layered: self.layered }
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("session", &self.slot.session).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.slot.session.fmt(f)
    }
}
