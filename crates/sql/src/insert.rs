//! Inserting an entry, within its owner's limit and in the place of another.

use kvolt_cache::{AtLimit, Insert, Key, NewEntry, Owner, OwnerLimit, Replaces};

use crate::connections::{Lease, Step};
use crate::core::{Core, lock};
use crate::dialect::{Argument, Dialect};
use crate::failure::{Kind, Outcome};
use crate::row::{expiry_millis, fresh_number, millis, moment, timestamp};

impl<D: Dialect> Core<D> {
    /// # Why only a limit takes the owner's lock
    ///
    /// What a lock must order is counting and inserting. An insertion without a limit counts
    /// nothing. Against `remove_owner` it needs none: one that had returned before that began was
    /// committed, so it is seen; one that had not is concurrent with it, and may stay.
    pub(crate) async fn insert(&self, key: &Key, entry: &NewEntry<Vec<u8>>) -> Outcome<Insert> {
        let limit = entry.owner.as_ref().zip(entry.limit);
        let owner_lock = limit.map(|(owner, _)| self.owner_lock(owner));
        let replaces = entry.replaces.as_ref();
        let locks = [owner_lock, Some(lock(key)), replaces.map(|replaces| lock(&replaces.key))];
        let _turns = self.write.turns.take(locks).await?;
        let mut lease = self.write.lease().await?;
        let now = match &entry.times {
            Some(_) => Some(self.now(&mut lease).await?),
            None => None,
        };
        if let (Some(times), Some(now)) = (&entry.times, now)
            && times.deadlines.expires_at().is_some_and(|ends| ends <= timestamp(now))
        {
            return Ok(Insert::Expired);
        }
        let row = arguments(key, entry, now)?;
        if limit.is_none() {
            let done = match replaces {
                None => {
                    let is_inserted = self.insert_row(&mut lease, key, &row).await?;
                    Some(if is_inserted { inserted() } else { Insert::Occupied })
                }
                Some(replaces) => self.insert_at_once(&mut lease, &row, replaces).await?,
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        lease.begin(&self.sql.table, owner_lock).await?;
        let step = self.insert_within(&mut lease, key, &row, limit, replaces).await;
        lease.conclude(step).await
    }

    /// Inserts in the place of another in one statement; `None` where that does not work.
    async fn insert_at_once(
        &self,
        lease: &mut Lease<'_, D>,
        row: &[Argument<'_>],
        replaces: &Replaces,
    ) -> Outcome<Option<Insert>> {
        let Some(statement) = &self.sql.insert_replacing else {
            return Ok(None);
        };
        let mut arguments = row.to_vec();
        arguments.extend(replaced(replaces));
        match lease.execute(statement, &arguments).await {
            Ok(0) => Ok(Some(Insert::Conflict)),
            Ok(_) => Ok(Some(inserted())),
            // By a live entry or by an expired one: nothing was done.
            Err(failure) if failure.kind == Kind::Taken => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The steps of an insertion, within a transaction that has the owner's lock if there is a
    /// limit. What is replaced is removed first, so it does not count.
    async fn insert_within(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
        row: &[Argument<'_>],
        limit: Option<(&Owner, OwnerLimit)>,
        replaces: Option<&Replaces>,
    ) -> Outcome<Step<Insert>> {
        if let Some(replaces) = replaces {
            let removed = lease.execute(&self.sql.remove_replaced, &replaced(replaces)).await?;
            if removed == 0 && replaces.seen.is_some() {
                return Ok(Step::Refused(Insert::Conflict));
            }
        }
        let mut removed = Vec::new();
        if let Some((owner, limit)) = limit {
            match self.make_room(lease, owner, limit).await? {
                Some(keys) => removed = keys,
                None => return Ok(Step::Refused(Insert::LimitReached)),
            }
        }
        if !self.insert_row(lease, key, row).await? {
            return Ok(Step::Refused(Insert::Occupied));
        }
        Ok(Step::Done(Insert::Inserted { removed }))
    }

    async fn insert_row(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
        row: &[Argument<'_>],
    ) -> Outcome<bool> {
        loop {
            match lease.execute(&self.sql.insert, row).await {
                Ok(inserted) => return Ok(inserted > 0),
                Err(failure) if failure.kind == Kind::Taken => {}
                Err(failure) => return Err(failure),
            }
            // The key is taken, maybe by what has expired.
            if lease.execute(&self.sql.remove_expired, &[key.into()]).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Removes the owner's oldest entries so that one more is within the limit; `None` if it may
    /// not be. With the owner's lock.
    ///
    /// An index has an owner's live entries, so it reads no more of them than the limit and what
    /// it removes.
    async fn make_room(
        &self,
        lease: &mut Lease<'_, D>,
        owner: &Owner,
        limit: OwnerLimit,
    ) -> Outcome<Option<Vec<Key>>> {
        let max_entries = i64::from(limit.max_entries());
        if limit.at_limit() == AtLimit::Refuse {
            let arguments = [owner.into(), Argument::from(max_entries)];
            let owned = lease.fetch(&self.sql.some_owned, &arguments).await?.len();
            return Ok((owned < limit.max_entries() as usize).then(Vec::new));
        }
        let arguments = [owner.into(), Argument::from(max_entries - 1)];
        let removed = lease.remove(&self.sql, &self.sql.remove_oldest, &arguments).await?;
        Ok(Some(removed.into_iter().map(|row| row.key).collect()))
    }
}

fn inserted() -> Insert {
    Insert::Inserted { removed: Vec::new() }
}

fn replaced(replaces: &Replaces) -> [Argument<'_>; 2] {
    let seen = replaces.seen.map(|seen| seen.number().cast_signed());
    [Argument::from(&replaces.key), seen.into()]
}

/// The arguments of an insertion; with the database's time if the entry has times of its own.
fn arguments<'a>(
    key: &'a Key,
    entry: &'a NewEntry<Vec<u8>>,
    now: Option<i64>,
) -> Outcome<[Argument<'a>; 9]> {
    let mut row = [
        Argument::from(key),
        fresh_number()?.into(),
        entry.value.as_slice().into(),
        Argument::Bytes(None),
        Argument::Integer(None),
        Argument::Integer(None),
        Argument::Integer(None),
        Argument::Integer(None),
        Argument::Integer(None),
    ];
    if let Some(owner) = &entry.owner {
        row[3] = owner.into();
    }
    let (Some(times), Some(now)) = (&entry.times, now) else {
        let [idle, lifetime] = expiry_millis(Some(entry.expiry));
        (row[4], row[5]) = (idle.into(), lifetime.into());
        return Ok(row);
    };
    let deadlines = times.deadlines;
    if let (Some(idle), Some(used)) = (deadlines.idle_timeout(), deadlines.last_used()) {
        row[4] = millis(idle).into();
        row[7] = moment(used.saturating_add(idle)).into();
    }
    row[6] = times.created.map(|created| moment(created).min(now).saturating_mul(1_000)).into();
    row[8] = deadlines.absolute().map(moment).into();
    Ok(row)
}
