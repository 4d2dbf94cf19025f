//! What changes a session under its token.

use kvolt_cache::{Access, Replace, Store};

use crate::flash::Flash;
use crate::manager::UPDATE_ATTEMPTS_MAX;
use crate::record::{Content, Record};
use crate::{Error, Manager, Result, Session, Token};

impl<T: Clone + Send + Sync + 'static> Manager<T> {
    /// Changes the data of a session. It counts as use.
    ///
    /// `change` is called on a copy of the data, and again on a newer one if
    /// somebody else changed it in between: two concurrent updates both take
    /// effect. Returns the session as it is after the change, or `None` if
    /// there is none any more; an update never brings one back.
    ///
    /// # Errors
    ///
    /// The store's; [`is_contended`](Error::is_contended) after 10,000 attempts;
    /// [`is_too_large`](Error::is_too_large) for more than the store, or an anonymous session, may hold.
    pub async fn update(
        &self,
        token: &Token,
        change: impl FnMut(&mut T),
    ) -> Result<Option<Session<T>>> {
        match self.get(token).await? {
            Some(session) => self.update_from(token, session, change).await,
            None => Ok(None),
        }
    }

    /// [`update`](Self::update) for one who has just read the session by this
    /// token: the store is asked once less. It does not count as use by itself.
    ///
    /// What was read may be old: then the store says how it is, and the change is made to that.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update_from(
        &self,
        token: &Token,
        session: Session<T>,
        mut change: impl FnMut(&mut T),
    ) -> Result<Option<Session<T>>> {
        self.change_from(token, session, |content| change(&mut content.data)).await
    }

    /// Leaves a message for the next page that is shown. `false` if there is no such session.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub async fn flash(&self, token: &Token, flash: Flash) -> Result<bool> {
        let Some(session) = self.get_with(token, Access::PEEK).await? else {
            return Ok(false);
        };
        let added = self.change_from(token, session, |content| {
            let flashes = &mut content.extras_mut().flashes;
            if flashes.len() >= Flash::WAITING_MAX {
                flashes.remove(0);
            }
            flashes.push(flash.clone());
        });
        Ok(added.await?.is_some())
    }

    /// Takes the messages that wait, the oldest first. Each is given to one caller, however many ask at once.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub async fn take_flashes(&self, token: &Token) -> Result<Vec<Flash>> {
        match self.get_with(token, Access::PEEK).await? {
            Some(session) => self.take_flashes_from(token, session).await,
            None => Ok(Vec::new()),
        }
    }

    /// [`take_flashes`](Self::take_flashes) for one who has just read the session by this
    /// token: where none were waiting, the store is not asked at all.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn take_flashes_from(
        &self,
        token: &Token,
        session: Session<T>,
    ) -> Result<Vec<Flash>> {
        if session.flashes().is_empty() {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        let done = self.change_from(token, session, |content| {
            taken = std::mem::take(&mut content.extras_mut().flashes);
        });
        Ok(if done.await?.is_some() { taken } else { Vec::new() })
    }

    async fn change_from(
        &self,
        token: &Token,
        mut session: Session<T>,
        mut change: impl FnMut(&mut Content<T>),
    ) -> Result<Option<Session<T>>> {
        let by = self.key(token);
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let mut content = session.record().content().clone();
            change(&mut content);
            content.tidy();
            if content.is_anonymous()
                && let Some(anonymous) = &self.policy().anonymous
                && !anonymous.takes(&content.data)
            {
                return Err(Error::too_large());
            }
            let record = Record::new(content);
            let key = *session.id().key();
            let replaced =
                self.store().replace(&key, session.version(), record.clone(), None).await;
            self.changes().changed(&key);
            match replaced.map_err(Error::store)? {
                Replace::Replaced(version) => return Ok(Some(session.changed(record, version))),
                // It may be another's who took its key, or one that the token leads to no more.
                Replace::Conflict(entry) if self.is_good(&by, &entry) => {
                    session = Session::from_entry(entry).by(&by);
                }
                // It may have been rotated in between; then the token, in its grace, leads on.
                Replace::Conflict(_) | Replace::Absent => match self.peek_session(&by).await? {
                    Some(moved) => session = moved,
                    None => return Ok(None),
                },
            }
        }
        Err(Error::contended(UPDATE_ATTEMPTS_MAX))
    }

    fn is_good(&self, by: &kvolt_cache::Key, entry: &kvolt_cache::Entry<Record<T>>) -> bool {
        matches!(self.standing(by, &entry.as_ref()), crate::reading::Standing::Good)
    }
}
