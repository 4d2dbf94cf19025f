//! The order in which the calls of this process wait for a lock of the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::failure::{Failure, Kind, Outcome};

/// How many calls may wait for one lock.
const MAX_WAITING: usize = 10_000;

/// Which calls have, or wait for, which lock.
///
/// A call takes its turn before it takes a connection, so that of all calls that need one lock at
/// most one waits for it on a connection: a lock that is held for long can't empty the pool.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<u64, Arc<AsyncMutex<()>>>>);

/// The turn of one call for one lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    lock: u64,
    /// Absent only in `drop`.
    queue: Option<Arc<AsyncMutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until each of these locks is this call's.
    pub(crate) async fn take(&self, locks: &[Option<u64>]) -> Outcome<Vec<Turn<'_>>> {
        // In one order, so that no two calls wait for each other.
        let mut locks: Vec<u64> = locks.iter().copied().flatten().collect();
        locks.sort_unstable();
        locks.dedup();
        let mut turns = Vec::with_capacity(locks.len());
        for lock in locks {
            turns.push(self.take_one(lock).await?);
        }
        Ok(turns)
    }

    async fn take_one(&self, lock: u64) -> Outcome<Turn<'_>> {
        let queue = Arc::clone(self.queues().entry(lock).or_default());
        let mut turn = Turn { turns: self, lock, queue: Some(Arc::clone(&queue)), guard: None };
        // The map and the holder have one each; each waiting call has two.
        if Arc::strong_count(&queue) > 2 * MAX_WAITING {
            return Err(Failure::new(Kind::Unavailable, "too many calls wait for one entry"));
        }
        turn.guard = Some(queue.lock_owned().await);
        Ok(turn)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<u64, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut queues = self.turns.queues();
        self.queue = None;
        if queues.get(&self.lock).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn one_call_at_a_time_has_a_lock() {
        let turns = Turns::default();
        let mut context = Context::from_waker(Waker::noop());
        let first = pollster::block_on(turns.take(&[Some(7), None, Some(7)])).unwrap();
        assert!(pollster::block_on(turns.take(&[Some(8)])).is_ok(), "another lock is free");
        {
            let mut given_up = pin!(turns.take(&[Some(7)]));
            assert!(given_up.as_mut().poll(&mut context).is_pending());
        }
        let mut second = pin!(turns.take(&[Some(7)]));
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        let second = pollster::block_on(second).unwrap();
        assert_eq!(turns.queues().len(), 1);
        drop(second);
        assert!(turns.queues().is_empty(), "nothing is kept of locks that no call needs");
    }
}
