//! A clock that tests move. The database's clock can't be moved, so the time that passes is
//! subtracted from every time in the table, which has the same effect.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Expiry, Freshness, InsertOutcome, Key,
    Namespace, NewEntry, OnExpired, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target,
    Timestamp, Version,
};
use kvolt_sql::{Dialect, SqlStore};
use sqlx::{AssertSqlSafe, Connection as _};

/// A store that another process, or another namespace, can open too.
pub(crate) trait Reopen: Store<Vec<u8>> + Sized {
    /// The store of another namespace, on the same connections.
    fn within(&self, namespace: &str) -> impl Future<Output = Self> + Send;

    /// The same store, on connections of its own.
    fn reopen(&self, url: &str) -> impl Future<Output = Self> + Send;
}

impl<D: Dialect> Reopen for SqlStore<D> {
    async fn within(&self, namespace: &str) -> Self {
        self.within(namespace).await.expect("it opens")
    }

    async fn reopen(&self, url: &str) -> Self {
        let builder = Self::builder(url, self.namespace().as_str());
        let builder = builder.timeout(Duration::from_secs(20)).max_connections(6);
        builder.clean_every(None).open().await.expect("it opens")
    }
}

/// How far the clock of some tables is ahead of the database's.
#[derive(Clone, Default)]
pub(crate) struct Shift(Arc<Shared>);

#[derive(Default)]
struct Shared {
    millis: AtomicU64,
    /// URLs and names.
    tables: Mutex<Vec<(String, String)>>,
}

impl Shift {
    /// The store, whose entries have the times of the clock that is ahead.
    pub(crate) fn ahead<S: Store<Vec<u8>>>(&self, store: S, url: String) -> Shifted<S> {
        let table = format!("{}_sessions", store.namespace());
        self.0.tables.lock().expect("no thread panicked").push((url.clone(), table.clone()));
        Shifted { store, url, table, shift: self.clone() }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("it is no eternity");
        let tables = self.0.tables.lock().expect("no thread panicked").clone();
        for (url, table) in tables {
            let sql = format!(
                "UPDATE {table} SET idle_deadline = idle_deadline - {millis}, \
                 absolute_deadline = absolute_deadline - {millis}, created = created - {millis}000"
            );
            run(&url, sql).await;
        }
        self.0.millis.fetch_add(millis, Ordering::SeqCst);
    }

    fn millis(&self) -> Duration {
        Duration::from_millis(self.0.millis.load(Ordering::SeqCst))
    }

    fn deadlines(deadlines: Deadlines, shifted: impl Fn(Timestamp) -> Timestamp) -> Deadlines {
        let idle = deadlines.idle_timeout().zip(deadlines.last_used());
        let idle = idle.map(|(idle, used)| (idle, shifted(used.saturating_add(idle))));
        Deadlines::new(idle, deadlines.absolute().map(shifted))
    }

    /// The store's entry, by the clock that is ahead.
    fn entry(&self, mut entry: Entry<Vec<u8>>) -> Entry<Vec<u8>> {
        let ahead = self.millis();
        let shifted = |time: Timestamp| time.saturating_add(ahead);
        entry.deadlines = Self::deadlines(entry.deadlines, shifted);
        entry.read_at = shifted(entry.read_at);
        entry.created = entry.created.map(shifted);
        entry
    }

    fn listing(&self, mut listing: EntryList<Vec<u8>>) -> EntryList<Vec<u8>> {
        let entries = listing.entries.into_iter().map(|entry| self.entry(entry)).collect();
        listing.entries = entries;
        listing
    }
}

async fn run(url: &str, mut sql: String) {
    if url.starts_with("mysql") {
        sql.insert_str(0, "SET autocommit = 1; ");
    }
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    let done = match url.split(':').next() {
        #[cfg(feature = "postgres")]
        Some("postgres") => {
            let mut connection = sqlx::PgConnection::connect(url).await.expect("it answers");
            // Whatever the server's default is: the store cleans at the same time.
            let isolation = sqlx::raw_sql("SET default_transaction_isolation = 'read committed'");
            isolation.execute(&mut connection).await.expect("it works");
            sql.execute(&mut connection).await.map(drop)
        }
        #[cfg(feature = "mysql")]
        Some("mysql") => {
            let mut connection = sqlx::MySqlConnection::connect(url).await.expect("it answers");
            sql.execute(&mut connection).await.map(drop)
        }
        #[cfg(feature = "sqlite")]
        Some("sqlite") => {
            let mut connection = sqlx::SqliteConnection::connect(url).await.expect("it opens");
            sql.execute(&mut connection).await.map(drop)
        }
        _ => panic!("no such database: {url}"),
    };
    done.expect("it works");
}

/// A store with the clock of a [`Shift`].
pub(crate) struct Shifted<S> {
    store: S,
    url: String,
    table: String,
    shift: Shift,
}

impl<S: Reopen> Shifted<S> {
    /// The same store, as another process opens it.
    pub(crate) async fn peer(&self) -> Self {
        let store = self.store.reopen(&self.url).await;
        // The table is shifted already.
        let (url, table, shift) = (self.url.clone(), self.table.clone(), self.shift.clone());
        Self { store, url, table, shift }
    }

    /// The store of another namespace in the same database.
    pub(crate) async fn neighbour(&self) -> Self {
        let namespace = format!("{}_b", self.store.namespace());
        self.shift.ahead(self.store.within(&namespace).await, self.url.clone())
    }

    /// Damages an entry so that it can't be read.
    pub(crate) async fn damage(&self, key: &Key) {
        let bytes = if self.url.starts_with("postgres") {
            format!("decode('{key}', 'hex')")
        } else {
            format!("x'{key}'")
        };
        let name = if self.url.starts_with("mysql") { "`key`" } else { "key" };
        run(&self.url, format!("UPDATE {} SET idle = -1 WHERE {name} = {bytes}", self.table)).await;
    }
}

impl<S: Store<Vec<u8>>> Store<Vec<u8>> for Shifted<S> {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<Vec<u8>>>> {
        Ok(self.store.get(key, freshness).await?.map(|entry| self.shift.entry(entry)))
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        let ahead = self.shift.millis();
        let touched = self.store.touch(at).await?;
        Ok(touched.map(|times| Shift::deadlines(times, |time| time.saturating_add(ahead))))
    }

    async fn insert(&self, key: Key, mut entry: NewEntry<Vec<u8>>) -> Result<InsertOutcome> {
        let ahead = self.shift.millis();
        if let Some(times) = &mut entry.times {
            let shifted = |time: Timestamp| time.saturating_sub(ahead);
            times.deadlines = Shift::deadlines(times.deadlines, shifted);
            times.created = times.created.map(shifted);
        }
        self.store.insert(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        Ok(match self.store.replace(at, seen, value, expiry).await? {
            ReplaceOutcome::Conflict(entry) => ReplaceOutcome::Conflict(self.shift.entry(entry)),
            done => done,
        })
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        Ok(self.shift.listing(self.store.list(owner).await?))
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<Vec<u8>>> {
        let page = self.store.scan(after, max_entries).await?;
        Ok(EntryPage::new(self.shift.listing(page.listing), page.next))
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        self.store.on_expired(callback)
    }
}
