//! The order in which the calls of this process wait for a lock of the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::failure::{Failure, Kind, Outcome};

/// How many calls may wait for one lock.
const MAX_WAITING: usize = 10_000;

/// Queues of calls that need the same lock.
///
/// A call takes its turn before it takes a connection. So at most one of the calls that need a lock
/// waits for it on a connection, and a lock that is held for long can't exhaust the pool.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<u64, Weak<AsyncMutex<()>>>>);

impl Turns {
    /// Waits until this call has the turn for each of these locks, which it keeps until the guards
    /// are dropped.
    pub(crate) async fn take(&self, locks: &[Option<u64>]) -> Outcome<Vec<OwnedMutexGuard<()>>> {
        // In one order, so that no two calls wait for each other.
        let mut locks: Vec<u64> = locks.iter().copied().flatten().collect();
        locks.sort_unstable();
        locks.dedup();
        let mut turns = Vec::with_capacity(locks.len());
        for lock in locks {
            let queue = self.queue(lock);
            if Arc::strong_count(&queue) > MAX_WAITING {
                return Err(Failure::new(Kind::Unavailable, "too many calls wait for one entry"));
            }
            turns.push(queue.lock_owned().await);
        }
        Ok(turns)
    }

    fn queue(&self, lock: u64) -> Arc<AsyncMutex<()>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&lock).and_then(Weak::upgrade) {
            return queue;
        }
        if queues.len() == queues.capacity() {
            queues.retain(|_, queue| queue.strong_count() > 0);
            // So that the next such pass comes after as many insertions as this one visited.
            let live = queues.len();
            queues.reserve(live + 1);
        }
        let queue = Arc::default();
        queues.insert(lock, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn one_call_at_a_time_holds_a_lock() {
        let turns = Turns::default();
        let mut context = Context::from_waker(Waker::noop());
        let first = pollster::block_on(turns.take(&[Some(7), None, Some(7)])).unwrap();
        assert!(pollster::block_on(turns.take(&[Some(8)])).is_ok(), "another lock is free");
        {
            let mut canceled = pin!(turns.take(&[Some(7)]));
            assert!(canceled.as_mut().poll(&mut context).is_pending());
        }
        let mut second = pin!(turns.take(&[Some(7)]));
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        let second = pollster::block_on(second).unwrap();
        drop(second);
        for lock in 0..100_000 {
            drop(turns.queue(lock));
        }
        assert!(turns.0.lock().unwrap().len() < 100, "unused queues are removed");
    }
}
