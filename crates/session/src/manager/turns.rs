//! The turns of changes of one session in one process.
//!
//! Without turns, concurrent requests that change one session would each read it, and all but one
//! would lose the compare-and-swap and start again. In turn, each starts from what the previous
//! one has written, and costs one command.
//!
//! A queue exists while it has members: the holder of the turn and the tasks that wait. Each member
//! owns one reference to the queue, and the map one more, so the reference count is the number of
//! members plus one. A reference is added under the shard's lock only, and a member locks the shard
//! after it has dropped its own: so the last one sees that the map's is the only one left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::Key;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::error::Kind;
use crate::{Error, Result};

/// How many changes of one session may wait for their turn.
const MAX_WAITING: usize = 10_000;

/// After this many changes in a row while another process competes, this process makes room.
const MAX_WINS: u32 = 16;

/// The pause that makes room: some round trips.
const ROOM: Duration = Duration::from_millis(2);

/// How many times a process makes room after it last met another one.
const COMPETES_FOR: u8 = 16;

/// After changes in a row for this long, a process makes room for one that it has not met: a
/// process that is slightly farther from the store may lose each time without being noticed.
const MAX_UNMET: Duration = Duration::from_millis(60);

/// The pause for a process that was not met: longer than the pause of a process that has lost, and
/// some round trips.
const LONG_ROOM: Duration = Duration::from_millis(10);

const SHARDS: usize = 16;

/// The queues of all sessions that are being changed.
pub(super) struct Turns<R> {
    shards: [Mutex<HashMap<Key, Queue<R>>>; SHARDS],
}

/// Tokio's mutex is fair, and passes the lock on if a waiting future is dropped.
type Queue<R> = Arc<tokio::sync::Mutex<State<R>>>;

/// The state that passes from one holder to the next.
struct State<R> {
    /// The value that the last holder wrote; `None` if its outcome is not known.
    handed: Option<R>,
    /// How many changes in a row this process has made.
    wins: u32,
    /// When about the changes in a row began.
    since: Option<Instant>,
    /// How many times this process makes room for another one.
    competes: u8,
}

impl<R> Turns<R> {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Waits for a turn, first come, first served.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the queue; the turn passes to the next task.
    pub(super) async fn take(&self, key: Key) -> Result<Turn<'_, R>> {
        // Declared first, so dropped last.
        let member = Member { turns: self, key };
        let queue = self.join(key)?;
        Ok(Turn { state: queue.lock_owned().await, _member: member })
    }

    fn join(&self, key: Key) -> Result<Queue<R>> {
        let mut shard = self.shard(&key);
        let queue = shard.entry(key).or_insert_with(|| {
            let state = State { handed: None, wins: 0, since: None, competes: 0 };
            Arc::new(tokio::sync::Mutex::new(state))
        });
        // One is the map's, and one the holder's.
        if Arc::strong_count(queue) >= MAX_WAITING + 2 {
            return Err(Error::new(
                Kind::Contended,
                format!(
                    "{MAX_WAITING} changes of this session are waiting already: try again later"
                ),
            ));
        }
        Ok(Arc::clone(queue))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Queue<R>>> {
        let shard = usize::from(key.as_bytes()[0]) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the queue after its last member has left.
struct Member<'a, R> {
    turns: &'a Turns<R>,
    key: Key,
}

impl<R> Drop for Member<'_, R> {
    fn drop(&mut self) {
        let mut shard = self.turns.shard(&self.key);
        if shard.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            shard.remove(&self.key);
        }
    }
}

/// The right to change a session. Dropping it passes the turn on.
pub(super) struct Turn<'a, R> {
    /// Dropped before the member.
    state: OwnedMutexGuard<State<R>>,
    _member: Member<'a, R>,
}

impl<R> Turn<'_, R> {
    /// The value that the previous holder wrote.
    pub(super) fn handed(&self) -> Option<&R> {
        self.state.handed.as_ref()
    }

    /// Hands nothing on: for a holder that is about to write, and may be dropped before it knows
    /// the outcome.
    pub(super) fn forget(&mut self) {
        self.state.handed = None;
    }

    /// Hands on the value that this holder wrote.
    pub(super) fn hand_on(&mut self, written: R) {
        self.state.handed = Some(written);
    }

    /// Records that another process changed the session in between.
    pub(super) fn lost(&mut self) {
        let state = &mut *self.state;
        (state.wins, state.since, state.competes) = (0, None, COMPETES_FOR);
    }

    /// Records that this process has won. Returns for how long it should make room for another
    /// one, if it has won so often or for so long.
    pub(super) fn won(&mut self) -> Option<Duration> {
        let state = &mut *self.state;
        state.wins += 1;
        if !state.wins.is_multiple_of(MAX_WINS) {
            return None;
        }
        if state.competes > 0 {
            state.competes -= 1;
            return Some(ROOM);
        }
        let now = Instant::now();
        if now.duration_since(*state.since.get_or_insert(now)) < MAX_UNMET {
            return None;
        }
        state.since = None;
        Some(LONG_ROOM)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn key() -> Key {
        Key::of("session")
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn turns_are_first_come_first_served() {
        let turns = Turns::<u32>::new();
        let mut first = pollster::block_on(turns.take(key())).unwrap();
        let (mut second, mut third) = (pin!(turns.take(key())), pin!(turns.take(key())));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        first.hand_on(1);
        drop(first);
        assert!(poll(third.as_mut()).is_pending());
        let Poll::Ready(Ok(mut second)) = poll(second) else { panic!("it is the second's turn") };
        assert_eq!(second.handed(), Some(&1));
        second.forget();
        drop(second);
        let Poll::Ready(Ok(third)) = poll(third) else { panic!("it is the third's turn") };
        assert_eq!(third.handed(), None, "the second forgot it, and wrote nothing");
        drop(third);
        assert!(turns.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn dropped_waiter_passes_its_turn_on() {
        let turns = Turns::<u32>::new();
        let first = pollster::block_on(turns.take(key())).unwrap();
        let mut second = Box::pin(turns.take(key()));
        let mut third = pin!(turns.take(key()));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        drop(first);
        // It was woken, and is dropped before it runs.
        drop(second);
        assert!(poll(third).is_ready());
    }

    #[test]
    fn queue_has_a_bound() {
        let turns = Turns::<u32>::new();
        let holder = pollster::block_on(turns.take(key())).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let mut waiter = Box::pin(turns.take(key()));
            assert!(poll(waiter.as_mut()).is_pending());
            waiting.push(waiter);
        }
        let Poll::Ready(Err(error)) = poll(pin!(turns.take(key()))) else {
            panic!("the queue is full")
        };
        assert!(error.is_contended());
        drop(holder);
    }

    #[test]
    fn winning_process_makes_room() {
        let turns = Turns::<u32>::new();
        let mut turn = pollster::block_on(turns.take(key())).unwrap();
        assert!((0..100).all(|_| turn.won().is_none()), "nothing competes");
        turn.lost();
        let rooms: Vec<usize> = (1..1_000).filter(|_| turn.won().is_some()).collect();
        let expected: Vec<usize> = (1..=usize::from(COMPETES_FOR)).map(|room| room * 16).collect();
        assert_eq!(rooms, expected);
    }
}
