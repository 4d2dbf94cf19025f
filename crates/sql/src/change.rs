//! Touching and replacing entries.

use kvolt_cache::{Deadlines, Expiry, Key, ReplaceOutcome, Version};

use crate::core::Core;
use crate::dialect::{Argument, Dialect, lock};
use crate::failure::{Failure, Kind, Outcome};
use crate::row::{Times, millis, random_number};

impl<D: Dialect> Core<D> {
    /// The statement decides by the database's clock whether a slide is due, and sees what was
    /// committed while it waited, so one of many touches at the same time writes. Where one
    /// statement does both, a touch that waited may return the deadlines from before. They say that a
    /// slide is due, so it is retried.
    pub(crate) async fn touch(&self, key: &Key) -> Outcome<Option<Deadlines>> {
        let _turn = self.write.turns.take(&[Some(lock(key))]).await?;
        // A touch is repeatable.
        let mut lease = self.write.lease_unchecked().await?;
        let touched = lease.fetch(&self.sql.touch, &[key.into()]).await;
        let mut rows = touched.map_err(Failure::of_touching)?;
        let is_slid = rows.first().is_some_and(|row| matches!(D::integer(row, 4), Ok(Some(1))));
        if rows.is_empty() && !D::CHANGES_IN_WITH {
            rows = lease.fetch(&self.sql.deadlines, &[key.into()]).await?;
        }
        let times = rows.first().map(|row| Times::read::<D>(row, 0, *key)).transpose()?;
        let Some(times) = times.filter(Times::is_live) else {
            return Ok(None);
        };
        if D::CHANGES_IN_WITH && !is_slid && times.is_slide_due(self.settings.slide_after) {
            return Err(Failure::new(
                Kind::Again,
                "other uses of the entry keep overtaking this one",
            ));
        }
        Ok(Some(times.deadlines()))
    }

    pub(crate) async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: &[u8],
        expiry: Option<Expiry>,
    ) -> Outcome<ReplaceOutcome<Vec<u8>>> {
        let version = random_number()?;
        let arguments = [
            Argument::from(key),
            seen.number().cast_signed().into(),
            value.into(),
            version.into(),
            i64::from(expiry.is_some()).into(),
            expiry.and_then(|expiry| expiry.idle_timeout()).map(millis).into(),
            expiry.and_then(|expiry| expiry.lifetime()).map(millis).into(),
        ];
        let _turn = self.write.turns.take(&[Some(lock(key))]).await?;
        let mut lease = self.write.lease().await?;
        if lease.execute(&self.sql.replace, &arguments).await? > 0 {
            return Ok(ReplaceOutcome::Replaced(Version::from_number(version.cast_unsigned())));
        }
        match self.find(&mut lease, key).await? {
            None => Ok(ReplaceOutcome::Absent),
            Some(entry) if entry.version != seen => Ok(ReplaceOutcome::Conflict(entry)),
            // A use that was committed late has made it live again.
            Some(_) => Err(Failure::new(Kind::Again, "other calls keep changing the entry")),
        }
    }
}
