//! Insertion, and what concerns an owner's entries together.

use kvolt_cache::{Entry, Error, Insert, Key, NewEntry, Owner, Result};

use crate::RedisStore;
use crate::names;
use crate::reply::{self, Answer, Chain, Former, Found};
use crate::script::{self, Call};
use crate::store::{check_owner, fresh, limits, times};

impl RedisStore {
    pub(crate) async fn insert_now(&self, key: &Key, entry: &NewEntry<Vec<u8>>) -> Result<Insert> {
        let id = fresh()?;
        self.insert_as(key, entry, id, &id.to_string(), None).await
    }

    /// Inserts, with an id; with `moved`, its deadlines are kept.
    pub(crate) async fn insert_as(
        &self,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
        version: u64,
        id: &str,
        moved: Option<&Found>,
    ) -> Result<Insert> {
        check_owner(entry.owner.as_ref())?;
        let owner = entry.owner.as_ref().map(Owner::as_str);
        let mut chain = Chain::of(key);
        let mut members: Vec<Key> = Vec::new();
        loop {
            let mut keys = self.chain_names(&chain);
            keys.extend(owner.map(|owner| self.names().owner(owner)));
            keys.extend(members.iter().map(|member| self.names().key(member)));
            let kept = |time: Option<u64>| time.map(|time| time.to_string()).unwrap_or_default();
            let mut expiry = times(Some(entry.expiry));
            if let Some(moved) = moved {
                expiry = [kept(moved.idle), String::new()];
            }
            let call = Call::write(&script::INSERT, chain.part(), &keys)
                .arg(chain.keys.len())
                .arg(&chain.id)
                .arg(&entry.value)
                .arg(version)
                .arg(id)
                .arg(if owner.is_some() { "owned" } else { "" })
                .arg(owner.unwrap_or_default())
                .arg(&expiry)
                .arg(&limits(entry.limit))
                .arg(kept(moved.and_then(|moved| moved.end)))
                .arg(kept(moved.and_then(|moved| moved.used)))
                .arg(moved.map(|moved| moved.made.as_str()).unwrap_or_default());
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "inserted" => return self.inserted(owner, answer).await,
                "occupied" => return Ok(Insert::Occupied),
                "limit" => return Ok(Insert::LimitReached),
                "walk" => {
                    if self.is_taken(&mut chain, answer).await? {
                        return Ok(Insert::Occupied);
                    }
                }
                "members" => members = answer.keys()?,
                _ => return Err(answer.strange()),
            }
        }
    }

    /// Goes on from a former key that something is to be made under, and says whether it turned
    /// out to be taken. If it leads to nothing that its own slot knows of, the chain then says so.
    pub(crate) async fn is_taken(&self, chain: &mut Chain, answer: Answer) -> Result<bool> {
        let (part, first) = (chain.part(), chain.keys[0]);
        let leads_on = chain.walk(answer, self.server().is_in_parts())?;
        if leads_on && chain.part() == part {
            return Ok(false);
        }
        let id = chain.id.clone();
        if leads_on && Box::pin(self.find_by(chain.clone(), false)).await?.is_some() {
            return Ok(true);
        }
        *chain = Chain::of_nothing(first, id);
        Ok(false)
    }

    async fn inserted(&self, owner: Option<&str>, mut answer: Answer) -> Result<Insert> {
        let strange = answer.strange();
        let removed = answer.rest.split_off(1.min(answer.rest.len()));
        let sample = answer.rest.pop().and_then(reply::array).ok_or(strange)?;
        let sample = reply::keys(sample)?;
        if let Some(owner) = owner
            && !sample.is_empty()
        {
            // It is inserted, whatever becomes of this.
            let _ = self.prune(owner, &sample).await;
        }
        Ok(Insert::Inserted { removed: reply::keys(removed)? })
    }

    /// Takes those of these that have ended out of the owner's index.
    pub(crate) async fn prune(&self, owner: &str, members: &[Key]) -> Result<()> {
        // A cluster that was filled by something else than this store may have them elsewhere.
        let part = names::part_of_owner(owner);
        let is_here = |key: &&Key| !self.server().is_in_parts() || names::part_of(key) == part;
        let mut keys = vec![self.names().owner(owner)];
        keys.extend(members.iter().filter(is_here).map(|member| self.names().key(member)));
        // Not `write`: nothing is lost if a replica does not have it.
        let call = Call::read(&script::PRUNE, part, &keys).arg(owner);
        self.server().call(&call).await.map(drop)
    }

    /// Takes away former keys that lead to nothing any more, or are to.
    pub(crate) async fn forget(&self, former: &Former) -> Result<()> {
        for (part, keys) in self.by_part(&former.keys) {
            if keys.is_empty() {
                continue;
            }
            let names: Vec<String> = keys
                .iter()
                .flat_map(|key| [self.names().key(key), self.names().former(key)])
                .collect();
            // Not `write`: nothing is lost if a replica does not have it.
            let call = Call::read(&script::FORGET, part, &names).arg(&former.id);
            self.server().call(&call).await?;
        }
        Ok(())
    }

    pub(crate) async fn list_now(&self, owner: &Owner) -> Result<Vec<Entry<Vec<u8>>>> {
        let part = names::part_of_owner(owner.as_str());
        let mut members: Vec<Key> = Vec::new();
        loop {
            let mut keys = vec![self.names().owner(owner.as_str())];
            keys.extend(members.iter().map(|member| self.names().key(member)));
            let call = Call::read(&script::LIST, part, &keys).arg(owner.as_str());
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "listed" => return entries(answer.rest),
                "members" => members = answer.keys()?,
                _ => return Err(answer.strange()),
            }
        }
    }

    pub(crate) async fn remove_owner_now(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Result<Vec<Key>> {
        let part = names::part_of_owner(owner.as_str());
        let mut keep = keep.map(Chain::of);
        let mut members: Vec<Key> = Vec::new();
        let mut youngest = String::new();
        loop {
            if let Some(chain) = &keep
                && self.server().is_in_parts()
                && chain.part() != part
            {
                // A former key in another slot: it can only be asked by itself.
                let first = chain.keys[0];
                let found = Box::pin(self.find(&first, false)).await?.map(|found| found.entry.key);
                keep = found.filter(|key| names::part_of(key) == part).as_ref().map(Chain::of);
            }
            let mut keys = vec![self.names().owner(owner.as_str())];
            keys.extend(keep.iter().flat_map(|chain| self.chain_names(chain)));
            keys.extend(members.iter().map(|member| self.names().key(member)));
            let call = Call::write(&script::REMOVE_OWNER, part, &keys)
                .arg(owner.as_str())
                .arg(keep.as_ref().map_or(0, |chain| chain.keys.len()))
                .arg(keep.as_ref().map_or("", |chain| chain.id.as_str()))
                .arg(&youngest);
            let mut answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "removed" => {
                    let mut rest = answer.rest.into_iter();
                    let former = rest.next().and_then(reply::array).unwrap_or_default();
                    let removed = reply::keys(rest.collect())?;
                    let mut former = former.into_iter();
                    while let (Some(id), keys) = (former.next(), former.next()) {
                        if let Some(former) = Former::parse(Some(id), keys) {
                            // They lead to nothing, and would go with time, too.
                            let _ = Box::pin(self.forget(&former)).await;
                        }
                    }
                    return Ok(removed);
                }
                "members" => {
                    let rest = answer.rest.split_off(1.min(answer.rest.len()));
                    youngest = answer.rest.pop().and_then(reply::text).unwrap_or_default();
                    members = reply::keys(rest)?;
                }
                "walk" => {
                    if let Some(chain) = &mut keep
                        && !chain.walk(answer, self.server().is_in_parts())?
                    {
                        keep = None;
                    }
                }
                _ => return Err(answer.strange()),
            }
        }
    }
}

/// Entries, each as `show` of `common.lua` gives it.
pub(crate) fn entries(values: Vec<redis::Value>) -> Result<Vec<Entry<Vec<u8>>>> {
    let strange =
        || Error::misconfigured("the server answered what no script of this store answers");
    let entry = |value| {
        let mut fields = reply::array(value).ok_or_else(strange)?;
        if fields.is_empty() {
            return Err(strange());
        }
        fields.remove(0);
        reply::found(fields).map(|found| found.entry)
    };
    values.into_iter().map(entry).collect()
}
