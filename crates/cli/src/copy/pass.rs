//! One pass: compares both stores, and makes the target equal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kvolt::cache::{
    AnyStore, Entry, Error, Freshness, InsertOutcome, Key, NewEntry, RemoveOutcome, Result, Store,
    Target, Timestamp,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::pages::{Found, Pages};
use super::progress::Progress;
use crate::failure::{Failure, failed};
use crate::store::Opened;

/// How many entries are read at once.
const PAGE: usize = 2_000;
/// How many entries one call to a store that writes many writes.
const BATCH: usize = 500;
/// How many times an entry is written if another one has its key.
const MAX_TRIES: usize = 3;
/// An entry that ends within this time may have ended in one store and not in the other, as their
/// clocks differ.
const ENDING: Duration = Duration::from_secs(60);

/// A pass from one store to another.
pub(super) struct Pass<'a> {
    pub(super) source: &'a Opened,
    pub(super) target: &'a Opened,
    pub(super) rate: Option<u32>,
    pub(super) progress: &'a Progress,
}

/// The outcome of a pass.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) copied: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    pub(super) unchanged: u64,
    /// Keys of entries of the source that can't be read.
    pub(super) unreadable: Vec<Key>,
    /// When the last entry ends.
    pub(super) latest_end: Option<Timestamp>,
    /// How many of the differences were about entries that do not end just now.
    lasting: u64,
}

impl Written {
    /// How many differences there were, but for those that an expiry just now explains.
    pub(super) const fn changes(&self) -> u64 {
        self.lasting
    }

    fn note_difference(&mut self, entry: Option<&Entry<Vec<u8>>>) {
        self.lasting += u64::from(!entry.is_some_and(is_ending));
    }
}

impl Pass<'_> {
    pub(super) async fn run(&self) -> Result<Written, Failure> {
        let size = self.rate.map_or(PAGE, |rate| (rate as usize / 4).clamp(1, PAGE));
        let mut from = Pages::of(self.source.bytes.clone(), size);
        let mut theirs = Ahead::of(Pages::of(self.target.bytes.clone(), size));
        let (mut written, start, mut count) = (Written::default(), Instant::now(), 0);
        while let Some(page) = from.next().await? {
            // A page may have only entries that have ended.
            let Some((last, _)) = page.last() else { continue };
            let theirs = theirs.up_to(last).await?;
            count += page.len();
            self.progress.add(page.len());
            self.compare(page, theirs, &mut written).await?;
            if let Some(rate) = self.rate {
                sleep_until(start + Duration::from_secs_f64(count as f64 / f64::from(rate))).await;
            }
        }
        while let Some(page) = theirs.next().await? {
            self.remove_ended(page, &mut written).await?;
        }
        Ok(written)
    }

    /// Makes the target equal for the keys of a page.
    async fn compare(
        &self,
        page: Vec<Found>,
        mut theirs: BTreeMap<Key, Option<Entry<Vec<u8>>>>,
        written: &mut Written,
    ) -> Result<(), Failure> {
        let mut changed = Vec::new();
        for (key, entry) in page {
            let their = theirs.remove(&key);
            let Some(entry) = entry else {
                written.unreadable.push(key);
                continue;
            };
            written.latest_end = written.latest_end.max(entry.deadlines.expires_at());
            written.latest_end = written.latest_end.max(entry.deadlines.absolute());
            match &their {
                Some(Some(their)) if is_equal(&entry, their) => {
                    written.unchanged += 1;
                    continue;
                }
                Some(_) => written.updated += 1,
                None => written.copied += 1,
            }
            written.note_difference(Some(&entry));
            if self.target.bytes.place(key, entry.owner.as_ref()) != key {
                return Err(failed(
                    "a Redis Cluster can only take the sessions of another cluster: the ids of these \
                     do not suit its slots",
                ));
            }
            changed.push((entry, their.is_some()));
        }
        self.write(changed).await?;
        self.remove_ended(theirs.into_iter().collect(), written).await
    }

    /// Writes entries; each with whether the target has another one under its key.
    async fn write(&self, entries: Vec<(Entry<Vec<u8>>, bool)>) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        match &self.target.restores {
            Some(restores) => {
                let mut entries = entries.into_iter().map(|(entry, _)| entry).peekable();
                while entries.peek().is_some() {
                    restores.restore(entries.by_ref().take(BATCH).collect(), &mut tasks);
                }
            }
            None => {
                for (entry, exists) in entries {
                    tasks.spawn(put(self.target.bytes.clone(), entry, exists));
                }
            }
        }
        join(tasks).await
    }

    /// Removes entries of the target that the source no longer has.
    async fn remove_ended(&self, theirs: Vec<Found>, written: &mut Written) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        for (key, entry) in theirs {
            let (source, target) = (self.source.bytes.clone(), self.target.bytes.clone());
            tasks.spawn(async move {
                match source.get(&key, Freshness::Strict).await {
                    Ok(None) => {}
                    // It can't be read, or a scan has missed it: the next pass compares it.
                    Err(error) if !error.is_corrupt() => return Err(error),
                    _ => return Ok(None),
                }
                let owner = entry.as_ref().and_then(|entry| entry.owner.as_ref());
                let removed = target.remove(Target::new(&key).owner(owner), None).await?;
                Ok((removed == RemoveOutcome::Removed).then_some(entry))
            });
        }
        while let Some(removed) = tasks.join_next().await {
            if let Some(entry) = removed.map_err(|_| interrupted())?? {
                written.removed += 1;
                written.note_difference(entry.as_ref());
            }
        }
        Ok(())
    }
}

/// The entries of the target that were not compared yet.
struct Ahead {
    pages: Pages,
    found: VecDeque<Found>,
    has_ended: bool,
}

impl Ahead {
    fn of(pages: Pages) -> Self {
        Self { pages, found: VecDeque::new(), has_ended: false }
    }

    /// The entries up to a key.
    async fn up_to(&mut self, last: &Key) -> Result<BTreeMap<Key, Option<Entry<Vec<u8>>>>> {
        let mut taken = BTreeMap::new();
        loop {
            while let Some((key, _)) = self.found.front()
                && key.as_bytes() <= last.as_bytes()
            {
                taken.extend(self.found.pop_front());
            }
            if !self.found.is_empty() || self.has_ended {
                return Ok(taken);
            }
            self.fill().await?;
        }
    }

    /// The next entries, in pages; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Found>>> {
        if self.found.is_empty() && !self.has_ended {
            self.fill().await?;
        }
        let is_end = self.found.is_empty() && self.has_ended;
        Ok((!is_end).then(|| std::mem::take(&mut self.found).into()))
    }

    async fn fill(&mut self) -> Result<()> {
        match self.pages.next().await? {
            Some(page) => self.found.extend(page),
            None => self.has_ended = true,
        }
        Ok(())
    }
}

/// Writes an entry in the place of any other one under its key.
async fn put(target: AnyStore<Vec<u8>>, entry: Entry<Vec<u8>>, mut exists: bool) -> Result<()> {
    let (key, owner) = (entry.key, entry.owner.clone());
    let entry = NewEntry::restored(entry);
    for _ in 0..MAX_TRIES {
        if exists {
            let _ = target.remove(Target::new(&key).owner(owner.as_ref()), None).await?;
        }
        match target.insert(key, entry.clone()).await? {
            InsertOutcome::Inserted { .. } | InsertOutcome::Expired => return Ok(()),
            _ => exists = true,
        }
    }
    Err(Error::unavailable("another program writes the target's entries at the same time"))
}

async fn join(mut tasks: JoinSet<Result<()>>) -> Result<(), Failure> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|_| interrupted())??;
    }
    Ok(())
}

fn interrupted() -> Error {
    Error::unavailable("the runtime is shutting down")
}

fn is_ending(entry: &Entry<Vec<u8>>) -> bool {
    let soon = entry.read_at.saturating_add(ENDING);
    entry.deadlines.expires_at().is_some_and(|ends| ends < soon)
}

/// Whether the target's entry is a copy. When it was inserted never changes, and may differ by the
/// stores' clocks.
fn is_equal(entry: &Entry<Vec<u8>>, copy: &Entry<Vec<u8>>) -> bool {
    // The latest time that every store has room for.
    let latest = Timestamp::from_millis(9_999_999_999_999);
    let times = |entry: &Entry<Vec<u8>>| {
        let deadlines = &entry.deadlines;
        let absolute = deadlines.absolute().map(|end| end.min(latest));
        let idle = deadlines.idle_timeout();
        (deadlines.last_used(), idle.map(|idle| idle.as_millis().min(9_999_999_999_999)), absolute)
    };
    entry.value == copy.value && entry.owner == copy.owner && times(entry) == times(copy)
}
