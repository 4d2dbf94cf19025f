//! Moving an entry to a new key.

use kvolt_cache::{Key, Owner, Rename, Renamed};

use crate::dialect::{Argument, Dialect, Lock};
use crate::failure::{Failure, Kind, Outcome};
use crate::lease::{Lease, Step};
use crate::row::{Row, expiry_arguments, fresh_number, millis};
use crate::statements::FORMER_FIRST;
use crate::store::Core;

impl<D: Dialect> Core<D> {
    pub(crate) async fn rename(
        &self,
        from: &Key,
        to: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Outcome<Renamed> {
        let (locks, expected) = self.locks(from, rename).await?;
        let mut lease = self.begin(locks).await?;
        let step = self.rename_within(&mut lease, from, to, rename, expected.as_ref()).await;
        lease.conclude(step).await
    }

    /// The locks that this renaming needs, and the owner that they are for where that is the
    /// entry's present one.
    async fn locks(
        &self,
        from: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Outcome<(Vec<Lock>, Option<Option<Owner>>)> {
        let mut locks = Vec::new();
        if rename.limit.is_some() || D::RENAMES_ESCAPE {
            locks.extend(rename.owner.as_ref().map(|owner| self.owner_lock(owner)));
        }
        if !D::RENAMES_ESCAPE && (rename.limit.is_none() || rename.owner.is_some()) {
            return Ok((locks, None));
        }
        let mut lease = self.read.lease().await?;
        let owner = self.find(&mut lease, from).await?.and_then(|row| row.owner);
        match &owner {
            Some(owner) => locks.push(self.owner_lock(owner)),
            // Nobody's, yet something that `clear` has to wait for.
            None => locks.push(Lock::of(from)),
        }
        Ok((locks, Some(owner)))
    }

    async fn rename_within(
        &self,
        lease: &mut Lease<'_, D>,
        from: &Key,
        to: &Key,
        rename: &Rename<Vec<u8>>,
        expected: Option<&Option<Owner>>,
    ) -> Outcome<Step<Renamed>> {
        let rows = lease.rows(&self.sql.lock, &[from.into(), to.into()]).await?;
        let (moving, in_the_way): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.key == *from);
        let moving = moving.into_iter().find(|row| row.is_live() && !row.is_former);
        let Some(moving) = moving else {
            return match self.find(lease, from).await? {
                Some(row) if row.key == *from => Err(again()),
                Some(_) => Ok(Step::Refused(Renamed::Superseded)),
                None => Ok(Step::Refused(Renamed::Absent)),
            };
        };
        if expected.is_some_and(|owner| *owner != moving.owner) {
            return Err(again());
        }
        if rename.value.as_ref().is_some_and(|(seen, _)| *seen != moving.version) {
            return Ok(Step::Refused(Renamed::Conflict));
        }
        if from == to || (!in_the_way.is_empty() && !self.free(lease, to).await?) {
            return Ok(Step::Refused(Renamed::Occupied));
        }
        let mut removed = Vec::new();
        if let (Some(owner), Some(limit)) =
            (rename.owner.as_ref().or(moving.owner.as_ref()), rename.limit)
        {
            match self.surplus(lease, owner, limit, moving.id).await? {
                Some(surplus) => removed = surplus,
                None => return Ok(Step::Refused(Renamed::LimitReached)),
            }
        }
        self.remove_rows(lease, &removed).await?;
        if !self.move_row(lease, &moving, to, rename).await? {
            return Ok(Step::Refused(Renamed::Absent));
        }
        self.leave_former(lease, &moving, to, rename).await?;
        Ok(Step::Done(Renamed::Moved { removed }))
    }

    /// The row is moved in place, so that whoever waits for it sees where it went.
    async fn move_row(
        &self,
        lease: &mut Lease<'_, D>,
        moving: &Row,
        to: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Outcome<bool> {
        let owner = rename.owner.as_ref();
        let changes_owner = owner.is_some() && owner != moving.owner.as_ref();
        let [idle, lifetime] = expiry_arguments(rename.expiry);
        let arguments = [
            Argument::from(&moving.key),
            to.into(),
            // Another version under another key: what was encoded for one is not for the other.
            fresh_number()?.into(),
            rename.value.as_ref().map(|(_, value)| value.as_slice()).into(),
            owner.map(|owner| owner.as_str().as_bytes()).into(),
            i64::from(changes_owner).into(),
            i64::from(rename.expiry.is_some()).into(),
            idle,
            lifetime,
        ];
        Ok(lease.execute(&self.sql.rename, &arguments).await? > 0)
    }

    /// The former keys all lead to where the entry is now, so that none is ever two steps away;
    /// each as long as every grace on its way lasts, and the last [`FORMER_MAX`] of them.
    ///
    /// [`FORMER_MAX`]: crate::statements::FORMER_MAX
    async fn leave_former(
        &self,
        lease: &mut Lease<'_, D>,
        moving: &Row,
        to: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Outcome<()> {
        let grace = millis(rename.grace);
        let arguments = [Argument::from(&moving.key), to.into(), grace.into()];
        lease.execute(&self.sql.lead_on, &arguments).await?;
        if grace == 0 {
            return Ok(());
        }
        let arguments = [
            Argument::from(&moving.key),
            moving.id.into(),
            FORMER_FIRST.into(),
            [].as_slice().into(),
            Argument::Bytes(None),
            Argument::Integer(None),
            grace.into(),
            to.into(),
        ];
        lease.execute(&self.sql.insert, &arguments).await?;
        Ok(())
    }
}

fn again() -> Failure {
    Failure::new(Kind::Again, "the entry was moved again and again")
}
