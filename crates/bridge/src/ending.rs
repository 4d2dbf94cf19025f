//! The second half of a move: the end of the old session.

use std::time::Duration;

use kvolt_cache::{InsertOutcome, Key, NewEntry, Store, Timestamp};
use kvolt_middleware::adapter::BridgeOutcome;
use kvolt_session::{Error, Result, SessionSnapshot, Token};

use crate::bridge::{Inner, failed};
use crate::marker::{Marker, NewRef};
use crate::take_over::PAUSE;

/// The cause of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Its cookie has come alone.
    Seen,
    /// The new session's token has come.
    Returned,
    /// The handover has passed, by the clock of this process.
    TimePassed,
}

/// How far a move has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The old cookie stands for the new session.
    Live(NewRef),
    /// The old side has signed out, and this session has ended with it.
    SignedOut(String),
    /// The old cookie stands for nothing any longer.
    Spent,
    /// There is no move.
    None,
}

/// A removal that has not been noted for so long has been interrupted by a crash, or is as slow.
const REMOVAL: Duration = Duration::from_secs(1);

/// How much earlier the old store may consider its session expired.
const TOLERANCE: Duration = Duration::from_secs(1);

/// How long after the handover the return of a new token still ends the old session.
const SLACK: Duration = Duration::from_secs(60);

impl<T: Send + Sync + 'static> Inner<T> {
    /// How long after its creation a session's token may end the old session.
    pub(crate) fn pointer_lifetime(&self) -> Duration {
        self.handover.saturating_add(SLACK)
    }

    /// A request with a session of this application.
    pub(crate) async fn returned(
        &self,
        token: &Token,
        session: &SessionSnapshot<T>,
        id: Option<String>,
        has_cookie: bool,
    ) -> Result<BridgeOutcome> {
        let age = self.manager.clock().now().since(session.created());
        let pointer_key = Marker::pointer_key(session.id());
        let pointer = match &id {
            None if age < self.pointer_lifetime() => self.marker(&pointer_key).await?,
            _ => None,
        };
        let pointed = pointer.and_then(|entry| match entry.value {
            Marker::Pointer { old } => old.open(token.expose()),
            _ => None,
        });
        if let Some(id) = id.or(pointed) {
            let progress = self.end(&id).await?;
            match progress {
                Progress::SignedOut(ended) if ended == session.id().to_string() => {
                    return Ok(BridgeOutcome::SignedOut(self.removal.clone()));
                }
                Progress::SignedOut(_) => {}
                Progress::Live(_) | Progress::Spent | Progress::None => {
                    // Later requests of the session need not ask the old store.
                    let removed = self.markers.remove((&pointer_key).into(), None).await;
                    let _ = removed.map_err(Error::store)?;
                }
            }
        }
        Ok(if has_cookie {
            BridgeOutcome::RemoveOldCookie(self.removal.clone())
        } else {
            BridgeOutcome::Unchanged
        })
    }

    /// Ends the old session of a client that has a new one.
    async fn end(&self, id: &str) -> Result<Progress> {
        let key = Marker::key(id);
        let marker = self.marker(&key).await?;
        if let Some(entry) = &marker
            && entry.value != Marker::Declined
        {
            return self.advance(id, &key, Trigger::Returned).await;
        }
        // The client has signed in by itself: its old session must not sign it in again.
        if !self.old.cookie().is_of_one_client() {
            return Ok(Progress::None);
        }
        let (old, is_readable) = match self.read_old(id).await {
            Ok(None) => return Ok(Progress::None),
            Ok(old) => (old, true),
            Err(error) if error.is_failure() => return Err(failed(error)),
            // It may be anything that the client has named: it stays.
            Err(_) => (None, false),
        };
        let expiry = self.marker_expiry(old.as_ref());
        let is_marked = match marker {
            Some(declined) => self.replace(&declined, Marker::Spent, Some(expiry)).await?,
            None => {
                let spent = NewEntry::new(Marker::Spent, expiry);
                let inserted = self.markers.insert(key, spent).await.map_err(Error::store)?;
                matches!(inserted, InsertOutcome::Inserted { .. })
            }
        };
        if is_marked && is_readable {
            self.remove_old(id).await?;
        }
        Ok(Progress::Spent)
    }

    /// Brings a move as far as it can go. The table of states is in `marker.rs`.
    pub(crate) async fn advance(&self, id: &str, key: &Key, trigger: Trigger) -> Result<Progress> {
        loop {
            let Some(entry) = self.marker(key).await? else { return Ok(Progress::None) };
            let now = entry.read_at;
            let has_passed =
                |since| trigger == Trigger::TimePassed || now.since(since) >= self.handover;
            match entry.value.clone() {
                Marker::Moving { .. }
                | Marker::Declined
                | Marker::Token { .. }
                | Marker::Pointer { .. } => return Ok(Progress::None),
                Marker::Spent => {
                    self.remove_rewritten(id).await?;
                    return Ok(Progress::Spent);
                }
                Marker::Moved { since, new } => {
                    let exists = match self.read_old(id).await {
                        Ok(old) => old.is_some(),
                        Err(error) if error.is_failure() => return Err(failed(error)),
                        Err(_) => true,
                    };
                    if !exists {
                        // No server of this application removes it in this state. If another has
                        // changed the state meanwhile, this change fails.
                        self.replace(&entry, self.missing(since, new), None).await?;
                    } else if trigger == Trigger::Seen && !has_passed(since) {
                        return Ok(Progress::Live(new));
                    } else {
                        let next = Marker::Removing { since, begun: now, new };
                        self.remove_as(id, &entry, next).await?;
                    }
                }
                Marker::Removing { begun, .. } if now.since(begun) < REMOVAL => {
                    tokio::time::sleep(PAUSE).await;
                }
                Marker::Removing { since, new, .. } => {
                    let next = Marker::Removing { since, begun: now, new };
                    self.remove_as(id, &entry, next).await?;
                }
                Marker::Removed { since, new } => {
                    if !has_passed(since) {
                        return Ok(match trigger {
                            Trigger::Returned => Progress::None,
                            _ => Progress::Live(new),
                        });
                    }
                    self.replace(&entry, Marker::Spent, None).await?;
                }
                Marker::SignedOut { session } => {
                    let ended = session.parse().map_err(|error| {
                        let unreadable = kvolt_cache::Error::corrupt(*key, "it names no session");
                        Error::store(unreadable.with_source(error))
                    })?;
                    self.manager.revoke(ended).await?;
                    self.remove_rewritten(id).await?;
                    return Ok(Progress::SignedOut(session));
                }
            }
        }
    }

    /// Removes an old session that the other library has written back, by a request that was under
    /// way.
    async fn remove_rewritten(&self, id: &str) -> Result<()> {
        match self.read_old(id).await {
            Ok(Some(_)) => self.remove_old(id).await.map(|_| ()),
            Err(error) if error.is_failure() => Err(failed(error)),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The next state if the old session is missing, and this application has not removed it.
    fn missing(&self, since: Timestamp, new: NewRef) -> Marker {
        let now = self.manager.clock().now().saturating_add(TOLERANCE);
        match new.old_end.is_some_and(|end| end <= now) {
            true => Marker::Removed { since, new },
            false => Marker::SignedOut { session: new.session },
        }
    }

    /// Notes that the old session exists and is being removed, and removes it.
    async fn remove_as(
        &self,
        id: &str,
        seen: &kvolt_cache::Entry<Marker>,
        next: Marker,
    ) -> Result<()> {
        let Marker::Removing { since, new, .. } = next.clone() else { return Ok(()) };
        // A removal that was begun before may be what has removed it.
        let was_begun = matches!(seen.value, Marker::Removing { .. });
        let replaced = self.markers.replace((&seen.key).into(), seen.version, next, None).await;
        let kvolt_cache::ReplaceOutcome::Replaced(version) = replaced.map_err(Error::store)? else {
            return Ok(());
        };
        let next = match self.remove_old(id).await? || was_begun {
            true => Marker::Removed { since, new },
            false => self.missing(since, new),
        };
        let replaced = self.markers.replace((&seen.key).into(), version, next, None).await;
        let _ = replaced.map_err(Error::store)?;
        Ok(())
    }
}
