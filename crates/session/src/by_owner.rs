//! What owners and administrators ask for.

use kvolt_cache::{Cursor, Freshness, Key, Store, Target};

use crate::events::EndReason;
use crate::{Error, Manager, Owner, Record, Result, SessionId, SessionSnapshot, Token};

/// Sessions, and the ids of those that can't be read.
///
/// A session that can't be read never hides the others, and can be ended by its id.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionList<T> {
    /// Live sessions.
    pub sessions: Vec<SessionSnapshot<T>>,
    /// Ids of sessions that exist but can't be read: see
    /// [`ManagerBuilder::undecodable`](crate::ManagerBuilder::undecodable).
    pub unreadable: Vec<SessionId>,
}

impl<T> Default for SessionList<T> {
    fn default() -> Self {
        Self { sessions: Vec::new(), unreadable: Vec::new() }
    }
}

/// A part of all sessions, for administrators.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionPage<T> {
    /// The sessions, in no order that means anything.
    pub listing: SessionList<T>,
    /// Where to continue; `None` at the end.
    pub next: Option<Cursor>,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// The owner's live sessions, oldest first, and the ids of those that can't be read. Sessions
    /// that are refused because of their [binding](crate::ManagerBuilder::bound_to) are left out.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn list(&self, owner: &Owner) -> Result<SessionList<T>> {
        let listing = self.store().list(owner).await.map_err(Error::store)?;
        let mut listing = self.listing(listing);
        listing.sessions.retain(|session| self.is_bound(session.content()));
        Ok(listing)
    }

    /// A session by its id, whoever its owner is: for administrators. It does not count as use.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn find(&self, id: SessionId) -> Result<Option<SessionSnapshot<T>>> {
        match self.by_id(id, Freshness::Strict).await? {
            Some(session) => match session.content().data.get() {
                Ok(_) => Ok(Some(session)),
                Err(error) => Err(Error::corrupt(id, error)),
            },
            None => Ok(None),
        }
    }

    /// Ends one of the owner's sessions by its id. `false` if there is no such session of theirs.
    ///
    /// A session that can't be read is ended too.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_owned(&self, owner: &Owner, id: SessionId) -> Result<bool> {
        // An entry's owner never changes, so looking first is no race.
        match self.by_id(id, Freshness::Strict).await {
            Ok(Some(session)) if session.owner() == Some(owner) => {
                self.end_session(&session, EndReason::Revoked).await
            }
            Ok(_) => Ok(false),
            // Only the store knows whose it is.
            Err(error) if error.is_corrupt() => {
                if !self.list(owner).await?.unreadable.contains(&id) {
                    return Ok(false);
                }
                let key = id.key(self.namespace());
                self.end_at(Target::new(&key).owner(owner), EndReason::Revoked).await
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a session by its id, whoever its owner is: for administrators. `false` if there is none.
    ///
    /// A session that can't be read is ended too.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        match self.by_id(id, Freshness::Strict).await {
            Ok(Some(session)) => self.end_session(&session, EndReason::Revoked).await,
            Ok(None) => Ok(false),
            Err(error) if error.is_corrupt() => {
                let key = id.key(self.namespace());
                self.end_at(Target::new(&key), EndReason::Revoked).await
            }
            Err(error) => Err(error),
        }
    }

    /// Ends all sessions of a session's owner except that one, and says how many.
    ///
    /// A session that ended meanwhile, or that has no owner, has no others: zero.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the
    /// session's envelope can't be read ([`Error::is_corrupt`]).
    pub async fn revoke_others(&self, token: &Token) -> Result<usize> {
        let presented = self.presented(token);
        match self.verified(&presented, Freshness::Strict).await? {
            Some(found) if found.status.lets_in() => {
                self.end_others_of(&found.session, EndReason::RevokedOthers).await
            }
            _ => Ok(0),
        }
    }

    pub(crate) async fn end_others_of(
        &self,
        session: &SessionSnapshot<T>,
        reason: EndReason,
    ) -> Result<usize> {
        match session.owner() {
            Some(owner) => self.end_owners(owner, Some(session.key()), reason).await,
            None => Ok(0),
        }
    }

    /// Ends all of the owner's sessions, and says how many.
    ///
    /// When this has returned, no session that was created before the call is accepted, also while
    /// others are being created.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_owner(&self, owner: &Owner) -> Result<usize> {
        self.end_owners(owner, None, EndReason::RevokedOwner).await
    }

    async fn end_owners(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
        reason: EndReason,
    ) -> Result<usize> {
        let removed = self.store().remove_owner(owner, keep).await.map_err(Error::store)?;
        self.ended(&removed, Some(owner), reason);
        Ok(removed.len())
    }

    /// A part of all live sessions, after those of the page before: for administrators.
    ///
    /// A session that lives during the whole listing is on one page. The cost of a whole listing
    /// grows with all that the store's server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn list_all(
        &self,
        after: Option<&Cursor>,
        max_sessions: usize,
    ) -> Result<SessionPage<T>> {
        let page = self.store().scan(after, max_sessions).await.map_err(Error::store)?;
        Ok(SessionPage { listing: self.listing(page.listing), next: page.next })
    }

    /// The sessions of a store's entries. Other entries of its namespace, such as a plain
    /// cache's, are passed over.
    fn listing(&self, listing: kvolt_cache::EntryList<Record<T>>) -> SessionList<T> {
        let mut unreadable = listing.unreadable;
        let mut sessions = Vec::with_capacity(listing.entries.len());
        for entry in listing.entries.iter().filter(|entry| entry.key.is_in(self.namespace())) {
            match self.is_live(&entry.as_ref()) {
                Ok(true) if entry.value.data().is_ok() => {
                    sessions.push(SessionSnapshot::from_entry(entry, self.clock().now()));
                }
                Ok(false) => {}
                _ => unreadable.push(entry.key),
            }
        }
        unreadable.retain(|key| key.is_in(self.namespace()));
        SessionList { sessions, unreadable: unreadable.iter().map(SessionId::from_key).collect() }
    }

    /// Ends everyone's sessions at once: everything that the store's namespace holds.
    ///
    /// When this has returned, no session that was created before the call is accepted. The cost
    /// grows with all that the store's server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_everyone(&self) -> Result<()> {
        self.store().clear().await.map_err(Error::store)?;
        self.changes().all_changed();
        self.events().everyone_ended();
        Ok(())
    }

    /// How many sessions the store's namespace has. It may be a little off, and count some that
    /// have just ended.
    ///
    /// With the feature `metrics` it is also put into the gauge `kvolt_sessions_active`: call it
    /// as often as that should be refreshed. It is cheap in memory, a count of
    /// rows in SQL, and a walk through all keys of the server on Redis.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn count(&self) -> Result<u64> {
        let count = self.store().count().await.map_err(Error::store)?;
        #[cfg(feature = "metrics")]
        #[expect(clippy::cast_precision_loss, reason = "no one has 2^53 sessions")]
        metrics::gauge!(crate::events::metric::ACTIVE).set(count as f64);
        Ok(count)
    }

    /// How many events a listener missed because it did not keep up.
    pub fn events_missed(&self) -> u64 {
        self.events().missed()
    }

    /// Reports a request that was refused for a reason that the manager does not see
    /// itself, such as a wrong form token: for adapters.
    pub fn report_refusal(
        &self,
        session: Option<&SessionSnapshot<T>>,
        reason: crate::RefusalReason,
    ) {
        let (id, owner) =
            (session.map(SessionSnapshot::id), session.and_then(SessionSnapshot::filed_under));
        self.events().refused(id, owner, reason);
    }
}
