//! The session of a request.

mod csrf;
mod handle;

use std::fmt;
use std::ops::Deref;

use http::Extensions;
use kvolt_cache::Freshness;
use kvolt_session::{
    Access, Actor, Binding, Flash, Level, LiveSession, Manager, NewSession, Owner, RefusalReason,
    RotateOutcome, SessionId, SessionList, SessionSnapshot, StepUp, Token,
};

use crate::error::Kind;
use crate::layer::slot::{Change, Slot};
use crate::sessions::TokenLifetime;
use crate::{Error, Result};

pub use csrf::{CSRF_FIELD, CSRF_HEADER, CsrfField};
pub use handle::{SessionHandle, clear_site_data};

/// The session of the request. It dereferences to the application's data.
///
/// As an argument of an axum handler it requires a session; as an `Option` it does not. The data is
/// as it was when the request arrived, or as the last [`update`](Self::update) of this request left
/// it.
///
/// Calls take effect before they return. After a login or a logout in the same request, the session
/// has ended, and calls that change it return an error ([`Error::is_ended`]).
///
/// ```
/// use kvolt_middleware::{Result, Session};
///
/// #[derive(Clone)]
/// struct User { name: String, visits: u64 }
///
/// async fn visit(mut user: Session<User>) -> Result<String> {
///     user.update(|user| user.visits += 1).await?;
///     Ok(format!("{} was here {} times", user.name, user.visits))
/// }
///
/// /// The user's devices, and this one.
/// async fn devices(user: Session<User>) -> Result<String> {
///     let sessions = user.list().await?.sessions;
///     let line = |other: &kvolt_session::SessionSnapshot<User>| {
///         let mark = if other.id() == user.id() { "this device" } else { "another device" };
///         format!("{} {mark} since {:?}\n", other.id(), other.created())
///     };
///     Ok(sessions.iter().map(line).collect())
/// }
///
/// async fn sign_out_elsewhere(user: Session<User>) -> Result<String> {
///     Ok(format!("signed out on {} other devices", user.revoke_others().await?))
/// }
/// ```
pub struct Session<T> {
    handle: SessionHandle<T>,
    /// The snapshot after an update in this request.
    latest: Option<Box<SessionSnapshot<T>>>,
}

/// A client's token, and its session as this request last read or changed it.
type Admitted<T> = (Token, Option<SessionSnapshot<T>>);

impl<T: Send + Sync + 'static> Session<T> {
    /// Returns the session of a request. For services that are not axum's, such as those of tonic,
    /// whose requests have the same `extensions()`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn serve(request: Request<()>) -> Result<Response<String>> {
    ///     let name = Session::<String>::from_extensions(request.extensions())?;
    ///     Ok(Response::new(name.data().clone()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the request has no session, if its session can't be read, or if no layer
    /// for this type of data is around the service.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self> {
        let handle = SessionHandle::from_extensions(extensions)?;
        let bearer = handle.slot.sessions().0.lookup.has_bearer();
        handle.try_into_session()?.ok_or(Error(Kind::NoSession(bearer)))
    }

    fn slot(&self) -> &Slot<T> {
        &self.handle.slot
    }

    fn manager(&self) -> &Manager<T> {
        self.handle.manager()
    }

    /// Returns the session with its id, times, owner and device, as this request last read or
    /// changed it.
    ///
    /// ```
    /// use kvolt_middleware::Session;
    ///
    /// async fn details(session: Session<String>) -> String {
    ///     let snapshot = session.snapshot();
    ///     format!("signed in at {:?}, expires at {:?}", snapshot.created(), snapshot.expires_at())
    /// }
    /// ```
    pub fn snapshot(&self) -> &SessionSnapshot<T> {
        let read =
            || self.slot().session().expect("a `Session` is created only for a slot with one");
        self.latest.as_deref().unwrap_or_else(read)
    }

    /// Returns the application's data.
    pub fn data(&self) -> &T {
        self.snapshot().data()
    }

    /// Returns the public id.
    pub fn id(&self) -> SessionId {
        self.snapshot().id()
    }

    /// Returns the owner. In an impersonation, it is the administrator.
    pub fn owner(&self) -> Option<&Owner> {
        self.snapshot().owner()
    }

    /// Returns the user that the owner acts for, in an [impersonation](Self::impersonate).
    ///
    /// ```
    /// use kvolt_middleware::Session;
    ///
    /// fn banner(session: &Session<String>) -> Option<String> {
    ///     let user = session.acting_for()?;
    ///     Some(format!("you are acting for {user}"))
    /// }
    /// ```
    pub fn acting_for(&self) -> Option<&Owner> {
        self.snapshot().acting_for()
    }

    /// Returns the handle that signs the client in and out.
    pub fn handle(&self) -> &SessionHandle<T> {
        &self.handle
    }

    /// Returns this session, with an actor: the log and the events name it, with its reason, as the
    /// cause of what is done through the returned one. See
    /// [`Manager::by`](kvolt_session::Manager::by).
    ///
    /// Without it, the actor of [`revoke`](Self::revoke), [`revoke_others`](Self::revoke_others),
    /// [`revoke_all`](Self::revoke_all), [`change_credentials`](Self::change_credentials) and
    /// [`impersonate`](Self::impersonate) is the [owner](Self::owner): in an impersonation, the
    /// administrator.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::{Actor, NewSession, StepUp};
    ///
    /// /// After the handler has checked that the administrator may act for Ada.
    /// async fn act_for_ada(session: Session<String>, ticket: String) -> Result<()> {
    ///     let ada = NewSession::new(String::from("Ada")).owner("42");
    ///     let session = session.by(Actor::new("admin:7").because(&ticket));
    ///     session.impersonate(StepUp::within(Duration::from_secs(300)), ada).await
    /// }
    /// ```
    #[must_use = "only what is done through the returned session has the actor"]
    pub fn by(&self, actor: impl Into<Actor>) -> Self {
        Self { handle: self.handle.by(actor), latest: self.latest.clone() }
    }

    /// The manager, with the owner as the actor, unless it has one.
    fn acting(&self) -> Manager<T> {
        match self.owner() {
            Some(owner) if !self.handle.has_actor() => self.manager().by(owner),
            _ => self.manager().clone(),
        }
    }

    /// Reads the session as it is now, without counting as use. `None` once it has ended or its
    /// account's credentials were changed. It does not depend on the token, which may be rotated
    /// meanwhile.
    ///
    /// For work that continues after the request was admitted, such as event streams.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn is_live(session: &Session<String>) -> Result<bool> {
    ///     Ok(session.peek().await?.is_some())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// can't be read.
    pub async fn peek(&self) -> Result<Option<SessionSnapshot<T>>> {
        let peeked = self.manager().peek_session(self.snapshot(), Freshness::Bounded);
        self.handle.bounded(peeked).await
    }

    /// Reads the session from the store itself with the client's token, without counting as use.
    ///
    /// For sensitive actions, where a near cache's copy may be too old. A
    /// [strict layer](crate::SessionLayer::strict) does it for whole routes.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn pay(session: Session<String>) -> Result<String> {
    ///     let now = session.confirm().await?;
    ///     Ok(format!("paid by {}", now.data()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// has ended ([`Error::is_ended`]).
    pub async fn confirm(&self) -> Result<SessionSnapshot<T>> {
        let (token, _) = self.admitted()?;
        let confirmed = self.manager().get_with(&token, Access::PEEK.strict());
        let mut confirmed = self.handle.bounded(confirmed).await?.ok_or(Error(Kind::Ended))?;
        if !self.check_device(&mut confirmed) && self.slot().sessions().0.requires_proof {
            return Err(Error(Kind::Unproven));
        }
        Ok(confirmed)
    }

    /// Checks the device of a session that was read for this request.
    fn check_device(&self, session: &mut SessionSnapshot<T>) -> bool {
        let now = self.manager().clock().now();
        session.check_device(self.slot().device().cookie.as_ref(), now)
    }

    /// Returns the session for a connection that stays open. It reports when the session changes
    /// and when it ends, for whatever reason and on whichever server.
    ///
    /// ```
    /// use kvolt_middleware::Session;
    ///
    /// async fn serve_until_logout(session: Session<String>) {
    ///     session.live().ended().await;
    /// }
    /// ```
    pub fn live(&self) -> LiveSession<T> {
        self.manager().live(self.snapshot())
    }

    /// Changes the session's data. Afterwards this value shows the new data, and the returned
    /// snapshot is the session as it then is. See
    /// [`Manager::update`](kvolt_session::Manager::update).
    ///
    /// Costs the store one command beyond what the layer has read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::update`](kvolt_session::Manager::update), and an error if
    /// the session has ended ([`Error::is_ended`]).
    pub async fn update(&mut self, change: impl FnMut(&mut T) + Send) -> Result<&SessionSnapshot<T>>
    where
        T: Clone,
    {
        let (token, read) = self.admitted()?;
        let manager = self.manager();
        // A change counts as use: a session that was only peeked at is read again.
        let updated = match read.filter(|_| self.slot().access.slides()) {
            Some(read) => self.handle.bounded(manager.update((&token, read), change)).await,
            None => self.handle.bounded(manager.update(&token, change)).await,
        };
        let mut updated = updated?.ok_or(Error(Kind::Ended))?;
        self.check_device(&mut updated);
        self.slot().note_update(&token, &updated);
        Ok(self.latest.insert(Box::new(updated)))
    }

    /// Gives the session a new token; the data stays. For a change of rights that is not a new
    /// login. See [`Manager::rotate`](kvolt_session::Manager::rotate).
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// #[derive(Clone)]
    /// struct User { is_editor: bool }
    ///
    /// async fn promote(mut user: Session<User>) -> Result<()> {
    ///     user.update(|user| user.is_editor = true).await?;
    ///     user.rotate().await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::rotate`](kvolt_session::Manager::rotate). Returns an error,
    /// before anything is done, if the session has ended ([`Error::is_ended`]), or if the response
    /// can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn rotate(&self) -> Result<()> {
        let ((token, read), lifetime) = self.renewable()?;
        let rotated = self.handle.bounded(self.manager().rotate((&token, read))).await?;
        self.renewed(rotated, lifetime)
    }

    /// Notes that the user has just authenticated again at this level, and gives the session a new
    /// token. See [`Manager::reauthenticate`](kvolt_session::Manager::reauthenticate).
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::Level;
    ///
    /// /// After the password was checked.
    /// async fn confirm_password(session: Session<String>) -> Result<&'static str> {
    ///     session.reauthenticate(Level::One).await?;
    ///     Ok("confirmed")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of
    /// [`Manager::reauthenticate`](kvolt_session::Manager::reauthenticate). Returns an error,
    /// before anything is done, if the session has ended ([`Error::is_ended`]), or if the response
    /// can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn reauthenticate(&self, level: Level) -> Result<()> {
        let ((token, read), lifetime) = self.renewable()?;
        let manager = self.manager();
        let rotated = self.handle.bounded(manager.reauthenticate((&token, read), level)).await?;
        if let RotateOutcome::Token(_) = rotated {
            self.slot().state().proof = Some((level, manager.clock().now()));
        }
        // Both timeouts have started again.
        let lifetime = TokenLifetime { lifetime: self.snapshot().timeouts().lifetime, ..lifetime };
        self.renewed(rotated, lifetime)
    }

    /// Ends the owner's other sessions after a change of the account's credentials, and gives this
    /// one a new token. Returns how many sessions it ended. See
    /// [`Manager::change_credentials`](kvolt_session::Manager::change_credentials).
    ///
    /// Call [`require`](Self::require) before you store the new credentials: this call comes after
    /// it, so its error for an impersonation comes too late.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::StepUp;
    ///
    /// async fn change_password(session: Session<String>) -> Result<String> {
    ///     // Refuses an administrator that acts for the user, before anything is done.
    ///     session.require(StepUp::within(Duration::from_secs(300)))?;
    ///     // Store the new password, then:
    ///     let ended = session.change_credentials(None).await?;
    ///     Ok(format!("signed out on {ended} other devices"))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of
    /// [`Manager::change_credentials`](kvolt_session::Manager::change_credentials). Returns an
    /// error, before anything is done, if the session has ended ([`Error::is_ended`]), or if the
    /// response can't carry a token: the response has begun, or the client's token came in a query.
    pub async fn change_credentials(&self, binding: Option<Binding>) -> Result<usize> {
        let ((token, _), lifetime) = self.renewable()?;
        let changed = self.manager().change_credentials(&token, binding);
        let (rotated, ended) = self.handle.bounded(changed).await?;
        self.renewed(rotated, lifetime).map(|()| ended)
    }

    /// Requires a recent, or a strong enough, authentication. A
    /// [layer](crate::SessionLayer::require) does it for whole routes. An authentication that this
    /// request has just [noted](Self::reauthenticate) counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::StepUp;
    ///
    /// async fn delete_account(session: Session<String>) -> Result<&'static str> {
    ///     session.require(StepUp::within(Duration::from_secs(300)))?;
    ///     Ok("deleted")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error that names what is missing ([`Error::missing_step_up`]), an error if the
    /// session is an impersonation, which meets no requirement ([`Error::is_impersonation`]), or an
    /// error if the session has ended ([`Error::is_ended`]).
    pub fn require(&self, step_up: StepUp) -> Result<()> {
        if self.slot().is_replaced() {
            return Err(Error(Kind::Ended));
        }
        let now = self.manager().clock().now();
        let proof = self.slot().state().proof;
        let is_met_by_proof = proof.is_some_and(|(level, at)| {
            level >= step_up.level() && step_up.max_age().is_none_or(|max| now.since(at) <= max)
        });
        let snapshot = self.snapshot();
        let is_met_by_user = is_met_by_proof || snapshot.meets(&step_up.of_user(), now);
        let device = step_up.max_device_age().map(StepUp::device_proved_within);
        let is_met_by_device = device.is_none_or(|device| snapshot.meets(&device, now));
        if is_met_by_user && is_met_by_device {
            return Ok(());
        }
        self.manager().report_refusal(Some(self.snapshot()), RefusalReason::StepUp);
        if self.acting_for().is_some() {
            return Err(Error(Kind::Impersonation));
        }
        if is_met_by_user && !snapshot.is_device_proven() {
            return Err(Error(Kind::Unproven));
        }
        if is_met_by_user {
            // The browser proves the device before its next request.
            self.handle.clear_bound_cookie();
            return Err(Error(Kind::ProofTooOld));
        }
        Err(Error(Kind::StepUp(step_up, self.slot().sessions().0.lookup.has_bearer())))
    }

    /// Starts a session in which this administrator acts for a user. With the response, the client
    /// gets its token in place of its own, until [`end_impersonation`](Self::end_impersonation).
    /// See [`Manager::impersonate`](kvolt_session::Manager::impersonate) for what it can't do, and
    /// when it ends.
    ///
    /// `required` is the proof of identity that the administrator needs. Whether the administrator
    /// may act for this user is the handler's check. Costs the store four commands beyond what the
    /// layer has read, and two more to end the session's previous impersonation. From then on, each
    /// request costs two reads of the store itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::{NewSession, StepUp};
    ///
    /// /// After the handler has checked that the administrator may act for Ada.
    /// async fn act_for_ada(session: Session<String>) -> Result<()> {
    ///     let ada = NewSession::new(String::from("Ada")).owner("42");
    ///     session.impersonate(StepUp::within(Duration::from_secs(300)), ada).await
    /// }
    ///
    /// async fn done(session: Session<String>) -> Result<()> {
    ///     session.end_impersonation().await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`require`](Self::require) and of
    /// [`Manager::impersonate`](kvolt_session::Manager::impersonate), and an error if the session
    /// has ended, or the request has a previous token in its grace ([`Error::is_ended`]). Returns an
    /// error, before anything is done, if the response can't carry a token.
    pub async fn impersonate(
        &self,
        required: StepUp,
        user: impl Into<NewSession<T>>,
    ) -> Result<()> {
        if self.acting_for().is_none() {
            self.require(required)?;
        }
        let (token, read) = self.admitted()?;
        self.slot().channel()?;
        let started = self.manager().impersonate((&token, read), user);
        let token = self.handle.bounded(started).await?.ok_or(Error(Kind::Ended))?;
        let id = token.id();
        let issued = self.replaced_by(token).await;
        if issued.is_err() {
            // The session has no client.
            self.handle.bounded(self.manager().revoke(id)).await?;
        }
        issued
    }

    /// Ends an impersonation, and gives the client a new token of the administrator's own session.
    /// See [`Manager::end_impersonation`](kvolt_session::Manager::end_impersonation).
    ///
    /// [`logout`](Self::logout) ends both sessions. Costs the store four commands beyond what the
    /// layer has read.
    ///
    /// # Errors
    ///
    /// Returns the errors of
    /// [`Manager::end_impersonation`](kvolt_session::Manager::end_impersonation). Returns an error
    /// if either session has ended ([`Error::is_ended`]): then the administrator signs in again. It
    /// also does if the request has a previous token in its grace.
    /// Returns an error, before anything is done, if the response can't carry a token.
    pub async fn end_impersonation(&self) -> Result<()> {
        let (token, read) = self.admitted()?;
        self.slot().channel()?;
        let returned = self.handle.bounded(self.manager().end_impersonation((&token, read)));
        match returned.await? {
            RotateOutcome::Token(token) => {
                self.replaced_by(token).await?;
                // Only the impersonation knows its value.
                self.handle.clear_bound_cookie();
                Ok(())
            }
            RotateOutcome::AlreadyRotated | RotateOutcome::Absent => Err(Error(Kind::Ended)),
        }
    }

    /// Gives the client the token of another session of its own.
    async fn replaced_by(&self, token: Token) -> Result<()> {
        let session = self.handle.bounded(self.manager().peek(&token)).await?;
        let session = session.ok_or(Error(Kind::Ended))?;
        let lifetime = session.ends_at().since(self.manager().clock().now());
        let lifetime = TokenLifetime { lifetime, is_remembered: session.is_remembered() };
        self.handle.issue(token, lifetime, Change::Replaced)
    }

    /// The owner whose account this is: in an impersonation, the user.
    fn account(&self) -> Option<&Owner> {
        self.acting_for().or(self.owner())
    }

    /// Leaves a message for the next page that is shown.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    /// use kvolt_session::Flash;
    ///
    /// async fn save(session: Session<String>) -> Result<()> {
    ///     session.flash(Flash::new("success", "saved")).await
    /// }
    ///
    /// async fn page(session: Session<String>) -> Result<String> {
    ///     let messages = session.take_flashes().await?;
    ///     Ok(messages.iter().map(|flash| format!("{}: {}\n", flash.kind(), flash.text())).collect())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::flash`](kvolt_session::Manager::flash), and an error if
    /// the session has ended ([`Error::is_ended`]).
    pub async fn flash(&self, flash: Flash) -> Result<()> {
        let (token, read) = self.admitted()?;
        let left = self.manager().flash((&token, read), flash);
        self.handle.bounded(left).await?.then_some(()).ok_or(Error(Kind::Ended))
    }

    /// Takes the waiting messages, oldest first. Each message is given to one request. If no
    /// message waited when the request arrived, the store is not asked.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::take_flashes`](kvolt_session::Manager::take_flashes).
    pub async fn take_flashes(&self) -> Result<Vec<Flash>> {
        let (token, read) = match self.slot().admitted() {
            Some(admitted) if !self.snapshot().flashes().is_empty() => admitted,
            _ => return Ok(Vec::new()),
        };
        self.handle.bounded(self.manager().take_flashes((&token, read))).await
    }

    /// Ends the session and clears the client's token. No error if the session had ended before. With
    /// an impersonation, the administrator's own session ends too.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]): the session may
    /// still be live, and the client keeps its token to try again.
    pub async fn logout(&self) -> Result<()> {
        self.handle.logout().await
    }

    /// Lists the owner's live sessions, oldest first, and the ids of those that can't be read.
    /// Empty if the session has no owner. In an impersonation, lists the user's sessions, and so the
    /// calls that revoke sessions concern the user's.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn list(&self) -> Result<SessionList<T>> {
        match self.account() {
            Some(owner) => self.handle.bounded(self.manager().list(owner)).await,
            None => Ok(SessionList::default()),
        }
    }

    /// Ends one of the owner's sessions by its id. `false` if the owner has no such session.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn sign_out_device(session: Session<String>, id: String) -> Result<&'static str> {
    ///     let Ok(id) = id.parse() else { return Ok("not an id") };
    ///     Ok(if session.revoke(id).await? { "signed out" } else { "it had ended before" })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        let Some(owner) = self.account() else { return Ok(false) };
        self.handle.bounded(self.acting().revoke_owned(owner, id)).await
    }

    /// Ends the owner's other sessions, and returns how many.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// has ended ([`Error::is_ended`]).
    pub async fn revoke_others(&self) -> Result<usize> {
        let (token, _) = self.admitted()?;
        self.handle.bounded(self.manager().revoke_others(&token)).await
    }

    /// Ends all of the owner's sessions, including this one, and clears the client's token. In an
    /// impersonation, ends all of the user's sessions, and the administrator's own one that the
    /// client came from.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn sign_out_everywhere(session: Session<String>) -> Result<&'static str> {
    ///     session.revoke_all().await?;
    ///     Ok("signed out on all devices")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]): sessions may still
    /// be live, and the client keeps its token to try again.
    pub async fn revoke_all(&self) -> Result<()> {
        let Some(owner) = self.account() else { return self.logout().await };
        let acting = self.acting();
        self.handle.bounded(acting.revoke_owner(owner)).await?;
        if let (Some(_), Some((token, _))) = (self.acting_for(), self.slot().admitted()) {
            // The client has no token of the administrator's own session to end it later.
            let both = acting.logout((&token, self.snapshot().clone()));
            self.handle.bounded(both).await?;
        }
        self.handle.clear_token();
        Ok(())
    }

    fn admitted(&self) -> Result<Admitted<T>> {
        self.slot().admitted().ok_or(Error(Kind::Ended))
    }

    /// The token to replace, and how long the client keeps the next one. An error, before anything
    /// is done, if the response can't carry the next one.
    fn renewable(&self) -> Result<(Admitted<T>, TokenLifetime)> {
        let admitted = self.admitted()?;
        self.slot().channel()?;
        let session = self.snapshot();
        let lifetime = session.ends_at().since(self.manager().clock().now());
        Ok((admitted, TokenLifetime { lifetime, is_remembered: session.is_remembered() }))
    }

    fn renewed(&self, rotated: RotateOutcome, lifetime: TokenLifetime) -> Result<()> {
        match rotated {
            RotateOutcome::Token(token) => self.handle.issue(token, lifetime, Change::Renewed),
            // The response to another request of this client carries the new token.
            RotateOutcome::AlreadyRotated => Ok(()),
            RotateOutcome::Absent => Err(Error(Kind::Ended)),
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
        Self { handle: self.handle.clone(), latest: self.latest.clone() }
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.handle.slot.session()).finish()
    }
}
