use std::time::Duration;

use kvolt_cache::{EntryRef, Owner, Timestamp};

use super::Manager;
use super::presented::HashedToken;
use crate::events::RefusalReason;
use crate::level::Proofs;
use crate::record::{Content, Envelope, Record};
use crate::{Error, Result, SessionId};

/// Whether a token's session accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenStatus {
    /// The session's current token.
    Valid,
    /// A previous token in its grace, with the rights that it had.
    InGrace(Proofs),
    /// A previous token that is no longer accepted, but was replaced so recently that a request
    /// with it may have been under way. It is refused for this reason.
    Replaced(RefusalReason),
    /// A previous token, used after its grace.
    Reused,
    /// The session's current token, but the account's credentials were changed since.
    CredentialsChanged,
    /// Not a token of this session, or the session has ended.
    WrongSecret,
}

impl TokenStatus {
    /// Whether a client with such a token may use the session.
    #[inline]
    pub(super) fn is_accepted(self) -> bool {
        matches!(self, Self::Valid | Self::InGrace(_))
    }

    /// Whether a client with such a token may end the session, or replace it by a login.
    pub(super) fn may_end(self) -> bool {
        self.is_accepted() || self == Self::CredentialsChanged
    }

    /// The rights of a previous token; `None` if the session has all of its own.
    #[inline]
    pub(super) fn rights(self) -> Option<Proofs> {
        match self {
            Self::InGrace(proofs) => Some(proofs),
            _ => None,
        }
    }
}

/// How much the clocks of the store and of the manager may differ at a session's absolute end.
const END_TOLERANCE: Duration = Duration::from_secs(60);

impl<T: Send + Sync + 'static> Manager<T> {
    /// The status of a token in the session of an entry.
    #[inline]
    pub(super) fn status(
        &self,
        token: &HashedToken<'_>,
        entry: &EntryRef<'_, Record<T>>,
    ) -> TokenStatus {
        match self.is_live(entry) {
            Ok(true) => self.status_at(token, entry.value.content(), entry.read_at),
            _ => TokenStatus::WrongSecret,
        }
    }

    /// The status of a token in a session at this time of the store. Every read and every change
    /// passes here.
    #[inline]
    pub(super) fn status_at(
        &self,
        token: &HashedToken<'_>,
        content: &Content<T>,
        now: Timestamp,
    ) -> TokenStatus {
        let status = if content.envelope.secret == token.digest {
            TokenStatus::Valid
        } else {
            self.status_of_other(token, &content.envelope, now)
        };
        if status.is_accepted() && !self.is_bound(content) {
            return TokenStatus::CredentialsChanged;
        }
        status
    }

    /// The status of a token that is not the session's current one.
    #[cold]
    fn status_of_other(
        &self,
        token: &HashedToken<'_>,
        envelope: &Envelope,
        now: Timestamp,
    ) -> TokenStatus {
        let rare = envelope.rare.as_deref();
        let previous = rare.map_or(&[][..], |rare| &rare.previous);
        if let Some(previous) = previous.iter().find(|previous| previous.secret == token.digest) {
            if now < previous.until && previous.accepted {
                return TokenStatus::InGrace(previous.proved);
            }
            // A request that was under way may be late by another grace.
            if now < previous.until.saturating_add(self.0.policy.rotation_grace) {
                return TokenStatus::Replaced(match previous.accepted {
                    true => RefusalReason::Replaced,
                    false => RefusalReason::CredentialsChanged,
                });
            }
        }
        if !token.token.was_issued(&envelope.seed, self.namespace()) {
            return TokenStatus::WrongSecret;
        }
        match rare.and_then(|rare| rare.quiet_until) {
            Some(quiet_until) if now < quiet_until => {
                TokenStatus::Replaced(RefusalReason::Replaced)
            }
            _ => TokenStatus::Reused,
        }
    }

    /// Whether a session is live by its own record too. An error if the record names another
    /// owner than the store: only a manager writes records, but others may write to a remote
    /// store.
    #[inline]
    pub(super) fn is_live(&self, entry: &EntryRef<'_, Record<T>>) -> Result<bool> {
        let Content { envelope, data } = entry.value.content();
        if data.bytes().is_none() {
            return Ok(true);
        }
        let is_owner_right = match &envelope.owner {
            Some(owner) => entry.owner == Some(owner),
            None => entry.owner.is_none_or(Owner::is_reserved),
        };
        if !is_owner_right {
            let reason = "the store names another owner than its record: revoke it";
            return Err(Error::corrupt(SessionId::from_key(entry.key), reason));
        }
        Ok(self.clock().now() < envelope.ends.saturating_add(END_TOLERANCE))
    }

    /// Whether the session's binding matches the account's current one. Data that can't be read
    /// names no account: the token is right, and the caller is refused for the data.
    #[inline]
    pub(super) fn is_bound(&self, content: &Content<T>) -> bool {
        match &self.0.policy.bound_to {
            Some(bound_to) if !content.envelope.is_anonymous() => {
                content.data.get().map_or(true, |data| {
                    bound_to(data).is_some_and(|now| content.envelope.binding() == Some(&now))
                })
            }
            _ => true,
        }
    }
}
