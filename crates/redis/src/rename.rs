//! Renaming.

use std::time::Duration;

use kvolt_cache::{Expiry, Insert, Key, NewEntry, Owner, Rename, Renamed, Result};

use crate::RedisStore;
use crate::names;
use crate::reply::{self, Chain, Former};
use crate::script::{self, Call};
use crate::store::{check_owner, fresh, limits, millis, owner_of, times};

impl RedisStore {
    pub(crate) async fn rename_now(
        &self,
        from: &Key,
        to: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Result<Renamed> {
        check_owner(rename.owner.as_ref())?;
        if self.server().is_in_parts() && names::part_of(from) != names::part_of(to) {
            return Box::pin(self.rename_across(from, to, rename)).await;
        }
        let given = rename.owner.as_ref().map(Owner::as_str);
        let version = fresh()?;
        let (mut from, mut to) = (Chain::of(from), Chain::of(to));
        let mut known: Option<String> = None;
        let mut members: Vec<Key> = Vec::new();
        loop {
            let part = from.part();
            let mut keys = vec![self.names().mark(part), self.names().former(&from.keys[0])];
            keys.extend(self.chain_names(&from));
            keys.extend(self.chain_names(&to));
            keys.extend(known.as_deref().map(|owner| self.names().owner(owner)));
            keys.extend(given.map(|owner| self.names().owner(owner)));
            keys.extend(members.iter().map(|member| self.names().key(member)));
            let (seen, value) = match &rename.value {
                Some((seen, value)) => (seen.number().to_string(), value.as_slice()),
                None => (String::new(), &[][..]),
            };
            let call = Call::write(&script::RENAME, part, &keys)
                .arg(from.keys.len())
                .arg(&from.id)
                .arg(to.keys.len())
                .arg(&to.id)
                .arg(seen)
                .arg(value)
                .arg(version)
                .arg(if known.is_some() { "known" } else { "" })
                .arg(known.as_deref().unwrap_or_default())
                .arg(if given.is_some() { "given" } else { "" })
                .arg(given.unwrap_or_default())
                .arg(if rename.expiry.is_some() { "anew" } else { "" })
                .arg(&times(rename.expiry))
                .arg(millis(rename.grace))
                .arg(&limits(rename.limit))
                .arg(self.marks());
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "moved" => {
                    let mut rest = answer.rest.into_iter();
                    let dropped = Former::parse(rest.next(), rest.next());
                    let removed = reply::keys(rest.collect())?;
                    if let Some(dropped) = dropped {
                        // It is renamed. They would lead to nothing even so, and go with time.
                        let _ = Box::pin(self.forget(&dropped)).await;
                    }
                    return Ok(Renamed::Moved { removed });
                }
                "absent" => return Ok(Renamed::Absent),
                "superseded" => return Ok(Renamed::Superseded),
                "occupied" => return Ok(Renamed::Occupied),
                "conflict" => return Ok(Renamed::Conflict),
                "limit" => return Ok(Renamed::LimitReached),
                "walk" => {
                    if !from.walk(answer, self.server().is_in_parts())? {
                        return Ok(Renamed::Absent);
                    }
                    if from.part() != part {
                        // A former key, if it leads anywhere.
                        let found = Box::pin(self.find_by(from, false)).await?;
                        return Ok(found.map_or(Renamed::Absent, |_| Renamed::Superseded));
                    }
                }
                "walk to" => {
                    if self.is_taken(&mut to, answer).await? {
                        return Ok(Renamed::Occupied);
                    }
                }
                "owner" => known = Some(owner_of(answer)?),
                "members" => members = answer.keys()?,
                _ => return Err(answer.strange()),
            }
        }
    }

    /// Renames between slots of a cluster, which no one step reaches: makes the new entry, then ends the former.
    ///
    /// If the former has been changed meanwhile, the new one is taken back.
    /// Nobody knows the new key until this has returned.
    async fn rename_across(
        &self,
        from: &Key,
        to: &Key,
        rename: &Rename<Vec<u8>>,
    ) -> Result<Renamed> {
        loop {
            let Some(found) = self.find(from, false).await? else {
                return Ok(Renamed::Absent);
            };
            if found.entry.key != *from {
                return Ok(Renamed::Superseded);
            }
            let value = match &rename.value {
                Some((seen, _)) if *seen != found.entry.version => return Ok(Renamed::Conflict),
                Some((_, value)) => value.clone(),
                None => found.entry.value.clone(),
            };
            let owner = rename.owner.clone().or_else(|| found.entry.owner.clone());
            let moved = rename.expiry.is_none().then_some(&found);
            let expiry = rename.expiry.unwrap_or(Expiry::after(Duration::ZERO));
            let entry = NewEntry::new(value, expiry).owner(owner).limit(rename.limit);
            let removed = match self.insert_as(to, &entry, fresh()?, &found.id, moved).await? {
                Insert::Inserted { removed } => removed,
                Insert::Occupied => return Ok(Renamed::Occupied),
                Insert::LimitReached => return Ok(Renamed::LimitReached),
            };
            match self.retire(from, to, &found, rename.grace).await {
                Ok(None) => {
                    if let Some(owner) = &found.entry.owner {
                        // It has ended, and would leave the index with time, too.
                        let _ = self.prune(owner.as_str(), &[*from]).await;
                    }
                    return Ok(Renamed::Moved { removed });
                }
                Ok(Some(refusal)) => {
                    self.take_back(to).await?;
                    // The caller named no version: it is moved as it is now.
                    if refusal != Renamed::Conflict || rename.value.is_some() {
                        return Ok(refusal);
                    }
                }
                // The former key may have come to lead to the new one, which therefore stays.
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the former key; or says why it can't be.
    async fn retire(
        &self,
        from: &Key,
        to: &Key,
        found: &reply::Found,
        grace: Duration,
    ) -> Result<Option<Renamed>> {
        let part = names::part_of(from);
        let names = self.names();
        let keys = [names.mark(part), names.key(from), names.former(from)];
        let call = Call::write(&script::RETIRE, part, &keys)
            .arg(&found.id)
            .arg(found.entry.version.number())
            .arg(names::hex(to))
            .arg(millis(grace))
            .arg(self.marks());
        let answer = self.server().call(&call).await?;
        match answer.status.as_str() {
            "retired" => Ok(None),
            "absent" => Ok(Some(Renamed::Absent)),
            "superseded" => Ok(Some(Renamed::Superseded)),
            "conflict" => Ok(Some(Renamed::Conflict)),
            _ => Err(answer.strange()),
        }
    }

    async fn take_back(&self, to: &Key) -> Result<()> {
        let keys = [self.names().key(to)];
        let call = Call::write(&script::REMOVE, names::part_of(to), &keys).arg(1).arg("");
        let answer = self.server().call(&call).await?;
        Box::pin(self.tidy(answer)).await;
        Ok(())
    }
}
