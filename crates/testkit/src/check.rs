//! Running operations on a store and on the model, side by side.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use kvolt_cache::{
    AfterRead, Clock, Deadlines, Entry, EntryRef, Expiry, Freshness, InsertOutcome, Key,
    ManualClock, NewEntry, Owner, Predecessor, ReplaceOutcome, Result as StoreResult, Store,
    Target, Timestamp, Version,
};

use crate::{Model, Op, Seen};

/// Runs the operations on a store and on the [`Model`], and compares each answer, and all remaining
/// entries at the end.
///
/// The store must be empty, take its time from `time`, and slide at once
/// (no slack). Before every insertion the clock moves by a millisecond, so that no two entries
/// are of the same age. An insertion under a key that the store would not
/// [place](Store::place) there is left out.
///
/// Versions are compared by what they are for: one that the model has given up
/// must not be the store's current one, and one that the model keeps must be
/// kept.
///
/// # Errors
///
/// Returns an error at the first step at which the store and the model differ.
///
/// ```
/// use kvolt_testkit::{ManualClock, ModelStore, check_ops, ops_from_bytes};
///
/// let time = ManualClock::new();
/// let store = ModelStore::new(time.clock());
/// let ops = ops_from_bytes(b"bytes of a fuzzer, or of a property test");
/// pollster::block_on(check_ops(&store, &time, &ops)).unwrap();
/// ```
pub async fn check_ops<S: Store<String>>(
    store: &S,
    time: &ManualClock,
    ops: &[Op],
) -> Result<(), Divergence> {
    let mut check = Check::new(store, time);
    for (step, op) in ops.iter().enumerate() {
        check.step = step;
        check.op = Some(op.clone());
        check.run(op).await?;
    }
    check.op = None;
    check.step = ops.len();
    check.compare_everything().await
}

/// A step at which a store and the model differ.
pub struct Divergence(Box<Inner>);

struct Inner {
    step: usize,
    op: Option<Op>,
    store: String,
    law: String,
}

impl Divergence {
    /// The number of the step, from zero; the number of operations if it was
    /// found in what was left at the end.
    pub fn step(&self) -> usize {
        self.0.step
    }

    /// The operation; `None` if it was found in what was left at the end.
    pub fn op(&self) -> Option<&Op> {
        self.0.op.as_ref()
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { step, op, store, law } = &*self.0;
        match op {
            Some(op) => write!(f, "step {step}, {op:?}")?,
            None => write!(f, "after all {step} steps")?,
        }
        write!(f, "\n  the store said: {store}\n  the law says:   {law}")
    }
}

/// The same as its `Display`, for the sake of `unwrap`.
impl fmt::Debug for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Divergence {}

struct Check<'a, S> {
    store: &'a S,
    time: &'a ManualClock,
    clock: Clock,
    model: Model<String>,
    keys: Vec<Key>,
    owners: Vec<Owner>,
    /// The store's version for each of the model's that is known.
    versions: BTreeMap<u64, Version>,
    /// The versions that the model and the store have had under each key.
    seen: BTreeMap<Key, Vec<(Version, Version)>>,
    step: usize,
    op: Option<Op>,
}

impl<'a, S: Store<String>> Check<'a, S> {
    fn new(store: &'a S, time: &'a ManualClock) -> Self {
        let owner = |number| Owner::new(format!("owner {number}")).expect("it is a valid name");
        let owners: Vec<Owner> = (0..Op::OWNERS).map(owner).collect();
        let keys = (0..Op::KEYS).map(|key| {
            let owner = &owners[usize::from(key % Op::OWNERS)];
            store.place(Key::of(format!("key {key}")), Some(owner))
        });
        let keys = keys.collect();
        Self {
            store,
            time,
            clock: time.clock(),
            model: Model::new(),
            keys,
            owners,
            versions: BTreeMap::new(),
            seen: BTreeMap::new(),
            step: 0,
            op: None,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn key(&self, number: u8) -> Key {
        self.keys[usize::from(number) % self.keys.len()]
    }

    fn owner(&self, number: impl Into<Option<u8>>) -> Option<Owner> {
        let number = usize::from(number.into()?);
        Some(self.owners[number % self.owners.len()].clone())
    }

    async fn run(&mut self, op: &Op) -> Result<(), Divergence> {
        match *op {
            Op::Advance(by) => {
                self.time.advance(by);
                Ok(())
            }
            Op::Get { key } => self.get(&self.key(key)).await,
            Op::Use { key } => self.use_entry(&self.key(key)).await,
            Op::Touch { key, hint } => self.touch(&self.key(key), self.owner(hint)).await,
            Op::Insert { key, owner, expiry, limit, replaces, age } => {
                let (key, owner) = (self.key(key), self.owner(owner));
                if self.store.place(key, owner.as_ref()) != key {
                    return Ok(());
                }
                self.time.advance(MILLISECOND);
                let entry = self.new_entry(key, owner, expiry, age).limit(limit);
                match replaces {
                    Some((old, seen)) => self.insert_over(key, entry, self.key(old), seen).await,
                    None => self.insert(key, entry.clone(), entry).await,
                }
            }
            Op::Replace { key, hint, seen, expiry } => {
                let (key, hint) = (self.key(key), self.owner(hint));
                let (model, store) = self.version(&key, seen).await?;
                let law = self.model.replace(self.now(), &key, model, self.value(), expiry);
                let at = Target::new(&key).owner(hint.as_ref());
                let said = self.store.replace(at, store, self.value(), expiry).await;
                self.compare_replace(&key, said, law)
            }
            Op::Remove { key, hint, seen } => {
                let (key, hint) = (self.key(key), self.owner(hint));
                let (model, store) = match seen {
                    Some(seen) => Some(self.version(&key, seen).await?).unzip(),
                    None => (None, None),
                };
                let law = self.model.remove(self.now(), &key, model);
                let at = Target::new(&key).owner(hint.as_ref());
                let said = self.worked(self.store.remove(at, store).await)?;
                self.same(said, law)
            }
            Op::List { owner } => {
                let owner = self.owner(owner).expect("it is a number");
                self.list(&owner).await
            }
            Op::RemoveOwner { owner, keep } => {
                let owner = self.owner(owner).expect("it is a number");
                let keep = keep.map(|keep| self.key(keep));
                let law = self.model.remove_owner(self.now(), &owner, keep.as_ref());
                let said = self.store.remove_owner(&owner, keep.as_ref()).await;
                let said = self.worked(said)?;
                self.same(sorted(said), sorted(law))
            }
            Op::Scan { max_entries } => self.scan(max_entries).await,
            Op::Count => {
                let law = self.model.entries(self.now()).len() as u64;
                let said = self.worked(self.store.count().await)?;
                // It may count what has ended and is not yet reclaimed.
                if said < law { Err(self.divergence(said, law)) } else { Ok(()) }
            }
            Op::Clear => {
                self.model.clear();
                self.worked(self.store.clear().await)
            }
        }
    }

    /// A read, by both ways: no deadline moves.
    async fn get(&mut self, key: &Key) -> Result<(), Divergence> {
        self.ready(key, AfterRead::Keep)?;
        self.read(key).await.map(drop)
    }

    /// A request: it slides in place, or reads and then touches if the entry says so.
    async fn use_entry(&mut self, key: &Key) -> Result<(), Divergence> {
        let shown = self.ready(key, AfterRead::Slide)?;
        let entry = match shown {
            Some(ready) => ready,
            None => self.read(key).await?,
        };
        match entry {
            Some(entry) if entry.slide_due => self.touch(key, entry.owner).await,
            // It had nothing to move, or slid in place.
            _ => {
                self.model.touch(self.now(), key);
                self.read(key).await.map(drop)
            }
        }
    }

    /// Compares the entry that the store shows without I/O with the model before the use.
    fn ready(
        &mut self,
        key: &Key,
        answer: AfterRead,
    ) -> Result<Option<Option<Entry<String>>>, Divergence> {
        let mut shown = None;
        let mut visit = |entry: EntryRef<'_, String>| {
            shown = Some(entry.to_entry());
            answer
        };
        let Some(found) = self.store.get_ready(key, Freshness::Strict, &mut visit) else {
            return Ok(None);
        };
        let found = self.worked(found)?;
        self.same(found, shown.is_some())?;
        let law = self.model.get(self.now(), key);
        self.same_entries(Vec::from_iter(shown.clone()), Vec::from_iter(law))?;
        Ok(Some(shown))
    }

    async fn read(&mut self, key: &Key) -> Result<Option<Entry<String>>, Divergence> {
        let law = self.model.get(self.now(), key);
        let said = self.worked(self.store.get(key, Freshness::Strict).await)?;
        if let (Some(said), Some(law)) = (&said, &law) {
            self.same(("slide due", said.slide_due), ("slide due", law.slide_due))?;
        }
        self.same_entries(Vec::from_iter(said.clone()), Vec::from_iter(law))?;
        Ok(said)
    }

    async fn touch(&mut self, key: &Key, hint: Option<Owner>) -> Result<(), Divergence> {
        let law = self.model.touch(self.now(), key);
        let said = self.store.touch(Target::new(key).owner(hint.as_ref())).await;
        let said = self.worked(said)?;
        self.same(said, law)
    }

    /// An entry that is made now, or one that another store had made before.
    fn new_entry(
        &mut self,
        key: Key,
        owner: Option<Owner>,
        expiry: Expiry,
        age: Option<Duration>,
    ) -> NewEntry<String> {
        let value = self.value();
        let Some(age) = age else { return NewEntry::new(value, expiry).maybe_owner(owner) };
        let now = self.now();
        let mut created = now.saturating_sub(age);
        // No two entries of one owner are of the same age.
        let others: Vec<_> = match &owner {
            Some(owner) => self.model.list(now, owner).iter().filter_map(|e| e.created).collect(),
            None => Vec::new(),
        };
        while others.contains(&created) {
            created = created.saturating_sub(MILLISECOND);
        }
        let used = now.saturating_sub(age / 2);
        let idle = expiry.idle_timeout().map(|timeout| (timeout, used.saturating_add(timeout)));
        let absolute = expiry.lifetime().map(|lifetime| created.saturating_add(lifetime));
        let deadlines = Deadlines::new(idle, absolute);
        let version = Version::from_number(u64::MAX);
        NewEntry::restored(Entry::new(key, value, version, owner, deadlines, now).created(created))
    }

    async fn insert_over(
        &mut self,
        key: Key,
        entry: NewEntry<String>,
        old: Key,
        seen: Option<Seen>,
    ) -> Result<(), Divergence> {
        if old == key {
            return Ok(());
        }
        let (model, store) = match seen {
            Some(seen) => Some(self.version(&old, seen).await?).unzip(),
            None => (None, None),
        };
        let owner = self.model.get(self.now(), &old).and_then(|old| old.owner);
        let replaces = |seen| Predecessor::new(old).owner(owner.clone()).seen(seen);
        let law = entry.clone().replaces(replaces(model));
        self.insert(key, entry.replaces(replaces(store)), law).await
    }

    async fn insert(
        &mut self,
        key: Key,
        entry: NewEntry<String>,
        law: NewEntry<String>,
    ) -> Result<(), Divergence> {
        let now = self.now();
        let refusals = self.model.insert_refusals(now, &key, &law);
        let law = self.model.insert(now, key, law);
        let said = self.worked(self.store.insert(key, entry).await)?;
        match (said, law) {
            (
                InsertOutcome::Inserted { removed: said },
                InsertOutcome::Inserted { removed: law },
            ) => self.same(sorted(said), sorted(law)),
            (said, _) if refusals.contains(&said) => Ok(()),
            (said, law) => Err(self.divergence(said, law)),
        }
    }

    async fn list(&mut self, owner: &Owner) -> Result<(), Divergence> {
        let law = self.model.list(self.now(), owner);
        let said = self.worked(self.store.list(owner).await)?;
        self.same(said.unreadable, Vec::new())?;
        self.same_entries(said.entries, law)
    }

    async fn scan(&mut self, max_entries: usize) -> Result<(), Divergence> {
        let law = self.model.entries(self.now());
        let mut said = Vec::new();
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let page = self.worked(self.store.scan(after.as_ref(), max_entries).await)?;
            self.same(page.listing.unreadable, Vec::new())?;
            said.extend(page.listing.entries);
            after = page.next;
            if after.is_none() {
                said.sort_by_key(|entry| entry.key);
                return self.same_entries(said, law);
            }
        }
        Err(self.divergence("a scan without an end", "a scan that ends"))
    }

    async fn compare_everything(&mut self) -> Result<(), Divergence> {
        for key in self.keys.clone() {
            self.get(&key).await?;
        }
        for owner in self.owners.clone() {
            self.list(&owner).await?;
        }
        self.scan(2).await
    }

    /// The version to name in a change: the model's, and the store's for the same state.
    async fn version(&mut self, key: &Key, seen: Seen) -> Result<(Version, Version), Divergence> {
        let law = self.model.get(self.now(), key);
        let said = self.worked(self.store.get(key, Freshness::Strict).await)?;
        let current =
            law.as_ref().zip(said.as_ref()).map(|(law, said)| (law.version, said.version));
        self.same_entries(Vec::from_iter(said), Vec::from_iter(law))?;
        let stale =
            |(model, _): &&(Version, Version)| current.is_none_or(|(current, _)| *model != current);
        let stale = self.seen.get(key).and_then(|seen| seen.iter().rfind(stale)).copied();
        let (Some((_, in_use)), Some((_, old))) = (current, stale) else {
            let any = Version::from_number(u64::MAX);
            return Ok(current.or(stale).unwrap_or((any, any)));
        };
        if old == in_use {
            let said = format!("{in_use:?}, for a state that is not the one it was given for");
            return Err(self.divergence(said, "another version"));
        }
        Ok(if seen == Seen::Stale { stale } else { current }.expect("both are there"))
    }

    fn compare_replace(
        &mut self,
        key: &Key,
        said: StoreResult<ReplaceOutcome<String>>,
        law: ReplaceOutcome<String>,
    ) -> Result<(), Divergence> {
        match (self.worked(said)?, law) {
            (ReplaceOutcome::Replaced(said), ReplaceOutcome::Replaced(law)) => {
                self.versions.insert(law.number(), said);
                self.remember(*key, law, said);
                Ok(())
            }
            (ReplaceOutcome::Conflict(said), ReplaceOutcome::Conflict(law)) => {
                self.same_entries(vec![said], vec![law])
            }
            (ReplaceOutcome::Absent, ReplaceOutcome::Absent) => Ok(()),
            (said, law) => Err(self.divergence(said, law)),
        }
    }

    fn same_entries(
        &mut self,
        said: Vec<Entry<String>>,
        law: Vec<Entry<String>>,
    ) -> Result<(), Divergence> {
        self.same(
            said.iter().map(Content::of).collect::<Vec<_>>(),
            law.iter().map(Content::of).collect(),
        )?;
        for (said, law) in said.iter().zip(&law) {
            match self.versions.insert(law.version.number(), said.version) {
                Some(before) if before != said.version => {
                    let law = format!("{before:?}, as it was before: it was not replaced");
                    return Err(self.divergence(format!("{:?}", said.version), law));
                }
                _ => self.remember(law.key, law.version, said.version),
            }
        }
        Ok(())
    }

    fn remember(&mut self, key: Key, model: Version, store: Version) {
        let seen = self.seen.entry(key).or_default();
        if seen.last() != Some(&(model, store)) {
            seen.push((model, store));
        }
    }

    fn same<T: PartialEq + fmt::Debug>(&self, said: T, law: T) -> Result<(), Divergence> {
        if said == law { Ok(()) } else { Err(self.divergence(said, law)) }
    }

    fn worked<T>(&self, said: StoreResult<T>) -> Result<T, Divergence> {
        said.map_err(|error| self.divergence(error, "an answer"))
    }

    fn divergence(&self, store: impl fmt::Debug, law: impl fmt::Debug) -> Divergence {
        Divergence(Box::new(Inner {
            step: self.step,
            op: self.op.clone(),
            store: format!("{store:?}"),
            law: format!("{law:?}"),
        }))
    }

    fn value(&self) -> String {
        format!("of step {}", self.step)
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// More pages than a scan of the universe needs, even if most are empty.
const MAX_PAGES: usize = 10_000;

/// An entry without its version.
#[derive(Debug, PartialEq)]
struct Content<'a> {
    key: Key,
    value: &'a str,
    owner: Option<&'a Owner>,
    deadlines: Deadlines,
    read_at: Timestamp,
    is_copy: bool,
    created: Option<Timestamp>,
}

impl<'a> Content<'a> {
    fn of(entry: &'a Entry<String>) -> Self {
        Self {
            key: entry.key,
            value: &entry.value,
            owner: entry.owner.as_ref(),
            deadlines: entry.deadlines,
            read_at: entry.read_at,
            is_copy: entry.is_copy,
            created: entry.owner.as_ref().and(entry.created),
        }
    }
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys
}
