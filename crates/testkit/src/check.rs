//! Running operations on a store and on the model, side by side.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use kvolt_cache::{
    Access, Clock, Deadlines, Entry, EntryRef, Insert, Key, ManualClock, NewEntry, Owner, Rename,
    Renamed, Replace, Result as StoreResult, Store, Version,
};

use crate::{Model, Op, Seen};

/// Runs the operations on a store and on the [`Model`], and compares each answer; at the end,
/// everything that is still there.
///
/// The store has to be empty, take its time from `time`, and slide at once
/// (no slack). Before every insertion and renaming the clock moves by a
/// millisecond, so that no two entries are of the same age. An operation that
/// would put an entry where the store does not place it is left out.
///
/// Versions are compared by what they are for: one that the model has given up
/// must not be the store's current one, and one that the model keeps must be
/// kept, except that a store may change it when it renames.
///
/// # Errors
///
/// The first step at which the store did not do what the model does.
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

/// A step at which a store did something else than the law says.
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
    /// The versions seen under each key, the model's and the store's.
    seen: BTreeMap<Key, Vec<(Version, Version)>>,
    step: usize,
    op: Option<Op>,
}

impl<'a, S: Store<String>> Check<'a, S> {
    fn new(store: &'a S, time: &'a ManualClock) -> Self {
        let owners: Vec<Owner> =
            (0..Op::OWNERS).map(|owner| Owner::new(format!("owner {owner}"))).collect();
        let keys = (0..Op::KEYS).map(|key| {
            let owner = &owners[usize::from(key % Op::OWNERS)];
            let mut tries = 0..10_000u32;
            tries
                .by_ref()
                .map(|salt| Key::of(format!("key {key}, {salt}")))
                .find(|key| store.places(key, Some(owner)))
                .unwrap_or_else(|| Key::of([key]))
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

    fn key(&self, number: u8) -> Key {
        self.keys[usize::from(number) % self.keys.len()]
    }

    fn owner(&self, number: u8) -> Owner {
        self.owners[usize::from(number) % self.owners.len()].clone()
    }

    async fn run(&mut self, op: &Op) -> Result<(), Divergence> {
        match *op {
            Op::Advance(by) => {
                self.time.advance(by);
                Ok(())
            }
            Op::Get { key, access } => self.get(&self.key(key), access).await,
            Op::Insert { key, owner, expiry, limit } => {
                let entry = NewEntry::new(self.value(), expiry)
                    .owner(owner.map(|owner| self.owner(owner)))
                    .limit(limit);
                self.insert(self.key(key), entry).await
            }
            Op::Replace { key, seen, expiry } => {
                let key = self.key(key);
                let (model, store) = self.version(&key, seen).await?;
                let law = self.model.replace(self.clock.now(), &key, model, self.value(), expiry);
                let said = self.store.replace(&key, store, self.value(), expiry).await;
                self.compare_replace(&key, said, law)
            }
            Op::Rename { from, to, value, owner, expiry, grace, limit } => {
                let mut rename = Rename::new();
                rename.owner = owner.map(|owner| self.owner(owner));
                rename.expiry = expiry;
                rename.grace = grace;
                rename.limit = limit;
                self.rename(self.key(from), self.key(to), value, rename).await
            }
            Op::Remove { key } => {
                let key = self.key(key);
                let law = self.model.remove(self.clock.now(), &key);
                let said = self.worked(self.store.remove(&key).await)?;
                self.same(said, law)
            }
            Op::List { owner } => self.list(&self.owner(owner)).await,
            Op::RemoveOwner { owner, keep } => {
                let (owner, keep) = (self.owner(owner), keep.map(|keep| self.key(keep)));
                let law = self.model.remove_owner(self.clock.now(), &owner, keep.as_ref());
                let said = self.store.remove_owner(&owner, keep.as_ref()).await;
                let said = self.worked(said)?;
                self.same(sorted(said), sorted(law))
            }
            Op::Scan { entries_max } => self.scan(entries_max).await,
            Op::Clear => {
                self.model.clear();
                self.worked(self.store.clear().await)
            }
        }
    }

    async fn get(&mut self, key: &Key, access: Access) -> Result<(), Divergence> {
        let mut ready = None;
        let mut visit = |entry: EntryRef<'_, String>| ready = Some(entry.to_entry());
        let found = self.store.get_ready(key, access, &mut visit);
        let law = self.model.get(self.clock.now(), key, access);
        if let Some(found) = found {
            let found = self.worked(found)?;
            self.same(found, ready.is_some())?;
            self.same_entries(Vec::from_iter(ready), Vec::from_iter(law.clone()))?;
        }
        let said = self.worked(self.store.get(key, access).await)?;
        self.same_entries(Vec::from_iter(said), Vec::from_iter(law))
    }

    async fn insert(&mut self, key: Key, entry: NewEntry<String>) -> Result<(), Divergence> {
        if !self.store.places(&key, entry.owner.as_ref()) {
            return Ok(());
        }
        self.time.advance(MILLISECOND);
        let now = self.clock.now();
        let refusals = self.model.insert_refusals(now, &key, &entry);
        let law = self.model.insert(now, key, entry.clone());
        let said = self.worked(self.store.insert(key, entry).await)?;
        match (said, law) {
            (Insert::Inserted { removed: said }, Insert::Inserted { removed: law }) => {
                self.same(sorted(said), sorted(law))
            }
            (said, _) if refusals.contains(&said) => Ok(()),
            (said, law) => Err(self.divergence(said, law)),
        }
    }

    async fn rename(
        &mut self,
        from: Key,
        to: Key,
        value: Option<Seen>,
        mut rename: Rename<String>,
    ) -> Result<(), Divergence> {
        self.time.advance(MILLISECOND);
        let now = self.clock.now();
        let current = self.model.get(now, &from, Access::PEEK);
        let owner = rename.owner.as_ref().or(current.as_ref().and_then(|now| now.owner.as_ref()));
        if !self.store.places(&to, owner) {
            return Ok(());
        }
        let mut law_rename = rename.clone();
        if let Some(seen) = value {
            let (model, store) = self.version(&from, seen).await?;
            law_rename.value = Some((model, self.value()));
            rename.value = Some((store, self.value()));
        }
        let refusals = self.model.rename_refusals(now, &from, &to, &law_rename);
        let law = self.model.rename(now, &from, to, law_rename);
        let said = self.worked(self.store.rename(&from, to, rename).await)?;
        match (said, law) {
            (Renamed::Moved { removed: said }, Renamed::Moved { removed: law }) => {
                self.same(sorted(said), sorted(law))?;
                let history = self.seen.get(&from).cloned().unwrap_or_default();
                self.seen.entry(to).or_default().extend(history);
                Ok(())
            }
            (said, _) if refusals.contains(&said) => Ok(()),
            (said, law) => Err(self.divergence(said, law)),
        }
    }

    async fn list(&mut self, owner: &Owner) -> Result<(), Divergence> {
        let law = self.model.list(self.clock.now(), owner);
        let said = self.worked(self.store.list(owner).await)?;
        self.same_entries(said, law)
    }

    async fn scan(&mut self, entries_max: usize) -> Result<(), Divergence> {
        let law = self.model.entries(self.clock.now());
        let mut said = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = self.worked(self.store.scan(after.as_ref(), entries_max).await)?;
            said.extend(page.entries);
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
            self.get(&key, Access::PEEK).await?;
        }
        for owner in self.owners.clone() {
            self.list(&owner).await?;
        }
        self.scan(2).await
    }

    /// The version to name in a change: the model's, and the store's for the same state.
    async fn version(&mut self, key: &Key, seen: Seen) -> Result<(Version, Version), Divergence> {
        let law = self.model.get(self.clock.now(), key, Access::PEEK);
        let said = self.worked(self.store.get(key, Access::PEEK).await)?;
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
        said: StoreResult<Replace<String>>,
        law: Replace<String>,
    ) -> Result<(), Divergence> {
        match (self.worked(said)?, law) {
            (Replace::Replaced(said), Replace::Replaced(law)) => {
                self.versions.insert(law.number(), said);
                self.remember(*key, law, said);
                Ok(())
            }
            (Replace::Conflict(said), Replace::Conflict(law)) => {
                self.same_entries(vec![said], vec![law])
            }
            (Replace::Absent, Replace::Absent) => Ok(()),
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

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);

/// More pages than a scan of the universe needs, even if most are empty.
const PAGES_MAX: usize = 10_000;

/// An entry without its version.
#[derive(Debug, PartialEq)]
struct Content<'a> {
    key: Key,
    value: &'a str,
    owner: Option<&'a Owner>,
    deadlines: Deadlines,
}

impl<'a> Content<'a> {
    fn of(entry: &'a Entry<String>) -> Self {
        Self {
            key: entry.key,
            value: &entry.value,
            owner: entry.owner.as_ref(),
            deadlines: entry.deadlines,
        }
    }
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys
}
