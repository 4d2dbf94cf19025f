use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Access, Entry, Error, Key, Result, Timestamp};

/// So many locks that two requests seldom want the same.
const SHARDS: usize = 64;

/// The reads of the store that are under way, so that a change that is pushed
/// meanwhile is not undone by what they bring, and that many who look for the
/// same at once ask once.
pub(super) struct Flights<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    next: AtomicU64,
}

type Shard<V> = HashMap<Key, UnderWay<V>>;

/// What is under way for a key.
struct UnderWay<V> {
    flights: Vec<Flight<V>>,
    /// How many changes by this process are: while there are any, nothing that is read is kept.
    changes: usize,
}

impl<V> Default for UnderWay<V> {
    fn default() -> Self {
        Self { flights: Vec::new(), changes: 0 }
    }
}

impl<V> UnderWay<V> {
    fn is_over(&self) -> bool {
        self.flights.is_empty() && self.changes == 0
    }
}

/// One read of the store. Only the shard's lock guards it.
struct Flight<V> {
    number: u64,
    access: Access,
    started: Timestamp,
    /// How many wait for it.
    tickets: usize,
    /// Whether a change was pushed since it began.
    overtaken: bool,
    /// Whether it is over, or nobody may join it.
    closed: bool,
    outcome: Arc<OnceCell<Outcome<V>>>,
}

/// What a flight brought, for each who waited.
pub(super) struct Outcome<V>(Result<Option<Entry<V>>>);

impl<V: Clone> Outcome<V> {
    pub(super) fn new(found: Result<Option<Entry<V>>>) -> Self {
        Self(found)
    }

    pub(super) fn repeat(&self) -> Result<Option<Entry<V>>> {
        self.0.as_ref().map(Clone::clone).map_err(Error::repeated)
    }
}

/// A place in a flight, which ends with the last one.
pub(super) struct Ticket<'a, V> {
    flights: &'a Flights<V>,
    number: u64,
    pub(super) key: &'a Key,
    pub(super) outcome: Arc<OnceCell<Outcome<V>>>,
}

impl<V> Flights<V> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { shards, next: AtomicU64::new(1) }
    }

    /// A flight of one's own.
    pub(super) fn alone<'a>(
        &'a self,
        key: &'a Key,
        access: Access,
        now: Timestamp,
    ) -> Ticket<'a, V> {
        self.start(&mut self.shard(key), key, access, now, true)
    }

    /// A flight for the same that is under way, or a new one.
    ///
    /// One that began longer ago than `bound`, or was overtaken by a change, may
    /// bring what this read must not see any more.
    pub(super) fn join<'a>(
        &'a self,
        key: &'a Key,
        access: Access,
        now: Timestamp,
        bound: Duration,
    ) -> Ticket<'a, V> {
        let mut shard = self.shard(key);
        let joined = shard.get_mut(key).and_then(|under_way| {
            under_way.flights.iter_mut().find(|flight| {
                let fresh = now.since(flight.started) < bound;
                flight.access == access && !flight.closed && !flight.overtaken && fresh
            })
        });
        if let Some(flight) = joined {
            flight.tickets += 1;
            let (number, outcome) = (flight.number, Arc::clone(&flight.outcome));
            return Ticket { flights: self, number, key, outcome };
        }
        self.start(&mut shard, key, access, now, false)
    }

    /// Nothing that is under way for this key is kept.
    pub(super) fn changed(&self, key: &Key) {
        if let Some(under_way) = self.shard(key).get_mut(key) {
            under_way.flights.iter_mut().for_each(|flight| flight.overtaken = true);
        }
    }

    /// A change by this process begins, and nothing that is read for this key is kept until it ends.
    pub(super) fn begin_change(&self, key: &Key) {
        self.shard(key).entry(*key).or_default().changes += 1;
        self.changed(key);
    }

    pub(super) fn end_change(&self, key: &Key) {
        self.changed(key);
        let mut shard = self.shard(key);
        if let Some(under_way) = shard.get_mut(key) {
            under_way.changes -= 1;
            if under_way.is_over() {
                shard.remove(key);
            }
        }
    }

    /// Nothing that is under way is kept.
    pub(super) fn all_changed(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let flights = shard.values_mut().flat_map(|under_way| &mut under_way.flights);
            flights.for_each(|flight| flight.overtaken = true);
        }
    }

    fn start<'a>(
        &'a self,
        shard: &mut Shard<V>,
        key: &'a Key,
        access: Access,
        started: Timestamp,
        closed: bool,
    ) -> Ticket<'a, V> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let outcome = Arc::default();
        let under_way = shard.entry(*key).or_default();
        let flight = Flight {
            number,
            access,
            started,
            tickets: 1,
            overtaken: under_way.changes > 0,
            closed,
            outcome: Arc::clone(&outcome),
        };
        under_way.flights.push(flight);
        Ticket { flights: self, number, key, outcome }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<V>> {
        lock(&self.shards[key.prefix() as usize % SHARDS])
    }
}

impl<V> Ticket<'_, V> {
    /// Ends the flight, and keeps what it brought by `keep` unless a change overtook it.
    ///
    /// Under the lock, so that a change that is pushed comes before (and overtakes) or after (and removes).
    pub(super) fn land(&self, keep: impl FnOnce(u64)) {
        let mut shard = self.flights.shard(self.key);
        let under_way = shard.get_mut(self.key);
        let mut flights = under_way.into_iter().flat_map(|under_way| &mut under_way.flights);
        if let Some(flight) = flights.find(|flight| flight.number == self.number) {
            flight.closed = true;
            if !flight.overtaken {
                keep(flight.number);
            }
        }
    }
}

impl<V> Drop for Ticket<'_, V> {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(self.key);
        let Some(under_way) = shard.get_mut(self.key) else {
            return;
        };
        under_way.flights.retain_mut(|flight| {
            flight.tickets -= usize::from(flight.number == self.number);
            flight.tickets > 0
        });
        if under_way.is_over() {
            shard.remove(self.key);
        }
    }
}
