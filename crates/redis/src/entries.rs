//! Operations on one entry.

use kvolt_cache::{
    Deadlines, Entry, Error, Expiry, Key, Owner, RemoveOutcome, ReplaceOutcome, Result, Target,
    Timestamp, Version,
};
use redis::Value;

use crate::RedisStore;
use crate::arguments::{hex, random_version, times};
use crate::header::{self, Found, Times};
use crate::names;
use crate::reply::{self, Answer};
use crate::script::{self, Call, Script};

/// How many times a call is sent because others change the same owner's entries.
pub(crate) const MAX_TRIES: usize = 200;

/// A fraction of the idle time after which no live entry is due to slide.
const NEVER_DUE: f64 = 1.0;

impl RedisStore {
    pub(crate) async fn get_now(&self, key: &Key) -> Result<Option<Entry<Vec<u8>>>> {
        let call = Call::plain("GETEX", names::part_of(key), &self.inner.names.key(key));
        let (value, now) = match self.inner.servers.call(&call).await {
            Err(fault) if fault.code() == Some("WRONGTYPE") => {
                return Err(header::unreadable(key, b""));
            }
            reply => reply?,
        };
        let found = match value {
            Value::Nil => return Ok(None),
            Value::BulkString(bytes) => Found::parse(key, bytes)?,
            _ => return Err(reply::unexpected()),
        };
        // The key has lost its expiry, or the estimate of the server's time has just passed the
        // deadline: the server's clock decides.
        if found.has_ended(now)
            && Box::pin(self.touch_now(Target::new(key), NEVER_DUE)).await?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(self.entry(key, found, now)))
    }

    pub(crate) async fn touch_now(
        &self,
        target: Target<'_>,
        slide_after: f64,
    ) -> Result<Option<Deadlines>> {
        let answer = self.run_at(&script::TOUCH, target, |call| call.arg(slide_after)).await?;
        match answer.status.as_str() {
            "absent" => Ok(None),
            "live" => {
                let times: Vec<u8> = answer.value()?;
                Ok(Some(Times::parse(&times).ok_or_else(reply::unexpected)?.deadlines()))
            }
            _ => Err(reply::unexpected()),
        }
    }

    pub(crate) async fn replace_now(
        &self,
        target: Target<'_>,
        seen: Version,
        value: &[u8],
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        let version = random_version()?;
        let answer = self
            .run_at(&script::REPLACE, target, |call| {
                let call = call.writes().arg(hex(seen.number())).arg(hex(version)).arg(value);
                expiry.map(times).iter().fold(call, |call, times| call.arg(times))
            })
            .await?;
        match answer.status.as_str() {
            "replaced" => Ok(ReplaceOutcome::Replaced(Version::from_number(version))),
            "absent" => Ok(ReplaceOutcome::Absent),
            "conflict" => {
                let now = answer.now;
                let found = Found::parse(target.key, answer.value()?)?;
                Ok(ReplaceOutcome::Conflict(self.entry(target.key, found, now)))
            }
            _ => Err(reply::unexpected()),
        }
    }

    pub(crate) async fn remove_now(
        &self,
        target: Target<'_>,
        seen: Option<Version>,
    ) -> Result<RemoveOutcome> {
        let seen = seen.map(|seen| hex(seen.number())).unwrap_or_default();
        let answer = self.run_at(&script::REMOVE, target, |call| call.writes().arg(&seen)).await?;
        match answer.status.as_str() {
            "removed" => Ok(RemoveOutcome::Removed),
            "conflict" => Ok(RemoveOutcome::Conflict),
            "absent" => Ok(RemoveOutcome::Absent),
            _ => Err(reply::unexpected()),
        }
    }

    /// Runs a script on an entry and its owner's index, and again if the caller's hint was not the
    /// owner. The script's first argument is the owner.
    async fn run_at(
        &self,
        script: &'static Script,
        target: Target<'_>,
        arguments: impl Fn(Call) -> Call,
    ) -> Result<Answer> {
        let mut owner = target.owner.map(|owner| owner.as_str().as_bytes().to_vec());
        for _ in 0..MAX_TRIES {
            let mut keys = vec![self.inner.names.key(target.key)];
            keys.extend(owner.as_ref().map(|owner| self.index_beside(target.key, owner)));
            let call = Call::script(script, names::part_of(target.key), &keys);
            let call = arguments(call.arg(owner.as_deref().unwrap_or_default()));
            let answer = self.inner.servers.run(&call).await?;
            match answer.status.as_str() {
                "owner" => owner = Some(answer.value()?),
                "damaged" => {
                    return Err(header::unreadable(target.key, &answer.value::<Vec<u8>>()?));
                }
                _ => return Ok(answer),
            }
        }
        Err(overtaken())
    }

    pub(crate) fn entry(&self, key: &Key, found: Found, now: Timestamp) -> Entry<Vec<u8>> {
        found.entry(key, now, self.inner.slide_after)
    }

    /// The name of an owner's index; the entry's own name if no one command reaches both.
    pub(crate) fn index_beside(&self, key: &Key, owner: &[u8]) -> String {
        let owner = str::from_utf8(owner).ok().and_then(Owner::from_stored);
        let is_reachable = |owner: &Owner| {
            !self.inner.servers.is_cluster() || names::part_of_owner(owner) == names::part_of(key)
        };
        match owner.filter(is_reachable) {
            Some(owner) => self.inner.names.index(&owner),
            None => self.inner.names.key(key),
        }
    }
}

/// The error for a call that other calls overtook too often.
pub(crate) fn overtaken() -> Error {
    Error::unavailable("other calls keep changing the same owner's entries")
}
