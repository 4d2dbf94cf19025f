use kvolt_cache::{Freshness, Key, Store, Target};

use super::Manager;
use super::token_status::TokenStatus;
use crate::events::{EndReason, EventKind};
use crate::{Error, Owner, Result, SessionId, Token};

impl<T: Send + Sync + 'static> Manager<T> {
    /// Ends one of the owner's sessions by its id, or an impersonation of the owner. Returns whether
    /// the owner had such a session.
    ///
    /// A session that can't be read is ended too. Costs the store two commands.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_owned(&self, owner: &Owner, id: SessionId) -> Result<bool> {
        self.revoke_of(Some(owner), id).await
    }

    /// Ends any user's session by its id, for administrators. Returns whether it existed.
    ///
    /// A session that can't be read is ended too. Costs the store two commands.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke(&self, id: SessionId) -> Result<bool> {
        self.revoke_of(None, id).await
    }

    /// Ends a session by its id; if an owner is given, only a session of that owner.
    async fn revoke_of(&self, owner: Option<&Owner>, id: SessionId) -> Result<bool> {
        let key = id.key(self.namespace());
        // An entry's owner never changes, so a read before the removal is no race.
        match self.by_id(id, Freshness::Strict).await {
            Ok(Some(session))
                if owner.is_none() || [session.owner(), session.acting_for()].contains(&owner) =>
            {
                let was_live = self.is_backed(&session).await?;
                Ok(self.end(&session, EndReason::Revoked).await? && was_live)
            }
            Ok(_) => Ok(false),
            Err(error) if !error.is_corrupt() => Err(error),
            Err(_) => {
                // Only the store knows the owner.
                if let Some(owner) = owner
                    && !self.list(owner).await?.unreadable.contains(&id)
                {
                    return Ok(false);
                }
                self.end_entry(Target::new(&key).owner(owner), owner, EndReason::Revoked).await
            }
        }
    }

    /// Ends all other sessions of the session's owner, and the impersonation that this session has
    /// started; in an impersonation, all other sessions of the user. Returns how many.
    ///
    /// Returns zero if the session has ended meanwhile or has no owner. Costs the store two
    /// commands, and two more to end an impersonation that this session has started.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the
    /// session's envelope can't be read ([`Error::is_corrupt`]).
    pub async fn revoke_others(&self, token: &Token) -> Result<usize> {
        let accepts = TokenStatus::is_accepted;
        let Some((token, session)) = self.session_of(token, Freshness::Strict, accepts).await?
        else {
            return Ok(0);
        };
        let (owner, reason) = (session.envelope().owner.as_ref(), EndReason::RevokedOthers);
        let acting = self.by_owner_of(&session);
        let mut ended = acting.end_owned(owner, Some(&token.key), reason).await?;
        // The store files it under another user.
        if let Some(id) = session.envelope().impersonation() {
            ended += usize::from(acting.end_by_id(id, reason).await?);
        }
        Ok(ended)
    }

    /// Ends all of the owner's sessions, and all impersonations by the owner and of the owner. Returns
    /// how many the store had under this owner.
    ///
    /// When this has returned, no session that was created before the call is accepted, even if
    /// others are created meanwhile. Costs the store one command.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_owner(&self, owner: &Owner) -> Result<usize> {
        self.end_owned(Some(owner), None, EndReason::RevokedOwner).await
    }

    /// Ends all of the owner's sessions but one; none without an owner.
    pub(super) async fn end_owned(
        &self,
        owner: Option<&Owner>,
        keep: Option<&Key>,
        reason: EndReason,
    ) -> Result<usize> {
        let Some(name) = owner else { return Ok(0) };
        let removed = self.0.store.remove_owner(name, keep).await.map_err(Error::store)?;
        self.ended(&removed, owner, reason);
        Ok(removed.len())
    }

    /// Ends all sessions of all users: everything in the store's namespace.
    ///
    /// When this has returned, no session that was created before the call is accepted. The cost
    /// grows with all that the store's server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn revoke_everyone(&self) -> Result<()> {
        self.0.store.clear().await.map_err(Error::store)?;
        self.0.changes.all_changed();
        let reason = EndReason::RevokedEveryone;
        self.report(EventKind::Ended { reason }, None, None);
        Ok(())
    }
}
