//! The first half of a move: the new session.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Entry, Expiry, InsertOutcome, Key, NewEntry, Store, Timestamp};
use kvolt_middleware::adapter::BridgeOutcome;
use kvolt_session::{Access, Error, NewSession, Result, Token};

use crate::OldSession;
use crate::bridge::{Inner, failed};
use crate::ending::{Progress, Trigger};
use crate::marker::{Marker, NewRef};
use crate::sealed::Sealed;

pub(crate) type Convert<T> = Box<dyn Fn(OldSession) -> Converting<T> + Send + Sync>;
pub(crate) type Converting<T> = Pin<
    Box<dyn Future<Output = Result<Option<NewSession<T>>, Box<dyn StdError + Send + Sync>>> + Send>,
>;

/// The target of the log.
pub(crate) const TARGET: &str = "kvolt::bridge";

/// How often a request checks what another one does.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// A server that has not renewed its claim for so long has crashed: another one takes it over.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a server renews its claim while it creates a session.
const RENEWAL: Duration = Duration::from_millis(250);

/// A server's right to create the new session of an old one.
#[derive(Clone, Copy)]
struct Claim {
    key: Key,
    number: u64,
    expiry: Expiry,
}

impl Claim {
    fn new(key: Key, expiry: Expiry) -> Result<Self> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(no_random)?;
        Ok(Self { key, number: u64::from_le_bytes(number), expiry })
    }

    fn marker(&self) -> Marker {
        let lifetime = self.expiry.lifetime().unwrap_or_default().as_millis();
        let lifetime = u64::try_from(lifetime).unwrap_or(u64::MAX);
        Marker::Moving { lifetime, claim: self.number }
    }

    fn holds(&self, entry: &Entry<Marker>) -> bool {
        matches!(entry.value, Marker::Moving { claim, .. } if claim == self.number)
    }
}

fn no_random(error: getrandom::Error) -> Error {
    let failed = kvolt_cache::Error::unavailable("the random generator fails");
    Error::store(failed.with_source(error.to_string()))
}

/// How long the application is not asked again about an old session that it has declined.
const DECLINED: Expiry = Expiry::after(Duration::from_secs(60));

/// How often a failed end of an old session is tried again.
const MAX_RETRIES: u32 = 60;

impl<T: Send + Sync + 'static> Inner<T> {
    /// A request with an old cookie and without a session.
    pub(crate) async fn arrived(self: &Arc<Self>, id: String) -> Result<BridgeOutcome> {
        let key = Marker::key(&id);
        loop {
            let marker = self.marker(&key).await?;
            let moving_for = marker.as_ref().and_then(Marker::moving_for);
            match (&marker, moving_for) {
                (Some(_), Some(age)) if age < PATIENCE => tokio::time::sleep(PAUSE).await,
                (None, _) | (_, Some(_)) => {
                    let create = Arc::clone(self).create(id.clone(), key, marker);
                    // In a task, so that a client that disconnects leaves nothing half done.
                    let created = tokio::spawn(create).await.unwrap_or_else(|panic| {
                        let error = kvolt_cache::Error::unavailable("the conversion panicked");
                        Err(Error::store(error.with_source(panic)))
                    });
                    if let Some(outcome) = created? {
                        return Ok(outcome);
                    }
                }
                (Some(_), None) => {
                    let progress = match self.advance(&id, &key, Trigger::Seen).await? {
                        Progress::Live(new) => match self.live(&id, &new).await? {
                            Some(token) => return Ok(BridgeOutcome::SignedIn(token)),
                            // The client has signed out already.
                            None if self.old.cookie().is_of_one_client() => {
                                self.advance(&id, &key, Trigger::TimePassed).await?
                            }
                            None => Progress::Spent,
                        },
                        progress => progress,
                    };
                    return Ok(match progress {
                        Progress::Spent | Progress::SignedOut(_) => {
                            BridgeOutcome::RemoveOldCookie(self.removal.clone())
                        }
                        Progress::Live(_) | Progress::None => BridgeOutcome::Unchanged,
                    });
                }
            }
        }
    }

    /// The token of a session that an old cookie stands for, if that still exists.
    async fn live(&self, id: &str, new: &NewRef) -> Result<Option<Token>> {
        let Some(entry) = self.marker(&Marker::token_key(&new.session)).await? else {
            return Ok(None);
        };
        let Marker::Token { sealed } = entry.value else { return Ok(None) };
        let Some(token) = sealed.open(id).and_then(Token::parse) else { return Ok(None) };
        let session = self.manager.get_with(&token, Access::PEEK.strict()).await;
        match session {
            Ok(None) => Ok(None),
            Err(error) if error.is_unavailable() => Err(error),
            // The layer reads it, too.
            Ok(Some(_)) | Err(_) => Ok(Some(token)),
        }
    }

    /// Creates the new session of an old one. `None` if another request does it, or has done it.
    async fn create(
        self: Arc<Self>,
        id: String,
        key: Key,
        stalled: Option<Entry<Marker>>,
    ) -> Result<Option<BridgeOutcome>> {
        let old = match self.read_old(&id).await {
            Ok(Some(old)) => old,
            Err(error) if error.is_failure() => return Err(failed(error)),
            absent => {
                if let Err(error) = absent {
                    let error: &(dyn StdError + 'static) = &error;
                    tracing::error!(target: TARGET, error, "did not take over an old session");
                }
                if let Some(entry) = stalled {
                    self.unmark(&entry).await?;
                }
                return Ok(Some(BridgeOutcome::Unchanged));
            }
        };
        let claim = Claim::new(key, self.marker_expiry(Some(&old)))?;
        let is_claimed = match stalled {
            Some(entry) => self.replace(&entry, claim.marker(), Some(claim.expiry)).await?,
            None => {
                let marker = NewEntry::new(claim.marker(), claim.expiry);
                let inserted = self.markers.insert(key, marker).await.map_err(Error::store)?;
                matches!(inserted, InsertOutcome::Inserted { .. })
            }
        };
        if !is_claimed {
            return Ok(None);
        }
        let created = self.create_claimed(&id, &claim, old).await;
        if created.is_err() {
            // The next request need not wait. If this fails too, it waits for a second.
            if let Ok(Some(entry)) = self.marker(&key).await
                && claim.holds(&entry)
            {
                let _ = self.unmark(&entry).await;
            }
        }
        created
    }

    async fn create_claimed(
        self: &Arc<Self>,
        id: &str,
        claim: &Claim,
        old: OldSession,
    ) -> Result<Option<BridgeOutcome>> {
        let old_end = old.expires_at();
        let declined = || self.decide(claim, Marker::Declined);
        let Some(converted) = self.while_renewing(claim, (self.convert)(old)).await else {
            return Ok(None);
        };
        let new = converted.map_err(|source| {
            let error = kvolt_cache::Error::unavailable("an old session could not be converted");
            Error::store(error.with_source(source))
        })?;
        let Some(new) = new else {
            return Ok(declined().await?.then_some(BridgeOutcome::Unchanged));
        };
        let new = match new.authenticated_at() {
            Some(_) => new,
            // No old session says when the user proved their identity.
            None => new.authenticated(Timestamp::from_millis(0)),
        };
        let create = self.manager.create(self.bounded(new, old_end));
        let Some(created) = self.while_renewing(claim, create).await else { return Ok(None) };
        let token = match created {
            Err(error) if error.is_limit_reached() => {
                tracing::warn!(target: TARGET, "the owner of an old session has no room for another");
                return Ok(declined().await?.then_some(BridgeOutcome::Unchanged));
            }
            created => created?,
        };
        let seal = |text: &str, secret: &str| Sealed::new(text, secret).map_err(no_random);
        let old = seal(id, token.expose())?;
        let sealed = seal(token.expose(), id)?;
        for (key, marker, lifetime) in [
            (Marker::pointer_key(token.id()), Marker::Pointer { old }, self.pointer_lifetime()),
            (Marker::token_key(token.id()), Marker::Token { sealed }, self.handover),
        ] {
            let entry = NewEntry::new(marker, Expiry::after(lifetime));
            let _ = self.markers.insert(key, entry).await.map_err(Error::store)?;
        }
        let new = NewRef { session: token.id().to_string(), old_end };
        let since = self.manager.clock().now();
        if !self.decide(claim, Marker::Moved { since, new }).await? {
            // Another server has taken the move over: its session is the one.
            self.manager.logout(&token).await?;
            return Ok(None);
        }
        tracing::debug!(target: TARGET, id = %token.id(), "took over an old session");
        tokio::spawn(Arc::clone(self).end_later(id.to_owned(), claim.key));
        Ok(Some(BridgeOutcome::SignedIn(token)))
    }

    /// Awaits a future, and keeps the claim meanwhile. `None` if another server has taken it over.
    async fn while_renewing<R>(&self, claim: &Claim, work: impl Future<Output = R>) -> Option<R> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(RENEWAL, &mut work).await {
                return Some(done);
            }
            // If the store fails, the next renewal may work.
            if let Ok(false) = self.decide(claim, claim.marker()).await {
                return None;
            }
        }
    }

    /// Ends a new session when the old one would have ended.
    fn bounded(&self, new: NewSession<T>, old_end: Option<Timestamp>) -> NewSession<T> {
        let Some(end) = old_end.filter(|_| self.is_bounded) else { return new };
        let left = end.since(self.manager.clock().now()).max(Duration::from_millis(1));
        if left < self.manager.timeouts_of(&new).lifetime { new.lifetime(left) } else { new }
    }

    /// Replaces the marker of a move under way. `false` if another server has taken it over.
    async fn decide(&self, claim: &Claim, mut next: Marker) -> Result<bool> {
        loop {
            let Some(entry) = self.marker(&claim.key).await? else { return Ok(false) };
            if !claim.holds(&entry) {
                return Ok(false);
            }
            if let Marker::Moved { since, .. } = &mut next {
                // By the store's clock.
                *since = entry.read_at;
            }
            let expiry = if next == Marker::Declined { DECLINED } else { claim.expiry };
            if self.replace(&entry, next.clone(), Some(expiry)).await? {
                return Ok(true);
            }
        }
    }

    /// Removes the marker of a move that is given up, if it has not changed.
    async fn unmark(&self, seen: &Entry<Marker>) -> Result<()> {
        let removed = self.markers.remove((&seen.key).into(), Some(seen.version)).await;
        removed.map(|_| ()).map_err(Error::store)
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
