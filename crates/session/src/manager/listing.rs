use kvolt_cache::{Cursor, EntryList, Freshness, Store};

use super::Manager;
use crate::{Error, Owner, Record, Result, SessionId, SessionSnapshot};

/// Sessions, and the ids of those that can't be read.
///
/// A session that can't be read never hides the others, and can be revoked by its id.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, NewSession, Owner};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let ada = || NewSession::new(String::from("Ada")).owner("42");
/// let (phone, laptop) = (manager.create(ada()).await?, manager.create(ada()).await?);
///
/// let owner = Owner::from(42u64);
/// let list = manager.list(&owner).await?;
/// let ids: Vec<_> = list.sessions.iter().map(|session| session.id()).collect();
/// assert_eq!(ids, [phone.id(), laptop.id()]);
/// assert!(list.unreadable.is_empty());
///
/// assert!(manager.revoke_owned(&owner, phone.id()).await?);
/// assert_eq!(manager.revoke_others(&laptop).await?, 0);
/// assert_eq!(manager.revoke_owner(&owner).await?, 1);
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionList<T> {
    /// The live sessions.
    pub sessions: Vec<SessionSnapshot<T>>,
    /// The ids of sessions that exist but can't be read: see
    /// [`Undecodable`](crate::Undecodable).
    pub unreadable: Vec<SessionId>,
}

impl<T> Default for SessionList<T> {
    fn default() -> Self {
        Self { sessions: Vec::new(), unreadable: Vec::new() }
    }
}

/// A part of all sessions, for administrators.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::Manager;
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// for name in ["Ada", "Bob", "Cleo"] {
///     let _token = manager.create(String::from(name)).await?;
/// }
/// assert_eq!(manager.count().await?, 3);
///
/// let (mut found, mut next) = (Vec::new(), None);
/// loop {
///     let page = manager.list_all(next.as_ref(), 2).await?;
///     found.extend(page.listing.sessions);
///     next = page.next;
///     if next.is_none() {
///         break;
///     }
/// }
/// assert_eq!(found.len(), 3);
///
/// let id = found[0].id();
/// assert!(manager.find(id).await?.is_some());
/// assert!(manager.revoke(id).await?);
/// manager.revoke_everyone().await?;
/// assert_eq!(manager.count().await?, 0);
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionPage<T> {
    /// The sessions, in no particular order.
    pub listing: SessionList<T>,
    /// Where to continue; `None` at the end.
    pub next: Option<Cursor>,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Returns the owner's live sessions, oldest first, and the ids of those that can't be read.
    /// Leaves out sessions that are refused because of their
    /// [binding](crate::ManagerBuilder::bound_to). Impersonations are in the list of the user and of
    /// the administrator. Costs the store one command, and one for each impersonation.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn list(&self, owner: &Owner) -> Result<SessionList<T>> {
        let mut list = self.session_list(self.0.store.list(owner).await.map_err(Error::store)?);
        list.sessions.retain(|session| self.is_bound(session.content()));
        self.retain_backed(&mut list).await?;
        self.add_started(&mut list).await?;
        Ok(list)
    }

    /// Returns a part of all live sessions, after those of the previous page, for administrators.
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
        let page = self.0.store.scan(after, max_sessions).await.map_err(Error::store)?;
        let mut listing = self.session_list(page.listing);
        self.retain_backed(&mut listing).await?;
        Ok(SessionPage { listing, next: page.next })
    }

    /// Returns any user's session by its id, for administrators. Does not count as use. Costs the
    /// store one command.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// exists but can't be read ([`Error::is_corrupt`]).
    pub async fn find(&self, id: SessionId) -> Result<Option<SessionSnapshot<T>>> {
        let session = self.by_id(id, Freshness::Strict).await?;
        match session.as_ref().map(|session| session.content().data.get()) {
            Some(Err(error)) => Err(Error::corrupt(id, error)),
            _ => Ok(self.if_backed(session).await?),
        }
    }

    /// Returns how many sessions the store's namespace has. May be slightly off, and count some
    /// that have just ended.
    ///
    /// With the feature `metrics`, also sets the gauge `kvolt_sessions_active`: call it as often
    /// as that should be refreshed. It is cheap in memory, a count of rows in SQL, and a walk
    /// through all keys of the server on Redis.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]).
    pub async fn count(&self) -> Result<u64> {
        let count = self.0.store.count().await.map_err(Error::store)?;
        #[cfg(feature = "metrics")]
        #[expect(clippy::cast_precision_loss, reason = "no store has 2^53 sessions")]
        metrics::gauge!(crate::events::metrics::ACTIVE).set(count as f64);
        Ok(count)
    }

    /// Returns how many events the listeners missed because they were too slow.
    pub fn events_missed(&self) -> u64 {
        self.0.reporter.missed()
    }

    /// The sessions of a store's entries, without other entries of its namespace, such as those of
    /// a plain cache.
    pub(super) fn session_list(&self, list: EntryList<Record<T>>) -> SessionList<T> {
        let mut unreadable = list.unreadable;
        let mut sessions = Vec::with_capacity(list.entries.len());
        for entry in list.entries.iter().filter(|entry| entry.key.is_in(self.namespace())) {
            match self.is_live(&entry.as_ref()) {
                Ok(true) if entry.value.data().is_ok() => {
                    let now = self.clock().now();
                    sessions.push(SessionSnapshot::new(entry.as_ref(), now, None));
                }
                Ok(false) => {}
                _ => unreadable.push(entry.key),
            }
        }
        unreadable.retain(|key| key.is_in(self.namespace()));
        SessionList { sessions, unreadable: unreadable.iter().map(SessionId::from_key).collect() }
    }
}
