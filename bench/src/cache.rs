//! Reading a live entry, beside other maps and caches.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use dashmap::DashMap;
use kvolt::cache::{AfterRead, Expiry, Key, MemoryStore, NewEntry, Store};

use crate::harness::{Contender, Race, Settings, Table, below, key, mix, now, progress};
use crate::writes;

pub(crate) type Value = [u8; 100];

pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Keys are their own hash, for every contender.
#[derive(Clone, Copy, Default)]
pub(crate) struct OwnHash;

impl BuildHasher for OwnHash {
    type Hasher = OwnHasher;

    fn build_hasher(&self) -> OwnHasher {
        OwnHasher(0)
    }
}

pub(crate) struct OwnHasher(u64);

impl Hasher for OwnHasher {
    fn write_u64(&mut self, prefix: u64) {
        self.0 = prefix;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys write one u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type Moka = moka::sync::Cache<Key, Value, OwnHash>;
pub(crate) type Quick = quick_cache::sync::Cache<Key, Value, quick_cache::UnitWeighter, OwnHash>;

pub(crate) fn value(number: u64) -> Value {
    [mix(number) as u8; 100]
}

/// Reads the whole value, word by word.
#[inline(always)]
pub(crate) fn look(value: &Value) -> u64 {
    let words = value.chunks_exact(8);
    let rest = words.remainder().iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    words.map(word).fold(rest, u64::wrapping_add)
}

/// Everyone with the same entries.
pub(crate) struct All {
    pub(crate) kvolt: MemoryStore<Value>,
    pub(crate) papaya: papaya::HashMap<Key, Value, OwnHash>,
    pub(crate) moka_live: Moka,
    pub(crate) moka_idle: Moka,
    pub(crate) quick: Quick,
    pub(crate) dashmap: DashMap<Key, Value, OwnHash>,
    pub(crate) floor: HashMap<Key, Value, OwnHash>,
}

impl All {
    fn with(entries: u64) -> Self {
        let moka = || moka::sync::Cache::builder().max_capacity(2 * entries);
        let all = Self {
            kvolt: MemoryStore::new(),
            papaya: papaya::HashMap::with_hasher(OwnHash),
            moka_live: moka().time_to_live(LIFETIME).build_with_hasher(OwnHash),
            moka_idle: moka().time_to_idle(IDLE).build_with_hasher(OwnHash),
            quick: Quick::with(
                entries as usize,
                2 * entries,
                quick_cache::UnitWeighter,
                OwnHash,
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            dashmap: DashMap::with_hasher(OwnHash),
            floor: HashMap::with_hasher(OwnHash),
        };
        // One after the other, so that the entries of two caches do not mix in memory.
        fill(&all.kvolt, entries);
        for n in 0..entries {
            all.papaya.pin().insert(key(n), value(n));
        }
        for n in 0..entries {
            all.moka_live.insert(key(n), value(n));
        }
        for n in 0..entries {
            all.moka_idle.insert(key(n), value(n));
        }
        for n in 0..entries {
            all.quick.insert(key(n), value(n));
        }
        for n in 0..entries {
            all.dashmap.insert(key(n), value(n));
        }
        all.moka_live.run_pending_tasks();
        all.moka_idle.run_pending_tasks();
        let floor = (0..entries).map(|n| (key(n), value(n))).collect();
        Self { floor, ..all }
    }

    /// A contender for each one's way to read; the first is what the others are compared with.
    fn contenders<'a>(
        &'a self,
        make: &dyn Fn(&'static str, Read<'a>) -> Contender<'a>,
    ) -> Made<'a> {
        vec![
            make("papaya, no expiry", Read::Papaya(&self.papaya)),
            make("KVolt, without sliding", Read::Kvolt(&self.kvolt, AfterRead::Keep)),
            make("KVolt", Read::Kvolt(&self.kvolt, AfterRead::Slide)),
            make("moka, time to live", Read::Moka(&self.moka_live)),
            make("moka, time to idle", Read::Moka(&self.moka_idle)),
            make("quick_cache, no expiry", Read::Quick(&self.quick)),
            make("dashmap, no expiry", Read::Dashmap(&self.dashmap)),
            make(FLOOR, Read::Floor(&self.floor)),
        ]
    }
}

type Made<'a> = Vec<Contender<'a>>;

#[derive(Clone, Copy)]
enum Read<'a> {
    Kvolt(&'a MemoryStore<Value>, AfterRead),
    Papaya(&'a papaya::HashMap<Key, Value, OwnHash>),
    Moka(&'a Moka),
    Quick(&'a Quick),
    Dashmap(&'a DashMap<Key, Value, OwnHash>),
    Floor(&'a HashMap<Key, Value, OwnHash>),
}

/// Runs `$pattern` with a closure of its own for each contender, so that each is compiled for itself.
macro_rules! each {
    ($read:expr, $pattern:expr) => {
        match $read {
            Read::Kvolt(map, AfterRead::Keep) => {
                $pattern(|key: &Key| map.read(key, |entry| (AfterRead::Keep, look(entry.value))))
            }
            Read::Kvolt(map, AfterRead::Slide) => {
                $pattern(|key: &Key| map.read(key, |entry| (AfterRead::Slide, look(entry.value))))
            }
            Read::Papaya(map) => $pattern(|key: &Key| map.pin().get(key).map(look)),
            Read::Moka(map) => $pattern(|key: &Key| map.get(key).map(|value| look(&value))),
            Read::Quick(map) => $pattern(|key: &Key| map.get(key).map(|value| look(&value))),
            Read::Dashmap(map) => $pattern(|key: &Key| map.get(key).map(|value| look(&value))),
            Read::Floor(map) => $pattern(|key: &Key| map.get(key).map(look)),
        }
    };
}

pub(crate) fn fill(store: &MemoryStore<Value>, entries: u64) {
    for n in 0..entries {
        let entry = NewEntry::new(value(n), Expiry::idle_within(IDLE, LIFETIME));
        let _ = now(store.insert(key(n), entry)).expect("there is room");
    }
}

#[inline(always)]
fn throughput(keys: &[Key], thread: usize, ops: u64, read: impl Fn(&Key) -> Option<u64>) -> u64 {
    let start = thread * keys.len() / 2;
    let keys = keys[start..].iter().chain(&keys[..start]).cycle();
    keys.take(ops as usize).map(|key| read(key).expect("it is live")).fold(0, u64::wrapping_add)
}

#[inline(always)]
fn latency(entries: u64, thread: usize, ops: u64, read: impl Fn(&Key) -> Option<u64>) -> u64 {
    let mut seen = thread as u64 * 1_000;
    for counter in 0..ops {
        // The value just read decides the next key, so no two reads overlap.
        let number = below(entries, mix(counter) ^ seen);
        seen = read(&key(number)).expect("it is live");
    }
    seen
}

const LIST: u64 = 1_000_000;

/// No map for several threads is faster.
pub(crate) const FLOOR: &str = "`HashMap` of one thread, no expiry";

pub(crate) fn run(settings: Settings) {
    let sizes: &[u64] = settings.pick(&[1_000, 100_000, 1_000_000], &[1_000, 100_000]);
    let list = settings.pick(LIST, LIST / 10);
    let rounds = settings.rounds();
    for (index, &entries) in sizes.iter().enumerate() {
        progress(index, sizes.len(), &format!("{entries} entries"));
        let all = All::with(entries);
        let keys: Vec<Key> = (0..list).map(|n| key(below(entries, mix(n ^ 0x5eed)))).collect();
        let table = Table::new("cache", format!("read among {entries} entries"));
        for threads in [1, 2] {
            let overlapping = |name, read| {
                let keys = &keys;
                Contender::new(name, move |thread, ops| {
                    each!(read, |read| throughput(keys, thread, ops, read))
                })
            };
            let column = format!("throughput, {}", by(threads));
            let race = Race { column: &column, rounds, threads, ops: list };
            race.run(&table, &all.contenders(&overlapping));
            let dependent = |name, read| {
                Contender::new(name, move |thread, ops| {
                    each!(read, |read| latency(entries, thread, ops, read))
                })
            };
            let column = format!("latency, {}", by(threads));
            let race = Race { column: &column, rounds, threads, ops: list / 2 };
            race.run(&table, &all.contenders(&dependent));
        }
        if entries == 100_000 {
            hot(&all, rounds, list);
            writes::run(&all, entries, rounds);
        }
    }
}

pub(crate) fn by(threads: usize) -> &'static str {
    if threads == 1 { "one thread" } else { "two threads" }
}

fn hot(all: &All, rounds: usize, ops: u64) {
    let hot = [key(1)];
    let one = |name, read| {
        let hot = &hot;
        Contender::new(name, move |_, ops| each!(read, |read| throughput(hot, 0, ops, read)))
    };
    let table = Table::new("cache", "read of one hot key");
    for threads in [1, 2] {
        let race = Race { column: by(threads), rounds, threads, ops };
        race.run(&table, &all.contenders(&one));
    }
}
