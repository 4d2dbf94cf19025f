//! Reading sessions, and whom a token lets in.

use kvolt_cache::{Access, EntryRef, Key, Store};

use crate::events::{self, EndReason, RefusalReason};
use crate::policy::{TokenReuse, Undecodable};
use crate::record::{Content, Record};
use crate::{Error, Manager, Result, Session, SessionId, Token};

/// What an entry is to whoever asks by a key.
pub(crate) enum Standing {
    /// Theirs.
    Good,
    /// Another manager's, or in another way no session at all.
    Foreign,
    /// A session whose token was changed, and the old one's grace has passed.
    Spent,
    /// The same when the credentials changed, and so lately that a request may have been on its way.
    Replaced,
    /// A session that was made before its account's credentials were changed.
    Unbound,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// The session of a token, if there is one. It counts as use: the idle time starts anew.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.get_with(token, Access::SLIDE).await
    }

    /// The session of a token, if there is one. It does not count as use: for
    /// polls, health checks and open streams, which must not keep an idle session alive.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn peek(&self, token: &Token) -> Result<Option<Session<T>>> {
        self.get_with(token, Access::PEEK).await
    }

    /// [`get`](Self::get) or [`peek`](Self::peek), by the access that is given, which may be
    /// [strict](Access::strict): answered by the store itself and by no copy of it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get_with(&self, token: &Token, access: Access) -> Result<Option<Session<T>>> {
        let key = self.key(token);
        match self.ready(&key, access) {
            Some(ready) => ready,
            None => self.ask_session(&key, access).await,
        }
    }

    /// [`get`](Self::get) or [`peek`](Self::peek) on a store that answers at
    /// once; `None` if it does not, and has to be asked with one of them.
    #[inline]
    pub fn get_ready(&self, token: &Token, access: Access) -> Option<Result<Option<Session<T>>>> {
        self.ready(&self.key(token), access)
    }

    /// Looks at the data of a session in place, where the store has it in memory.
    ///
    /// Like [`get`](Self::get) without handing the session out: no reference
    /// count is touched, so any number of threads read one session at full speed.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn read<R>(
        &self,
        token: &Token,
        access: Access,
        look: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>> {
        let key = self.key(token);
        let mut look = Some(look);
        let mut looked = None;
        let ready = self.store().get_ready(&key, access, &mut |entry| {
            if matches!(self.standing(&key, &entry), Standing::Good)
                && let Some(look) = look.take()
            {
                looked = Some(look(entry.value.data()));
            }
        });
        match ready {
            Some(Ok(true)) if looked.is_some() => Ok(looked),
            Some(Err(error)) => Err(Error::store(error)),
            // What is nobody's is looked at by the other way, which also tells of it.
            _ => {
                let session = self.ask_session(&key, access).await?;
                Ok(session.and_then(|session| look.take().map(|look| look(session.data()))))
            }
        }
    }

    /// Whether an entry that was found by a key is a session of its holder's. Every read passes here.
    #[inline]
    pub(crate) fn standing(&self, key: &Key, entry: &EntryRef<'_, Record<T>>) -> Standing {
        let content = entry.value.content();
        let policy = self.policy();
        if content.kind != policy.kind.number() {
            Standing::Foreign
        } else if entry.key != key {
            match content.former(key, policy.clock.now()) {
                Some(former) if former.accepted => self.bound(content),
                Some(_) => Standing::Replaced,
                None => Standing::Spent,
            }
        } else {
            self.bound(content)
        }
    }

    /// Whether a session is bound to what its account has now.
    #[inline]
    fn bound(&self, content: &Content<T>) -> Standing {
        let policy = self.policy();
        if let Some(bound_to) = &policy.bound_to
            && !content.is_anonymous()
            && bound_to(&content.data).as_ref() != content.binding()
        {
            Standing::Unbound
        } else {
            Standing::Good
        }
    }

    #[inline]
    fn ready(&self, key: &Key, access: Access) -> Option<Result<Option<Session<T>>>> {
        let mut session = None;
        let mut visit = |entry: EntryRef<'_, Record<T>>| {
            if let Standing::Good = self.standing(key, &entry) {
                session = Some(Session::from_ref(entry).by(key));
            }
        };
        match self.store().get_ready(key, access, &mut visit)? {
            Ok(true) => session.map(|session| Ok(Some(session))),
            Ok(false) => {
                self.events().refused(Some(SessionId::new(*key)), None, RefusalReason::Unknown);
                Some(Ok(None))
            }
            Err(error) => Some(Err(Error::store(error))),
        }
    }

    async fn ask_session(&self, key: &Key, access: Access) -> Result<Option<Session<T>>> {
        match self.entry(key, access).await? {
            Some((session, Standing::Good)) => Ok(Some(session)),
            found => self.refuse(key, found).await.map(|()| None),
        }
    }

    /// What is to be done about a token with which nobody gets in.
    async fn refuse(&self, key: &Key, found: Option<(Session<T>, Standing)>) -> Result<()> {
        let shown = Some(SessionId::new(*key));
        let Some((session, standing)) = found else {
            self.events().refused(shown, None, RefusalReason::Unknown);
            return Ok(());
        };
        let owner = session.owner();
        match standing {
            Standing::Unbound | Standing::Replaced => {
                self.events().refused(shown, owner, RefusalReason::CredentialsChanged);
            }
            Standing::Spent if self.policy().reuse != TokenReuse::Ignore => {
                self.events().reused(session.id(), owner);
                self.events().refused(shown, owner, RefusalReason::Reuse);
                if self.policy().reuse == TokenReuse::EndSession {
                    self.end_key(session.id().key(), owner, EndReason::Reuse).await?;
                }
            }
            _ => self.events().refused(shown, None, RefusalReason::Unknown),
        }
        Ok(())
    }

    /// A session by its key, where it may be used with it. It tells nobody.
    pub(crate) async fn peek_session(&self, key: &Key) -> Result<Option<Session<T>>> {
        let found = self.peek_entry(key).await?;
        Ok(found
            .and_then(|(session, standing)| matches!(standing, Standing::Good).then_some(session)))
    }

    pub(crate) async fn peek_entry(&self, key: &Key) -> Result<Option<(Session<T>, Standing)>> {
        self.entry(key, Access::PEEK).await
    }

    pub(crate) async fn entry(
        &self,
        key: &Key,
        access: Access,
    ) -> Result<Option<(Session<T>, Standing)>> {
        let mut found = None;
        let ready = self.store().get_ready(key, access, &mut |entry| {
            found = Some((Session::from_ref(entry).by(key), self.standing(key, &entry)));
        });
        match ready {
            Some(ready) => ready.map(|_| found).map_err(Error::store),
            None => match self.store().get(key, access).await {
                Ok(entry) => Ok(entry.map(|entry| {
                    let standing = self.standing(key, &entry.as_ref());
                    (Session::from_entry(entry).by(key), standing)
                })),
                Err(error) => self.end_undecodable(error).await.map(|()| None),
            },
        }
    }

    /// Ends the session that an error is about, if that is what to do with one that can't be decoded.
    pub(crate) async fn end_undecodable(&self, error: kvolt_cache::Error) -> Result<()> {
        let (Some(key), true, Undecodable::End) =
            (error.key(), error.is_corrupt(), self.policy().undecodable)
        else {
            return Err(Error::store(error));
        };
        events::undecodable(&error);
        self.end_key(&key, None, EndReason::Undecodable).await.map(drop)
    }
}
