//! Changes of a session under its token: each is a compare-and-swap of its record, in turn.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use kvolt_cache::{Expiry, ReplaceOutcome, Store, Timestamp};

use crate::flash::Flash;
use crate::reading::{Presented, TokenStatus};
use crate::record::{Content, Data, Record};
use crate::turns::Turn;
use crate::{Access, Error, Manager, Result, SessionSnapshot, Token};

/// What a change writes, with new deadlines if they start again; `None` leaves the session as it
/// is.
pub(crate) type Step<T> = Option<(Content<T>, Option<Expiry>)>;

/// Each lost attempt is one that another process has won: after so many, the caller is told.
pub(crate) const MAX_ATTEMPTS: u32 = 1_000;

impl<T: Send + Sync + 'static> Manager<T> {
    /// Changes the data of a session. It counts as use.
    ///
    /// `change` is called on a copy of the data, and again on a newer one if
    /// another update wins: two concurrent updates both take
    /// effect. Returns the session as it is after the change, or `None` if
    /// there is none; an update never brings one back.
    ///
    /// Updates of one session by one process take turns, first come, first served; between
    /// processes there is no order. `change` may run several times. It must not block, and must
    /// not call the manager, which would wait for itself. Within a Tokio runtime, the runtime's
    /// timer must be enabled.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the session can't be read ([`Error::is_corrupt`]), if other
    /// processes or 10,000 waiting updates of this session leave no turn
    /// ([`Error::is_contended`]), or if the data is larger than the store, or an anonymous
    /// session, may hold ([`Error::is_too_large`]). After an error of the store, the change may
    /// have taken effect.
    pub async fn update(
        &self,
        token: &Token,
        change: impl FnMut(&mut T) + Send,
    ) -> Result<Option<SessionSnapshot<T>>>
    where
        T: Clone,
    {
        match self.get(token).await? {
            Some(session) => self.update_from(token, session, change).await,
            None => Ok(None),
        }
    }

    /// [`update`](Self::update) for a caller that has just read the session by this
    /// token: the store is asked once less. It does not count as use by itself.
    ///
    /// What was read may be old: then the change is made to the session as it is.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn update_from(
        &self,
        token: &Token,
        session: SessionSnapshot<T>,
        mut change: impl FnMut(&mut T) + Send,
    ) -> Result<Option<SessionSnapshot<T>>>
    where
        T: Clone,
    {
        let anonymous = self.policy().anonymous.as_ref();
        self.edit(token, session, |content| {
            let mut data = match content.data.get() {
                Ok(data) => data.clone(),
                Err(error) => return Err(Error::corrupt(token.id(), error)),
            };
            change(&mut data);
            if content.is_anonymous() && anonymous.is_some_and(|anonymous| !anonymous.takes(&data))
            {
                return Err(Error::too_large());
            }
            content.data = Data::new(data);
            Ok(())
        })
        .await
    }

    /// Leaves a message for the next page that is shown. `false` if there is no such session.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn flash(&self, token: &Token, flash: Flash) -> Result<bool> {
        match self.get_with(token, Access::PEEK).await? {
            Some(session) => self.flash_from(token, session, flash).await,
            None => Ok(false),
        }
    }

    /// [`flash`](Self::flash) for a caller that has just read the session by this token: the store
    /// is asked once less.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn flash_from(
        &self,
        token: &Token,
        session: SessionSnapshot<T>,
        flash: Flash,
    ) -> Result<bool> {
        let added = self.edit(token, session, |content| {
            let flashes = &mut content.rare_mut().flashes;
            if flashes.len() >= Flash::MAX_WAITING {
                flashes.remove(0);
            }
            flashes.push(flash.clone());
            Ok(())
        });
        Ok(added.await?.is_some())
    }

    /// Takes the messages that wait, oldest first. Each is given to one caller, however many ask at once.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn take_flashes(&self, token: &Token) -> Result<Vec<Flash>> {
        match self.get_with(token, Access::PEEK).await? {
            Some(session) => self.take_flashes_from(token, session).await,
            None => Ok(Vec::new()),
        }
    }

    /// [`take_flashes`](Self::take_flashes) for a caller that has just read the session by this
    /// token: where none were waiting, the store is not asked at all.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn take_flashes_from(
        &self,
        token: &Token,
        session: SessionSnapshot<T>,
    ) -> Result<Vec<Flash>> {
        if session.flashes().is_empty() {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        let done = self.edit(token, session, |content| {
            taken = std::mem::take(&mut content.rare_mut().flashes);
            Ok(())
        });
        Ok(if done.await?.is_some() { taken } else { Vec::new() })
    }

    /// Changes the record of a session whose token lets its holder in.
    async fn edit(
        &self,
        token: &Token,
        session: SessionSnapshot<T>,
        mut edit: impl FnMut(&mut Content<T>) -> Result<()> + Send,
    ) -> Result<Option<SessionSnapshot<T>>> {
        self.change(&self.presented(token), session, |session, status, _| {
            if !status.lets_in() {
                return Ok(None);
            }
            let mut content = session.content().clone();
            edit(&mut content)?;
            content.drop_empty();
            Ok(Some((content, None)))
        })
        .await
    }

    /// Changes the record of the session that a token names, when its turn comes, and returns the
    /// session as it is then. `None` if there is no such session, or `step` leaves it as it is.
    ///
    /// `read` is the session as the caller has found it by its token. `step` is given the newest
    /// that is known, what the token is to it and the store's time; it runs again where another
    /// process has changed the session.
    ///
    /// After an error of the store, the outcome is not known.
    pub(crate) async fn change(
        &self,
        presented: &Presented<'_>,
        read: SessionSnapshot<T>,
        mut step: impl FnMut(&SessionSnapshot<T>, TokenStatus, Timestamp) -> Result<Step<T>> + Send,
    ) -> Result<Option<SessionSnapshot<T>>> {
        let mut turn = self.turns().take(presented.key).await?;
        let mut session = self.newest(presented, &turn, read);
        for attempt in 0..MAX_ATTEMPTS {
            let now = session.store_time(self.clock().now());
            let status = self.status_at(presented, session.content(), now);
            let Some((content, expiry)) = step(&session, status, now)? else {
                return Ok(None);
            };
            let record = Record::new(content);
            // Until the store has answered, how the session is now is not known.
            turn.forget();
            let replaced =
                self.store().replace(session.at(), session.version(), record.clone(), expiry).await;
            self.changes().changed(&presented.key);
            match replaced.map_err(Error::store)? {
                ReplaceOutcome::Replaced(version) => {
                    let restart = expiry.map(|expiry| (expiry, now));
                    let session = session.changed(record, version, restart);
                    turn.hand_on(session.clone());
                    if let Some(room) = turn.won() {
                        pause(room).await;
                    }
                    return Ok(Some(session.restricted_to(status.rights())));
                }
                ReplaceOutcome::Conflict(entry) => {
                    session = SessionSnapshot::from_entry(&entry, self.clock().now());
                    self.lost(&mut turn, attempt).await;
                }
                ReplaceOutcome::Absent => return Ok(None),
            }
        }
        Err(Error::contended(format!(
            "other processes changed the session in each of {MAX_ATTEMPTS} attempts"
        )))
    }

    /// The session as the holder of the turn before has left it, or as the caller has read it.
    ///
    /// What was handed on is nearly always the newer. It is not where another process has changed
    /// the session since: then the token may be one that only the caller's read knows, so a token
    /// is never refused by what was handed on.
    pub(crate) fn newest(
        &self,
        presented: &Presented<'_>,
        turn: &Turn<'_, SessionSnapshot<T>>,
        read: SessionSnapshot<T>,
    ) -> SessionSnapshot<T> {
        let Some(handed) = turn.handed() else {
            return read;
        };
        let now = handed.store_time(self.clock().now());
        let status = self.status_at(presented, handed.content(), now);
        if status.may_end() { handed.clone() } else { read }
    }

    /// Waits after an attempt that another process has won: at each second one 2 to 6 ms.
    ///
    /// After the others this process tries again at once, since then it has the newest. A pause
    /// that grew would starve it while the other goes on.
    pub(crate) async fn lost(&self, turn: &mut Turn<'_, SessionSnapshot<T>>, attempt: u32) {
        turn.lost();
        if attempt % 2 == 1 {
            let mut random = [0; 2];
            // Without randomness, the shortest pause.
            let _ = (self.policy().random)(&mut random);
            let micros = 2_000 + u64::from(u16::from_le_bytes(random)) % 4_000;
            pause(Duration::from_micros(micros)).await;
        }
    }
}

/// Waits, or where there is no Tokio runtime to wait by, lets others run.
async fn pause(duration: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        return tokio::time::sleep(duration).await;
    }
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
