//! Signing a client in and out.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderName, HeaderValue, Response};
use kvolt_session::{Actor, Manager, NewSession, RefusalReason, Token};

use crate::adapter::RequestSession;
use crate::error::Kind;
use crate::head::RequestHead;
use crate::layer::slot::{Change, Slot};
use crate::lookup::Presented;
use crate::sessions::TokenLifetime;
use crate::store_timeout::bounded;
use crate::{Error, Missing, Refused, Result, Session};

/// Signs a client in and out, whether or not it has a session.
///
/// As an argument of an axum handler it needs a [layer](crate::SessionLayer) around the route, and
/// no state. Its calls take effect before they return. The layer gives the client its new token
/// with the response, whatever the handler answers, or takes it away.
///
/// ```
/// use kvolt_middleware::{Result, SessionHandle};
/// use kvolt_session::NewSession;
///
/// /// After the credentials were checked.
/// async fn login(client: SessionHandle<String>) -> Result<&'static str> {
///     client.login(NewSession::new(String::from("Ada")).owner("42")).await?;
///     Ok("welcome")
/// }
///
/// async fn logout(client: SessionHandle<String>) -> Result<&'static str> {
///     client.logout().await?;
///     Ok("goodbye")
/// }
/// ```
pub struct SessionHandle<T> {
    pub(crate) slot: Arc<Slot<T>>,
    /// The manager with an [actor](Self::by).
    acting: Option<Manager<T>>,
}

impl<T> SessionHandle<T> {
    pub(crate) const fn new(slot: Arc<Slot<T>>) -> Self {
        Self { slot, acting: None }
    }
}

impl<T: Send + Sync + 'static> SessionHandle<T> {
    /// Returns the handle that the layer has left in a request. For services that are not axum's,
    /// such as those of tonic, whose requests have the same `extensions()`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use kvolt_middleware::{Result, SessionHandle};
    ///
    /// async fn serve(request: Request<()>) -> Result<Response<String>> {
    ///     let client = SessionHandle::<String>::from_extensions(request.extensions())?;
    ///     let name = client.session().map(|session| session.data().clone());
    ///     Ok(Response::new(name.unwrap_or_else(|| String::from("a visitor"))))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if no layer for this type of data is around the service.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self> {
        let session = extensions.get::<RequestSession<T>>();
        session.map(RequestSession::handle).ok_or(Error(Kind::LayerMissing))
    }

    /// Returns the layer's answer to a request that needs a session and has none.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use kvolt_middleware::{Result, SessionHandle};
    ///
    /// fn serve(client: &SessionHandle<String>, request: &Request<()>) -> Result<Response<Bytes>> {
    ///     Ok(match client.clone().try_into_session()? {
    ///         Some(name) => Response::new(Bytes::from(name.data().clone())),
    ///         None => client.refuse(request),
    ///     })
    /// }
    /// ```
    pub fn refuse(&self, request: &impl RequestHead) -> Response<Bytes> {
        let layer = &self.slot.layer;
        let missing = if self.is_unproven() { Missing::DeviceProof } else { Missing::Session };
        self.note_unproven();
        let refused = Refused { request, missing };
        layer.refusal.response(refused, &layer.sessions.0.lookup)
    }

    /// Returns the session that the client came with, if it had one.
    pub fn session(&self) -> Option<Session<T>> {
        self.clone().into_session()
    }

    /// Returns the session that the client came with, if it had one. For an extractor.
    ///
    /// ```
    /// use kvolt_middleware::{Result, SessionHandle};
    ///
    /// fn greeting(client: SessionHandle<String>) -> Result<String> {
    ///     let session = client.try_into_session()?;
    ///     Ok(session.map_or_else(|| String::from("hello"), |name| format!("hello {}", *name)))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the client has a session that can't be read, or one that is bound to a
    /// device, which the request does not prove ([`Error::is_unproven`]). A browser that loads a page
    /// without that proof has no session here, so that its user can sign in again.
    pub fn try_into_session(self) -> Result<Option<Session<T>>> {
        if self.is_unreadable() {
            return Err(Error(Kind::Unreadable));
        }
        if self.must_prove() {
            self.note_unproven();
            return Err(Error(Kind::Unproven));
        }
        Ok(self.into_session())
    }

    /// Whether an extractor refuses the request. A browser that loads a page has no session without
    /// its proof, so that its user can sign in again.
    #[inline]
    pub(crate) fn must_prove(&self) -> bool {
        self.slot.is_unproven() && !self.slot.device().is_navigation
    }

    pub(crate) fn into_session(self) -> Option<Session<T>> {
        self.slot.session()?;
        Some(Session { latest: self.slot.latest(), handle: self })
    }

    /// Whether the client has a session that can't be read. Such a client is neither admitted nor
    /// treated as a visitor. A login replaces the session, and a logout ends it.
    ///
    /// ```
    /// use kvolt_middleware::SessionHandle;
    ///
    /// fn greeting(client: &SessionHandle<String>) -> String {
    ///     match client.session() {
    ///         Some(name) => format!("hello {}", *name),
    ///         None if client.is_unreadable() => String::from("please sign in again"),
    ///         None => String::from("hello"),
    ///     }
    /// }
    /// ```
    pub fn is_unreadable(&self) -> bool {
        self.slot.is_unreadable
    }

    /// Whether the client has a session that is bound to a device, and the request does not prove
    /// that it comes from there. Such a client is not admitted, and is no visitor: only a browser that
    /// loads a page on an optional route has no session instead. A login replaces the session, and a
    /// logout ends it.
    ///
    /// ```
    /// use kvolt_middleware::SessionHandle;
    ///
    /// fn hint(client: &SessionHandle<String>) -> &'static str {
    ///     if client.is_unproven() { "this device lost its key: please sign in again" } else { "" }
    /// }
    /// ```
    pub fn is_unproven(&self) -> bool {
        self.slot.is_unproven()
    }

    /// Returns the client's token, such as the new one after a login, for a handler that hands it
    /// out in its own way. `None` after a logout. Before a login it is the token that the request
    /// carries, whether or not it has a session.
    ///
    /// ```
    /// use kvolt_middleware::{Result, SessionHandle};
    /// use kvolt_session::NewSession;
    ///
    /// /// For a program that reads its token from the body.
    /// async fn login(client: SessionHandle<String>) -> Result<String> {
    ///     client.login(NewSession::new(String::from("Ada")).owner("42")).await?;
    ///     Ok(client.token().map_or_else(String::new, |token| token.expose().to_owned()))
    /// }
    /// ```
    pub fn token(&self) -> Option<Token> {
        self.slot.current().map(|(token, _)| token)
    }

    /// Returns the manager.
    ///
    /// ```
    /// use kvolt_middleware::{Result, SessionHandle};
    ///
    /// /// For administrators.
    /// async fn count(client: SessionHandle<String>) -> Result<String> {
    ///     Ok(client.manager().count().await?.to_string())
    /// }
    /// ```
    pub fn manager(&self) -> &Manager<T> {
        self.acting.as_ref().unwrap_or_else(|| self.slot.sessions().manager())
    }

    /// Returns this handle, with an actor: the log and the events name it as the cause of what is
    /// done through the returned one. See [`Manager::by`].
    ///
    /// ```
    /// use kvolt_middleware::{Result, SessionHandle};
    /// use kvolt_session::{Actor, NewSession};
    ///
    /// /// A sign-in at a desk.
    /// async fn login(client: SessionHandle<String>, clerk: String) -> Result<()> {
    ///     let client = client.by(Actor::new(&clerk).because("at the desk"));
    ///     client.login(NewSession::new(String::from("Ada")).owner("42")).await
    /// }
    /// ```
    #[must_use = "only what is done through the returned handle has the actor"]
    pub fn by(&self, actor: impl Into<Actor>) -> Self {
        let acting = Some(self.slot.sessions().manager().by(actor));
        Self { slot: Arc::clone(&self.slot), acting }
    }

    pub(crate) const fn has_actor(&self) -> bool {
        self.acting.is_some()
    }

    /// Creates a session for a user who has just authenticated, with a new token. Ends the session
    /// that the client came with in the same step; if the request has several different tokens, it
    /// ends the sessions of all of them first.
    ///
    /// Costs the store one command, and one more if it replaces a session.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::login`]. Returns an error, before anything is done, if the
    /// request has more than 8 different tokens ([`Error::is_ambiguous`]), or if the response can't
    /// carry a token: the response has begun, or the client's token came in a query.
    pub async fn login(&self, session: impl Into<NewSession<T>>) -> Result<()> {
        self.slot.channel()?;
        match self.end_several().await {
            Err(error) if !error.is_unreadable() => return Err(error),
            _ => {}
        }
        let (manager, session) = (self.manager(), session.into());
        let lifetime = manager.timeouts_of(&session).lifetime;
        let lifetime = TokenLifetime { lifetime, is_remembered: session.is_remembered() };
        let old = self.slot.current();
        let old = old.as_ref().map(|(token, read)| (token, read.clone()));
        #[cfg(feature = "device-bound")]
        let (mut session, mut offered) = (session, None);
        #[cfg(feature = "device-bound")]
        if let (crate::lookup::Source::Cookie(_), Some(settings)) =
            (self.slot.channel()?, &self.slot.sessions().0.device_bound)
            && settings.is_offered_to(session.data())
        {
            if self.slot.device().is_cross_site {
                // The registration would come without the cookie.
                manager.offer_device_later(&mut session);
            } else {
                offered = Some(settings.offer(&manager.offer_device(&mut session)?));
            }
        }
        let token = self.bounded(manager.login(old, session)).await;
        self.issue_first(token?, lifetime).await?;
        #[cfg(feature = "device-bound")]
        if let Some(offer) = offered {
            self.slot.note_header(offer);
        }
        Ok(())
    }

    /// Creates a session for a visitor who has not signed in, such as for a basket. See
    /// [`Manager::create_anonymous`].
    ///
    /// ```
    /// use kvolt_middleware::{Result, SessionHandle};
    ///
    /// /// The basket is created with the first item.
    /// async fn put(client: SessionHandle<Vec<String>>, item: String) -> Result<()> {
    ///     match client.session() {
    ///         Some(mut basket) => basket.update(|items| items.push(item.clone())).await.map(drop),
    ///         None => client.create_anonymous(vec![item]).await,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::create_anonymous`]. Returns an error, before anything is
    /// done, if the client has a session, even one that the layer hides; if the request has several
    /// different tokens ([`Error::is_ambiguous`]); or if the response can't carry a token: the
    /// response has begun, or the client's token came in a query.
    pub async fn create_anonymous(&self, data: T) -> Result<()> {
        self.slot.channel()?;
        if self.slot.has_any() {
            let is_one = self.slot.several().is_empty();
            return Err(Error(if is_one { Kind::SessionExists } else { Kind::Ambiguous }));
        }
        let lifetime = self.manager().anonymous_timeouts().lifetime;
        let lifetime = TokenLifetime { lifetime, is_remembered: false };
        let token = self.bounded(self.manager().create_anonymous(data)).await?;
        self.issue_first(token, lifetime).await
    }

    /// Ends the client's session and clears its token. No error if the session had ended before, or
    /// if the client has none. If the request has several different tokens, ends the sessions of all
    /// of them.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]): the session may
    /// still be live, and the client keeps its token to try again. Returns an error if not even the
    /// session's envelope can be read: only its owner or its id can revoke it, and the client's
    /// token is cleared. Returns an error, before anything is done, if the request has more than 8
    /// different tokens ([`Error::is_ambiguous`]).
    pub async fn logout(&self) -> Result<()> {
        let manager = self.manager();
        let ended = match self.slot.current() {
            None => self.end_several().await,
            Some((token, read)) => self.bounded(manager.logout((&token, read))).await.map(drop),
        };
        if ended.as_ref().err().is_none_or(Error::is_unreadable) {
            self.clear_token();
        }
        ended
    }

    /// Ends the sessions of all tokens of a request that has several. An error for a session that
    /// can't be read is returned after the others have ended.
    async fn end_several(&self) -> Result<()> {
        let tokens = self.slot.several();
        if tokens.len() > Presented::MAX_TOKENS {
            return Err(Error(Kind::Ambiguous));
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
        self.bounded(end).await
    }

    pub(crate) async fn bounded<R>(
        &self,
        operation: impl Future<Output = kvolt_session::Result<R>>,
    ) -> Result<R> {
        Ok(bounded(self.slot.sessions().0.store_timeout, operation).await?)
    }

    /// Gives the client the token of a new session.
    async fn issue_first(&self, token: Token, lifetime: TokenLifetime) -> Result<()> {
        let issued = self.issue(token.clone(), lifetime, Change::Replaced);
        if issued.is_err() {
            // The session has no client.
            self.bounded(self.manager().logout(&token)).await?;
        }
        issued
    }

    /// Gives the client a token with the response.
    pub(crate) fn issue(
        &self,
        token: Token,
        lifetime: TokenLifetime,
        change: Change,
    ) -> Result<()> {
        let sessions = self.slot.sessions();
        let channel = sessions.channel(self.slot.source())?;
        if self.slot.is_plain_http {
            sessions.hint_at_plain_http(channel);
        }
        let header = sessions.token_header(channel, &token, lifetime)?;
        self.slot.note_token(Some(token), Some(header), change)
    }

    /// Clears the client's token with the response, if it has not begun. A client that has sent no
    /// token gets no cookie.
    pub(crate) fn clear_token(&self) {
        let sessions = self.slot.sessions();
        let header = self.slot.source().and_then(|source| sessions.clearing_header(source));
        let _ = self.slot.note_token(None, header, Change::Replaced);
        self.clear_bound_cookie();
    }

    /// Reports that a client was refused for its device. Removes a bound cookie that is not accepted,
    /// and that the browser takes for valid.
    fn note_unproven(&self) {
        let Some(session) = self.slot.unproven() else { return };
        self.manager().report_refusal(Some(session), RefusalReason::DeviceUnproven);
        if self.slot.device().has_cookie {
            self.clear_bound_cookie();
        }
    }

    /// Removes the bound cookie with the response, if the client may have one. If the browser still
    /// has a key, it proves that before its next request.
    pub(crate) fn clear_bound_cookie(&self) {
        #[cfg(feature = "device-bound")]
        if self.slot.has_bound_cookie()
            && let Some(settings) = &self.slot.sessions().0.device_bound
        {
            self.slot.note_header(settings.clearing_header());
        }
    }
}

/// Returns a response part for a logout that makes the browser drop its caches and storage of this
/// site (`Clear-Site-Data`). Browsers obey over HTTPS only.
///
/// It does not name cookies: the browser would drop all of the site's.
///
/// ```
/// use axum::response::IntoResponse;
/// use kvolt_middleware::{Result, SessionHandle, clear_site_data};
///
/// async fn logout(client: SessionHandle<String>) -> Result<impl IntoResponse> {
///     client.logout().await?;
///     Ok((clear_site_data(), "goodbye"))
/// }
/// ```
pub fn clear_site_data() -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_static("\"cache\", \"storage\"");
    [(HeaderName::from_static("clear-site-data"), value)]
}

impl<T> Clone for SessionHandle<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), acting: self.acting.clone() }
    }
}

impl<T> fmt::Debug for SessionHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("session", &self.slot.session())
            .finish_non_exhaustive()
    }
}
