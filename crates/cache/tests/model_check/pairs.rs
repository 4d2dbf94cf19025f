//! Each pair of operations on one entry: far from its deadline, close to it, and past it.
//!
//! The answers, and the remaining entries, must be those of the contract for
//! some order of them in which none comes before one that had ended when it began.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use kvolt_cache::memory::AtCapacity;

use super::*;

/// An operation of a thread. It writes the thread's number. It inserts under a
/// key of the thread's own, except for [`Op::Insert`] and [`Op::InsertForOther`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Use,
    Look,
    Get,
    Touch,
    /// Under the entry's key again.
    Insert,
    InsertForOther,
    /// For the entry's owner, at a limit of one, in the place of the entry as it was at first.
    InsertReplacing,
    /// For another owner, in the place of the entry if there is one.
    InsertReplacingAny,
    /// For the entry's owner, at a limit of one.
    InsertRefused,
    InsertRemovingOldest,
    /// For another owner, into a store that has room for one entry.
    InsertEvicting,
    Replace,
    ReplaceWithExpiry,
    Remove,
    RemoveSeen,
    List,
    RemoveOwner,
    /// Of one key: a whole scan is not one step, but one for each key. A clear is two.
    Scan(Option<Key>),
    Clear(Option<Key>),
    Clean,
    /// Of what the other thread may insert.
    LookAtNew,
    RemoveNew,
    /// A millisecond passes.
    Tick,
}

const OPS: [Op; 22] = [
    Op::Use,
    Op::Look,
    Op::Get,
    Op::Touch,
    Op::Insert,
    Op::InsertForOther,
    Op::InsertReplacing,
    Op::InsertReplacingAny,
    Op::InsertRefused,
    Op::InsertRemovingOldest,
    Op::InsertEvicting,
    Op::Replace,
    Op::ReplaceWithExpiry,
    Op::Remove,
    Op::RemoveSeen,
    Op::List,
    Op::RemoveOwner,
    Op::Scan(None),
    Op::Clear(None),
    Op::Clean,
    Op::LookAtNew,
    Op::RemoveNew,
];

#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Done,
    Value(Option<u32>),
    Touched(bool),
    Insert(InsertOutcome),
    Full,
    Replaced,
    Conflict(u32),
    Absent,
    Remove(RemoveOutcome),
    Entries(Vec<(Key, u32)>),
    Keys(Vec<Key>),
}

/// An operation that has ended.
#[derive(Debug, Clone)]
struct Record {
    op: Op,
    thread: u32,
    outcome: Outcome,
    /// Its place among all beginnings and ends of the run.
    began: u64,
    ended: u64,
    /// The time at which it began: a use may count from then.
    time: Timestamp,
}

/// The owners of the entry, and of what is inserted for another.
const OWNERS: [&str; 2] = ["o", "other"];

fn entry_key() -> Key {
    key("entry")
}

fn own_key(thread: u32) -> Key {
    Key::of(thread.to_le_bytes())
}

/// The key under which the other thread inserts.
fn new_key(thread: u32) -> Key {
    own_key(3 - thread)
}

struct Run {
    lab: Lab,
    /// The version of the entry at first.
    seen: Version,
    steps: AtomicU64,
    records: Mutex<Vec<Record>>,
    /// How many entries were reported as expired.
    expired: Arc<AtomicU64>,
}

impl Run {
    fn begin(ops: [Op; 2]) -> Self {
        let time = ManualClock::new();
        let mut store = MemoryStore::builder().clock(time.clock());
        if ops.contains(&Op::InsertEvicting) {
            store = store.max_entries(1).at_capacity(AtCapacity::EvictNearestEnd);
        }
        let lab = Lab { time, store: store.build() };
        let expired = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&expired);
        assert!(lab.store.on_expired(Arc::new(move |_| {
            count.fetch_add(1, SeqCst);
        })));
        lab.insert(&entry_key(), Some(OWNERS[0]));
        let seen = lab.get(&entry_key()).unwrap().version;
        Self { lab, seen, steps: AtomicU64::new(0), records: Mutex::default(), expired }
    }

    fn act(&self, op: Op, thread: u32) {
        let time = self.lab.time.clock().now();
        let began = self.steps.fetch_add(1, SeqCst);
        let outcome = self.outcome(op, thread);
        let ended = self.steps.fetch_add(1, SeqCst);
        self.records.lock().unwrap().push(Record { op, thread, outcome, began, ended, time });
    }

    fn outcome(&self, op: Op, thread: u32) -> Outcome {
        let (store, key) = (&self.lab.store, &entry_key());
        let [o, other] = OWNERS.map(owner);
        let new = |owner: Owner| NewEntry::new(thread, Expiry::idle(IDLE)).owner(owner);
        let insert = |key, entry| match pollster::block_on(store.insert(key, entry)) {
            Ok(inserted) => Outcome::Insert(inserted),
            Err(error) if error.is_full() => Outcome::Full,
            Err(error) => panic!("{error}"),
        };
        match op {
            Op::Use => Outcome::Value(store.read(key, |entry| (AfterRead::Slide, *entry.value))),
            Op::Look => Outcome::Value(store.read(key, |entry| (AfterRead::Keep, *entry.value))),
            Op::Get => Outcome::Value(self.lab.get(key).map(|entry| entry.value)),
            Op::Touch => Outcome::Touched(now(store.touch(key.into())).is_some()),
            Op::Insert => insert(*key, new(o)),
            Op::InsertForOther => insert(*key, new(other)),
            Op::InsertReplacing => {
                let new = new(o).limit(OwnerLimit::refuse(1));
                insert(own_key(thread), new.replaces(Predecessor::new(*key).seen(self.seen)))
            }
            Op::InsertReplacingAny => {
                insert(own_key(thread), new(other).replaces(Predecessor::new(*key)))
            }
            Op::InsertRefused => insert(own_key(thread), new(o).limit(OwnerLimit::refuse(1))),
            Op::InsertRemovingOldest => {
                insert(own_key(thread), new(o).limit(OwnerLimit::remove_oldest(1)))
            }
            Op::InsertEvicting => insert(own_key(thread), new(other)),
            Op::Replace | Op::ReplaceWithExpiry => {
                let expiry = (op == Op::ReplaceWithExpiry).then_some(Expiry::idle(IDLE * 2));
                match now(store.replace(key.into(), self.seen, thread, expiry)) {
                    ReplaceOutcome::Replaced(version) => {
                        assert_ne!(version, self.seen);
                        Outcome::Replaced
                    }
                    ReplaceOutcome::Conflict(entry) => Outcome::Conflict(entry.value),
                    ReplaceOutcome::Absent => Outcome::Absent,
                }
            }
            Op::Remove => Outcome::Remove(now(store.remove(key.into(), None))),
            Op::RemoveSeen => Outcome::Remove(now(store.remove(key.into(), Some(self.seen)))),
            Op::List => Outcome::Entries(self.lab.list(OWNERS[0])),
            Op::RemoveOwner => Outcome::Keys(now(store.remove_owner(&o, None))),
            Op::Scan(_) => Outcome::Entries(self.lab.scan()),
            Op::Clear(_) => {
                now(store.clear());
                Outcome::Done
            }
            Op::Clean => {
                store.clean();
                Outcome::Done
            }
            Op::LookAtNew => Outcome::Value(self.lab.value(&new_key(thread))),
            Op::RemoveNew => Outcome::Remove(now(store.remove((&new_key(thread)).into(), None))),
            Op::Tick => {
                self.lab.time.advance(Duration::from_millis(1));
                Outcome::Done
            }
        }
    }

    /// Checks what the threads were answered, and what is left, against the model `begun`.
    fn check(&self, begun: &Model) {
        let store = &self.lab.store;
        let left = self.lab.scan();
        let lists = OWNERS.map(|owner| self.lab.list(owner));
        let ends: Vec<_> = left
            .iter()
            .map(|(key, _)| self.lab.get(key).unwrap().deadlines.expires_at().unwrap())
            .collect();
        let (held, expired) = (store.len() as u64, self.expired.load(SeqCst));
        let matches = |model: &Model| {
            let live = || model.live(|_| true);
            live().map(|(key, entry)| (*key, entry.value)).eq(left.iter().copied())
                && live().map(|(_, entry)| entry.ends).eq(ends.iter().copied())
                && lists.iter().zip(OWNERS).all(|(list, owner)| *list == model.list(owner))
                && model.inserted - model.removed - expired == held
        };
        let records = self.steps_of_one_key();
        assert!(
            begun.explains(&records, 0, &mut HashSet::new(), &matches),
            "no order of these explains them: {records:#?}\n{left:?} is left, in the lists \
             {lists:?}; it ends at {ends:?}; {held} entries are held, {expired} have expired"
        );
        self.lab.time.advance(IDLE * 10);
        store.clean();
        assert_eq!((store.len(), self.lab.scan()), (0, Vec::new()));
    }

    /// The records, with a scan and a clear as steps for each key.
    fn steps_of_one_key(&self) -> Vec<Record> {
        let keys = [entry_key(), own_key(1), own_key(2)];
        let mut records = Vec::new();
        for record in self.records.lock().unwrap().iter() {
            match (record.op, &record.outcome) {
                (Op::Scan(_), Outcome::Entries(entries)) => {
                    records.extend(keys.map(|key| {
                        let of_key = |(found, _): &&(Key, u32)| *found == key;
                        let outcome =
                            Outcome::Entries(entries.iter().filter(of_key).copied().collect());
                        Record { op: Op::Scan(Some(key)), outcome, ..record.clone() }
                    }));
                }
                (Op::Clear(_), _) => {
                    let cleared = |key| Record { op: Op::Clear(Some(key)), ..record.clone() };
                    records.extend(keys.map(cleared));
                    records.extend(keys.map(cleared));
                }
                _ => records.push(record.clone()),
            }
        }
        records
    }
}

/// The contract, one step after another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Model {
    time: Timestamp,
    entries: BTreeMap<Key, Modelled>,
    /// How many entries were inserted, and how many of them were removed while they were live.
    inserted: u64,
    removed: u64,
    evicts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Modelled {
    value: u32,
    owner: &'static str,
    idle: Duration,
    ends: Timestamp,
    /// The order of insertion.
    number: u64,
}

impl Model {
    fn new(run: &Run) -> Self {
        let (key, entry) = (entry_key(), run.lab.get(&entry_key()).unwrap());
        let ends = entry.deadlines.expires_at().unwrap();
        let only = Modelled { value: 0, owner: OWNERS[0], idle: IDLE, ends, number: 0 };
        let entries = BTreeMap::from([(key, only)]);
        Self { time: entry.read_at, entries, inserted: 1, removed: 0, evicts: false }
    }

    fn live(&self, of: impl Fn(&Modelled) -> bool) -> impl Iterator<Item = (&Key, &Modelled)> {
        self.entries.iter().filter(move |(_, entry)| entry.ends > self.time && of(entry))
    }

    fn find(&self, key: &Key) -> Option<&Modelled> {
        self.entries.get(key).filter(|entry| entry.ends > self.time)
    }

    fn list(&self, owner: &str) -> Vec<(Key, u32)> {
        let mut list: Vec<_> = self.live(|entry| entry.owner == owner).collect();
        list.sort_by_key(|(_, entry)| entry.number);
        list.into_iter().map(|(key, entry)| (*key, entry.value)).collect()
    }

    fn take(&mut self, key: &Key) {
        self.removed += u64::from(self.find(key).is_some());
        self.entries.remove(key);
    }

    fn insert(&mut self, key: Key, value: u32, owner: &'static str, time: Timestamp) {
        let number = self.inserted;
        let ends = time.saturating_add(IDLE);
        self.entries.insert(key, Modelled { value, owner, idle: IDLE, ends, number });
        self.inserted += 1;
    }

    /// Whether an order of the records that are not in `done` leads from here to a model that
    /// `matches`. The entries of `failed` are known not to.
    fn explains(
        &self,
        records: &[Record],
        done: u64,
        failed: &mut HashSet<(u64, Self)>,
        matches: &dyn Fn(&Self) -> bool,
    ) -> bool {
        let open = || (0..records.len()).filter(|index| done & 1 << index == 0);
        if open().next().is_none() {
            return matches(self);
        }
        if failed.contains(&(done, self.clone())) {
            return false;
        }
        for index in open() {
            let record = &records[index];
            if open().any(|other| records[other].ended < record.began) {
                continue;
            }
            // A use counts from some moment between the beginning of the call and its end.
            let mut times = vec![self.time, record.time];
            times.dedup();
            for time in times {
                let mut next = self.clone();
                if next.allows(record, time)
                    && next.explains(records, done | 1 << index, failed, matches)
                {
                    return true;
                }
            }
            // An insertion may evict what ends first, in a step of its own.
            if self.evicts && matches!(record.outcome, Outcome::Insert(_) | Outcome::Full) {
                let nearest = self.live(|_| true).map(|(_, entry)| entry.ends).min();
                for (key, entry) in self.live(|_| true) {
                    let mut next = self.clone();
                    next.take(key);
                    if Some(entry.ends) == nearest && next.explains(records, done, failed, matches)
                    {
                        return true;
                    }
                }
            }
        }
        failed.insert((done, self.clone()));
        false
    }

    /// Takes a step, if it is right that it has the outcome that it had.
    fn allows(&mut self, record: &Record, time: Timestamp) -> bool {
        use Outcome::{Absent, Conflict, Done, Entries, Full, Keys, Replaced, Touched, Value};
        let (thread, outcome, key) = (record.thread, &record.outcome, entry_key());
        let entry = self.find(&key).copied();
        let inserted = |removed: Vec<Key>| Outcome::Insert(InsertOutcome::Inserted { removed });
        if *outcome == Full {
            return self.evicts;
        }
        match record.op {
            Op::Use | Op::Touch => {
                if let Some(entry) = self.entries.get_mut(&key).filter(|_| entry.is_some()) {
                    entry.ends = entry.ends.max(time.saturating_add(entry.idle));
                }
                *outcome == Value(entry.map(|entry| entry.value))
                    || *outcome == Touched(entry.is_some())
            }
            Op::Look | Op::Get => *outcome == Value(entry.map(|entry| entry.value)),
            Op::Insert | Op::InsertForOther if entry.is_some() => {
                *outcome == Outcome::Insert(InsertOutcome::Occupied)
            }
            Op::Insert | Op::InsertForOther => {
                let owner = OWNERS[usize::from(record.op == Op::InsertForOther)];
                self.insert(key, thread, owner, time);
                *outcome == inserted(Vec::new())
            }
            Op::InsertReplacing => {
                let conflict = entry.is_none_or(|entry| entry.value != 0);
                let full = self.list(OWNERS[0]).iter().any(|(member, _)| *member != key);
                match outcome {
                    Outcome::Insert(InsertOutcome::Conflict) => conflict,
                    Outcome::Insert(InsertOutcome::LimitReached) => full,
                    _ => {
                        self.take(&key);
                        self.insert(own_key(thread), thread, OWNERS[0], time);
                        !conflict && !full && *outcome == inserted(Vec::new())
                    }
                }
            }
            Op::InsertReplacingAny => {
                self.take(&key);
                self.insert(own_key(thread), thread, OWNERS[1], time);
                *outcome == inserted(Vec::new())
            }
            Op::InsertRefused if !self.list(OWNERS[0]).is_empty() => {
                *outcome == Outcome::Insert(InsertOutcome::LimitReached)
            }
            Op::InsertRefused | Op::InsertRemovingOldest => {
                let oldest: Vec<_> = self.list(OWNERS[0]).iter().map(|(key, _)| *key).collect();
                oldest.iter().for_each(|key| self.take(key));
                self.insert(own_key(thread), thread, OWNERS[0], time);
                *outcome == inserted(oldest)
            }
            Op::InsertEvicting => {
                self.insert(own_key(thread), thread, OWNERS[1], time);
                *outcome == inserted(Vec::new())
            }
            Op::Replace | Op::ReplaceWithExpiry => match entry {
                None => *outcome == Absent,
                Some(entry) if entry.value != 0 => *outcome == Conflict(entry.value),
                Some(mut entry) => {
                    entry.value = thread;
                    if record.op == Op::ReplaceWithExpiry {
                        entry.idle = IDLE * 2;
                        entry.ends = time.saturating_add(IDLE * 2);
                    }
                    self.entries.insert(key, entry);
                    *outcome == Replaced
                }
            },
            Op::Remove | Op::RemoveSeen => match entry {
                None => *outcome == Outcome::Remove(RemoveOutcome::Absent),
                Some(entry) if record.op == Op::RemoveSeen && entry.value != 0 => {
                    *outcome == Outcome::Remove(RemoveOutcome::Conflict)
                }
                Some(_) => {
                    self.take(&key);
                    *outcome == Outcome::Remove(RemoveOutcome::Removed)
                }
            },
            Op::List => *outcome == Entries(self.list(OWNERS[0])),
            Op::RemoveOwner => {
                let keys: Vec<_> = self.list(OWNERS[0]).iter().map(|(key, _)| *key).collect();
                keys.iter().for_each(|key| self.take(key));
                *outcome == Keys(keys)
            }
            Op::Scan(of) => {
                let found = of.and_then(|key| Some((key, self.find(&key)?.value)));
                *outcome == Entries(found.into_iter().collect())
            }
            Op::Clear(of) => {
                of.iter().for_each(|key| self.take(key));
                *outcome == Done
            }
            Op::Clean => *outcome == Done,
            Op::LookAtNew => {
                *outcome == Value(self.find(&new_key(thread)).map(|entry| entry.value))
            }
            Op::RemoveNew => {
                let is_live = self.find(&new_key(thread)).is_some();
                self.take(&new_key(thread));
                let expected = if is_live { RemoveOutcome::Removed } else { RemoveOutcome::Absent };
                *outcome == Outcome::Remove(expected)
            }
            Op::Tick => {
                self.time = self.time.saturating_add(Duration::from_millis(1));
                *outcome == Done
            }
        }
    }
}

/// Checks each pair on an entry of this age; if it `ticks`, the time passes meanwhile.
fn check_pairs(age: Duration, ticks: bool, runs: usize) {
    for (index, one) in OPS.iter().enumerate() {
        for other in &OPS[index..] {
            let ops = [*one, *other];
            check_runs(runs, move || {
                let run = Arc::new(Run::begin(ops));
                let mut begun = Model::new(&run);
                begun.evicts = ops.contains(&Op::InsertEvicting);
                run.lab.time.advance(age);
                begun.time = begun.time.saturating_add(age);
                let spawn = |ops: Vec<Op>, thread| {
                    let run = Arc::clone(&run);
                    thread::spawn(move || ops.into_iter().for_each(|op| run.act(op, thread)))
                };
                let mut threads = vec![spawn(vec![ops[0]], 1), spawn(vec![ops[1]], 2)];
                if ticks {
                    threads.push(spawn(vec![Op::Tick, Op::Look], 3));
                }
                join(threads);
                run.check(&begun);
            });
        }
    }
}

#[test]
fn each_pair_far_from_the_deadline() {
    check_pairs(Duration::ZERO, false, 300);
}

#[test]
fn each_pair_as_the_deadline_passes() {
    check_pairs(IDLE - Duration::from_millis(1), true, 1_500);
}

#[test]
fn each_pair_past_the_deadline() {
    check_pairs(IDLE, false, 300);
}
