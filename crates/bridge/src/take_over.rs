//! The first half of a move: the new session.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Expiry, InsertOutcome, Key, NewEntry, Store, Timestamp};
use kvolt_middleware::adapter::Crossing;
use kvolt_session::{Error, NewSession, Result, Token};

use crate::OldSession;
use crate::bridge::{Inner, unavailable};
use crate::crossing::{Progress, Trigger};
use crate::marker::{Marker, NewToken};
use crate::sealed::Sealed;

pub(crate) type Convert<T> = Box<dyn Fn(OldSession) -> Converting<T> + Send + Sync>;
pub(crate) type Converting<T> = Pin<
    Box<dyn Future<Output = Result<Option<NewSession<T>>, Box<dyn StdError + Send + Sync>>> + Send>,
>;

/// The target of the log.
pub(crate) const TARGET: &str = "kvolt::bridge";

/// How often a request checks what another one does.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// A request that creates a session for longer than this has crashed, or is as slow: another one
/// creates it, too, and the faster one wins.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the application is not asked again about an old session that it has declined.
const DECLINED: Expiry = Expiry::after(Duration::from_secs(60));

/// How often a failed end of an old session is tried again.
const MAX_RETRIES: u32 = 60;

impl<T: Send + Sync + 'static> Inner<T> {
    /// A request with an old cookie and without a session.
    pub(crate) async fn arrived(self: &Arc<Self>, id: String) -> Result<Crossing> {
        let key = Marker::key(&id);
        loop {
            let marker = self.marker(&key).await?;
            let moving_for = marker.as_ref().and_then(Marker::moving_for);
            match (&marker, moving_for) {
                (Some(_), Some(age)) if age < PATIENCE => tokio::time::sleep(PAUSE).await,
                (None, _) | (_, Some(_)) => {
                    let create = Arc::clone(self).create(id.clone(), key, marker.is_some());
                    // In a task, so that a client that disconnects leaves nothing half done.
                    let created = tokio::spawn(create).await.unwrap_or_else(|panic| {
                        let error = kvolt_cache::Error::unavailable("the conversion panicked");
                        Err(Error::store(error.with_source(panic)))
                    });
                    if let Some(crossing) = created? {
                        return Ok(crossing);
                    }
                }
                (Some(_), None) => {
                    return Ok(match self.advance(&id, &key, Trigger::Seen).await? {
                        Progress::Live(new) => {
                            let token = new.sealed.open(&id).and_then(Token::parse);
                            token.map_or(Crossing::Unchanged, Crossing::SignedIn)
                        }
                        Progress::SignedOut(_) | Progress::Over => Crossing::Unchanged,
                    });
                }
            }
        }
    }

    /// Creates the new session of an old one. `None` if another request does it, or has done it.
    async fn create(
        self: Arc<Self>,
        id: String,
        key: Key,
        is_marked: bool,
    ) -> Result<Option<Crossing>> {
        let old = match self.read_old(&id).await {
            Ok(Some(old)) => old,
            Err(error) if error.is_unavailable() => return Err(unavailable(error)),
            absent => {
                if let Err(error) = absent {
                    let error: &(dyn StdError + 'static) = &error;
                    tracing::error!(target: TARGET, error, "did not take over an old session");
                }
                self.unmark(&key, is_marked).await?;
                return Ok(Some(Crossing::Unchanged));
            }
        };
        if !is_marked {
            let expiry = self.marker_expiry(Some(&old));
            let lifetime = expiry.lifetime().unwrap_or_default().as_millis();
            let lifetime = u64::try_from(lifetime).unwrap_or(u64::MAX);
            let marker = NewEntry::new(Marker::Moving { lifetime }, expiry);
            let inserted = self.markers.insert(key, marker).await.map_err(Error::store)?;
            if !matches!(inserted, InsertOutcome::Inserted { .. }) {
                return Ok(None);
            }
        }
        let created = self.create_marked(&id, &key, old).await;
        if created.is_err() {
            // The next request need not wait. If this fails too, it waits for a second.
            let _ = self.unmark(&key, true).await;
        }
        created
    }

    async fn create_marked(
        self: &Arc<Self>,
        id: &str,
        key: &Key,
        old: OldSession,
    ) -> Result<Option<Crossing>> {
        let old_end = old.expires_at();
        let new = (self.convert)(old).await.map_err(|source| {
            let error = kvolt_cache::Error::unavailable("an old session could not be converted");
            Error::store(error.with_source(source))
        })?;
        let Some(new) = new else {
            return Ok(self.decide(key, Marker::Declined).await?.then_some(Crossing::Unchanged));
        };
        let new = match new.authenticated_at() {
            Some(_) => new,
            // No old session says when the user proved their identity.
            None => new.authenticated(Timestamp::from_millis(0)),
        };
        let token = match self.manager.create(self.bounded(new, old_end)).await {
            Err(error) if error.is_limit_reached() => {
                tracing::warn!(target: TARGET, "the owner of an old session has no room for another");
                return Ok(self
                    .decide(key, Marker::Declined)
                    .await?
                    .then_some(Crossing::Unchanged));
            }
            created => created?,
        };
        let seal = |text: &str, secret: &str| {
            Sealed::new(text, secret).map_err(|error| {
                let failed = kvolt_cache::Error::unavailable("the random generator fails");
                Error::store(failed.with_source(error.to_string()))
            })
        };
        let pointer = Marker::Pointer { old: seal(id, token.expose())? };
        let pointer = NewEntry::new(pointer, Expiry::after(self.pointer_lifetime()));
        let pointer_key = Marker::pointer_key(token.id());
        let _ = self.markers.insert(pointer_key, pointer).await.map_err(Error::store)?;

        let session = token.id().to_string();
        let new = NewToken { session, sealed: seal(token.expose(), id)?, old_end };
        let since = self.manager.clock().now();
        if !self.decide(key, Marker::Moved { since, new }).await? {
            // Another request was faster: its session is the one.
            self.manager.logout(&token).await?;
            return Ok(None);
        }
        tracing::debug!(target: TARGET, id = %token.id(), "took over an old session");
        tokio::spawn(Arc::clone(self).end_later(id.to_owned(), *key));
        Ok(Some(Crossing::SignedIn(token)))
    }

    /// Ends a new session when the old one would have ended.
    fn bounded(&self, new: NewSession<T>, old_end: Option<Timestamp>) -> NewSession<T> {
        let Some(end) = old_end.filter(|_| self.is_bounded) else { return new };
        let left = end.since(self.manager.clock().now()).max(Duration::from_millis(1));
        if left < self.manager.timeouts_of(&new).lifetime { new.lifetime(left) } else { new }
    }

    /// Replaces the marker of a move under way. `false` if the move has been decided.
    async fn decide(&self, key: &Key, mut next: Marker) -> Result<bool> {
        loop {
            let Some(entry) = self.marker(key).await? else { return Ok(false) };
            if !matches!(entry.value, Marker::Moving { .. }) {
                return Ok(false);
            }
            if let Marker::Moved { since, .. } = &mut next {
                // By the store's clock.
                *since = entry.read_at;
            }
            let expiry = (next == Marker::Declined).then_some(DECLINED);
            if self.replace(&entry, next.clone(), expiry).await? {
                return Ok(true);
            }
        }
    }

    /// Removes the marker of a move that is given up.
    async fn unmark(&self, key: &Key, is_marked: bool) -> Result<()> {
        if is_marked
            && let Some(entry) = self.marker(key).await?
            && matches!(entry.value, Marker::Moving { .. })
        {
            let removed = self.markers.remove((&entry.key).into(), Some(entry.version)).await;
            let _ = removed.map_err(Error::store)?;
        }
        Ok(())
    }

    /// Ends the old session after the handover, if nothing has ended it before.
    async fn end_later(self: Arc<Self>, id: String, key: Key) {
        for _ in 0..MAX_RETRIES {
            tokio::time::sleep(self.handover).await;
            match self.advance(&id, &key, Trigger::TimePassed).await {
                Ok(_) => return,
                Err(error) => {
                    let error: &(dyn StdError + 'static) = &error;
                    tracing::warn!(target: TARGET, error, "an old session could not be ended yet");
                }
            }
        }
    }
}
