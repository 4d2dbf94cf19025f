use std::fmt;
use std::ops::Deref;

use kvolt_session::{Binding, Flash, Level, Live, Owner, SessionId, StepUp};

use crate::{Error, Handle, Result, SetToken};

/// The session of the request: it dereferences to the application's data.
///
/// As an argument of an axum handler it requires a session; as an `Option`, it
/// merely knows about one. The data is as it was when the request arrived.
pub struct Session<T> {
    pub(crate) handle: Handle<T>,
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

    /// The session for a connection that stays open: it tells when the session changes, and
    /// when it ends, for whatever reason and on whichever server.
    pub fn live(&self) -> Live<T> {
        self.handle.manager().live(self.details())
    }

    /// See [`Handle::reauthenticate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reauthenticate(&self, level: Level) -> Result<SetToken>
    where
        T: Clone,
    {
        self.handle.reauthenticate(level).await
    }

    /// See [`Handle::change_credentials`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn change_credentials(&self, binding: Option<Binding>) -> Result<(SetToken, usize)>
    where
        T: Clone,
    {
        self.handle.change_credentials(binding).await
    }

    /// See [`Handle::require`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn require(&self, step_up: StepUp) -> Result<()> {
        self.handle.require(step_up)
    }

    /// See [`Handle::flash`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn flash(&self, flash: Flash) -> Result<()>
    where
        T: Clone,
    {
        self.handle.flash(flash).await
    }

    /// See [`Handle::take_flashes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn take_flashes(&self) -> Result<Vec<Flash>>
    where
        T: Clone,
    {
        self.handle.take_flashes().await
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
    pub async fn rotate(&self) -> Result<SetToken>
    where
        T: Clone,
    {
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

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.slot.session.fmt(f)
    }
}
