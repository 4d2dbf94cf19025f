//! Changes of a session under its token: each is a compare-and-swap of its record, in turn.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use kvolt_cache::{Expiry, Freshness, Replace, Store, Timestamp};

use crate::flash::Flash;
use crate::reading::{Presented, TokenStatus};
use crate::record::{Content, Data, Record};
use crate::turns::Turn;
use crate::{Access, Error, Manager, Result, Session, Token};

/// A session as a change has left it, for the next change of it.
pub(crate) struct Written<T> {
    session: Session<T>,
    /// When it was so, by the manager's clock.
    at: Timestamp,
}

/// What a change does to a session that it has found.
pub(crate) enum Step<T> {
    /// Writes this, with new deadlines if they are given.
    Write(Content<T>, Option<Expiry>),
    /// Leaves the session as it is.
    Leave,
}

/// Outcome of a change.
pub(crate) enum Changed<T> {
    /// The session as it is now.
    Written(Session<T>),
    /// The change chose to leave the session as it is, or its token is not acceptable for it.
    Left,
    /// There is no such session.
    Absent,
}

/// Each lost attempt is one that another process has won: after so many, the caller is told.
const MAX_ATTEMPTS: u32 = 1_000;

/// How long a process makes room for another that competes for a session.
const ROOM: Duration = Duration::from_millis(2);

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
    /// not call the manager, which would wait for itself.
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
    ) -> Result<Option<Session<T>>>
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
        session: Session<T>,
        mut change: impl FnMut(&mut T) + Send,
    ) -> Result<Option<Session<T>>>
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
        session: Session<T>,
        flash: Flash,
    ) -> Result<bool> {
        let added = self.edit(token, session, |content| {
            let flashes = &mut content.rare_mut().flashes;
            if flashes.len() >= Flash::WAITING_MAX {
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
        session: Session<T>,
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
        session: Session<T>,
        mut edit: impl FnMut(&mut Content<T>) -> Result<()> + Send,
    ) -> Result<Option<Session<T>>> {
        let presented = self.presented(token);
        let changed = self.change(&presented, Some(session), |session, status, _| {
            if !status.lets_in() {
                return Ok(Step::Leave);
            }
            let mut content = session.content().clone();
            edit(&mut content)?;
            content.drop_empty();
            Ok(Step::Write(content, None))
        });
        Ok(match changed.await? {
            Changed::Written(session) => Some(session),
            Changed::Left | Changed::Absent => None,
        })
    }

    /// Changes the record of the session that a token names, when its turn comes.
    ///
    /// `step` is given the session as it is, what the token is to it and the store's time; it
    /// runs again where another process has changed the session. `read` is the session as the
    /// caller has just read it.
    ///
    /// After an error of the store, the outcome is not known.
    pub(crate) async fn change(
        &self,
        presented: &Presented<'_>,
        mut read: Option<Session<T>>,
        mut step: impl FnMut(&Session<T>, TokenStatus, Timestamp) -> Result<Step<T>> + Send,
    ) -> Result<Changed<T>> {
        let mut turn = self.turns().take(presented.key).await?;
        if let Some(handed) = turn.take_handed() {
            // Written while this one waited, so newer than what the caller has read.
            read = Some(handed.session_at(self.clock().now()));
        }
        let mut is_from_store = false;
        for attempt in 0..MAX_ATTEMPTS {
            let session = match read.take() {
                Some(session) => session,
                None => match self.verified(presented, Freshness::Bounded).await? {
                    Some((session, ..)) => {
                        is_from_store = true;
                        session
                    }
                    None => return Ok(Changed::Absent),
                },
            };
            let (began, now) = (self.clock().now(), session.read_at());
            let status = self.status_at(presented, &session, now);
            if !status.lets_in() && !is_from_store {
                // It may be older than the token, which another process has made since.
                continue;
            }
            let (content, expiry) = match step(&session, status, now) {
                Ok(Step::Write(content, expiry)) => (content, expiry),
                left => {
                    turn.hand_on(Written { session: session.restricted_to(None), at: began });
                    return left.map(|_| Changed::Left);
                }
            };
            let record = Record::new(content);
            let replaced =
                self.store().replace(session.at(), session.version(), record.clone(), expiry).await;
            self.changes().changed(&presented.key);
            match replaced.map_err(Error::store)? {
                Replace::Replaced(version) => {
                    let at = self.clock().now();
                    let now = now.saturating_add(at.since(began));
                    let written = session.changed(record, version, now);
                    let restricted_to = match status {
                        TokenStatus::InGrace(proofs) => Some(proofs),
                        _ => None,
                    };
                    turn.hand_on(Written { session: written.clone(), at });
                    if turn.won() {
                        pause(ROOM).await;
                    }
                    return Ok(Changed::Written(written.restricted_to(restricted_to)));
                }
                Replace::Conflict(entry) => {
                    (read, is_from_store) = (Some(Session::from_entry(&entry)), true);
                    self.lost(&mut turn, attempt).await?;
                }
                Replace::Absent => return Ok(Changed::Absent),
            }
        }
        Err(Error::contended(format!(
            "other processes changed the session in each of {MAX_ATTEMPTS} attempts"
        )))
    }

    /// Makes room after an attempt that another process has won: at first at once, then after 2
    /// to 6 ms. A pause that grew would starve this process while the other goes on.
    async fn lost(&self, turn: &mut Turn<'_, Written<T>>, attempt: u32) -> Result<()> {
        turn.lost();
        if attempt > 0 {
            let mut random = [0; 2];
            (self.policy().random)(&mut random)?;
            let micros = 2_000 + u64::from(u16::from_le_bytes(random)) % 4_000;
            pause(Duration::from_micros(micros)).await;
        }
        Ok(())
    }
}

impl<T> Written<T> {
    fn session_at(self, now: Timestamp) -> Session<T> {
        let read_at = self.session.read_at().saturating_add(now.since(self.at));
        self.session.as_of(read_at)
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
