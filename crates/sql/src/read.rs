//! Reading entries.

use kvolt_cache::{Cursor, Entry, EntryList, EntryPage, Key, Owner};

use crate::connections::Lease;
use crate::core::Core;
use crate::dialect::{DbRow, Dialect};
use crate::failure::Outcome;
use crate::row::{self, Row};

/// The largest page of a scan.
const MAX_PAGE: usize = 10_000;

impl<D: Dialect> Core<D> {
    pub(crate) async fn get(&self, key: &Key) -> Outcome<Option<Entry<Vec<u8>>>> {
        let mut lease = self.read.lease_unchecked().await?;
        self.find(&mut lease, key).await
    }

    /// The live entry under a key.
    pub(crate) async fn find(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
    ) -> Outcome<Option<Entry<Vec<u8>>>> {
        let rows = lease.fetch(&self.sql.get, &[key.into()]).await?;
        let row = rows.first().map(Row::read::<D>).transpose()?;
        let row = row.filter(|row| row.times.is_live());
        Ok(row.map(|row| row.into_entry(self.settings.slide_after)))
    }

    pub(crate) async fn list(&self, owner: &Owner) -> Outcome<EntryList<Vec<u8>>> {
        let mut lease = self.read.lease_unchecked().await?;
        let rows = lease.fetch(&self.sql.list, &[owner.into()]).await?;
        Ok(self.listing(&rows)?)
    }

    pub(crate) async fn scan(
        &self,
        after: &[u8],
        max_entries: usize,
    ) -> Outcome<EntryPage<Vec<u8>>> {
        let max_entries = max_entries.clamp(1, MAX_PAGE);
        let limit = i64::try_from(max_entries).unwrap_or(i64::MAX);
        let mut lease = self.read.lease().await?;
        let rows = lease.fetch(&self.sql.scan, &[after.into(), limit.into()]).await?;
        let last = rows.last().filter(|_| rows.len() >= max_entries);
        let next = last.map(row::key::<D>).transpose()?;
        let next = next.map(|key| Cursor::from_bytes(*key.as_bytes()));
        Ok(EntryPage::new(self.listing(&rows)?, next))
    }

    pub(crate) async fn count(&self) -> Outcome<u64> {
        let mut lease = self.read.lease().await?;
        let count = lease.fetch_integer(&self.sql.count).await?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    /// The database's time, in milliseconds.
    pub(crate) async fn now(&self, lease: &mut Lease<'_, D>) -> Outcome<i64> {
        Ok(lease.fetch_integer(&self.sql.now).await?.unwrap_or(0))
    }

    /// The live rows that can be read, and the keys of those that can't.
    fn listing(&self, rows: &[DbRow<D>]) -> kvolt_cache::Result<EntryList<Vec<u8>>> {
        let mut listing = EntryList::new(Vec::with_capacity(rows.len()), Vec::new());
        for db_row in rows {
            match Row::read::<D>(db_row) {
                Ok(row) if row.times.is_live() => {
                    listing.entries.push(row.into_listed(self.settings.slide_after));
                }
                Ok(_) => {}
                Err(_) => listing.unreadable.push(row::key::<D>(db_row)?),
            }
        }
        Ok(listing)
    }
}
