//! Removing entries.

use kvolt_cache::{Key, Owner};

use crate::dialect::{Argument, Dialect};
use crate::failure::{Failure, Kind, Outcome};
use crate::lease::{Lease, Step};
use crate::statements::Statements;
use crate::store::{Core, NOBODY};

/// How many rows one statement removes by their keys.
const KEYS_MAX: usize = 100;

impl<D: Dialect> Core<D> {
    /// A former key that is left behind leads nowhere once its entry is gone, and is cleaned
    /// when its grace has passed.
    pub(crate) async fn remove(&self, key: &Key) -> Outcome<bool> {
        let mut lease = self.write.lease().await?;
        if lease.execute(&self.sql.remove, &[key.into()]).await? > 0 {
            return Ok(true);
        }
        // Nothing, or a former key, whose entry may be moving on.
        for _ in 0..10 {
            let Some(row) = self.find(&mut lease, key).await? else {
                return Ok(false);
            };
            let arguments = [Argument::from(&row.key), row.id.into()];
            if lease.execute(&self.sql.remove_entry, &arguments).await? > 0 {
                return Ok(true);
            }
        }
        Err(Failure::new(Kind::Unavailable, "the entry was moved again and again"))
    }

    /// # Why it misses nothing
    ///
    /// What was inserted before the call is committed, so it is seen. What is
    /// renamed meanwhile is locked by its renaming, so this waits and then
    /// sees it where it is, since a renaming moves the row and does not make
    /// another. Where the database keeps the row by its key
    /// (`D::RENAMES_ESCAPE`), it could be put down behind the place that this
    /// has come to; there a renaming takes the owner's lock, too.
    ///
    /// What limited insertions remove while they hold that lock is what this
    /// would remove; with the lock neither waits for a row of the other's.
    pub(crate) async fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Outcome<Vec<Key>> {
        let mut lease = self.begin(vec![self.owner_lock(owner)]).await?;
        let step = self.remove_owner_within(&mut lease, owner, keep).await;
        lease.conclude(step).await
    }

    async fn remove_owner_within(
        &self,
        lease: &mut Lease<'_, D>,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Outcome<Step<Vec<Key>>> {
        let keep = match keep {
            // By its identity, which it keeps when it is renamed.
            Some(keep) => self.find(lease, keep).await?.map_or(NOBODY, |row| row.id),
            None => NOBODY,
        };
        let arguments = [owner.as_str().as_bytes().into(), Argument::from(keep)];
        let keys = lease.keys(&self.sql.lock_owned, &arguments).await?;
        self.remove_rows(lease, &keys).await?;
        Ok(Step::Done(keys))
    }

    /// Removes rows that are locked.
    pub(crate) async fn remove_rows(&self, lease: &mut Lease<'_, D>, keys: &[Key]) -> Outcome<()> {
        remove_rows(lease, &self.sql, keys).await
    }
}

/// Removes rows that are locked.
pub(crate) async fn remove_rows<D: Dialect>(
    lease: &mut Lease<'_, D>,
    sql: &Statements,
    keys: &[Key],
) -> Outcome<()> {
    for keys in keys.chunks(KEYS_MAX) {
        let arguments: Vec<Argument<'_>> = keys.iter().map(Argument::from).collect();
        lease.execute(&sql.remove_rows::<D>(keys.len()), &arguments).await?;
    }
    Ok(())
}
