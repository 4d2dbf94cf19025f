//! Changes of a session by its token: each is a compare-and-swap of the record, in turn.

use std::time::Duration;

use kvolt_cache::{Expiry, ReplaceOutcome, Store, Timestamp};

use super::Manager;
use super::presented::{HashedToken, Presented};
use super::token_status::TokenStatus;
use super::turns::Turn;
use crate::error::Kind;
use crate::flash::Flash;
use crate::record::{Content, Data, Record};
use crate::{Access, Error, Result, SessionSnapshot};

/// The content that a change writes, with new deadlines if they restart. `None` leaves the session
/// as it is.
pub(super) type Step<T> = Option<(Content<T>, Option<Expiry>)>;

/// Another process won each attempt that was lost. After this many, the call returns an error.
pub(super) const MAX_ATTEMPTS: u32 = 1_000;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Changes the data of a session, and returns the session after the change. `None` if the
    /// session does not exist; an update never creates one. Counts as use.
    ///
    /// `change` runs on a copy of the data, and again on a newer copy if another update wins: two
    /// concurrent updates both take effect. It must not block, and must not call the manager,
    /// which would wait for itself.
    ///
    /// Updates of one session by one process take turns, first come, first served. Between
    /// processes there is no order. Within a Tokio runtime, the runtime's timer must be enabled.
    /// Costs the store two commands, or one with the session as it was read, which then does not
    /// count as use.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<Vec<String>>::new(MemoryStore::new());
    /// let token = manager.create(Vec::new()).await?;
    /// let session = manager.update(&token, |cart| cart.push(String::from("tea"))).await?;
    /// assert_eq!(*session.expect("it exists"), ["tea"]);
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the session can't be read ([`Error::is_corrupt`]), if other
    /// processes or 10,000 waiting updates of this session leave no turn
    /// ([`Error::is_contended`]), if the data is too large for the store or for an anonymous
    /// session ([`Error::is_too_large`]), or if it can't be encoded ([`Error::is_unencodable`]).
    /// After an error of the store, the change may have taken effect.
    pub async fn update<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        mut change: impl FnMut(&mut T) + Send,
    ) -> Result<Option<SessionSnapshot<T>>>
    where
        T: Clone,
    {
        let anonymous = self.0.policy.anonymous.as_ref();
        let Some((token, session)) = self.readable(presented, Access::SLIDE).await? else {
            return Ok(None);
        };
        self.edit(token, session, |content| {
            let data = content.data.get();
            let mut data = data.map_err(|error| Error::corrupt(token.token.id(), error))?.clone();
            change(&mut data);
            if let Some(anonymous) = anonymous.filter(|_| content.envelope.is_anonymous()) {
                anonymous.check_size(&data)?;
            }
            content.data = Data::new(data);
            Ok(())
        })
        .await
    }

    /// Leaves a message for the next page. Returns whether the session exists.
    ///
    /// Costs the store two commands, or one with the session as it was read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn flash<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        flash: Flash,
    ) -> Result<bool> {
        let Some((token, session)) = self.readable(presented, Access::PEEK).await? else {
            return Ok(false);
        };
        let added = self.edit(token, session, |content| {
            content.envelope.edit_rare(|rare| {
                if rare.flashes.len() >= Flash::MAX_WAITING {
                    rare.flashes.remove(0);
                }
                rare.flashes.push(flash.clone());
            });
            Ok(())
        });
        Ok(added.await?.is_some())
    }

    /// Takes the waiting messages, oldest first. Of several concurrent calls, one gets each
    /// message.
    ///
    /// Costs the store two commands, and one less if no message waits. With the session as it was
    /// read, it costs one command, and none if no message waits.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn take_flashes<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> Result<Vec<Flash>> {
        let mut taken = Vec::new();
        let waiting = self.readable(presented, Access::PEEK).await?;
        let waiting = waiting.filter(|(_, session)| !session.flashes().is_empty());
        let Some((token, session)) = waiting else { return Ok(taken) };
        let done = self.edit(token, session, |content| {
            taken = content.envelope.edit_rare(|rare| std::mem::take(&mut rare.flashes));
            Ok(())
        });
        Ok(if done.await?.is_some() { taken } else { Vec::new() })
    }

    /// The session that a client presented, if its data can be read; as the caller has read it, if
    /// it has.
    async fn readable<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
        access: Access,
    ) -> Result<Option<(HashedToken<'a>, SessionSnapshot<T>)>> {
        let (token, read) = self.opened(presented);
        let session = match read {
            Some(session) => Some(session),
            None => self.get_with(token.token, access).await?,
        };
        Ok(session.map(|session| (token, session)))
    }

    /// Changes the record of a session whose token is accepted.
    async fn edit(
        &self,
        token: HashedToken<'_>,
        session: SessionSnapshot<T>,
        mut edit: impl FnMut(&mut Content<T>) -> Result<()> + Send,
    ) -> Result<Option<SessionSnapshot<T>>> {
        self.change(&token, session, |session, status, _| {
            if !status.is_accepted() {
                return Ok(None);
            }
            let mut content = session.content().clone();
            edit(&mut content)?;
            Ok(Some((content, None)))
        })
        .await
    }

    /// Changes the record of the session that a token names, when its turn comes, and returns the
    /// session after the change. `None` if the session does not exist, or if `step` leaves it as it
    /// is.
    ///
    /// `read` is the session as the caller has found it by its token. `step` receives the newest
    /// known session, the status of the token in it, and the store's time. It runs again if another
    /// process has changed the session.
    ///
    /// After an error of the store, the outcome is not known.
    pub(super) async fn change(
        &self,
        token: &HashedToken<'_>,
        read: SessionSnapshot<T>,
        step: impl FnMut(&SessionSnapshot<T>, TokenStatus, Timestamp) -> Result<Step<T>> + Send,
    ) -> Result<Option<SessionSnapshot<T>>> {
        self.change_from(token, read, true, step).await
    }

    /// [`change`](Self::change). If `takes_handed` is false, from the session as the caller has just
    /// read it in the store itself: for a `step` that may refuse the client. What was handed on may be
    /// older than what another process has answered to this client.
    pub(super) async fn change_from(
        &self,
        token: &HashedToken<'_>,
        read: SessionSnapshot<T>,
        takes_handed: bool,
        mut step: impl FnMut(&SessionSnapshot<T>, TokenStatus, Timestamp) -> Result<Step<T>> + Send,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let device_proof = read.device_proof;
        let mut turn = self.0.turns.take(token.key).await?;
        let mut session = if takes_handed { self.newest(token, &turn, read) } else { read };
        if !self.is_backed(&session).await? {
            return Ok(None);
        }
        for attempt in 0..MAX_ATTEMPTS {
            let now = session.store_time(self.clock().now());
            let status = self.status_at(token, session.content(), now);
            let Some((mut content, expiry)) = step(&session, status, now)? else {
                return Ok(None);
            };
            // A session from before the setting.
            if self.0.policy.limits_details() {
                let device = std::mem::take(&mut content.envelope.device);
                content.envelope.device = self.0.policy.recorded(device);
            }
            let record = Record::new(content);
            // Until the store has answered, the session's state is not known.
            turn.forget();
            let (target, seen) = (session.target(), session.version);
            let replaced = self.0.store.replace(target, seen, record.clone(), expiry).await;
            self.0.changes.changed(&token.key);
            match replaced.map_err(Error::store)? {
                ReplaceOutcome::Replaced(version) => {
                    let restart = expiry.map(|expiry| (expiry, now));
                    let session = session.changed(record, version, restart);
                    turn.hand_on(session.clone());
                    if let Some(room) = turn.won() {
                        pause(room).await;
                    }
                    let restricted_to = status.rights();
                    let session = SessionSnapshot { restricted_to, device_proof, ..session };
                    return Ok(Some(session));
                }
                ReplaceOutcome::Conflict(entry) => {
                    session = SessionSnapshot::new(entry.as_ref(), self.clock().now(), None);
                    self.lost(&mut turn, attempt).await;
                }
                ReplaceOutcome::Absent => return Ok(None),
            }
        }
        Err(Error::new(
            Kind::Contended,
            format!("other processes changed the session in each of {MAX_ATTEMPTS} attempts"),
        ))
    }

    /// The session as the previous holder of the turn left it, or as the caller has read it.
    ///
    /// The session that was handed on is nearly always the newer one. It is not if another process
    /// has changed the session since: then only the caller's read may know the token, so a token is
    /// never refused by a session that was handed on.
    pub(super) fn newest(
        &self,
        token: &HashedToken<'_>,
        turn: &Turn<'_, SessionSnapshot<T>>,
        read: SessionSnapshot<T>,
    ) -> SessionSnapshot<T> {
        let accepts = |handed: &&SessionSnapshot<T>| {
            let now = handed.store_time(self.clock().now());
            self.status_at(token, handed.content(), now).may_end()
        };
        turn.handed().filter(accepts).cloned().unwrap_or(read)
    }

    /// Waits after an attempt that another process won: 2 to 6 ms after each second one.
    ///
    /// After the others, this process tries again at once, since then it has the newest session. A
    /// pause that grows would starve it while the other process goes on.
    pub(super) async fn lost(&self, turn: &mut Turn<'_, SessionSnapshot<T>>, attempt: u32) {
        turn.lost();
        if attempt % 2 == 1 {
            let mut random = [0; 2];
            // Without randomness, the shortest pause.
            let _ = (self.0.policy.random)(&mut random);
            let micros = 2_000 + u64::from(u16::from_le_bytes(random)) % 4_000;
            pause(Duration::from_micros(micros)).await;
        }
    }
}

/// Waits. Without a Tokio runtime, which has the timer, lets other tasks run once.
async fn pause(duration: Duration) {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::time::sleep(duration).await,
        Err(_) => tokio::task::yield_now().await,
    }
}
