//! Everything that an owner can ask for, and everything that an administrator can.

use kvolt_cache::{Access, Cursor, Store};

use crate::events::EndReason;
use crate::reading::Standing;
use crate::{Error, Manager, Owner, Result, Session, SessionId, Token};

/// Some of all sessions, for administrators.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// Live sessions, in no order that means anything.
    pub sessions: Vec<Session<T>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// The owner's live sessions, oldest first.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn list(&self, owner: &Owner) -> Result<Vec<Session<T>>> {
        let owner = self.policy().scoped(owner);
        let mut ended = None;
        let entries = loop {
            match self.store().list(&owner).await {
                Ok(entries) => break entries,
                Err(error) if error.key() == ended => return Err(Error::store(error)),
                // Each time one less that can't be decoded.
                Err(error) => {
                    ended = error.key();
                    self.end_undecodable(error).await?;
                }
            }
        };
        let ours = entries
            .into_iter()
            .filter(|entry| matches!(self.standing(&entry.key, &entry.as_ref()), Standing::Good));
        Ok(ours.map(Session::from_entry).collect())
    }

    /// A session by its public name, whosever it is: for administrators. It is not used by this.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn find(&self, id: SessionId) -> Result<Option<Session<T>>> {
        // The name of a token that was changed leads to the session: this is no key to it.
        let found = self.entry(id.key(), Access::PEEK.strict()).await?;
        Ok(found.and_then(|(session, standing)| match standing {
            Standing::Foreign => None,
            _ => Some(session.whole()),
        }))
    }

    /// Ends one of the owner's sessions by its public name. `false` if it is not one of theirs, or none.
    ///
    /// The name may be one that it had before its token was last changed.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end(&self, owner: &Owner, id: SessionId) -> Result<bool> {
        // Under one key there is one owner for good, so looking first is no race.
        match self.find(id).await? {
            Some(session) if session.owner() == Some(owner) => self.end_found(&session).await,
            _ => Ok(false),
        }
    }

    /// Ends a session by its public name, whosever it is: for administrators. `false` if there is none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_any(&self, id: SessionId) -> Result<bool> {
        match self.find(id).await? {
            Some(session) => self.end_found(&session).await,
            None => Ok(false),
        }
    }

    async fn end_found(&self, session: &Session<T>) -> Result<bool> {
        self.end_key(session.id().key(), session.owner(), EndReason::Revoked).await
    }

    /// Ends all sessions of a session's owner but that one, and says how many.
    ///
    /// A session that ended meanwhile, or that nobody owns, has no others: zero.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_others(&self, token: &Token) -> Result<usize> {
        self.end_others_as(token, EndReason::RevokedOthers).await
    }

    pub(crate) async fn end_others_as(&self, token: &Token, reason: EndReason) -> Result<usize> {
        // An old copy could name a key that is kept no more, and then this one would be ended too.
        let found = self.entry(&self.key(token), Access::PEEK.strict()).await?;
        let session = match found {
            Some((session, Standing::Good)) => session,
            // Its own account's credentials have just been changed by who asks.
            Some((session, Standing::Unbound)) if reason == EndReason::CredentialsChanged => {
                session
            }
            _ => return Ok(0),
        };
        let Some(owner) = session.owner() else {
            return Ok(0);
        };
        self.end_owners(owner, Some(&session.id()), reason).await
    }

    /// Ends all of the owner's sessions, and says how many.
    ///
    /// When this has returned, none that was made before the call is accepted
    /// any more, also while others are being made.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_all(&self, owner: &Owner) -> Result<usize> {
        self.end_owners(owner, None, EndReason::RevokedAll).await
    }

    async fn end_owners(
        &self,
        owner: &Owner,
        keep: Option<&SessionId>,
        reason: EndReason,
    ) -> Result<usize> {
        let scoped = self.policy().scoped(owner);
        let removed = self.store().remove_owner(&scoped, keep.map(SessionId::key)).await;
        let removed = removed.map_err(Error::store)?;
        self.ended(&removed, Some(owner), reason);
        Ok(removed.len())
    }

    /// Some of all live sessions, after those of the page before: for administrators.
    ///
    /// A session that lives during the whole listing, under one token, is on one page.
    /// Costly where there are many.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn list_all(&self, after: Option<&Cursor>, sessions_max: usize) -> Result<Page<T>> {
        let page = self.store().scan(after, sessions_max).await.map_err(Error::store)?;
        let ours = page.entries.into_iter().filter(|entry| {
            !matches!(self.standing(&entry.key, &entry.as_ref()), Standing::Foreign)
        });
        Ok(Page { sessions: ours.map(Session::from_entry).collect(), next: page.next })
    }

    /// Ends everybody's sessions at once: everything that the store holds, also for
    /// managers of other kinds on it.
    ///
    /// When this has returned, none that was made before the call is accepted any more.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_everyone(&self) -> Result<()> {
        self.store().clear().await.map_err(Error::store)?;
        self.changes().all_changed();
        self.events().everyone_ended();
        Ok(())
    }

    /// How many sessions there are in the store, those of managers of other kinds on it
    /// included. It may be a little off, and count some that have just ended.
    ///
    /// With the feature `metrics` it is also put into the gauge `kvolt_sessions_active`: call it
    /// as often as that is to be fresh. It is cheap in memory, and a count of
    /// rows in SQL; on Redis it goes through all keys.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn count(&self) -> Result<u64> {
        let count = self.store().count().await.map_err(Error::store)?;
        #[cfg(feature = "metrics")]
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 sessions")]
        metrics::gauge!(crate::events::metric::ACTIVE).set(count as f64);
        Ok(count)
    }

    /// How many events were not told to a listener that did not keep up.
    pub fn events_missed(&self) -> u64 {
        self.events().missed()
    }

    /// Tells of a request that was refused for a reason that the manager does not see
    /// itself, such as a wrong form token: for those who write an adapter.
    pub fn report_refusal(&self, session: Option<&Session<T>>, reason: crate::RefusalReason) {
        let (id, owner) = (session.map(Session::id), session.and_then(Session::owner));
        self.events().refused(id, owner, reason);
    }
}
