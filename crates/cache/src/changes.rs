//! Waiting for changes of entries.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::Key;

/// A registry of tasks that wait for changes of entries: changes by this process, and changes that
/// a remote store pushes.
///
/// A notification is only a reason to read the entry: it may be unchanged.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Expiry, Key, MemoryStore, NewEntry, Notice, Store};
///
/// # pollster::block_on(async {
/// let (store, key) = (MemoryStore::new(), Key::of("greeting"));
/// let entry = NewEntry::new("hello", Expiry::after(Duration::from_secs(60)));
/// let _ = store.insert(key, entry).await?;
///
/// let changes = store.changes().expect("a memory store has a registry");
/// let mut watch = changes.watch(key);
/// let _ = store.remove((&key).into(), None).await?;
/// assert_eq!((watch.changed().await, watch.key()), (Notice::Changed, &key));
///
/// // A store with a change feed reports an outage of the feed:
/// changes.interrupted();
/// assert_eq!(watch.changed().await, Notice::Interrupted);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Default)]
pub struct Changes {
    /// Each value counts the [changes](Notice::Changed) of a key.
    watches: Mutex<HashMap<Key, watch::Sender<u64>>>,
    /// How many keys have a watch. At zero, a notification takes no lock.
    keys: AtomicUsize,
    current_for: Option<Box<CurrentFor>>,
}

type CurrentFor = dyn Fn() -> Duration + Send + Sync;

/// The content of a notification: see [`Watch::changed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The entry was changed, or may have been: read it now.
    Changed,
    /// The store's change feed was interrupted, or resumed after an interruption.
    ///
    /// The entry is probably unchanged, and every watch gets this notification at the same moment.
    /// So the caller must not read the entry at once, but spread the reads of all its watches over
    /// the interval in which it would poll.
    Interrupted,
}

/// Waits for changes of one entry: made by [`Changes::watch`].
///
/// ```
/// use kvolt_cache::{Notice, Watch};
///
/// /// Waits until the entry may have changed, and then the caller reads it.
/// async fn until_changed(watch: &mut Watch) {
///     while watch.changed().await == Notice::Interrupted {
///         println!("poll {} until the feed works again", watch.key());
///     }
/// }
/// # let _ = until_changed;
/// ```
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Changes>,
    key: Key,
    /// `Some` until the watch is dropped.
    receiver: Option<watch::Receiver<u64>>,
    /// How many changes were returned, or had come before this was made.
    seen: u64,
}

impl Changes {
    /// A registry for changes by this process.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry that also receives the changes that a remote store pushes.
    ///
    /// `current_for` is called by [`current_for`](Self::current_for).
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::Changes;
    ///
    /// let changes = Changes::with_feed(|| Duration::from_secs(1));
    /// assert_eq!(changes.current_for(), Duration::from_secs(1));
    /// assert_eq!(Changes::new().current_for(), Duration::ZERO);
    /// ```
    pub fn with_feed(current_for: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { current_for: Some(Box::new(current_for)), ..Self::new() }
    }

    /// Watches the entry under `key` from now on.
    pub fn watch(self: &Arc<Self>, key: Key) -> Watch {
        let mut watches = self.watches();
        let receiver = match watches.get(&key) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(0);
                watches.insert(key, sender);
                self.keys.store(watches.len(), Ordering::SeqCst);
                receiver
            }
        };
        let seen = *receiver.borrow();
        Watch { changes: Arc::clone(self), key, receiver: Some(receiver), seen }
    }

    /// Notifies the watches of the entry under `key` that it was changed, or may have been.
    pub fn changed(&self, key: &Key) {
        if self.keys.load(Ordering::SeqCst) > 0
            && let Some(sender) = self.watches().get(key)
        {
            sender.send_modify(|changes| *changes += 1);
        }
    }

    /// Notifies every watch that its entry may have been changed.
    pub fn all_changed(&self) {
        self.notify_all(|changes| *changes += 1);
    }

    /// Notifies every watch that the change feed was interrupted, or has resumed and may have missed
    /// changes.
    pub fn interrupted(&self) {
        self.notify_all(|_| {});
    }

    /// How much longer every change by another process arrives within the bound of the near cache.
    /// Zero if the caller must poll.
    pub fn current_for(&self) -> Duration {
        self.current_for.as_ref().map_or(Duration::ZERO, |current_for| current_for())
    }

    fn notify_all(&self, notify: impl Fn(&mut u64)) {
        if self.keys.load(Ordering::SeqCst) > 0 {
            self.watches().values().for_each(|sender| sender.send_modify(&notify));
        }
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<u64>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The key of the entry.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Waits for a notification since the watch was made, or since this last returned.
    ///
    /// Returns several notifications as one: [`Notice::Changed`] if one of them is.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no notification.
    pub async fn changed(&mut self) -> Notice {
        if let Some(receiver) = &mut self.receiver
            && receiver.changed().await.is_ok()
        {
            let changes = *receiver.borrow_and_update();
            let is_new = std::mem::replace(&mut self.seen, changes) != changes;
            return if is_new { Notice::Changed } else { Notice::Interrupted };
        }
        // Not reached: the sender lives as long as its receivers.
        std::future::pending().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watches = self.changes.watches();
        drop(self.receiver.take());
        if watches.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            watches.remove(&self.key);
            self.changes.keys.store(watches.len(), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("keys", &self.keys)
            .field("current_for", &self.current_for())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The notification since the last call, if there is one.
    fn notice(watch: &mut Watch) -> Option<Notice> {
        match pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(notice) => Some(notice),
            Poll::Pending => None,
        }
    }

    #[test]
    fn watches_are_notified_once_and_leave_nothing() {
        let changes = Arc::new(Changes::new());
        let (one, other) = (Key::of("one"), Key::of("other"));
        let (mut first, mut second) = (changes.watch(one), changes.watch(one));
        let mut third = changes.watch(other);
        changes.changed(&one);
        changes.changed(&one);
        let mut late = changes.watch(one);
        assert_eq!(notice(&mut first), Some(Notice::Changed));
        assert_eq!(notice(&mut second), Some(Notice::Changed));
        for watch in [&mut first, &mut third, &mut late] {
            assert_eq!(notice(watch), None);
        }
        changes.all_changed();
        for watch in [&mut first, &mut third, &mut late] {
            assert_eq!(notice(watch), Some(Notice::Changed));
        }
        drop((first, second, third, late));
        assert_eq!(changes.watches().len() + changes.keys.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn interruption_never_hides_a_change() {
        let changes = Arc::new(Changes::new());
        let key = Key::of("one");
        let mut watch = changes.watch(key);
        changes.interrupted();
        assert_eq!(notice(&mut watch), Some(Notice::Interrupted));
        changes.changed(&key);
        changes.interrupted();
        assert_eq!(notice(&mut watch), Some(Notice::Changed));
        assert_eq!(notice(&mut watch), None);
        changes.interrupted();
        assert_eq!(notice(&mut watch), Some(Notice::Interrupted));
    }
}
