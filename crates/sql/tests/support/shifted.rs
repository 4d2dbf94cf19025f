//! A clock that tests move, without one in the database: what has to pass is taken from every
//! time in the table, which comes to the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    Access, Cursor, Deadlines, Entry, Expiry, Insert, Key, NewEntry, OnExpired, Owner, Page,
    Rename, Renamed, Replace, Result, Store, Version,
};
use sqlx::{AssertSqlSafe, Connection as _};

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
    /// The store, whose entries tell the times of the clock that is ahead.
    pub(crate) fn ahead<S>(&self, store: S, url: String, table: String) -> Shifted<S> {
        self.0.tables.lock().expect("nobody panicked").push((url, table));
        Shifted { store, shift: self.clone() }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("it is no eternity");
        let tables = self.0.tables.lock().expect("nobody panicked").clone();
        for (url, table) in tables {
            let sql = format!(
                "UPDATE {table} SET idle_deadline = idle_deadline - {millis}, \
                 absolute_deadline = absolute_deadline - {millis}, created = created - {millis}000"
            );
            run(&url, sql).await;
        }
        self.0.millis.fetch_add(millis, Ordering::SeqCst);
    }

    fn entry(&self, entry: Entry<Vec<u8>>) -> Entry<Vec<u8>> {
        let ahead = Duration::from_millis(self.0.millis.load(Ordering::SeqCst));
        let idle = entry.deadlines.idle_timeout().zip(entry.deadlines.last_used());
        let idle = idle.map(|(idle, used)| (idle, used.saturating_add(idle).saturating_add(ahead)));
        let absolute = entry.deadlines.absolute().map(|ends| ends.saturating_add(ahead));
        let deadlines = Deadlines::new(idle, absolute);
        Entry::new(entry.key, entry.value, entry.version, entry.owner, deadlines)
    }
}

async fn run(url: &str, sql: String) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    let done = match url.split(':').next() {
        #[cfg(feature = "postgres")]
        Some("postgres") => {
            let mut connection = sqlx::PgConnection::connect(url).await.expect("it answers");
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
    shift: Shift,
}

impl<S: Store<Vec<u8>>> Store<Vec<u8>> for Shifted<S> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<Vec<u8>>>> {
        Ok(self.store.get(key, access).await?.map(|entry| self.shift.entry(entry)))
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<Insert> {
        self.store.insert(key, entry).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<Replace<Vec<u8>>> {
        Ok(match self.store.replace(key, seen, value, expiry).await? {
            Replace::Conflict(entry) => Replace::Conflict(self.shift.entry(entry)),
            done => done,
        })
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<Vec<u8>>) -> Result<Renamed> {
        self.store.rename(from, to, rename).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.store.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<Vec<u8>>>> {
        let entries = self.store.list(owner).await?;
        Ok(entries.into_iter().map(|entry| self.shift.entry(entry)).collect())
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<Vec<u8>>> {
        let page = self.store.scan(after, entries_max).await?;
        let entries = page.entries.into_iter().map(|entry| self.shift.entry(entry));
        Ok(Page::new(entries.collect(), page.next))
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    async fn count(&self) -> Result<u64> {
        self.store.count().await
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        self.store.on_expired(told)
    }
}
