//! The store.

use std::fmt;
use std::sync::Arc;

use kvolt_cache::{
    Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Error, Expiry, Freshness, InsertOutcome,
    Key, Namespace, NewEntry, OnExpired, Owner, OwnerLimit, RemoveOutcome, ReplaceOutcome, Result,
    Store, Target, Version,
};

use crate::builder::SqlStoreBuilder;
use crate::cleaner::Cleaner;
use crate::connections::Pool;
use crate::core::Core;
use crate::dialect::Dialect;
use crate::migrate;
use crate::settings::Settings;
use crate::statements::{Statements, table};

/// A [`Store`] of bytes in a table of a SQL database.
///
/// [`Encoded`](kvolt_cache::Encoded) makes a store of values of it. Cloning it is cheap: all clones
/// share their connections. It must be opened and used on a Tokio runtime. The
/// [crate's documentation](crate) has the cost and the guarantees of each call.
///
/// ```no_run
/// use kvolt_cache::{Encoded, codec::Json};
/// use kvolt_sql::PostgresStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let bytes = PostgresStore::open("postgres://localhost/app", "shop").await?;
///     let store: Encoded<String, PostgresStore, Json> = Encoded::new(bytes, Json);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct SqlStore<D: Dialect> {
    pub(crate) core: Arc<Core<D>>,
}

impl<D: Dialect> SqlStore<D> {
    /// Opens a store with the default settings.
    ///
    /// The URL of a [`SqliteStore`](crate::SqliteStore) may be the path of a file.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let store = SqliteStore::open("sessions.db", "shop").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the server is unavailable ([`Error::is_unavailable`]), or if the operator
    /// must act ([`Error::is_misconfigured`]): see [`SqlStoreBuilder::open`].
    pub async fn open(url: &str, namespace: &str) -> Result<Self> {
        Self::builder(url, namespace).open().await
    }

    /// Returns a builder for a store in the table `{namespace}_sessions`.
    ///
    /// The namespace has 1 to 32 characters of `a` to `z`, `0` to `9` and `_`, a letter first. Stores
    /// of different namespaces share nothing. One namespace is one deployment of one application.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_sql::MySqlStore;
    ///
    /// let builder = MySqlStore::builder("mysql://app:password@db.internal/app", "shop")
    ///     .timeout(Duration::from_secs(1));
    /// ```
    pub fn builder(url: &str, namespace: &str) -> SqlStoreBuilder<D> {
        SqlStoreBuilder::new(url, namespace)
    }

    /// Opens another [`Namespace`] of the same database, on the same connections and with the same
    /// settings. Creates its tables when necessary.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let shop = SqliteStore::open("sessions.db", "shop").await?;
    /// let admin = shop.within("shop_admin").await?;
    /// # let _ = admin;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid namespace or the tables can't be used
    /// ([`Error::is_misconfigured`]), or if the database is unavailable ([`Error::is_unavailable`]).
    pub async fn within(&self, namespace: &str) -> Result<Self> {
        let Core { read, write, settings, .. } = &*self.core;
        let namespace = Namespace::new(namespace)?;
        Self::on(Arc::clone(read), Arc::clone(write), *settings, namespace).await
    }

    /// Closes the connections. Later calls return an error ([`Error::is_unavailable`]), also those of
    /// stores that share the connections by [`within`](Self::within).
    ///
    /// A store that is dropped closes its connections without notice to the server.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let store = SqliteStore::open("sessions.db", "shop").await?;
    /// store.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) {
        self.core.read.close().await;
        self.core.write.close().await;
    }

    /// Returns the statements that create the tables of a namespace, oldest first, for operators who
    /// run them by hand because [`migrate`](SqlStoreBuilder::migrate) is off.
    ///
    /// Record each of them afterwards, with its number from 1 on:
    /// `INSERT INTO {namespace}_sessions_meta (version, applied) VALUES (1, 0)`.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::PostgresStore;
    ///
    /// let statements = PostgresStore::migrations("shop")?;
    /// assert!(statements[0].contains("CREATE TABLE shop_sessions"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid namespace ([`Error::is_misconfigured`]).
    pub fn migrations(namespace: &str) -> Result<Vec<String>> {
        Ok(migrate::migrations::<D>(&table(&Namespace::new(namespace)?)))
    }

    /// Puts entries that a [scan](Store::scan) of another store returned in the place of those that
    /// have the same keys, with their owners and times, in one transaction. Leaves out those that
    /// have ended. Costs two statements for a hundred entries.
    ///
    /// For programs that fill a store before an application uses it: an entry that was removed here
    /// is created again.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_cache::Store;
    /// use kvolt_sql::SqliteStore;
    ///
    /// let from = SqliteStore::open("sessions.db", "shop").await?;
    /// let to = SqliteStore::open("copy.db", "shop").await?;
    /// to.restore(from.scan(None, 1_000).await?.listing.entries).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the database is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]).
    pub async fn restore(&self, entries: Vec<Entry<Vec<u8>>>) -> Result<()> {
        let entries: Vec<_> =
            entries.into_iter().map(|entry| (entry.key, NewEntry::restored(entry))).collect();
        self.core.call(false, || self.core.restore(&entries)).await
    }

    /// Opens the tables of a namespace.
    pub(crate) async fn on(
        read: Arc<Pool<D>>,
        write: Arc<Pool<D>>,
        settings: Settings,
        namespace: Namespace,
    ) -> Result<Self> {
        let sql = |table| Arc::new(Statements::new::<D>(&namespace, table, settings.slide_after));
        let unqualified = sql(table(&namespace));
        let mut core = Core {
            namespace: namespace.clone(),
            read,
            write,
            sql: unqualified,
            settings,
            cleaner: None,
        };
        core.sql = sql(core.ensure_schema(None).await?);
        core.cleaner = Cleaner::start(&core.read, &core.write, &core.sql, settings);
        Ok(Self { core: Arc::new(core) })
    }
}

impl<D: Dialect> Store<Vec<u8>> for SqlStore<D> {
    fn namespace(&self) -> &Namespace {
        &self.core.namespace
    }

    fn clock(&self) -> Clock {
        Clock::system()
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

    /// Costs one statement that reads an index and no values.
    async fn count(&self) -> Result<u64> {
        self.core.call_within(self.core.long(), true, || self.core.count()).await
    }

    /// Returns `false` if [`clean_every`](SqlStoreBuilder::clean_every) is `None`, or if the store
    /// already has a callback.
    ///
    /// The cleaner calls it after the deletion is committed. Stores that share a table delete each
    /// row once, so one of them reports it. An expired entry is not reported if another entry took
    /// its key, if it was cleared, or if another program deleted it; the last ones may not be
    /// reported if the process dies.
    fn on_expired(&self, callback: OnExpired) -> bool {
        self.core.cleaner.as_ref().is_some_and(|cleaner| cleaner.callback.set(callback).is_ok())
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
