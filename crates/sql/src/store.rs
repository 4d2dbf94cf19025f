use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Access, Cursor, Entry, Error, Expiry, Insert, Key, NewEntry, OnExpired, Owner, Page, Rename,
    Renamed, Replace, Result, Store, Version,
};
use tokio::time::{sleep, timeout};

use crate::builder::Builder;
use crate::cleaner::Cleaner;
use crate::dialect::{Argument, Dialect, Lock};
use crate::failure::{Failure, Kind, Outcome};
use crate::lease::Lease;
use crate::pool::Pool;
use crate::row::{Row, expiry_arguments, fresh_number};
use crate::statements::Statements;

/// A [`Store`] of bytes in a table of a SQL database.
///
/// [`Coded`](kvolt_cache::Coded) makes a store of values of it. Cloning it is
/// cheap; all clones are one store. It has to be opened and used within a Tokio runtime.
///
/// What each call costs, and what it promises, is in the [crate's documentation](crate).
pub struct SqlStore<D: Dialect> {
    pub(crate) core: Arc<Core<D>>,
}

/// What the clones of a store share.
pub(crate) struct Core<D: Dialect> {
    pub(crate) dialect: D,
    pub(crate) read: Arc<Pool<D>>,
    /// The same, or the one connection that may write.
    pub(crate) write: Arc<Pool<D>>,
    pub(crate) sql: Arc<Statements>,
    pub(crate) timeout: Duration,
    pub(crate) slide_after: f64,
    /// Whether it may change the schema.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "for pushing")
    )]
    pub(crate) migrates: bool,
    /// Ends with the store.
    pub(crate) cleaner: Option<Cleaner>,
}

/// How often a call is tried again that others got in the way of.
const TRIES_MAX: u32 = 10;

/// How much longer than any other call `clear` and `count` may take.
const LONG_TIMEOUTS: u32 = 30;

impl<D: Dialect> SqlStore<D> {
    /// Opens a store with the default settings: see [`Builder::open`].
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub async fn open(url: &str) -> Result<Self> {
        Self::builder().open(url).await
    }

    /// Settings, to open a store with.
    pub fn builder() -> Builder<D> {
        Builder::new()
    }

    /// Says goodbye to the database. Every later call is unavailable.
    ///
    /// Dropping the store only cuts its connections.
    pub async fn close(&self) {
        self.core.read.close().await;
        self.core.write.close().await;
    }
}

impl<D: Dialect> Core<D> {
    /// Runs a call within the time limit, again where others got in its way.
    ///
    /// A call that can be done twice, such as one that only reads, is also tried again on
    /// another connection where the one it had turned out to be dead.
    pub(crate) async fn call<T, F>(&self, repeatable: bool, step: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        self.call_within(self.timeout, repeatable, step).await
    }

    pub(crate) async fn call_within<T, F>(
        &self,
        limit: Duration,
        repeatable: bool,
        step: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let tries = async {
            for number in 1.. {
                match step().await {
                    Ok(value) => return Ok(value),
                    Err(failure) if number < TRIES_MAX && failure.kind == Kind::Again => {
                        // Apart from each other, or they meet again.
                        let millis = fresh_number()?.cast_unsigned() % (4 << number.min(5));
                        sleep(Duration::from_millis(millis)).await;
                    }
                    Err(failure) if number < 3 && repeatable && failure.kind == Kind::Lost => {}
                    Err(failure) => return Err(failure.error),
                }
            }
            unreachable!("the last try returns")
        };
        timeout(limit, tries).await.unwrap_or_else(|_| {
            let waited = limit.as_millis();
            Err(Error::unavailable(format!("no answer from {} in {waited} ms", D::NAME)))
        })
    }

    /// The live entry that a key leads to.
    ///
    /// One look-up, and another for a former key. One statement for both was
    /// measured: a third slower for all the others.
    pub(crate) async fn find(&self, lease: &mut Lease<'_, D>, key: &Key) -> Outcome<Option<Row>> {
        match lease.rows(&self.sql.get, &[key.into()]).await?.pop() {
            // A former key that leads nowhere is absent, and if by now it is another entry's,
            // then it was free in between.
            Some(row) if row.is_former => {
                Ok(lease.rows(&self.sql.follow, &[key.into()]).await?.pop())
            }
            found => Ok(found),
        }
    }

    /// A connection in a transaction that keeps others from what the locks are for.
    pub(crate) async fn begin(&self, locks: Vec<Lock>) -> Outcome<Lease<'_, D>> {
        let mut lease = self.write.lease().await?;
        lease.begin(&self.sql.table, locks, self.timeout).await?;
        Ok(lease)
    }

    pub(crate) fn owner_lock(&self, owner: &Owner) -> Lock {
        // The table is part of it, because a lock may be one of the whole database.
        let digest = Key::of(format!("{}\0{owner}", self.sql.table));
        Lock::of(&digest)
    }

    async fn get(&self, key: &Key, access: Access) -> Outcome<Option<Row>> {
        // Once is enough unless the entry is moved or replaced between the two statements.
        for _ in 0..TRIES_MAX {
            let mut lease = self.read.lease().await?;
            let Some(mut row) = self.find(&mut lease, key).await? else {
                return Ok(None);
            };
            // Whoever has no more than a former key keeps nothing alive with it.
            let slides = access.slides() && row.key == *key;
            let Some((deadline, idle)) = slides.then(|| row.slide(self.slide_after)).flatten()
            else {
                return Ok(Some(row));
            };
            // Where reading and writing share a pool, holding on to this connection while
            // waiting for another could starve both.
            drop(lease);
            // It is moved only forward, by the clock of the first statement, and only where it
            // is still the same entry with the same idle time: a slide that was overtaken by
            // another, by a new expiry, a renaming or a removal finds nothing to do.
            let arguments =
                [key.into(), row.id.into(), Argument::from(deadline), Argument::from(idle)];
            let mut lease = self.write.lease().await?;
            match lease.execute(&self.sql.slide, &arguments).await {
                Ok(0) => {}
                Ok(_) => {
                    row.set_idle_deadline(deadline);
                    return Ok(Some(row));
                }
                // Without the entry: a use that is not recorded must not look like one that is.
                Err(failure) => return Err(failure.of_reading()),
            }
        }
        Err(Failure::new(Kind::Unavailable, "the entry was moved again and again"))
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: &[u8],
        expiry: Option<Expiry>,
    ) -> Outcome<Replace<Vec<u8>>> {
        let version = fresh_number()?;
        let [idle, lifetime] = expiry_arguments(expiry);
        let mut key = *key;
        let mut lease = self.write.lease().await?;
        for _ in 0..TRIES_MAX {
            let arguments = [
                Argument::from(&key),
                seen.number().cast_signed().into(),
                value.into(),
                version.into(),
                i64::from(expiry.is_some()).into(),
                idle.clone(),
                lifetime.clone(),
            ];
            // A version is of one state of one entry, so it names both: no other entry has it.
            if lease.execute(&self.sql.replace, &arguments).await? > 0 {
                return Ok(Replace::Replaced(Version::from_number(version.cast_unsigned())));
            }
            match self.find(&mut lease, &key).await? {
                None => return Ok(Replace::Absent),
                Some(row) if row.version != seen => {
                    return Ok(Replace::Conflict(row.into_entry()));
                }
                // It was asked for by a former key.
                Some(row) => key = row.key,
            }
        }
        Err(Failure::new(Kind::Unavailable, "the entry was moved again and again"))
    }

    async fn list(&self, owner: &Owner) -> Outcome<Vec<Entry<Vec<u8>>>> {
        let mut lease = self.read.lease().await?;
        let arguments = [owner.as_str().as_bytes().into(), NOBODY.into()];
        let rows = lease.rows(&self.sql.list, &arguments).await?;
        Ok(rows.into_iter().map(Row::into_entry).collect())
    }

    async fn scan(&self, after: &[u8], entries_max: usize) -> Outcome<Page<Vec<u8>>> {
        let entries_max = entries_max.clamp(1, SCAN_MAX);
        let limit = i64::try_from(entries_max).unwrap_or(i64::MAX);
        let mut lease = self.read.lease().await?;
        let rows = lease.rows(&self.sql.scan, &[after.into(), limit.into()]).await?;
        let is_full = rows.len() >= entries_max;
        let next = rows.last().filter(|_| is_full).map(|row| *row.key.as_bytes());
        let entries = rows.into_iter().map(Row::into_entry).collect();
        Ok(Page::new(entries, next.map(Cursor::from_bytes)))
    }

    async fn count(&self) -> Outcome<u64> {
        let mut lease = self.read.lease().await?;
        let rows = lease.fetch(&self.sql.count, &[]).await?;
        let count = rows.first().and_then(|row| D::integer(row, 0).ok().flatten());
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    async fn clear(&self) -> Outcome<()> {
        let mut lease = self.begin(vec![Lock::Everything]).await?;
        lease.execute(&self.sql.clear, &[]).await?;
        lease.commit().await
    }
}

/// The identity of no entry.
pub(crate) const NOBODY: i64 = -1;

/// The largest page.
const SCAN_MAX: usize = 10_000;

/// Refuses a name that not every store takes, before anything is done.
fn check_owner(owner: Option<&Owner>) -> Result<()> {
    match owner.map(|owner| owner.as_str().len()) {
        Some(len) if len > Owner::LEN_MAX => Err(Error::misconfigured(format!(
            "an owner of {len} bytes, of {} allowed",
            Owner::LEN_MAX
        ))),
        _ => Ok(()),
    }
}

impl<D: Dialect> Store<Vec<u8>> for SqlStore<D> {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<Vec<u8>>>> {
        let core = &*self.core;
        Ok(core.call(true, || core.get(key, access)).await?.map(Row::into_entry))
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<Insert> {
        check_owner(entry.owner.as_ref())?;
        let core = &*self.core;
        core.call(false, || core.insert(&key, &entry)).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<Replace<Vec<u8>>> {
        let core = &*self.core;
        core.call(false, || core.replace(key, seen, &value, expiry)).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<Vec<u8>>) -> Result<Renamed> {
        check_owner(rename.owner.as_ref())?;
        let core = &*self.core;
        core.call(false, || core.rename(from, &to, &rename)).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let core = &*self.core;
        core.call(false, || core.remove(key)).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<Vec<u8>>>> {
        let core = &*self.core;
        core.call(true, || core.list(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        let core = &*self.core;
        core.call(false, || core.remove_owner(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<Vec<u8>>> {
        let after = after.map_or(&[][..], Cursor::as_bytes);
        if !matches!(after.len(), 0 | 32) {
            return Err(Error::misconfigured("the cursor is not one of this store's"));
        }
        let core = &*self.core;
        core.call(true, || core.scan(after, entries_max)).await
    }

    async fn clear(&self) -> Result<()> {
        let core = &*self.core;
        core.call_within(core.timeout * LONG_TIMEOUTS, false, || core.clear()).await
    }

    /// One statement that goes through an index and not through the values. It may take as long
    /// as [`clear`](Store::clear).
    async fn count(&self) -> Result<u64> {
        let core = &*self.core;
        core.call_within(core.timeout * LONG_TIMEOUTS, true, || core.count()).await
    }

    /// `false` where [`clean_every`](Builder::clean_every) is `None`, and if somebody has asked before.
    ///
    /// The cleaner tells, once what it has deleted is committed. What it deletes it alone has, so
    /// of the stores that share a table one tells. What has ended and whose key something else
    /// took, or was cleared, before it was cleaned is not told, and what is deleted just before
    /// the process dies may not be.
    fn on_expired(&self, told: OnExpired) -> bool {
        self.core.cleaner.as_ref().is_some_and(|cleaner| cleaner.tell(told))
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
            .field("dialect", &self.core.dialect)
            .field("table", &self.core.sql.table)
            .finish_non_exhaustive()
    }
}
