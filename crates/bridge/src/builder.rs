use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{AnyStore, Encoded, Store};
use kvolt_session::{Error, Manager, NewSession, Result};

use crate::bridge::{Bridge, Inner};
use crate::marker::Marker;
use crate::old_sessions::Erased;
use crate::{OldSession, OldSessions};

/// Builds a [`Bridge`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct BridgeBuilder<T> {
    manager: Manager<T>,
    markers: AnyStore<Marker>,
    old: Arc<dyn Erased>,
    handover: Duration,
    is_bounded: bool,
}

impl<T: Send + Sync + 'static> BridgeBuilder<T> {
    pub(crate) fn new(
        manager: Manager<T>,
        markers: impl Store<Vec<u8>>,
        old: impl OldSessions,
    ) -> Self {
        let markers = AnyStore::new(Encoded::new(markers, Json));
        let handover = Duration::from_secs(60);
        Self { manager, markers, old: Arc::new(old), handover, is_bounded: true }
    }

    /// Sets how long an old session outlives its move if the client's new cookie does not come
    /// back. During that time a client that did not get the answer comes again with the old cookie
    /// and gets the same session. Defaults to one minute.
    pub fn handover(mut self, handover: Duration) -> Self {
        self.handover = handover;
        self
    }

    /// Sets whether a new session ends no later than the old one would have ended without further
    /// use. Defaults to `true`.
    ///
    /// Set it to `false` if the other library prolongs a session with its use; otherwise, a user who
    /// stays active is signed out at that moment.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_bridge::BridgeBuilder;
    ///
    /// /// From tower-sessions with `Expiry::OnInactivity`.
    /// fn sliding(builder: BridgeBuilder<String>) -> BridgeBuilder<String> {
    ///     builder.ends_with_old(false).handover(Duration::from_secs(120))
    /// }
    /// ```
    pub fn ends_with_old(mut self, ends: bool) -> Self {
        self.is_bounded = ends;
        self
    }

    /// Returns the bridge. `convert` makes a new session of an old one, or `None` for an old one
    /// that is not to be taken over, such as a visitor's.
    ///
    /// A moved session does not count as a recent authentication: a
    /// [`StepUp::within`](kvolt_session::StepUp::within) asks the user to authenticate again. If the
    /// old session contains the time of the sign-in, set it with [`NewSession::authenticated`].
    ///
    /// The bridge asks it once for each old session that it takes over, however long it takes, and at
    /// most once a minute for another one. Requests that wait for it get 503 after the
    /// [time limit](kvolt_middleware::SessionsBuilder::store_timeout) of a store. If it returns an error, or if the server that asked it crashes, it is asked
    /// again. An error gives the request 503. If the owner has reached the
    /// [limit](kvolt_session::ManagerBuilder::owner_limit) of sessions, the old session counts as
    /// declined, with a warning in the log.
    ///
    /// # Errors
    ///
    /// Returns an error if the markers have the sessions' own namespace on a shared store, if the
    /// handover is zero, if the old cookie's name, path or domain is not one of a cookie, or if the
    /// cookie is plain and actix-session's ([`Error::is_misconfigured`]).
    pub fn build<C, F, E>(self, convert: C) -> Result<Bridge<T>>
    where
        C: Fn(OldSession) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Option<NewSession<T>>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Self { manager, markers, old, handover, is_bounded } = self;
        let misconfigured = |why| Err(Error::store(kvolt_cache::Error::misconfigured(why)));
        let namespace = Store::namespace(&markers);
        if namespace == manager.namespace() && namespace.as_str() != "memory" {
            return misconfigured("the bridge's markers need a namespace of their own");
        }
        if handover.is_zero() {
            return misconfigured("the bridge's handover must not be zero");
        }
        let removal = old.cookie().removal()?;
        let convert = Box::new(move |session| -> crate::take_over::Converting<T> {
            let converting = convert(session);
            Box::pin(async move { converting.await.map_err(Into::into) })
        });
        Ok(Bridge(Arc::new(Inner {
            manager,
            markers,
            old,
            convert,
            removal,
            handover,
            is_bounded,
        })))
    }
}

impl<T> fmt::Debug for BridgeBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeBuilder").field("handover", &self.handover).finish_non_exhaustive()
    }
}
