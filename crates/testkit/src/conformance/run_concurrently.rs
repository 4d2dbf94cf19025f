//! The helpers of the concurrent laws.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use kvolt_cache::{
    AfterRead, Deadlines, Entry, Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner,
    OwnerLimit, Predecessor, RemoveOutcome, ReplaceOutcome, Store, Target, Version,
};

use super::Fixture;
use super::law_fixture::LONG;

/// How many threads meet.
pub(super) const THREADS: usize = 4;

/// A store as one of several threads calls it: each call returns when it is done.
pub(super) struct BlockingStore<F: Fixture> {
    fixture: F,
    store: Arc<F::Store>,
    /// A thread of the law has panicked. The others, which may wait for what it would have done,
    /// panic at their next call.
    has_failed: Arc<AtomicBool>,
}

impl<F: Fixture> BlockingStore<F> {
    pub(super) async fn new(fixture: &F) -> Self {
        let store = Arc::new(fixture.store().await);
        Self { fixture: fixture.clone(), store, has_failed: Arc::default() }
    }

    /// The same store as another process has it.
    pub(super) async fn peer(&self) -> Option<Self> {
        let peer = self.fixture.peer(&self.store).await;
        if peer.is_none() {
            super::running::report_not_checked("the fixture has no second process");
        }
        Some(Self { store: Arc::new(peer?), ..self.clone() })
    }

    pub(super) fn store(&self) -> &F::Store {
        &self.store
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.check_others();
        self.fixture.block_on(future)
    }

    fn check_others(&self) {
        let has_failed = self.has_failed.load(Ordering::Relaxed);
        assert!(!has_failed, "another thread of this law has failed, with a message of its own");
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry<String>> {
        self.wait(self.store.get(key, Freshness::Strict)).expect("get works")
    }

    /// Reads by a copy, if the store keeps any.
    pub(super) fn get_bounded(&self, key: &Key) -> Option<Entry<String>> {
        self.wait(self.store.get(key, Freshness::Bounded)).expect("get works")
    }

    /// Reads and uses an entry as a request does. Returns it only if both find it.
    pub(super) fn use_entry(&self, key: &Key) -> bool {
        self.check_others();
        let mut slides = false;
        let mut visit = |entry: kvolt_cache::EntryRef<'_, String>| {
            slides = entry.slide_due;
            AfterRead::Slide
        };
        match self.store.get_ready(key, Freshness::Strict, &mut visit) {
            Some(found) if !slides => found.expect("get_ready works"),
            _ => self.get(key).is_some() && self.touch(key).is_some(),
        }
    }

    pub(super) fn touch(&self, key: &Key) -> Option<Deadlines> {
        self.wait(self.store.touch(Target::new(key))).expect("touch works")
    }

    pub(super) fn insert(
        &self,
        key: Key,
        value: &str,
        owner: Option<&Owner>,
        limit: Option<OwnerLimit>,
    ) -> InsertOutcome {
        self.insert_entry(key, entry(value, owner).limit(limit))
    }

    /// Inserts an entry that was last used so long ago that the next use must move its deadline.
    pub(super) fn insert_used_long_ago(&self, key: Key, value: &str, owner: Option<&Owner>) {
        let probe = super::law_fixture::key(&*self.store, "probe", owner);
        assert_eq!(self.insert(probe, "value", owner, None), super::law_fixture::inserted());
        let now = self.get(&probe).expect("it was inserted").read_at;
        assert!(self.remove(&probe));
        let idle = Some((LONG, now.saturating_add(LONG / 2)));
        let (value, version) = (String::from(value), Version::from_number(1));
        let deadlines = Deadlines::new(idle, None);
        let entry = Entry::new(key, value, version, owner.cloned(), deadlines, now);
        let answer = self.insert_entry(key, NewEntry::restored(entry.created(now)));
        assert_eq!(answer, super::law_fixture::inserted());
    }

    /// Inserts in the place of another entry.
    pub(super) fn log_in(
        &self,
        key: Key,
        owner: Option<&Owner>,
        limit: Option<OwnerLimit>,
        old: Predecessor,
    ) -> InsertOutcome {
        self.insert_entry(key, entry("value", owner).limit(limit).replaces(old))
    }

    pub(super) fn insert_entry(&self, key: Key, entry: NewEntry<String>) -> InsertOutcome {
        self.wait(self.store.insert(key, entry)).expect("insert works")
    }

    pub(super) fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: String,
    ) -> ReplaceOutcome<String> {
        self.replace_with(key, seen, value, None)
    }

    pub(super) fn replace_with(
        &self,
        key: &Key,
        seen: Version,
        value: String,
        expiry: Option<Expiry>,
    ) -> ReplaceOutcome<String> {
        let replaced = self.store.replace(Target::new(key), seen, value, expiry);
        self.wait(replaced).expect("replace works")
    }

    pub(super) fn remove(&self, key: &Key) -> bool {
        self.remove_if(key, None) == RemoveOutcome::Removed
    }

    pub(super) fn remove_if(&self, key: &Key, seen: Option<Version>) -> RemoveOutcome {
        self.wait(self.store.remove(Target::new(key), seen)).expect("remove works")
    }

    pub(super) fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Vec<Key> {
        self.wait(self.store.remove_owner(owner, keep)).expect("remove_owner works")
    }

    pub(super) fn list(&self, owner: &Owner) -> Vec<Key> {
        let listing = self.wait(self.store.list(owner)).expect("list works");
        assert_eq!(listing.unreadable, [], "each entry can be read");
        super::law_fixture::keys_of(&listing.entries)
    }

    pub(super) fn ticks(&self, ticks: u32) -> std::time::Duration {
        self.fixture.tick() * ticks
    }

    pub(super) fn advance(&self, by: std::time::Duration) {
        self.wait(self.fixture.advance(by));
    }

    pub(super) fn clear(&self) {
        self.wait(self.store.clear()).expect("clear works");
    }

    /// Adds one to the number in an entry, however often others get in between.
    ///
    /// `None` once the entry is absent.
    pub(super) fn increment(&self, key: &Key) -> Option<()> {
        self.use_entry(key);
        let mut entry = self.get(key)?;
        loop {
            let number: usize = entry.value.parse().expect("the value is a number");
            match self.replace(key, entry.version, (number + 1).to_string()) {
                ReplaceOutcome::Replaced(_) => return Some(()),
                ReplaceOutcome::Conflict(now) => entry = now,
                ReplaceOutcome::Absent => return None,
            }
        }
    }
}

fn entry(value: &str, owner: Option<&Owner>) -> NewEntry<String> {
    let expiry = Expiry::idle(LONG);
    NewEntry::new(String::from(value), expiry).maybe_owner(owner.cloned())
}

impl<F: Fixture> Clone for BlockingStore<F> {
    fn clone(&self) -> Self {
        let (store, has_failed) = (Arc::clone(&self.store), Arc::clone(&self.has_failed));
        Self { fixture: self.fixture.clone(), store, has_failed }
    }
}

/// Runs `work` with the numbers from zero on, each on a thread, all at once, and returns what
/// they return.
///
/// It waits without blocking, so that the runtime on which the law runs can
/// serve the threads meanwhile. If one of them panics, so does this.
pub(super) async fn run_concurrently<F: Fixture, T: Send + 'static>(
    caller: &BlockingStore<F>,
    threads: usize,
    work: impl Fn(&BlockingStore<F>, usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let work = Arc::new(work);
    let start = Arc::new(Barrier::new(threads));
    let countdown = Arc::new(Mutex::new(Countdown { running: threads, waker: None }));
    let spawn = |number| {
        let (work, start) = (Arc::clone(&work), Arc::clone(&start));
        let caller = caller.clone();
        let done = Done(Arc::clone(&countdown), Arc::clone(&caller.has_failed));
        thread::spawn(move || {
            let _done = done;
            start.wait();
            work(&caller, number)
        })
    };
    let handles: Vec<_> = (0..threads).map(spawn).collect();
    poll_fn(|context| {
        let mut countdown = countdown.lock().unwrap_or_else(PoisonError::into_inner);
        if countdown.running == 0 {
            return Poll::Ready(());
        }
        countdown.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    // Each has said that it is done, so joining takes no time.
    let join = |handle: thread::JoinHandle<T>| match handle.join() {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    };
    handles.into_iter().map(join).collect()
}

struct Countdown {
    running: usize,
    waker: Option<Waker>,
}

/// Counts a thread out when it ends, also by a panic.
struct Done(Arc<Mutex<Countdown>>, Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        if thread::panicking() {
            self.1.store(true, Ordering::Relaxed);
        }
        let waker = {
            let mut countdown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            countdown.running -= 1;
            if countdown.running == 0 { countdown.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
