//! Insertion, within an owner's limit and in the place of a predecessor.

use kvolt_cache::{AtLimit, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor};

use crate::connections::Lease;
use crate::core::Core;
use crate::dialect::{Argument, Dialect, Statement, lock};
use crate::failure::{Kind, Outcome};
use crate::row::{Removed, millis, moment, random_number, timestamp};
use crate::statements::COLUMNS;

/// How many rows one statement restores: a hundred rows of a thousand bytes are far below the
/// smallest packet that a server accepts by default.
const RESTORED_ROWS: usize = 100;

impl<D: Dialect> Core<D> {
    /// # Why only a limit takes the owner's lock
    ///
    /// The lock makes counting and inserting one step, and an insertion without a limit counts
    /// nothing. Against `remove_owner` it needs no lock: if the insertion returned before that call
    /// began, it is committed, and the call removes it. Otherwise the two are concurrent, and the
    /// entry may stay.
    pub(crate) async fn insert(
        &self,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
    ) -> Outcome<InsertOutcome> {
        let limit = entry.owner.as_ref().zip(entry.limit);
        let owner_lock = limit.map(|(owner, _)| self.owner_lock(owner));
        let replaces = entry.replaces.as_ref();
        let locks = [owner_lock, Some(lock(key)), replaces.map(|replaces| lock(&replaces.key))];
        let _turns = self.write.turns.take(&locks).await?;
        let mut lease = self.write.lease().await?;
        let now = match &entry.times {
            Some(_) => Some(self.now(&mut lease).await?),
            None => None,
        };
        if let (Some(times), Some(now)) = (&entry.times, now)
            && times.deadlines.expires_at().is_some_and(|ends| ends <= timestamp(now))
        {
            return Ok(InsertOutcome::Expired);
        }
        // An entry is never its own predecessor: a live one occupies the key.
        if let Some(old) = replaces.filter(|old| old.key == *key && old.seen.is_some()) {
            let is_live = self.find(&mut lease, &old.key).await?.is_some();
            return Ok(if is_live { InsertOutcome::Occupied } else { InsertOutcome::Conflict });
        }
        let replaces = replaces.filter(|old| old.key != *key);
        let row = arguments(key, entry, now)?;
        if limit.is_none() {
            match (replaces, &self.sql.insert_replacing) {
                (None, _) if self.insert_row(&mut lease, key, &row).await? => {
                    return Ok(inserted(Vec::new()));
                }
                (None, _) => return Ok(InsertOutcome::Occupied),
                (Some(replaces), Some(statement)) => {
                    let arguments = [&row[..], &replaced(replaces)].concat();
                    match lease.execute(statement, &arguments).await {
                        Ok(0) => return Ok(InsertOutcome::Conflict),
                        Ok(_) => return Ok(inserted(Vec::new())),
                        // A live or an expired row has the key, and nothing was changed.
                        Err(failure) if failure.kind == Kind::Taken => {}
                        Err(failure) => return Err(failure),
                    }
                }
                (Some(_), None) => {}
            }
        }
        lease.begin(&self.sql.qualified, owner_lock).await?;
        let step = self.insert_within(&mut lease, key, &row, limit, replaces).await;
        lease.conclude(step, |outcome| matches!(outcome, InsertOutcome::Inserted { .. })).await
    }

    /// The steps of an insertion in a transaction, which has the owner's lock if there is a limit.
    /// The predecessor is removed first, so it does not count.
    ///
    /// The statements read only keys, by an index of live entries, and at most as many as the limit
    /// and the removed entries.
    async fn insert_within(
        &self,
        lease: &mut Lease<'_, D>,
        key: &Key,
        row: &[Argument<'_>],
        limit: Option<(&Owner, OwnerLimit)>,
        replaces: Option<&Predecessor>,
    ) -> Outcome<InsertOutcome> {
        if let Some(replaces) = replaces {
            let removed = lease.execute(&self.sql.remove_replaced, &replaced(replaces)).await?;
            if removed == 0 && replaces.seen.is_some() {
                return Ok(InsertOutcome::Conflict);
            }
        }
        let limit = limit.map(|(owner, limit)| (owner, limit.max_entries(), limit.at_limit()));
        if let Some((owner, max, AtLimit::Refuse)) = limit {
            let arguments = [owner.into(), Argument::from(i64::from(max))];
            if lease.fetch(&self.sql.some_owned, &arguments).await?.len() >= max as usize {
                return Ok(InsertOutcome::LimitReached);
            }
        }
        if !self.insert_row(lease, key, row).await? {
            return Ok(InsertOutcome::Occupied);
        }
        let mut removed = Vec::new();
        if let Some((owner, max, AtLimit::RemoveOldest)) = limit {
            let arguments = [owner.into(), Argument::from(i64::from(max) - 1), key.into()];
            removed = lease.remove(&self.sql, &self.sql.remove_oldest, &arguments).await?;
        }
        Ok(inserted(removed))
    }

    /// Puts entries in the place of those that have the same keys, in one transaction. Entries that
    /// have ended are only removed.
    pub(crate) async fn restore(&self, entries: &[(Key, NewEntry<Vec<u8>>)]) -> Outcome<()> {
        let mut lease = self.write.lease().await?;
        lease.begin(&self.sql.qualified, None).await?;
        let step = self.restore_within(&mut lease, entries).await;
        lease.conclude(step, |()| true).await
    }

    async fn restore_within(
        &self,
        lease: &mut Lease<'_, D>,
        entries: &[(Key, NewEntry<Vec<u8>>)],
    ) -> Outcome<()> {
        let now = self.now(lease).await?;
        let is_live = |entry: &NewEntry<Vec<u8>>| {
            let ends = entry.times.and_then(|times| times.deadlines.expires_at());
            ends.is_none_or(|ends| ends > timestamp(now))
        };
        for chunk in entries.chunks(RESTORED_ROWS) {
            let keys: Vec<_> = chunk.iter().map(|(key, _)| Argument::from(key)).collect();
            lease.execute(&full(self.sql.remove_rows::<D>(keys.len()), keys.len()), &keys).await?;
            let mut rows = Vec::with_capacity(chunk.len() * COLUMNS);
            for (key, entry) in chunk.iter().filter(|(_, entry)| is_live(entry)) {
                rows.extend(arguments(key, entry, Some(now))?);
            }
            if !rows.is_empty() {
                let count = rows.len() / COLUMNS;
                lease.execute(&full(self.sql.insert_rows::<D>(count), count), &rows).await?;
            }
        }
        Ok(())
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
            // The row has expired, or had and was removed since, or it is live.
            if lease.execute(&self.sql.remove_expired, &[key.into()]).await? == 0
                && !lease.fetch(&self.sql.deadlines, &[key.into()]).await?.is_empty()
            {
                return Ok(false);
            }
        }
    }
}

/// A statement for this many rows, which is prepared if it is for a full chunk.
fn full(statement: Statement, rows: usize) -> Statement {
    Statement { persistent: rows == RESTORED_ROWS, ..statement }
}

fn inserted(removed: Vec<Removed>) -> InsertOutcome {
    InsertOutcome::Inserted { removed: removed.into_iter().map(|row| row.key).collect() }
}

fn replaced(replaces: &Predecessor) -> [Argument<'_>; 2] {
    let seen = replaces.seen.map(|seen| seen.number().cast_signed());
    [Argument::from(&replaces.key), seen.into()]
}

/// The arguments of an insertion; `now` is the database's time, if the entry has times of its own.
fn arguments<'a>(
    key: &'a Key,
    entry: &'a NewEntry<Vec<u8>>,
    now: Option<i64>,
) -> Outcome<[Argument<'a>; COLUMNS]> {
    let (mut idle, mut lifetime) = (entry.expiry.idle_timeout(), entry.expiry.lifetime());
    let (mut created, mut idle_deadline, mut absolute_deadline) = (None, None, None);
    if let (Some(times), Some(now)) = (&entry.times, now) {
        let deadlines = times.deadlines;
        (idle, lifetime) = (deadlines.idle_timeout(), None);
        created = times.created.map(|created| moment(created).min(now).saturating_mul(1_000));
        let ends = deadlines.last_used().zip(idle).map(|(used, idle)| used.saturating_add(idle));
        idle_deadline = ends.map(moment);
        absolute_deadline = deadlines.absolute().map(moment);
    }
    Ok([
        key.into(),
        random_number()?.into(),
        entry.value.as_slice().into(),
        entry.owner.as_ref().into(),
        idle.map(millis).into(),
        lifetime.map(millis).into(),
        created.into(),
        idle_deadline.into(),
        absolute_deadline.into(),
    ])
}
