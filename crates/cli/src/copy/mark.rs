//! The mark of a copy in its target.

use std::time::Duration;

use kvolt::cache::{
    AnyStore, Expiry, Freshness, InsertOutcome, NewEntry, ReplaceOutcome, Store, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

use super::DAY;
use crate::failure::{Failure, failed};
use crate::output::rfc3339;
use crate::store::copy_mark;

/// How long an unfinished copy can be continued.
const LIFETIME: Duration = Duration::from_secs(400 * 86_400);

/// The mark, as this run has read or written it last.
pub(super) struct Mark {
    content: Content,
    version: Version,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// The format of this mark.
    v: u8,
    /// Where the source is, without credentials.
    source: String,
    state: State,
    /// When the state was set, in milliseconds.
    since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Copying,
    Finished,
}

impl Mark {
    /// Reads the mark, or sets it in an empty target.
    pub(super) async fn take(target: &AnyStore<Vec<u8>>, source: &str) -> Result<Self, Failure> {
        let key = copy_mark();
        if let Some(found) = target.get(&key, Freshness::Strict).await? {
            let content: Content = serde_json::from_slice(&found.value)
                .map_err(|_| failed("the target's mark of a copy can't be read"))?;
            if content.state == State::Finished {
                return Err(failed(format!(
                    "the last pass of this copy was done at {}: another one would revive sessions \
                     that have ended in the target since",
                    rfc3339(Timestamp::from_millis(content.since))
                )));
            }
            if content.source != source {
                return Err(failed(format!(
                    "the target is an unfinished copy of {}, not of {source}: name the same source in \
                     the same way, or choose an empty target",
                    content.source
                )));
            }
            let mut mark = Self { content, version: found.version };
            mark.write(target, LIFETIME).await?;
            return Ok(mark);
        }
        if !is_empty(target).await? {
            return Err(failed(
                "the target has entries of this namespace and is no unfinished copy: sessions that \
                 are not in the source would be removed; choose an empty target",
            ));
        }
        let since = target.clock().now().as_millis();
        let content = Content { v: 1, source: source.to_owned(), state: State::Copying, since };
        let entry = NewEntry::new(content.bytes(), Expiry::after(LIFETIME));
        match target.insert(key, entry).await? {
            InsertOutcome::Inserted { .. } => {}
            _ => return Err(failed("another copy to this target has just begun")),
        }
        let found = target.get(&key, Freshness::Strict).await?;
        let found = found.ok_or_else(|| failed("the target does not keep what it was given"))?;
        Ok(Self { content, version: found.version })
    }

    /// Refuses any further pass, for as long as a session of the source could be live.
    pub(super) async fn finish(
        &mut self,
        target: &AnyStore<Vec<u8>>,
        latest_end: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let now = target.clock().now();
        self.content.state = State::Finished;
        self.content.since = now.as_millis();
        let lifetime = latest_end.map_or(Duration::ZERO, |end| end.since(now)) + DAY;
        self.write(target, lifetime).await
    }

    async fn write(
        &mut self,
        target: &AnyStore<Vec<u8>>,
        lifetime: Duration,
    ) -> Result<(), Failure> {
        let (key, value) = (copy_mark(), self.content.bytes());
        let expiry = Some(Expiry::after(lifetime));
        match target.replace((&key).into(), self.version, value, expiry).await? {
            ReplaceOutcome::Replaced(version) => {
                self.version = version;
                Ok(())
            }
            _ => Err(failed("another copy to this target runs at the same time")),
        }
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}

async fn is_empty(store: &AnyStore<Vec<u8>>) -> Result<bool, Failure> {
    let mut after = None;
    loop {
        let page = store.scan(after.as_ref(), 1).await?;
        if !page.listing.entries.is_empty() || !page.listing.unreadable.is_empty() {
            return Ok(false);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(true),
        }
    }
}
