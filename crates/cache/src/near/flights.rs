//! The questions to the store that are in flight.
//!
//! A flight is one question about one key, for all calls that wait for its answer.
//!
//! | state of a flight | calls that may join it | effect of a change of the entry |
//! |---|---|---|
//! | waiting to be asked | every call | none: the question is asked after the change |
//! | asked | a bounded call, if it was asked within the bound | overtakes the flight |
//! | overtaken | no call | none |
//! | finished | no call; the answer is kept, unless the flight was overtaken | removes the kept answer |
//!
//! Every step holds the lock of the key's shard. A call that can't join a flight starts one. For
//! each key, at most [`MAX_ASKED`] are asked at a time and the next one waits. So any number of
//! strict calls for one key cause one or two questions at a time, and each is answered by a
//! question from after it began.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OnceCell, Semaphore};

use super::feed_status::FeedStatus;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Freshness, Key, Result, Timestamp};

/// The number of locks, so large that two requests seldom need the same one.
const SHARDS: usize = 64;

/// How many questions about one key may be in flight at a time.
const MAX_ASKED: usize = 2;

/// The questions in flight, with answers of the type `T`.
pub(super) struct Flights<T> {
    feed: Arc<FeedStatus>,
    shards: Box<[Mutex<Shard<T>>]>,
    next: AtomicU64,
}

pub(super) type Shard<T> = HashMap<Key, KeyState<T>>;

/// The flights of a key, and the changes of its entry by this process.
pub(super) struct KeyState<T> {
    flights: Vec<Flight<T>>,
    /// How many changes this process is making. Above zero, no answer is kept.
    changes: usize,
    /// A permit for each question that may be in flight.
    permits: Arc<Semaphore>,
}

impl<T> Default for KeyState<T> {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(MAX_ASKED));
        Self { flights: Vec::new(), changes: 0, permits }
    }
}

/// A question, guarded by the shard's lock.
struct Flight<T> {
    answer: Answer<T>,
    /// The number and the time of the question; `None` while it waits to be asked.
    asked: Option<(u64, Timestamp)>,
    /// How many calls wait for the answer.
    tickets: usize,
    /// Whether the entry was changed since the question was asked.
    is_overtaken: bool,
}

/// The answer, shared by the calls that wait for it. Its address identifies the flight.
type Answer<T> = Arc<OnceCell<Result<T>>>;

/// A call's share in a flight. The flight ends when its last ticket is dropped.
struct Ticket<'a, T> {
    flights: &'a Flights<T>,
    key: &'a Key,
    answer: Answer<T>,
    /// Whether the question was asked before the call joined.
    is_older: bool,
    permits: Arc<Semaphore>,
}

impl<T: Clone> Flights<T> {
    pub(super) fn new(feed: Arc<FeedStatus>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { feed, shards, next: AtomicU64::new(1) }
    }

    /// Asks by `question`, or joins a flight that is as recent as `freshness` demands. Returns the
    /// answer, and whether its question was asked before this call began.
    ///
    /// Calls `keep` under the lock with the answer and the number of the question, unless the entry
    /// was changed after the question was asked. Of two questions about a key, the later one has
    /// the higher number.
    pub(super) async fn ask(
        &self,
        key: &Key,
        freshness: Freshness,
        question: impl Future<Output = Result<T>>,
        keep: impl FnOnce(u64, &T),
    ) -> Result<(T, bool)> {
        let ticket = self.join(key, freshness);
        let ask = || async {
            // `try_acquire` first: it works even if the task's cooperative budget is spent. The
            // semaphore is never closed.
            let _permit = match ticket.permits.try_acquire() {
                Ok(permit) => Ok(permit),
                Err(_) => ticket.permits.acquire().await,
            };
            ticket.start();
            let answer = question.await;
            ticket.finish(|number| {
                if let Ok(answer) = &answer {
                    keep(number, answer);
                }
            });
            answer
        };
        let answer = ticket.answer.get_or_init(ask).await.clone();
        answer.map(|answer| (answer, ticket.is_older))
    }

    /// Keeps no answer that is in flight for this key.
    pub(super) fn changed(&self, key: &Key) {
        if let Some(key_state) = self.shard(key).get_mut(key) {
            key_state.overtake();
        }
    }

    /// Keeps no answer that is in flight.
    pub(super) fn all_changed(&self) {
        for shard in &self.shards {
            lock(shard).values_mut().for_each(KeyState::overtake);
        }
    }

    /// This process begins a change. No answer for this key is kept until it ends.
    pub(super) fn begin_change(&self, key: &Key) {
        let mut shard = self.shard(key);
        let key_state = shard.entry(*key).or_default();
        key_state.changes += 1;
        key_state.overtake();
    }

    fn join<'a>(&'a self, key: &'a Key, freshness: Freshness) -> Ticket<'a, T> {
        let now = self.feed.now();
        let mut shard = self.shard(key);
        let key_state = shard.entry(*key).or_default();
        let flights = &mut key_state.flights;
        let joined = flights.iter().position(|flight| match flight.asked {
            None => true,
            Some((_, asked)) => {
                freshness == Freshness::Bounded
                    && !flight.is_overtaken
                    && now.since(asked) < self.feed.bound()
            }
        });
        let index = joined.unwrap_or(flights.len());
        if joined.is_none() {
            let answer = Answer::default();
            flights.push(Flight { answer, asked: None, tickets: 0, is_overtaken: false });
        }
        let flight = &mut flights[index];
        flight.tickets += 1;
        let (answer, is_older) = (Arc::clone(&flight.answer), flight.asked.is_some());
        Ticket { flights: self, key, answer, is_older, permits: Arc::clone(&key_state.permits) }
    }
}

impl<T> Flights<T> {
    pub(super) fn end_change(&self, key: &Key) {
        let mut shard = self.shard(key);
        if let Some(key_state) = shard.get_mut(key) {
            key_state.changes -= 1;
            key_state.overtake();
        }
        Self::remove_idle(&mut shard, key);
    }

    /// Takes the lock under which answers about this key are kept.
    pub(super) fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<T>> {
        lock(&self.shards[key.prefix() as usize % SHARDS])
    }

    fn remove_idle(shard: &mut Shard<T>, key: &Key) {
        if shard.get(key).is_some_and(|it| it.flights.is_empty() && it.changes == 0) {
            shard.remove(key);
        }
    }
}

impl<T> KeyState<T> {
    fn overtake(&mut self) {
        self.flights.iter_mut().for_each(|flight| flight.is_overtaken = true);
    }
}

impl<T> Ticket<'_, T> {
    /// The question is asked now. From here on, no strict call joins.
    fn start(&self) {
        self.with_flight(|flight, changes| {
            let number = self.flights.next.fetch_add(1, Ordering::Relaxed);
            flight.asked = Some((number, self.flights.feed.now()));
            flight.is_overtaken = changes > 0;
            true
        });
    }

    /// The question is answered. From here on, no call joins.
    ///
    /// Under the lock, so that a change comes before (and overtakes) or after (and removes).
    fn finish(&self, keep: impl FnOnce(u64)) {
        self.with_flight(|flight, _| {
            if let (Some((number, _)), false) = (flight.asked, flight.is_overtaken) {
                keep(number);
            }
            false
        });
    }

    /// Runs `act` on the flight under the lock, if it has not ended, with the number of changes
    /// that this process is making. The flight ends if `act` returns `false`.
    fn with_flight(&self, act: impl FnOnce(&mut Flight<T>, usize) -> bool) {
        let mut shard = self.flights.shard(self.key);
        let Some(KeyState { flights, changes, .. }) = shard.get_mut(self.key) else { return };
        let index = flights.iter().position(|flight| Arc::ptr_eq(&flight.answer, &self.answer));
        if let Some(index) = index
            && !act(&mut flights[index], *changes)
        {
            flights.swap_remove(index);
        }
        Flights::remove_idle(&mut shard, self.key);
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        self.with_flight(|flight, _| {
            flight.tickets -= 1;
            flight.tickets > 0
        });
    }
}
