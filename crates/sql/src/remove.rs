//! Removing entries.

use kvolt_cache::{Key, Owner, RemoveOutcome, Version};

use crate::core::Core;
use crate::dialect::{Argument, Dialect, lock};
use crate::failure::{Failure, Kind, Outcome};

impl<D: Dialect> Core<D> {
    /// # Why it also removes an expired row
    ///
    /// A use that began before the deadline may be committed after it, and then the row is live
    /// again. So an expired row is removed too, by its version. If it was changed since it was read,
    /// the call is retried.
    pub(crate) async fn remove(&self, key: &Key, seen: Option<Version>) -> Outcome<RemoveOutcome> {
        let seen = seen.map(|seen| seen.number().cast_signed());
        let _turn = self.write.turns.take(&[Some(lock(key))]).await?;
        let mut lease = self.write.lease().await?;
        if lease.execute(&self.sql.remove, &[key.into(), seen.into()]).await? > 0 {
            return Ok(RemoveOutcome::Removed);
        }
        let rows = lease.fetch(&self.sql.state, &[key.into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(RemoveOutcome::Absent);
        };
        let number = |index| D::integer(row, index).ok().flatten();
        let (version, is_live) = (number(0), number(1) > number(2));
        if is_live && seen.is_some() && seen != version {
            return Ok(RemoveOutcome::Conflict);
        }
        let arguments = [key.into(), version.into()];
        if is_live || lease.execute(&self.sql.remove_row, &arguments).await? == 0 {
            return Err(Failure::new(Kind::Again, "other calls keep changing the entry"));
        }
        self.report_expired([key]);
        Ok(RemoveOutcome::Absent)
    }

    /// # Why it misses no entry
    ///
    /// Entries that were inserted before the call are committed, so the statement's snapshot has
    /// them. A replacement changes neither key nor owner: a row that is being replaced is locked, so
    /// the statement waits, and then removes the new row. Rows are found in a snapshot and locked by
    /// their keys, because a locking read of the index by deadline could miss a row whose deadline
    /// moves back behind it.
    ///
    /// An insertion at a limit removes rows of the same owner. With the owner's lock, neither call
    /// waits for a row that the other has locked.
    pub(crate) async fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Outcome<Vec<Key>> {
        let owner_lock = self.owner_lock(owner);
        let keep = keep.map_or(&[][..], |key| key.as_bytes());
        let arguments = [owner.into(), Argument::from(keep), owner_lock.cast_signed().into()];
        let _turn = self.write.turns.take(&[Some(owner_lock)]).await?;
        let sql = &*self.sql;
        let removed =
            self.write.remove(sql, &sql.remove_owner, &arguments, Some(owner_lock)).await?;
        let (live, expired): (Vec<_>, Vec<_>) = removed.iter().partition(|row| row.was_live);
        self.report_expired(expired.iter().map(|row| &row.key));
        Ok(live.iter().map(|row| row.key).collect())
    }

    pub(crate) async fn clear(&self) -> Outcome<()> {
        let mut lease = self.write.lease().await?;
        lease.execute(&self.sql.clear, &[]).await?;
        Ok(())
    }
}
