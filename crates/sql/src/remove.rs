//! Removing entries.

use kvolt_cache::{Key, Owner, RemoveOutcome, Version};

use crate::core::{Core, lock};
use crate::dialect::{Argument, Dialect};
use crate::failure::{Failure, Kind, Outcome};

impl<D: Dialect> Core<D> {
    /// # Why an expired row is removed, too
    ///
    /// A use that began before the deadline may be committed after it, and the row is live again
    /// then. So a row that is found expired is removed by the version that it has, with its late
    /// use. One that was changed since is seen at the next try.
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
            return Err(Failure::new(Kind::Again, "the entry was changed again and again"));
        }
        self.report_expired([key]);
        Ok(RemoveOutcome::Absent)
    }

    /// # Why it misses nothing
    ///
    /// What was inserted before the call is committed, so the statement's snapshot has it. A
    /// replacement changes neither key nor owner: a row that is being replaced is locked, so the
    /// statement waits, and removes it as it is then. Rows are found in a snapshot and locked by
    /// their keys, since a locking read of an index by deadlines could miss a row whose deadline
    /// moves back behind it.
    ///
    /// What limited insertions remove while they hold the owner's lock is what this would remove;
    /// with the lock neither waits for a row of the other's.
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
