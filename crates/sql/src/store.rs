use std::fmt;
use std::sync::Arc;

use kvolt_cache::{
    Cursor, Deadlines, Entry, EntryList, EntryPage, Error, Expiry, Freshness, InsertOutcome, Key,
    Namespace, NewEntry, OnExpired, Owner, OwnerLimit, RemoveOutcome, ReplaceOutcome, Result,
    Store, Target, Version,
};

use crate::builder::SqlStoreBuilder;
use crate::cleaner::Cleaner;
use crate::connections::Pool;
use crate::core::{Core, Settings};
use crate::dialect::Dialect;
use crate::migrate;
use crate::statements::{Statements, table};

/// A [`Store`] of bytes in a table of a SQL database.
///
/// [`Encoded`](kvolt_cache::Encoded) makes a store of values of it. Cloning it is cheap; all clones
/// are one store. It must be opened and used within a Tokio runtime.
///
/// What each call costs, and what it promises, is in the [crate's documentation](crate).
pub struct SqlStore<D: Dialect> {
    pub(crate) core: Arc<Core<D>>,
}

impl<D: Dialect> SqlStore<D> {
    /// Opens a store with the default settings: see [`SqlStoreBuilder::open`].
    ///
    /// The URL of a [`SqliteStore`](crate::SqliteStore) may be the path of a file.
    ///
    /// # Errors
    ///
    /// Returns an error as [`SqlStoreBuilder::open`] does.
    pub async fn open(url: &str, namespace: &str) -> Result<Self> {
        Self::builder(url, namespace).open().await
    }

    /// Settings to open a store with, on the table `{namespace}_sessions`.
    pub fn builder(url: &str, namespace: &str) -> SqlStoreBuilder<D> {
        SqlStoreBuilder::new(url, namespace)
    }

    /// The store of another [`Namespace`] in the same database, with the same settings, on the
    /// same connections. Its tables are created if need be.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not that of a namespace, if the tables can't be used
    /// ([`Error::is_misconfigured`]), or if the database is unavailable
    /// ([`Error::is_unavailable`]).
    pub async fn within(&self, namespace: &str) -> Result<Self> {
        let Core { read, write, settings, .. } = &*self.core;
        let namespace = Namespace::new(namespace)?;
        Self::on(Arc::clone(read), Arc::clone(write), *settings, namespace).await
    }

    /// Closes the connections. Every later call is unavailable, also of stores that share them by
    /// [`within`](Self::within).
    ///
    /// Dropping the store cuts its connections without a word to the server.
    pub async fn close(&self) {
        self.core.read.close().await;
        self.core.write.close().await;
    }

    /// The statements that create the tables of a namespace, oldest first, for operators that run
    /// them by hand.
    ///
    /// Each must be recorded in the table `{namespace}_sessions_meta` afterwards, as
    /// `INSERT INTO … (version, applied) VALUES (1, 0)`, counted from 1.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not that of a namespace ([`Error::is_misconfigured`]).
    pub fn migrations(namespace: &str) -> Result<Vec<String>> {
        Ok(migrate::migrations::<D>(&table(&Namespace::new(namespace)?)))
    }

    /// Opens the tables of a namespace.
    pub(crate) async fn on(
        read: Arc<Pool<D>>,
        write: Arc<Pool<D>>,
        settings: Settings,
        namespace: Namespace,
    ) -> Result<Self> {
        let sql = Arc::new(Statements::new::<D>(&namespace, settings.slide_after));
        migrate::open::<D>(&write, &sql.table, settings.timeout, settings.migrate).await?;
        let cleaner = Cleaner::start(&read, &write, &sql, settings.cleaning, settings.timeout);
        let core = Core { namespace, read, write, sql, settings, cleaner };
        Ok(Self { core: Arc::new(core) })
    }
}

impl<D: Dialect> Store<Vec<u8>> for SqlStore<D> {
    fn namespace(&self) -> &Namespace {
        &self.core.namespace
    }

    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<Vec<u8>>>> {
        self.core.call(true, || self.core.get(key)).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.core.call(true, || self.core.touch(at.key)).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<InsertOutcome> {
        entry.limit.iter().try_for_each(OwnerLimit::check)?;
        self.core.call(false, || self.core.insert(&key, &entry)).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        self.core.call(false, || self.core.replace(at.key, seen, &value, expiry)).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.core.call(false, || self.core.remove(at.key, seen)).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        self.core.call(true, || self.core.list(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.core.call(false, || self.core.remove_owner(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<Vec<u8>>> {
        let after = after.map(Cursor::as_bytes);
        if after.is_some_and(|after| after.len() != Key::LEN) {
            return Err(Error::misconfigured("the cursor is not one of this store's"));
        }
        let after = after.unwrap_or_default();
        self.core.call(true, || self.core.scan(after, max_entries)).await
    }

    async fn clear(&self) -> Result<()> {
        self.core.call_within(self.core.long(), false, || self.core.clear()).await
    }

    /// One statement that reads an index and not the values. It may take as long as
    /// [`clear`](Store::clear).
    async fn count(&self) -> Result<u64> {
        self.core.call_within(self.core.long(), true, || self.core.count()).await
    }

    /// `false` where [`clean_every`](SqlStoreBuilder::clean_every) is `None`, and if there is a
    /// callback already.
    ///
    /// The cleaner calls it after the deletion is committed. The stores that share a table delete
    /// each row once, so one of them reports it. An expired entry whose key another took, that
    /// was cleared, or that another program deleted is not reported, and those deleted just
    /// before the process dies may not be.
    fn on_expired(&self, callback: OnExpired) -> bool {
        self.core.cleaner.as_ref().is_some_and(|cleaner| cleaner.callback.set(callback))
    }
}

impl<D: Dialect> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<D: Dialect> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("dialect", &self.core.read.dialect)
            .field("namespace", &self.core.namespace)
            .finish_non_exhaustive()
    }
}
