//! Impersonation: an administrator acts for a user, in a session of its own.
//!
//! It is one entry, which the store files under the user: what lists or ends the user's sessions
//! finds it in the same step. It is accepted only while the administrator's own session is live and
//! names it as its latest impersonation, so what ends that session ends it too, with no second
//! write.
//!
//! | the store has | the impersonation |
//! |---|---|
//! | its entry, which no session names: it is being started, or a crash has interrupted that | is refused, and in no list |
//! | its entry, and the administrator's session, which names it | is accepted, and in the lists of both |
//! | its entry, and no such session | is refused, and in no list; the entry expires |

use std::time::Duration;

use kvolt_cache::{Freshness, Store, Target};

use super::Manager;
use super::presented::{HashedToken, Presented};
use super::renewing::{RenewalReason, RotateOutcome};
use super::token_status::TokenStatus;
use crate::error::Kind;
use crate::events::{EndReason, EventKind, Parties};
use crate::level::Proofs;
use crate::new_session::NewSession;
use crate::record::{Content, Impersonator};
use crate::{Error, Owner, Result, SessionList, SessionSnapshot, Token};

/// The longest time that an impersonation may take.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

impl<T: Send + Sync + 'static> Manager<T> {
    /// Creates a session in which an administrator acts for a user, and returns its token. `None`
    /// if the administrator's session does not exist, or has another token by now: a previous one
    /// starts no impersonation, not even in its grace.
    ///
    /// Its [owner](SessionSnapshot::owner) is the administrator, the user is the one that it is
    /// [acting for](SessionSnapshot::acting_for), and its data is the user's. Both find it in
    /// [`list`](Self::list), and either can revoke it. It ends after 30 minutes, or at the earliest
    /// of these: the [lifetime](NewSession::lifetime) that is chosen for it, the manager's idle
    /// timeout, the end of the administrator's own session, and the next impersonation that this
    /// session starts. Use does not extend it, and does not keep the administrator's session alive.
    ///
    /// It meets no [`StepUp`](crate::StepUp), can't be re-authenticated, and can't change
    /// credentials. The owner's limit never refuses it; it counts as one of the user's sessions,
    /// and ends where the limit would refuse a sign-in of the user. With
    /// [`remove_oldest`](crate::OwnerLimit::remove_oldest), the user's next sign-in may remove an
    /// older session because of it. The new session's level and [`remember`](NewSession::remember)
    /// have no effect.
    ///
    /// First check that the administrator may do this, that the user is not another administrator,
    /// and with [`SessionSnapshot::meets`] that the proof of identity is strong enough. Costs the
    /// store three commands, or two with the administrator's session as it was read, and two more to
    /// end the session's previous impersonation. Each request of an impersonation costs two reads of
    /// the store itself: a near cache's copy is not used.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession, Owner, RotateOutcome};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let root = NewSession::new(String::from("Root")).owner("root");
    /// let own = manager.create(root).await?;
    ///
    /// let ada = NewSession::new(String::from("Ada")).owner("ada");
    /// let ada = ada.lifetime(Duration::from_secs(10 * 60));
    /// let token = manager.impersonate(&own, ada).await?.expect("the session exists");
    /// let session = manager.get(&token).await?.expect("it was just created");
    /// assert_eq!(*session, "Ada");
    /// assert_eq!(session.owner(), Some(&Owner::new("root").expect("a valid name")));
    /// assert_eq!(session.acting_for(), Some(&Owner::new("ada").expect("a valid name")));
    ///
    /// // The administrator's own session goes on, with a new token.
    /// let RotateOutcome::Token(own) = manager.end_impersonation(&token).await? else {
    ///     panic!("the session exists");
    /// };
    /// assert!(manager.get(&own).await?.is_some());
    /// assert!(manager.get(&token).await?.is_none());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_impersonation`]) if the administrator's session is an
    /// impersonation itself, is anonymous or has no owner, or if the user is the administrator or
    /// has no owner. Also returns the errors of [`create`](Self::create) and of
    /// [`update`](Self::update).
    pub async fn impersonate<'a>(
        &self,
        administrator: impl Into<Presented<'a, T>>,
        user: impl Into<NewSession<T>>,
    ) -> Result<Option<Token>> {
        let user = user.into();
        let accepts = |status| status == TokenStatus::Valid;
        let found = self.session_of(administrator, Freshness::Strict, accepts).await?;
        // A token in its grace has fewer rights than the one that the impersonation would return.
        let found = found.filter(|(_, own)| own.restricted_to.is_none());
        let Some((presented, own)) = found else { return Ok(None) };
        let (acting, content) = (self.by_owner_of(&own), self.impersonation(&own, user)?);
        let (owner, user) = (own.owner().cloned(), content.envelope.owner.clone());
        let token = self.insert_new(content).await?;
        let mut previous = None;
        let named = self.change(&presented, own, |own, status, _| {
            previous = own.envelope().impersonation();
            let mut content = own.content().clone();
            content.envelope.edit_rare(|rare| rare.impersonation = Some(token.id()));
            Ok((status == TokenStatus::Valid).then_some((content, None)))
        });
        let named = named.await;
        // Only the removal of entries that are refused already is left, so its failure is no error.
        if let Ok(Some(_)) = named {
            let parties = Parties { owner: owner.as_ref(), acting_for: user.as_ref() };
            acting.report(EventKind::Impersonated, token.id(), parties);
            if let Some(previous) = previous {
                let _ = acting.end_by_id(previous, EndReason::NewLogin).await;
            }
            return Ok(Some(token));
        }
        let key = token.id().key(self.namespace());
        let _ = self.0.store.remove(Target::new(&key).owner(user.as_ref()), None).await;
        named.map(|_| None)
    }

    /// Ends an impersonation, and gives the administrator's own session a new token: the client
    /// that acted for the user goes on with it. The session's id, data and deadlines stay.
    ///
    /// Only the current token does this: for a previous one in its grace, the answer is
    /// [`AlreadyRotated`](RotateOutcome::AlreadyRotated).
    ///
    /// [`logout`](Self::logout) ends both sessions instead. Costs the store five commands, or three
    /// with the session as it was read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate), and an error if the session is no
    /// impersonation ([`Error::is_misconfigured`]).
    pub async fn end_impersonation<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> Result<RotateOutcome> {
        let accepts = TokenStatus::is_accepted;
        let found = self.session_of(presented, Freshness::Strict, accepts).await?;
        let Some((token, session)) = found else { return Ok(RotateOutcome::Absent) };
        if session.acting_for().is_none() {
            return Err(Error::misconfigured("the session is no impersonation"));
        }
        if session.restricted_to.is_some() {
            return Ok(RotateOutcome::AlreadyRotated);
        }
        let mut outcome = RotateOutcome::Absent;
        if let Some(own) = self.own_session(&session).await? {
            let token = HashedToken { key: own.key, ..token };
            outcome = self.renew(&token, own, &RenewalReason::Return(session.id())).await?;
        }
        let ended = self.end(&session, EndReason::Logout).await;
        // With the new token, the impersonation is refused already, and the client needs the token.
        if matches!(outcome, RotateOutcome::Absent) {
            ended?;
        }
        Ok(outcome)
    }

    /// The content of an impersonation that the administrator's own session starts.
    fn impersonation(&self, own: &SessionSnapshot<T>, user: NewSession<T>) -> Result<Content<T>> {
        let refused = |why| Err(Error::new(Kind::Impersonation, why));
        if own.acting_for().is_some() {
            return refused("an impersonation can't start another one");
        }
        let Some(owner) = own.owner().filter(|_| !own.is_anonymous()) else {
            return refused("only a signed-in administrator, with an owner, can act for a user");
        };
        let left = own.expires_at().since(own.store_time(self.clock().now()));
        let chosen = user.idle_timeout.into_iter().chain(user.lifetime);
        let bounds = [MAX_LIFETIME, self.timeouts().idle, left.max(Duration::from_millis(1))];
        let lifetime = bounds.into_iter().chain(chosen).min();
        let (level, idle_timeout) = (Some(crate::Level::One), lifetime);
        let user = NewSession { level, remembered: false, idle_timeout, lifetime, ..user };
        let mut content = self.content(user)?;
        match &content.envelope.owner {
            None => return refused("a user without an owner can't be acted for"),
            Some(user) if user == owner => return refused("an administrator can't act for itself"),
            Some(_) => {}
        }
        content.envelope.proved = Proofs::NONE;
        let impersonator = Impersonator { owner: owner.clone(), session: own.id() };
        content.envelope.edit_rare(|rare| {
            (rare.impersonator, rare.offer_due) = (Some(impersonator), false);
        });
        if let Some(device) = own.envelope().device_binding() {
            // It is used on the same device. With one challenge in both, one proof would be good twice.
            let mut device = device.clone();
            (self.0.policy.random)(&mut device.challenge)?;
            device.challenged = own.store_time(self.clock().now());
            content.envelope.bind(device);
        }
        Ok(content)
    }

    /// Whether a session is no impersonation, or one that the administrator's own session backs.
    /// The store itself is asked.
    pub(super) async fn is_backed(&self, session: &SessionSnapshot<T>) -> Result<bool> {
        if session.acting_for().is_none() {
            return Ok(true);
        }
        let own = self.own_session(session).await?;
        Ok(own.is_some_and(|own| own.envelope().impersonation() == Some(session.id())))
    }

    /// A session, if it is [backed](Self::is_backed).
    pub(super) async fn if_backed(
        &self,
        session: Option<SessionSnapshot<T>>,
    ) -> Result<Option<SessionSnapshot<T>>> {
        match session {
            Some(session) if self.is_backed(&session).await? => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// The administrator's own session, if this is an impersonation and that one is acceptable.
    pub(super) async fn own_session(
        &self,
        session: &SessionSnapshot<T>,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let Some(Impersonator { owner, session: id }) = session.envelope().impersonator() else {
            return Ok(None);
        };
        match self.by_id(*id, Freshness::Strict).await {
            Ok(own) => {
                Ok(own.filter(|own| own.owner() == Some(owner) && self.is_bound(own.content())))
            }
            // A session that can't be read backs nothing.
            Err(error) if error.is_corrupt() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the administrator's own session, if this is an impersonation, which is then refused.
    /// Returns whether it did.
    pub(super) async fn end_own(
        &self,
        session: &SessionSnapshot<T>,
        reason: EndReason,
    ) -> Result<bool> {
        match self.own_session(session).await? {
            Some(own) => self.end_entry(own.target(), &own, reason).await,
            None => Ok(false),
        }
    }

    /// Leaves out the impersonations that have ended with the administrator's own session.
    pub(super) async fn retain_backed(&self, list: &mut SessionList<T>) -> Result<()> {
        let mut at = 0;
        while let Some(session) = list.sessions.get(at) {
            if self.is_backed(session).await? {
                at += 1;
            } else {
                list.sessions.remove(at);
            }
        }
        Ok(())
    }

    /// Adds the impersonations that these sessions have started, which the store files under their
    /// users.
    pub(super) async fn add_started(&self, list: &mut SessionList<T>) -> Result<()> {
        let started = |own: &SessionSnapshot<T>| Some((own.id(), own.envelope().impersonation()?));
        let started: Vec<_> = list.sessions.iter().filter_map(started).collect();
        for (own, id) in &started {
            let is_by = |session: &SessionSnapshot<T>| {
                let by = session.envelope().impersonator().map(|by| by.session);
                by == Some(*own) && self.is_bound(session.content())
            };
            match self.by_id(*id, Freshness::Strict).await {
                Ok(Some(session)) if is_by(&session) && session.content().data.get().is_ok() => {
                    list.sessions.push(session);
                }
                Ok(Some(session)) if is_by(&session) => list.unreadable.push(*id),
                Ok(_) => {}
                Err(error) if error.is_corrupt() => list.unreadable.push(*id),
                Err(error) => return Err(error),
            }
        }
        if !started.is_empty() {
            list.sessions.sort_by_key(SessionSnapshot::created);
        }
        Ok(())
    }

    /// Ends the impersonations of a user whose limit leaves no room for a sign-in. Returns whether
    /// there was one.
    pub(super) async fn make_room(&self, owner: Option<&Owner>) -> Result<bool> {
        // Visitors have no impersonations.
        let Some(owner) = owner.filter(|owner| !owner.is_reserved()) else { return Ok(false) };
        let list = self.0.store.list(owner).await.map_err(Error::store)?;
        let mut has_room = false;
        for entry in self.session_list(list).sessions {
            if entry.acting_for().is_some() {
                has_room |= self.end(&entry, EndReason::Limit).await?;
            }
        }
        Ok(has_room)
    }
}
