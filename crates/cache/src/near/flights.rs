//! The questions to the store that are in flight.
//!
//! | state of a flight | who may join it | a change of the entry |
//! |---|---|---|
//! | waits to be asked | every call | changes nothing: the question is asked after it |
//! | asked | a bounded call, if it was asked within the bound and is not overtaken | overtakes it |
//! | overtaken | no call | changes nothing |
//! | landed | no call: the answer is kept, unless the flight was overtaken | removes what was kept |
//!
//! Every step is made under the lock of the key's shard. A call that can't join a flight makes
//! one; of each key, at most [`MAX_ASKED`] are asked at a time and the next waits. So any number
//! of strict calls for one key makes a question or two at a time, and none is answered by a
//! question from before it began.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OnceCell, Semaphore};

use super::trust::Trust;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Freshness, Key, Result, Timestamp};

/// So many locks that two requests seldom want the same.
const SHARDS: usize = 64;

/// How many questions about one key are asked at a time.
const MAX_ASKED: usize = 2;

/// The questions that are in flight, whose answers are a `T`.
pub(super) struct Flights<T> {
    trust: Arc<Trust>,
    shards: Box<[Mutex<Shard<T>>]>,
    next: AtomicU64,
}

type Shard<T> = HashMap<Key, UnderWay<T>>;

/// What is under way for a key.
struct UnderWay<T> {
    flights: Vec<Flight<T>>,
    /// How many changes this process is making. While there is any, no answer is kept.
    changes: usize,
    /// A permit for each question that may be asked.
    permits: Arc<Semaphore>,
}

impl<T> Default for UnderWay<T> {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(MAX_ASKED));
        Self { flights: Vec::new(), changes: 0, permits }
    }
}

/// One question. Only the shard's lock guards it.
struct Flight<T> {
    answer: Answer<T>,
    /// The number and the time of the question; `None` while it waits to be asked.
    asked: Option<(u64, Timestamp)>,
    /// How many calls wait for it.
    tickets: usize,
    /// Whether the entry was changed since the question was asked.
    is_overtaken: bool,
}

/// What a flight brought, for each call that waited. Its address tells flights apart.
type Answer<T> = Arc<OnceCell<Result<T>>>;

/// A place in a flight. The flight ends with its last one.
struct Ticket<'a, T> {
    flights: &'a Flights<T>,
    key: &'a Key,
    answer: Answer<T>,
    /// Whether the question was asked before the call joined.
    is_older: bool,
    permits: Arc<Semaphore>,
}

impl<T: Clone> Flights<T> {
    pub(super) fn new(trust: Arc<Trust>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { trust, shards, next: AtomicU64::new(1) }
    }

    /// The answer to a question that may be as old as `freshness` says: by `question`, unless
    /// another call asks it. And whether that was asked before this call began.
    ///
    /// What the question brought, with its number, goes to `keep` under the lock, unless the entry
    /// was changed after the question was asked. Of two questions about a key, the one that was
    /// asked later has the higher number.
    pub(super) async fn ask(
        &self,
        key: &Key,
        freshness: Freshness,
        question: impl Future<Output = Result<T>>,
        keep: impl FnOnce(u64, &T),
    ) -> Result<(T, bool)> {
        let ticket = self.join(key, freshness);
        let ask = || async {
            // Without waiting if it can: also where a task's budget for that is spent. The
            // semaphore is never closed.
            let _permit = match ticket.permits.try_acquire() {
                Ok(permit) => Ok(permit),
                Err(_) => ticket.permits.acquire().await,
            };
            ticket.take_off();
            let answer = question.await;
            ticket.land(|number| {
                if let Ok(answer) = &answer {
                    keep(number, answer);
                }
            });
            answer
        };
        let answer = ticket.answer.get_or_init(ask).await.clone();
        answer.map(|answer| (answer, ticket.is_older))
    }

    /// Runs `act` under the lock under which answers about this key are kept.
    pub(super) fn exclusively(&self, key: &Key, act: impl FnOnce()) {
        let _shard = self.shard(key);
        act();
    }

    /// The answers that are in flight for this key are not kept.
    pub(super) fn changed(&self, key: &Key) {
        if let Some(under_way) = self.shard(key).get_mut(key) {
            under_way.overtake();
        }
    }

    /// No answer that is in flight is kept.
    pub(super) fn all_changed(&self) {
        for shard in &self.shards {
            lock(shard).values_mut().for_each(UnderWay::overtake);
        }
    }

    /// This process begins a change, and no answer for this key is kept until it ends.
    pub(super) fn begin_change(&self, key: &Key) {
        let mut shard = self.shard(key);
        let under_way = shard.entry(*key).or_default();
        under_way.changes += 1;
        under_way.overtake();
    }

    pub(super) fn end_change(&self, key: &Key) {
        let mut shard = self.shard(key);
        if let Some(under_way) = shard.get_mut(key) {
            under_way.changes -= 1;
            under_way.overtake();
        }
        Self::tidy(&mut shard, key);
    }

    fn join<'a>(&'a self, key: &'a Key, freshness: Freshness) -> Ticket<'a, T> {
        let now = self.trust.now();
        let mut shard = self.shard(key);
        let under_way = shard.entry(*key).or_default();
        let joined = under_way.flights.iter_mut().find(|flight| match flight.asked {
            None => true,
            Some((_, asked)) => {
                freshness == Freshness::Bounded
                    && !flight.is_overtaken
                    && now.since(asked) < self.trust.bound()
            }
        });
        let (answer, is_older) = match joined {
            Some(flight) => {
                flight.tickets += 1;
                (Arc::clone(&flight.answer), flight.asked.is_some())
            }
            None => {
                let answer = Answer::default();
                under_way.flights.push(Flight {
                    answer: Arc::clone(&answer),
                    asked: None,
                    tickets: 1,
                    is_overtaken: false,
                });
                (answer, false)
            }
        };
        Ticket { flights: self, key, answer, is_older, permits: Arc::clone(&under_way.permits) }
    }
}

impl<T> Flights<T> {
    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<T>> {
        lock(&self.shards[key.prefix() as usize % SHARDS])
    }

    fn tidy(shard: &mut Shard<T>, key: &Key) {
        if shard.get(key).is_some_and(|it| it.flights.is_empty() && it.changes == 0) {
            shard.remove(key);
        }
    }
}

impl<T> UnderWay<T> {
    fn overtake(&mut self) {
        self.flights.iter_mut().for_each(|flight| flight.is_overtaken = true);
    }
}

impl<T> Ticket<'_, T> {
    /// From here on, no strict call joins.
    fn take_off(&self) {
        let mut shard = self.flights.shard(self.key);
        let Some(under_way) = shard.get_mut(self.key) else { return };
        let is_overtaken = under_way.changes > 0;
        if let Some(flight) = under_way.flights.iter_mut().find(|flight| self.is_in(flight)) {
            let number = self.flights.next.fetch_add(1, Ordering::Relaxed);
            flight.asked = Some((number, self.flights.trust.now()));
            flight.is_overtaken = is_overtaken;
        }
    }

    /// From here on, no call joins.
    ///
    /// Under the lock, so that a change comes before (and overtakes) or after (and removes).
    fn land(&self, keep: impl FnOnce(u64)) {
        let mut shard = self.flights.shard(self.key);
        let Some(under_way) = shard.get_mut(self.key) else { return };
        if let Some(index) = under_way.flights.iter().position(|flight| self.is_in(flight)) {
            let flight = under_way.flights.swap_remove(index);
            if let (Some((number, _)), false) = (flight.asked, flight.is_overtaken) {
                keep(number);
            }
        }
        Flights::tidy(&mut shard, self.key);
    }

    fn is_in(&self, flight: &Flight<T>) -> bool {
        Arc::ptr_eq(&flight.answer, &self.answer)
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(self.key);
        if let Some(under_way) = shard.get_mut(self.key) {
            under_way.flights.retain_mut(|flight| {
                flight.tickets -= usize::from(self.is_in(flight));
                flight.tickets > 0
            });
        }
        Flights::tidy(&mut shard, self.key);
    }
}
