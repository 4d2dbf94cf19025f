//! Operations on the entries of one owner.

use kvolt_cache::{EntryList, Key, Owner, Result};
use redis::Value;

use crate::RedisStore;
use crate::entries::{MAX_TRIES, overtaken};
use crate::header::Found;
use crate::names;
use crate::reply::{self, Answer};
use crate::script::{self, Call, Script};

/// How many times a list is read again because the index has changed. After that, members that
/// were added meanwhile are left out.
const MAX_COMPLETE_LISTS: usize = 8;

impl RedisStore {
    pub(crate) async fn list_now(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        let mut members = Vec::new();
        for attempt in 0..MAX_TRIES {
            let partial = if attempt > MAX_COMPLETE_LISTS { "partial" } else { "" };
            let answer = self.run_on(&script::LIST, owner, &members, partial).await?;
            match answer.status.as_str() {
                "members" => members = answer.texts()?,
                "listed" => return self.listed(answer),
                _ => return Err(reply::unexpected()),
            }
        }
        Err(overtaken())
    }

    fn listed(&self, answer: Answer) -> Result<EntryList<Vec<u8>>> {
        let mut list = EntryList::new(Vec::new(), Vec::new());
        for item in answer.rest {
            let item: Option<(String, Value, Vec<u8>)> = reply::parse(item);
            let (member, score, value) = item.ok_or_else(reply::unexpected)?;
            // Another program may have added members that name no entry.
            let Some(key) = self.inner.names.parse_member(&member) else { continue };
            match Found::parse(&key, value) {
                Ok(found) => {
                    let entry = self.entry(&key, found, answer.now);
                    list.entries.push(entry.created(reply::score(score)));
                }
                Err(_) => list.unreadable.push(key),
            }
        }
        Ok(list)
    }

    pub(crate) async fn remove_owner_now(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> Result<Vec<Key>> {
        let keep = keep.map(|key| self.inner.names.member(key));
        let mut members = self.members(owner).await?;
        members.retain(|member| Some(member) != keep.as_ref());
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let removed = self.run_on(&script::MEMBERS, owner, &members, "remove").await?.texts()?;
        Ok(self.inner.names.parse_members(&removed))
    }

    /// Removes expired members from an owner's index.
    pub(crate) async fn prune(&self, owner: &Owner) -> Result<()> {
        let members = self.members(owner).await?;
        self.run_on(&script::MEMBERS, owner, &members, "prune").await.map(drop)
    }

    /// The members of an owner's index.
    async fn members(&self, owner: &Owner) -> Result<Vec<String>> {
        let answer = self.run_on(&script::LIST, owner, &[], "").await?;
        match answer.status.as_str() {
            "members" => answer.texts(),
            "listed" => Ok(Vec::new()),
            _ => Err(reply::unexpected()),
        }
    }

    /// Runs a script on an owner's index and some of its members.
    pub(crate) async fn run_on(
        &self,
        script: &'static Script,
        owner: &Owner,
        members: &[String],
        action: &str,
    ) -> Result<Answer> {
        let mut keys = vec![self.inner.names.index(owner)];
        keys.extend(self.inner.names.of_members(members));
        let call = Call::script(script, names::part_of_owner(owner), &keys);
        let call = call.arg(owner.as_str()).arg(action);
        // Only a removal must be on the replicas before it is answered.
        let call = if action == "remove" { call.writes() } else { call };
        self.inner.servers.run(&call).await
    }
}
