use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use kvolt_cache::{AnyStore, Entry, Expiry, Freshness, Key, ReplaceOutcome, Store};
use kvolt_middleware::adapter::{BridgeOutcome, SessionBridge};
use kvolt_session::{Error, Manager, Result, SessionSnapshot, Token};

use crate::marker::Marker;
use crate::old_sessions::Erased;
use crate::take_over::Convert;
use crate::{BridgeBuilder, OldSession, OldSessionError, OldSessions};

/// Takes over the sessions of another library. Cloning it is cheap.
///
/// Pass it to [`SessionsBuilder::bridge`](kvolt_middleware::SessionsBuilder::bridge). See the
/// [crate](crate) for how it works.
pub struct Bridge<T>(pub(crate) Arc<Inner<T>>);

pub(crate) struct Inner<T> {
    pub(crate) manager: Manager<T>,
    pub(crate) markers: AnyStore<Marker>,
    pub(crate) old: Arc<dyn Erased>,
    pub(crate) convert: Convert<T>,
    pub(crate) removal: HeaderValue,
    pub(crate) handover: Duration,
    /// Whether a new session ends when the old one would have ended.
    pub(crate) is_bounded: bool,
}

/// How long an old cookie stays spent if its session has no end: browsers keep no cookie longer.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How much longer a marker lives than its old session, whose end may be by another clock.
const MARGIN: Duration = Duration::from_secs(60 * 60);

impl<T: Send + Sync + 'static> Bridge<T> {
    /// Returns a builder of a bridge to the sessions of `manager`.
    ///
    /// `markers` is a store of bytes that all servers of the application share, in a namespace of
    /// its own: it remembers which old sessions were taken over.
    pub fn builder(
        manager: &Manager<T>,
        markers: impl Store<Vec<u8>>,
        old: impl OldSessions,
    ) -> BridgeBuilder<T> {
        BridgeBuilder::new(manager.clone(), markers, old)
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    pub(crate) async fn marker(&self, key: &Key) -> Result<Option<Entry<Marker>>> {
        self.markers.get(key, Freshness::Strict).await.map_err(Error::store)
    }

    /// Replaces a marker if it has not changed. Returns whether it did.
    pub(crate) async fn replace(
        &self,
        seen: &Entry<Marker>,
        next: Marker,
        expiry: Option<Expiry>,
    ) -> Result<bool> {
        let replaced = self.markers.replace((&seen.key).into(), seen.version, next, expiry).await;
        Ok(matches!(replaced.map_err(Error::store)?, ReplaceOutcome::Replaced(_)))
    }

    /// Reads an old session that has not expired; an unreadable one is an error too.
    pub(crate) async fn read_old(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        let old = self.old.read(id).await?;
        let now = self.manager.clock().now();
        Ok(old.filter(|old| old.expires_at().is_none_or(|end| now < end)))
    }

    pub(crate) async fn remove_old(&self, id: &str) -> Result<bool> {
        self.old.remove(id).await.map_err(failed)
    }

    /// How long the marker of an old session must live, for its cookie to stay spent.
    pub(crate) fn marker_expiry(&self, old: Option<&OldSession>) -> Expiry {
        if !self.old.cookie().is_of_one_client() {
            // Another client comes with the same cookie, and has a session of its own.
            return Expiry::after(self.handover);
        }
        let now = self.manager.clock().now();
        let end = old.and_then(OldSession::expires_at);
        Expiry::after(end.map_or(LONGEST, |end| end.since(now).saturating_add(MARGIN)))
    }
}

pub(crate) fn failed(error: OldSessionError) -> Error {
    let kind = match error.is_misconfigured() {
        true => kvolt_cache::Error::misconfigured(error.to_string()),
        false => kvolt_cache::Error::unavailable(error.to_string()),
    };
    Error::store(kind.with_source(error))
}

impl<T: Send + Sync + 'static> SessionBridge<T> for Bridge<T> {
    fn cookie_name(&self) -> &str {
        self.0.old.cookie().name()
    }

    fn resolve<'a>(
        &'a self,
        old: Option<&'a str>,
        current: Option<(&'a Token, &'a SessionSnapshot<T>)>,
    ) -> Pin<Box<dyn Future<Output = Result<BridgeOutcome>> + Send + 'a>> {
        Box::pin(async move {
            let id = old.and_then(|cookie| self.0.old.id(cookie));
            match (current.filter(|(_, session)| !session.is_anonymous()), id) {
                (Some((token, session)), id) => {
                    self.0.returned(token, session, id, old.is_some()).await
                }
                (None, Some(id)) => self.0.arrived(id).await,
                (None, None) => Ok(BridgeOutcome::Unchanged),
            }
        })
    }
}

impl<T> Clone for Bridge<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Bridge<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("cookie", self.0.old.cookie())
            .field("handover", &self.0.handover)
            .finish_non_exhaustive()
    }
}
