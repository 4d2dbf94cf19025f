//! Insertion.

use kvolt_cache::{
    InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome, Result, Target,
    Version,
};

use crate::RedisStore;
use crate::arguments::{hex, limit, new_times, random_version};
use crate::entries::{MAX_TRIES, overtaken};
use crate::header;
use crate::names;
use crate::reply::{self, Answer};
use crate::script::{self, Call};

impl RedisStore {
    pub(crate) async fn insert_now(
        &self,
        key: Key,
        entry: NewEntry<Vec<u8>>,
    ) -> Result<InsertOutcome> {
        entry.limit.as_ref().map_or(Ok(()), OwnerLimit::check)?;
        if let Some(old) = entry.replaces.clone()
            && self.inner.servers.is_cluster()
            && names::part_of(&old.key) != names::part_of(&key)
        {
            // A task of its own, because it must end even if the caller gives up.
            let inserting = tokio::spawn(self.clone().insert_across(key, entry, old));
            let inserted = async { inserting.await.unwrap_or_else(|_| Err(overtaken())) };
            return self.in_time(inserted).await;
        }
        self.in_time(self.insert_in_one_step(&key, &entry, random_version()?)).await
    }

    /// Inserts, and then removes the predecessor, where no one step reaches both: between slots of
    /// a cluster. If the predecessor can't be removed, the new entry is removed again.
    ///
    /// No client has the new key before this returns.
    async fn insert_across(
        self,
        key: Key,
        mut entry: NewEntry<Vec<u8>>,
        old: Predecessor,
    ) -> Result<InsertOutcome> {
        entry.replaces = None;
        let version = random_version()?;
        let inserted = self.in_time(self.insert_in_one_step(&key, &entry, version)).await?;
        if !matches!(inserted, InsertOutcome::Inserted { .. }) {
            return Ok(inserted);
        }
        let target = Target::new(&old.key).owner(old.owner.as_ref());
        let removed = self.in_time(self.remove_now(target, old.seen)).await;
        match removed {
            Ok(RemoveOutcome::Removed) => return Ok(inserted),
            Ok(RemoveOutcome::Absent) if old.seen.is_none() => return Ok(inserted),
            _ => {}
        }
        let target = Target::new(&key).owner(entry.owner.as_ref());
        let seen = Some(Version::from_number(version));
        let undone = self.in_time(self.remove_now(target, seen)).await;
        removed.and(undone).map(|_| InsertOutcome::Conflict)
    }

    async fn insert_in_one_step(
        &self,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
        version: u64,
    ) -> Result<InsertOutcome> {
        let name = self.inner.names.key(key);
        let owner = entry.owner.as_ref();
        let old = entry.replaces.as_ref();
        let seen = old.and_then(|old| old.seen).map(|seen| hex(seen.number())).unwrap_or_default();
        let mut old_owner =
            old.and_then(|old| old.owner.as_ref()).map(|owner| owner.as_str().as_bytes().to_vec());
        let mut members = Vec::new();
        for _ in 0..MAX_TRIES {
            let index = owner.map(|owner| self.inner.names.index(owner));
            let old_name = old.map(|old| self.inner.names.key(&old.key));
            let old_index = old.zip(old_owner.as_deref());
            let old_index = old_index.map(|(old, owner)| self.index_beside(&old.key, owner));
            let mut keys = vec![name.clone()];
            keys.extend([index, old_name, old_index].map(|other| other.unwrap_or(name.clone())));
            keys.extend(self.inner.names.of_members(&members));
            let call = Call::script(&script::INSERT, names::part_of(key), &keys)
                .writes()
                .arg(hex(version))
                .arg(header::names(owner))
                .arg(&entry.value)
                .arg(&new_times(entry))
                .arg(owner.map_or("", Owner::as_str))
                .arg(&limit(entry.limit))
                .arg(&seen)
                .arg(old_owner.as_deref().unwrap_or_default())
                .arg(if entry.times.is_some() { "copied" } else { "" });
            let answer = self.inner.servers.run(&call).await?;
            match answer.status.as_str() {
                "inserted" => return self.inserted(owner, answer).await,
                "occupied" => return Ok(InsertOutcome::Occupied),
                "limit" => return Ok(InsertOutcome::LimitReached),
                "conflict" => return Ok(InsertOutcome::Conflict),
                "expired" => return Ok(InsertOutcome::Expired),
                "owner" => old_owner = Some(answer.value()?),
                "members" => members = answer.texts()?,
                _ => return Err(reply::unexpected()),
            }
        }
        Err(overtaken())
    }

    async fn inserted(&self, owner: Option<&Owner>, answer: Answer) -> Result<InsertOutcome> {
        let mut lists = answer.rest.into_iter().map(reply::parse::<Vec<String>>);
        let mut next = || lists.next().flatten().ok_or_else(reply::unexpected);
        let (removed, sample) = (next()?, next()?);
        if let Some(owner) = owner
            && !sample.is_empty()
        {
            // The entry is inserted, whether or not this succeeds.
            let _ = Box::pin(self.run_on(&script::MEMBERS, owner, &sample, "prune")).await;
        }
        Ok(InsertOutcome::Inserted { removed: self.inner.names.parse_members(&removed) })
    }
}
