//! Insertion, and what concerns an owner's entries together.

use kvolt_cache::{
    AtLimit, EntryList, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor,
    RemoveOutcome, Result, Target, Timestamp, Version,
};
use redis::Value;

use crate::RedisStore;
use crate::header::{self, Found};
use crate::names;
use crate::reply::{self, Answer};
use crate::script::{self, Call, Script};
use crate::store::{fresh, hex, millis, overtaken, times, tries};

/// How often a list begins again because others have changed the index meanwhile.
const LISTED_WHOLE: usize = 8;

impl RedisStore {
    pub(crate) async fn insert_or_refuse(
        &self,
        key: Key,
        entry: NewEntry<Vec<u8>>,
    ) -> Result<InsertOutcome> {
        entry.limit.as_ref().map_or(Ok(()), OwnerLimit::check)?;
        if let Some(old) = entry.replaces.clone()
            && self.server().is_in_parts()
            && names::part_of(&old.key) != names::part_of(&key)
        {
            // To its end, even if the caller gives up.
            let inserting = tokio::spawn(self.clone().insert_across(key, entry, old));
            return self
                .in_time(async { inserting.await.unwrap_or_else(|_| Err(overtaken())) })
                .await;
        }
        self.in_time(self.insert_as(&key, &entry, fresh()?)).await
    }

    /// Inserts, and then removes what is replaced, where no one step reaches both: between slots of
    /// a cluster. If that can't be removed, the new entry is removed again.
    ///
    /// Nobody knows the new key before this has returned.
    async fn insert_across(
        self,
        key: Key,
        mut entry: NewEntry<Vec<u8>>,
        old: Predecessor,
    ) -> Result<InsertOutcome> {
        entry.replaces = None;
        let version = fresh()?;
        let inserted = self.in_time(self.insert_as(&key, &entry, version)).await?;
        if !matches!(inserted, InsertOutcome::Inserted { .. }) {
            return Ok(inserted);
        }
        let at = Target::new(&old.key).owner(old.owner.as_ref());
        let removed = self.in_time(self.remove_now(at, old.seen)).await;
        match removed {
            Ok(RemoveOutcome::Removed) => return Ok(inserted),
            Ok(RemoveOutcome::Absent) if old.seen.is_none() => return Ok(inserted),
            _ => {}
        }
        let at = Target::new(&key).owner(entry.owner.as_ref());
        let seen = Some(Version::from_number(version));
        let taken_back = self.in_time(self.remove_now(at, seen)).await;
        removed.and(taken_back).map(|_| InsertOutcome::Conflict)
    }

    async fn insert_as(
        &self,
        key: &Key,
        entry: &NewEntry<Vec<u8>>,
        version: u64,
    ) -> Result<InsertOutcome> {
        let name = self.names().key(key);
        let owner = entry.owner.as_ref();
        let old = entry.replaces.as_ref();
        let mut old_owner = old.and_then(|old| old.owner.as_ref()).map(owner_bytes);
        let mut members = Vec::new();
        for _ in tries() {
            let index = owner.map(|owner| self.names().index(owner));
            let old_name = old.map(|old| self.names().key(&old.key));
            let old_index = old.zip(old_owner.as_deref());
            let old_index = old_index.map(|(old, owner)| self.index_beside(&old.key, owner));
            let mut keys = vec![name.clone()];
            keys.extend([index, old_name, old_index].map(|other| other.unwrap_or(name.clone())));
            keys.extend(self.names_of(&members));
            let call = Call::script(&script::INSERT, names::part_of(key), &keys)
                .writes()
                .arg(hex(version))
                .arg(header::names(owner))
                .arg(&entry.value)
                .arg(&times_of(entry))
                .arg(owner.map_or("", Owner::as_str))
                .arg(&limits(entry.limit))
                .arg(
                    old.and_then(|old| old.seen).map(|seen| hex(seen.number())).unwrap_or_default(),
                )
                .arg(old_owner.as_deref().unwrap_or_default())
                .arg(if entry.times.is_some() { "copied" } else { "" });
            let answer = self.server().run(&call).await?;
            match answer.status.as_str() {
                "inserted" => return self.inserted(owner, answer).await,
                "occupied" => return Ok(InsertOutcome::Occupied),
                "limit" => return Ok(InsertOutcome::LimitReached),
                "conflict" => return Ok(InsertOutcome::Conflict),
                "expired" => return Ok(InsertOutcome::Expired),
                "owner" => old_owner = Some(answer.value()?),
                "members" => members = reply::texts(Value::Array(answer.rest))?,
                _ => return Err(reply::strange()),
            }
        }
        Err(overtaken())
    }

    async fn inserted(&self, owner: Option<&Owner>, answer: Answer) -> Result<InsertOutcome> {
        let mut lists = answer.rest.into_iter();
        let mut next = || reply::texts(lists.next().ok_or_else(reply::strange)?);
        let (removed, some) = (next()?, next()?);
        if let Some(owner) = owner
            && !some.is_empty()
        {
            // It is inserted, whatever becomes of this.
            let _ = Box::pin(self.run_members(owner, &some, "prune")).await;
        }
        Ok(InsertOutcome::Inserted { removed: self.keys_of(&removed) })
    }

    pub(crate) async fn list_now(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        let mut members = Vec::new();
        for attempt in tries() {
            let partly = if attempt > LISTED_WHOLE { "partly" } else { "" };
            let answer = self.run_on(&script::LIST, owner, &members, partly).await?;
            match answer.status.as_str() {
                "members" => members = reply::texts(Value::Array(answer.rest))?,
                "listed" => return self.listed(answer),
                _ => return Err(reply::strange()),
            }
        }
        Err(overtaken())
    }

    fn listed(&self, answer: Answer) -> Result<EntryList<Vec<u8>>> {
        let mut listing = EntryList::new(Vec::new(), Vec::new());
        for one in answer.rest {
            let mut parts = reply::array(one).ok_or_else(reply::strange)?.into_iter();
            let key =
                parts.next().and_then(reply::text).and_then(|it| self.names().parse_member(&it));
            // Of a member that names no entry of ours.
            let Some(key) = key else { continue };
            let created = parts.next().and_then(reply::score);
            let value = parts.next().and_then(reply::bytes).ok_or_else(reply::strange)?;
            match Found::parse(&key, value) {
                Ok(found) => {
                    let entry = self.entry(&key, found, answer.now);
                    listing.entries.push(entry.created(created));
                }
                Err(_) => listing.unreadable.push(key),
            }
        }
        Ok(listing)
    }

    pub(crate) async fn remove_owner_now(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Result<Vec<Key>> {
        let keep = keep.map(|key| self.names().member(key));
        let mut members = self.members(owner).await?;
        members.retain(|member| Some(member) != keep.as_ref());
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.run_members(owner, &members, "remove").await?;
        Ok(self.keys_of(&reply::texts(Value::Array(answer.rest))?))
    }

    /// Takes what has ended out of an owner's index.
    pub(crate) async fn prune(&self, owner: &Owner) -> Result<()> {
        let members = self.members(owner).await?;
        self.run_members(owner, &members, "prune").await.map(drop)
    }

    /// The members of an owner's index.
    async fn members(&self, owner: &Owner) -> Result<Vec<String>> {
        let answer = self.run_on(&script::LIST, owner, &[], "").await?;
        match answer.status.as_str() {
            "members" => reply::texts(Value::Array(answer.rest)),
            "listed" => Ok(Vec::new()),
            _ => Err(reply::strange()),
        }
    }

    async fn run_members(&self, owner: &Owner, members: &[String], what: &str) -> Result<Answer> {
        self.run_on(&script::MEMBERS, owner, members, what).await
    }

    /// Calls a script on an owner's index and some of its members.
    async fn run_on(
        &self,
        script: &'static Script,
        owner: &Owner,
        members: &[String],
        what: &str,
    ) -> Result<Answer> {
        let mut keys = vec![self.names().index(owner)];
        keys.extend(self.names_of(members));
        let call = Call::script(script, names::part_of_owner(owner), &keys);
        let call = call.arg(owner.as_str()).arg(what);
        // Others may be answered before any replica knows of it: nothing is lost with it.
        let call = if what == "remove" { call.writes() } else { call };
        self.server().run(&call).await
    }

    fn names_of(&self, members: &[String]) -> impl Iterator<Item = String> {
        members.iter().filter_map(|member| self.names().of_member(member))
    }

    fn keys_of(&self, members: &[String]) -> Vec<Key> {
        members.iter().filter_map(|member| self.names().parse_member(member)).collect()
    }
}

fn owner_bytes(owner: &Owner) -> Vec<u8> {
    owner.as_str().as_bytes().to_vec()
}

/// Last use, idle time, end and moment of creation, as the scripts take them.
fn times_of(entry: &NewEntry<Vec<u8>>) -> [String; 4] {
    let now = || String::from("+0");
    let Some(copied) = &entry.times else {
        let [used, idle, end] = times(entry.expiry);
        return [used, idle, end, now()];
    };
    let deadlines = &copied.deadlines;
    let at = |moment: Option<Timestamp>| moment.map(|at| header::clamp(at.as_millis()).to_string());
    let idle = deadlines.idle_timeout().map(|idle| millis(idle).to_string());
    let [used, end] = [deadlines.last_used(), deadlines.absolute()].map(at);
    let [used, idle, end] = [used, idle, end].map(Option::unwrap_or_default);
    [used, idle, end, at(copied.created).unwrap_or_else(now)]
}

/// Limit and what happens at it, as the scripts take them.
fn limits(limit: Option<OwnerLimit>) -> [String; 2] {
    let Some(limit) = limit else {
        return [String::new(), String::new()];
    };
    let at_limit = if limit.at_limit() == AtLimit::Refuse { "refuse" } else { "oldest" };
    [limit.max_entries().to_string(), String::from(at_limit)]
}
