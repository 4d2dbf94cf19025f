//! Making an entry, and making room for it.

use kvolt_cache::{AtLimit, Insert, Key, NewEntry, Owner, OwnerLimit};

use crate::dialect::{Argument, Dialect};
use crate::failure::{Kind, Outcome};
use crate::lease::{Lease, Step};
use crate::row::{expiry_arguments, fresh_number};
use crate::store::{Core, NOBODY};

impl<D: Dialect> Core<D> {
    /// # Why only a limit takes the owner's lock
    ///
    /// What a lock has to order is counting and inserting. An insertion
    /// without a limit counts nothing. Against `remove_owner` it needs none:
    /// one that had returned before that began was committed, so it is seen;
    /// one that had not is concurrent with it, and may stay.
    pub(crate) async fn insert(&self, key: &Key, entry: &NewEntry<Vec<u8>>) -> Outcome<Insert> {
        let (Some(owner), Some(limit)) = (&entry.owner, entry.limit) else {
            return self.insert_without_limit(key, entry).await;
        };
        let mut lease = self.begin(vec![self.owner_lock(owner)]).await?;
        let step = self.insert_within(&mut lease, key, entry, Some((owner, limit))).await;
        lease.conclude(step).await
    }

    async fn insert_without_limit(&self, key: &Key, entry: &NewEntry<Vec<u8>>) -> Outcome<Insert> {
        let mut lease = self.write.lease().await?;
        if self.insert_row(&mut lease, key, entry).await? {
            return Ok(Insert::Inserted { removed: Vec::new() });
        }
        if self.find(&mut lease, key).await?.is_some() {
            return Ok(Insert::Occupied);
        }
        drop(lease);
        // What has the key has ended, but the statement above could not tell: a former key
        // whose successor is gone.
        let mut lease = self.begin(Vec::new()).await?;
        let step = self.insert_within(&mut lease, key, entry, None).await;
        lease.conclude(step).await
    }

    async fn insert_within(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
        limit: Option<(&Owner, OwnerLimit)>,
    ) -> Outcome<Step<Insert>> {
        let removed = match limit {
            Some((owner, limit)) => self.surplus(lease, owner, limit, NOBODY).await?,
            None => Some(Vec::new()),
        };
        let Some(removed) = removed else {
            return Ok(Step::Refused(Insert::LimitReached));
        };
        let is_inserted = self.insert_row(lease, key, entry).await?
            || (self.free(lease, key).await? && self.insert_row(lease, key, entry).await?);
        if !is_inserted {
            return Ok(Step::Refused(Insert::Occupied));
        }
        self.remove_rows(lease, &removed).await?;
        Ok(Step::Done(Insert::Inserted { removed }))
    }

    async fn insert_row(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
    ) -> Outcome<bool> {
        let [idle, lifetime] = expiry_arguments(Some(entry.expiry));
        let owner = entry.owner.as_ref().map(|owner| owner.as_str().as_bytes());
        let arguments = [
            Argument::from(key),
            fresh_number()?.into(),
            fresh_number()?.into(),
            entry.value.as_slice().into(),
            owner.into(),
            idle,
            lifetime,
            Argument::Bytes(None),
        ];
        match lease.execute(&self.sql.insert, &arguments).await {
            Ok(inserted) => Ok(inserted > 0),
            Err(failure) if failure.kind == Kind::Taken => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a key free if what has it has ended, within a transaction; whether it is free.
    ///
    /// The row is locked first. A renaming that is about to let it lead
    /// elsewhere has to wait for that lock, and until it has it, its entry is
    /// seen where it was. What has ended never lives again. So what is found
    /// ended here stays so.
    pub(crate) async fn free(&self, lease: &mut Lease<'_, D>, key: &Key) -> Outcome<bool> {
        let Some(row) = lease.rows(&self.sql.lock, &[key.into(), key.into()]).await?.pop() else {
            return Ok(true);
        };
        if row.is_live() && (!row.is_former || self.find(lease, key).await?.is_some()) {
            return Ok(false);
        }
        lease.execute(&self.sql.remove_row, &[key.into()]).await?;
        Ok(true)
    }

    /// The owner's oldest that have to go, locked, so that one more fits; `None` if it may not.
    ///
    /// With the owner's lock held. The entry `except` does not count.
    pub(crate) async fn surplus(
        &self,
        lease: &mut Lease<'_, D>,
        owner: &Owner,
        limit: OwnerLimit,
        except: i64,
    ) -> Outcome<Option<Vec<Key>>> {
        let entries_max = limit.entries_max as usize;
        let arguments = [owner.as_str().as_bytes().into(), Argument::from(except)];
        if entries_max == 0 {
            return Ok(None);
        }
        let owned = lease.fetch(&self.sql.list, &arguments).await?.len();
        if owned < entries_max {
            return Ok(Some(Vec::new()));
        }
        if limit.at_limit == AtLimit::Refuse {
            return Ok(None);
        }
        // Locked, they can't be renamed any more, so that their keys are those to remove.
        let mut owned = lease.keys(&self.sql.lock_owned, &arguments).await?;
        owned.truncate((owned.len() + 1).saturating_sub(entries_max));
        Ok(Some(owned))
    }
}
