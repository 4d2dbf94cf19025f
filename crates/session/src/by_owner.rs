//! Everything that an owner can ask for.

use kvolt_cache::{Access, Store};

use crate::events::{self, Reason};
use crate::{Error, Manager, Owner, Result, Session, SessionId, Token};

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
        let ours = entries.into_iter().filter(|entry| self.admits(&entry.value));
        Ok(ours.map(Session::from_entry).collect())
    }

    /// Ends one of the owner's sessions by its public name. `false` if it is not one of theirs, or none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end(&self, owner: &Owner, id: SessionId) -> Result<bool> {
        // Under one key there is one owner for good, so looking first is no race.
        let session = self.read_session(id.key(), Access::PEEK).await?;
        let own =
            session.is_some_and(|session| session.id() == id && session.owner() == Some(owner));
        if !own || !self.store().remove(id.key()).await.map_err(Error::store)? {
            return Ok(false);
        }
        events::ended(id, Reason::RevokedOne);
        Ok(true)
    }

    /// Ends all sessions of a session's owner but that one, and says how many.
    ///
    /// A session that ended meanwhile, or that nobody owns, has no others: zero.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn end_others(&self, token: &Token) -> Result<usize> {
        // An old copy could name a key that is kept no more, and then this one would be ended too.
        let Some(session) = self.get_with(token, Access::PEEK.strict()).await? else {
            return Ok(0);
        };
        let Some(owner) = session.owner() else {
            return Ok(0);
        };
        let scoped = self.policy().scoped(owner);
        let keep = Some(session.id());
        let ended = self.store().remove_owner(&scoped, keep.as_ref().map(SessionId::key)).await;
        let ended = ended.map_err(Error::store)?.len();
        events::ended_by_owner(owner, ended, Reason::RevokedOthers);
        Ok(ended)
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
        let scoped = self.policy().scoped(owner);
        let ended = self.store().remove_owner(&scoped, None).await.map_err(Error::store)?.len();
        events::ended_by_owner(owner, ended, Reason::RevokedAll);
        Ok(ended)
    }
}
