use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http::{Extensions, Response};

use kvolt_session::{Manager, NewSession, Token};

use crate::bounded::bounded;
use crate::lookup::{Presented, Source};
use crate::sessions::Keep;
use crate::shared::Shared;
use crate::slot::Change;
use crate::{Error, Refused, Result, Session, SetToken};

/// What a handler does with a client that may have no session: sign in and out.
///
/// What its calls do is done when they return. Behind the layer the response carries the client's
/// new token by itself, whatever the handler answers; elsewhere the handler returns the [`SetToken`].
pub struct SessionHandle<T> {
    pub(crate) slot: Shared<T>,
    /// Whether a layer finishes the response.
    is_layered: bool,
}

impl<T: Send + Sync + 'static> SessionHandle<T> {
    pub(crate) fn behind(slot: Shared<T>) -> Self {
        Self { slot, is_layered: true }
    }

    pub(crate) fn outside(slot: Shared<T>) -> Self {
        Self { slot, is_layered: false }
    }

    /// The handle that the layer has left in a request; `None` where there was no layer.
    ///
    /// For services other than axum's, whose handlers extract it.
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Shared<T>>().cloned().map(Self::behind)
    }

    /// The answer to a request that needs a session and has none: the layer's.
    pub fn refuse(&self, refused: Refused<'_>) -> Response<Bytes> {
        self.slot.refuse(refused)
    }

    /// The session that the client came with, if it had one.
    pub fn session(&self) -> Option<Session<T>> {
        self.clone().into_session()
    }

    pub(crate) fn into_session(self) -> Option<Session<T>> {
        self.slot.session().is_some().then_some(Session { handle: self })
    }

    /// Whether the client has a session that can't be decoded. It is neither let in nor
    /// taken for a visitor. A login replaces what it has, and a logout ends it.
    pub fn is_unreadable(&self) -> bool {
        self.slot.is_unreadable()
    }

    /// The manager, for what is not the client's own.
    pub fn manager(&self) -> &Manager<T> {
        self.slot.sessions().manager()
    }

    /// Creates a session for a user who has just proved who they are, with a new
    /// token, and ends the one that the client came with in the same step.
    ///
    /// If the request has several different tokens, it ends the sessions of all of them first.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::login`], and before anything is done, an error if the
    /// request has more than 8 different tokens ([`Error::is_ambiguous`]), or if its
    /// response can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn login(&self, session: impl Into<NewSession<T>>) -> Result<SetToken> {
        let channel = self.channel()?;
        match self.end_several().await {
            Err(error) if !error.is_unreadable() => return Err(error),
            _ => {}
        }
        let (manager, session) = (self.manager(), session.into());
        let keep = Keep::new(manager, session.is_remembered());
        let token = match self.slot.current() {
            None => self.bounded(manager.create(session)).await,
            Some((old, None)) => self.bounded(manager.login(Some(&old), session)).await,
            Some((old, Some(read))) => self.bounded(manager.login_from(&old, read, session)).await,
        };
        self.give_first(channel, token?, keep).await
    }

    /// Creates a session for a visitor who has not signed in, for a basket or the like. See
    /// [`Manager::create_anonymous`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::create_anonymous`], and before anything is done, an error
    /// if the client has a session already, also where the layer does not show it; if the
    /// request has several different tokens ([`Error::is_ambiguous`]); or if its response can't
    /// carry a token: the response has begun, or the client's token came in a query.
    pub async fn create_anonymous(&self, data: T) -> Result<SetToken> {
        let channel = self.channel()?;
        if self.slot.has_any() {
            let is_one = self.slot.several().is_empty();
            return Err(if is_one { Error::session_exists() } else { Error::ambiguous() });
        }
        let keep = Keep::anonymous(self.manager());
        let token = self.bounded(self.manager().create_anonymous(data)).await?;
        self.give_first(channel, token, keep).await
    }

    /// Ends the client's session, and makes the client forget its token. No error if it had ended
    /// before, or the client has none.
    ///
    /// If the request has several different tokens, it ends the sessions of all of them.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]): then the session
    /// may live on, and the client keeps its token to try again. Returns an error if not even the
    /// session's envelope can be read: then the session can be revoked by its owner or its id only,
    /// and the client forgets its token. Returns an error, before anything is done, if the request has
    /// more than 8 different tokens ([`Error::is_ambiguous`]).
    pub async fn logout(&self) -> Result<SetToken> {
        let manager = self.manager();
        let ended = match self.slot.current() {
            None => self.end_several().await,
            Some((_, Some(read))) => {
                self.bounded(manager.logout_session(&read)).await.map(drop).map_err(Error::from)
            }
            Some((token, None)) => {
                self.bounded(manager.logout(&token)).await.map(drop).map_err(Error::from)
            }
        };
        match ended {
            Err(error) if !error.is_unreadable() => Err(error),
            ended => {
                let forgotten = self.forget();
                ended.map(|()| forgotten)
            }
        }
    }

    /// Ends the sessions of all tokens of a request that has several. An error that says that one
    /// can't be read comes after the others have ended.
    async fn end_several(&self) -> Result<()> {
        let tokens = self.slot.several();
        if tokens.len() > Presented::MAX_TOKENS {
            return Err(Error::ambiguous());
        }
        let end = async {
            let mut unreadable = Ok(());
            for token in tokens {
                match self.manager().logout(token).await {
                    Err(error) if error.is_corrupt() => unreadable = Err(error),
                    ended => _ = ended?,
                }
            }
            unreadable
        };
        Ok(self.bounded(end).await?)
    }

    pub(crate) async fn bounded<R>(
        &self,
        operation: impl Future<Output = kvolt_session::Result<R>>,
    ) -> kvolt_session::Result<R> {
        bounded(self.slot.sessions().inner().store_timeout, operation).await
    }

    /// By which place a new token goes back. An error before anything is done, if none can.
    pub(crate) fn channel(&self) -> Result<&Source> {
        if self.is_layered && self.slot.state().is_finished {
            return Err(Error::response_begun());
        }
        self.slot.sessions().channel(self.slot.source())
    }

    /// Gives the client the token of a new session.
    async fn give_first(&self, channel: &Source, token: Token, keep: Keep) -> Result<SetToken> {
        let given = self.give(channel, token.clone(), keep, Change::Replaced);
        if given.is_err() {
            // No one will ever have its token.
            self.bounded(self.manager().logout(&token)).await?;
        }
        given
    }

    pub(crate) fn give(
        &self,
        channel: &Source,
        token: Token,
        keep: Keep,
        change: Change,
    ) -> Result<SetToken> {
        let header = self.slot.sessions().header(channel, &token, keep)?;
        self.tell(Some(header), Some(token), change)
    }

    pub(crate) fn forget(&self) -> SetToken {
        let sessions = self.slot.sessions();
        // A client that sent nothing has nothing to forget: it is sent no cookie either.
        let header = self.slot.source().and_then(|source| sessions.clearing_header(source));
        self.tell(header, None, Change::Replaced).unwrap_or_else(|_| SetToken::by_layer(None))
    }

    /// Notes the client's token, and the header by which the response tells the client.
    fn tell(
        &self,
        header: Option<(http::HeaderName, http::HeaderValue)>,
        token: Option<Token>,
        change: Change,
    ) -> Result<SetToken> {
        let mut state = self.slot.state();
        state.token.clone_from(&token);
        (state.change, state.latest) = (change, None);
        if !self.is_layered {
            return Ok(SetToken::new(header, token));
        }
        if state.is_finished {
            return Err(Error::response_begun());
        }
        state.outgoing = header.map(Box::new);
        Ok(SetToken::by_layer(token))
    }
}

impl<T> Clone for SessionHandle<T> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), is_layered: self.is_layered }
    }
}

impl<T> fmt::Debug for SessionHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("session", &self.slot.session()).finish_non_exhaustive()
    }
}
