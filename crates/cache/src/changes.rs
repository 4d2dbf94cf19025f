//! Waiting for changes of entries.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::{Clock, Key, Timestamp};

/// Who waits for a change of which entry: changes that this process makes, and
/// those that a store pushes to it.
///
/// Being told is a reason to look, and nothing more: an entry may have been told of
/// and be as it was.
pub struct Changes {
    waiting: Mutex<HashMap<Key, watch::Sender<()>>>,
    /// How many keys are waited for: nobody takes the lock while it is zero.
    keys: AtomicUsize,
    hearing: Option<Hearing>,
}

/// What is known of the pushes of a store elsewhere.
struct Hearing {
    clock: Clock,
    bound: Duration,
    /// Every change before this moment was told; in milliseconds and one more, zero for none.
    heard: AtomicU64,
}

/// Waits for the changes of one entry. Made by [`Changes::watch`].
pub struct Watch {
    changes: Arc<Changes>,
    key: Key,
    /// There until it is dropped.
    receiver: Option<watch::Receiver<()>>,
}

impl Changes {
    /// For changes that are made in this process.
    pub fn new() -> Self {
        Self { waiting: Mutex::default(), keys: AtomicUsize::new(0), hearing: None }
    }

    /// For changes that a store elsewhere pushes too, of which is known by
    /// [`heard`](Self::heard) up to when all were told. That holds for `bound`.
    pub fn pushed(clock: Clock, bound: Duration) -> Self {
        let hearing = Some(Hearing { clock, bound, heard: AtomicU64::new(0) });
        Self { hearing, ..Self::new() }
    }

    /// Waits for changes of the entry under `key` from now on.
    pub fn watch(self: &Arc<Self>, key: Key) -> Watch {
        let mut waiting = self.waiting();
        let receiver = match waiting.get(&key) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(());
                waiting.insert(key, sender);
                self.keys.store(waiting.len(), Ordering::SeqCst);
                receiver
            }
        };
        Watch { changes: Arc::clone(self), key, receiver: Some(receiver) }
    }

    /// The entry under `key` was changed, or may have been.
    pub fn changed(&self, key: &Key) {
        if self.keys.load(Ordering::SeqCst) > 0
            && let Some(sender) = self.waiting().get(key)
        {
            sender.send_replace(());
        }
    }

    /// Any entry may have been changed.
    pub fn all_changed(&self) {
        if self.keys.load(Ordering::SeqCst) > 0 {
            self.waiting().values().for_each(|sender| sender.send_replace(()));
        }
    }

    /// Every change before this moment, by the clock that was given, has been told.
    pub fn heard(&self, asked: Timestamp) {
        if let Some(hearing) = &self.hearing {
            hearing.heard.store(asked.as_millis() + 1, Ordering::Release);
        }
    }

    /// Nothing is heard any more.
    pub fn deafen(&self) {
        if let Some(hearing) = &self.hearing {
            hearing.heard.store(0, Ordering::Release);
        }
        self.all_changed();
    }

    /// For how much longer nobody has to look by themselves to see every change
    /// within the bound; zero where nothing is pushed, or was heard for too long.
    pub fn complete_for(&self) -> Duration {
        let Some(hearing) = &self.hearing else {
            return Duration::ZERO;
        };
        match hearing.heard.load(Ordering::Acquire).checked_sub(1) {
            Some(heard) => {
                let until = Timestamp::from_millis(heard).saturating_add(hearing.bound);
                until.since(hearing.clock.now())
            }
            None => Duration::ZERO,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The key that it waits for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Waits until something is told that was not yet when this was made, or since
    /// this was last waited for.
    ///
    /// # Cancellation
    ///
    /// What is told is not lost with a future that was dropped before.
    pub async fn changed(&mut self) {
        let told = match &mut self.receiver {
            Some(receiver) => receiver.changed().await,
            None => Ok(()),
        };
        // The sender is there for as long as its receivers are.
        if told.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.changes.waiting();
        drop(self.receiver.take());
        if waiting.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.key);
            self.changes.keys.store(waiting.len(), Ordering::SeqCst);
        }
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("keys", &self.keys)
            .field("complete_for", &self.complete_for())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_once_and_nothing_is_left_of_them() {
        let changes = Arc::new(Changes::new());
        let (one, other) = (Key::of("one"), Key::of("other"));
        let (mut first, mut second) = (changes.watch(one), changes.watch(one));
        let mut third = changes.watch(other);
        changes.changed(&one);
        changes.changed(&one);
        first.changed().await;
        second.changed().await;
        let told = tokio::time::timeout(Duration::ZERO, async {
            tokio::select! { () = first.changed() => {}, () = third.changed() => {} }
        });
        assert!(told.await.is_err(), "twice before a look is once; and of others nothing");
        changes.all_changed();
        first.changed().await;
        third.changed().await;
        drop((first, second, third));
        assert_eq!(changes.waiting().len() + changes.keys.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_was_heard_is_complete_for_the_bound() {
        let manual = crate::ManualClock::new();
        let bound = Duration::from_secs(1);
        let changes = Changes::pushed(manual.clock(), bound);
        assert_eq!(changes.complete_for(), Duration::ZERO);
        changes.heard(manual.clock().now());
        assert_eq!(changes.complete_for(), bound);
        manual.advance(Duration::from_millis(400));
        assert_eq!(changes.complete_for(), Duration::from_millis(600));
        manual.advance(bound);
        assert_eq!(changes.complete_for(), Duration::ZERO);
        changes.heard(manual.clock().now());
        changes.deafen();
        assert_eq!(changes.complete_for(), Duration::ZERO);
        assert_eq!(Changes::new().complete_for(), Duration::ZERO);
    }
}
