//! The longest wait of a reader while a million entries expire.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use kvolt::cache::{AfterRead, Expiry, Key, MemoryStore, NewEntry, Store};
use moka::Expiry as MokaExpiry;
use quick_cache::UnitWeighter;

use crate::cache::{LIFETIME, OwnHash, Value, look, value};
use crate::harness::{Settings, Table, key, mix, now, progress};

const DYING: u64 = 1_000_000;
const LIVE: u64 = 1_000;
const TTL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// How long reads took: of those in which the thread was never taken off its core, and of all.
struct Waits {
    /// By tenths of a microsecond.
    counts: Vec<u64>,
    max: Duration,
    max_own: Duration,
}

/// Longer pauses are checked against the scheduler's statistics.
const SUSPICIOUS: Duration = Duration::from_micros(10);

/// Reads live keys until `done`, which is asked now and then.
fn reader(mut done: impl FnMut() -> bool, read: impl Fn(&Key) -> Option<u64>) -> Waits {
    let keys: Vec<Key> = (0..LIVE).map(key).collect();
    let mut waits =
        Waits { counts: vec![0; 100_000], max: Duration::ZERO, max_own: Duration::ZERO };
    let mut switches = preemptions();
    for n in 0_u64.. {
        let key = &keys[(mix(n) % LIVE) as usize];
        let start = Instant::now();
        std::hint::black_box(read(key).expect("it is live"));
        let took = start.elapsed();
        let tenths = (took.as_nanos() / 100) as usize;
        waits.counts[tenths.min(99_999)] += 1;
        waits.max = waits.max.max(took);
        if took > SUSPICIOUS {
            let before = std::mem::replace(&mut switches, preemptions());
            if before == switches {
                waits.max_own = waits.max_own.max(took);
            }
        }
        if n % 10_000 == 0 {
            switches = preemptions();
            if done() {
                break;
            }
        }
    }
    waits
}

/// How often this thread has been taken off its core; to wait for another is not that.
fn preemptions() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux has it");
    let counts = status.lines().filter(|line| line.starts_with("nonvoluntary_ctxt"));
    counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

impl Waits {
    /// The pause, in microseconds, that this share of the reads exceeds.
    fn beyond(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let mut left = (total as f64 * share) as u64;
        let place = self.counts.iter().rposition(|count| {
            let here = *count > left;
            left = left.saturating_sub(*count);
            here
        });
        place.unwrap_or(0) as f64 / 10.0 + 0.1
    }
}

/// A reader from now until `done`; writes its pauses.
fn measure(name: &str, done: impl Fn() -> bool, read: impl Fn(&Key) -> Option<u64>) {
    let start = Instant::now();
    let waits = reader(|| done() || start.elapsed() > PATIENCE, read);
    let table = Table::new("pause", "a reader while a million entries expire");
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    table.add(name, "longest", "us", &[micros(waits.max_own)]);
    table.add(name, "of a million reads, one takes", "us", &[waits.beyond(1e-6)]);
    table.add(name, "of ten thousand, one takes", "us", &[waits.beyond(1e-4)]);
    table.add(name, "longest, the scheduler's included", "us", &[micros(waits.max)]);
    if start.elapsed() > PATIENCE {
        eprintln!("{name}: not all had expired after {PATIENCE:?}");
    }
}

fn kvolt(dying: Expiry) -> MemoryStore<Value> {
    let store = MemoryStore::new();
    for n in 0..LIVE + DYING {
        let expiry = if n < LIVE { Expiry::idle_within(LIFETIME, LIFETIME) } else { dying };
        let _ = now(store.insert(key(n), NewEntry::new(value(n), expiry))).expect("there is room");
    }
    store
}

type Quick = quick_cache::sync::Cache<Key, (Instant, Value), UnitWeighter, OwnHash>;

struct Dying;

impl MokaExpiry<Key, Value> for Dying {
    fn expire_after_create(&self, _: &Key, value: &Value, _: Instant) -> Option<Duration> {
        Some(if value[1] == 1 { LIFETIME } else { TTL })
    }
}

pub(crate) fn run(settings: Settings) {
    let quiet = settings.pick(Duration::from_secs(4), Duration::from_secs(2));
    let store = kvolt(Expiry::after(LIFETIME));
    let read = |key: &Key| store.read(key, |entry| (AfterRead::Slide, look(entry.value)));
    let start = Instant::now();
    progress(0, 5, "KVolt, nothing expires");
    measure("KVolt, nothing expires", || start.elapsed() > quiet, read);
    drop(store);
    progress(1, 5, "KVolt");
    let store = kvolt(Expiry::idle(TTL));
    let read = |key: &Key| store.read(key, |entry| (AfterRead::Slide, look(entry.value)));
    measure("KVolt", || store.len() as u64 <= LIVE, read);
    drop(store);
    if settings.quick {
        return;
    }

    progress(2, 5, "moka");
    let cache = moka::sync::Cache::builder().expire_after(Dying).build_with_hasher(OwnHash);
    for n in 0..LIVE + DYING {
        let mut value = value(n);
        value[1] = u8::from(n < LIVE);
        cache.insert(key(n), value);
    }
    let read = |key: &Key| cache.get(key).map(|value| look(&value));
    measure("moka, `Expiry`", || cache.entry_count() <= LIVE, read);
    drop(cache);

    progress(3, 5, "dashmap");
    let map = DashMap::with_hasher(OwnHash);
    let start = Instant::now();
    for n in 0..LIVE + DYING {
        map.insert(key(n), (start + if n < LIVE { LIFETIME } else { TTL }, value(n)));
    }
    let cleaned = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep((start + TTL).saturating_duration_since(Instant::now()));
            let now = Instant::now();
            map.retain(|_, (ends, _)| now < *ends);
            cleaned.store(true, Ordering::Relaxed);
        });
        let read = |key: &Key| map.get(key).map(|entry| look(&entry.1));
        measure("dashmap, `retain`", || cleaned.load(Ordering::Relaxed), read);
    });
    drop(map);

    progress(4, 5, "quick_cache");
    let cache = Quick::with(
        (LIVE + DYING) as usize,
        2 * (LIVE + DYING),
        UnitWeighter,
        OwnHash,
        quick_cache::sync::DefaultLifecycle::default(),
    );
    let start = Instant::now();
    for n in 0..LIVE + DYING {
        cache.insert(key(n), (start + if n < LIVE { LIFETIME } else { TTL }, value(n)));
    }
    let cleaned = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep((start + TTL).saturating_duration_since(Instant::now()));
            let now = Instant::now();
            cache.retain(|_, (ends, _)| now < *ends);
            cleaned.store(true, Ordering::Relaxed);
        });
        let read = |key: &Key| cache.get(key).map(|(_, value)| look(&value));
        measure("quick_cache, `retain`", || cleaned.load(Ordering::Relaxed), read);
    });
}
