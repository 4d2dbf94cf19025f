//! The controls of a store that fails on purpose.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::{Error, Key, Result};

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "named as the operations of `Store` are")]
pub enum Call {
    Get,
    GetReady,
    Touch,
    Insert,
    Replace,
    Remove,
    List,
    RemoveOwner,
    Scan,
    Clear,
    Count,
}

/// The error of a call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Failure {
    /// The store can't be reached ([`Error::is_unavailable`]).
    #[default]
    Unavailable,
    /// The store has no room ([`Error::is_full`]). Only insertions and replacements fail.
    Full,
    /// A setting is wrong ([`Error::is_misconfigured`]).
    Misconfigured,
}

/// The controls of a [`FaultyStore`](super::FaultyStore). Cloning it is cheap; all clones control
/// the same store.
///
/// A call first waits while calls are held. Then it fails, or the operation is done. Then its answer
/// waits while answers are held, and is returned or lost.
///
/// ```
/// use kvolt_cache::testing::{Call, Failure, FaultyStore};
/// use kvolt_cache::{Expiry, Freshness, Key, MemoryStore, NewEntry, Store};
/// use std::time::Duration;
///
/// # pollster::block_on(async {
/// let (store, faults) = FaultyStore::new(MemoryStore::<u32>::new());
/// let key = Key::of("a name");
/// let entry = || NewEntry::new(1, Expiry::idle(Duration::from_secs(60)));
///
/// // A store that is full still answers reads.
/// faults.fail_with(Failure::Full);
/// faults.fail_all(true);
/// assert!(store.insert(key, entry()).await.is_err_and(|error| error.is_full()));
/// assert!(store.get(&key, Freshness::Strict).await?.is_none());
/// faults.reset();
///
/// // The second insertion from now on fails, and no other call.
/// faults.only(&[Call::Insert]);
/// faults.fail_nth(2);
/// store.insert(key, entry()).await?;
/// assert!(store.insert(key, entry()).await.is_err_and(|error| error.is_unavailable()));
/// store.insert(key, entry()).await?;
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    failure: Failure,
    fail: Fault,
    lose: Fault,
    /// Which calls the faults and gates are for; all if none is named.
    only: Vec<Call>,
    calls_held: bool,
    answers_held: bool,
    answers_at_once: bool,
    waiting: usize,
    counts: BTreeMap<Call, usize>,
    inserted: Option<Key>,
    wakers: Vec<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            failure: Failure::default(),
            fail: Fault::default(),
            lose: Fault::default(),
            only: Vec::new(),
            calls_held: false,
            answers_held: false,
            answers_at_once: true,
            waiting: 0,
            counts: BTreeMap::new(),
            inserted: None,
            wakers: Vec::new(),
        }
    }
}

/// How many more calls have a fault.
#[derive(Debug, Default)]
struct Fault {
    always: bool,
    /// How many calls come before the `next` ones.
    before: usize,
    next: usize,
}

impl Fault {
    fn applies(&mut self) -> bool {
        if self.before > 0 {
            self.before -= 1;
            return self.always;
        }
        let next = self.next > 0;
        self.next = self.next.saturating_sub(1);
        self.always || next
    }
}

impl Faults {
    /// The next `calls` fail before they have done anything.
    pub fn fail_next(&self, calls: usize) {
        self.change(|state| (state.fail.before, state.fail.next) = (0, calls));
    }

    /// One call fails before it has done anything: the next one for 1, the one after it for 2.
    pub fn fail_nth(&self, nth: usize) {
        let before = nth.saturating_sub(1);
        self.change(|state| (state.fail.before, state.fail.next) = (before, 1));
    }

    /// Sets the error of calls that fail. Defaults to [`Failure::Unavailable`].
    pub fn fail_with(&self, failure: Failure) {
        self.change(|state| state.failure = failure);
    }

    /// All calls fail before they have done anything, until this is set back.
    pub fn fail_all(&self, fail: bool) {
        self.change(|state| state.fail.always = fail);
    }

    /// The next `calls` take effect, and then their answer is lost: the caller gets an error
    /// ([`Error::is_unavailable`]).
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::testing::FaultyStore;
    /// use kvolt_cache::{Expiry, Freshness, Key, MemoryStore, NewEntry, Store};
    ///
    /// # pollster::block_on(async {
    /// let (store, faults) = FaultyStore::new(MemoryStore::<u32>::new());
    /// let key = Key::of("a name");
    /// faults.lose_next_answers(1);
    /// let entry = NewEntry::new(1, Expiry::idle(Duration::from_secs(60)));
    /// assert!(store.insert(key, entry).await.is_err());
    /// assert!(store.get(&key, Freshness::Strict).await?.is_some());
    ///
    /// faults.lose_all_answers(true);
    /// assert!(store.get(&key, Freshness::Strict).await.is_err());
    /// assert_eq!(faults.inserted_key(), Some(key));
    /// assert_eq!(faults.count_all(), 3);
    /// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
    /// ```
    pub fn lose_next_answers(&self, calls: usize) {
        self.change(|state| (state.lose.before, state.lose.next) = (0, calls));
    }

    /// As [`lose_next_answers`](Self::lose_next_answers), until this is set back.
    pub fn lose_all_answers(&self, lose: bool) {
        self.change(|state| state.lose.always = lose);
    }

    /// Calls wait before they do anything, until [`release`](Self::release): a store that hangs, or,
    /// once it is released, was slow.
    ///
    /// ```
    /// use kvolt_cache::testing::FaultyStore;
    /// use kvolt_cache::{MemoryStore, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (store, faults) = FaultyStore::new(MemoryStore::<u32>::new());
    /// // As a remote store: no read has its answer in memory.
    /// faults.answers_at_once(false);
    /// faults.hold_calls();
    /// let release = async {
    ///     faults.until_waiting(1).await;
    ///     assert_eq!(faults.waiting(), 1);
    ///     faults.release();
    /// };
    /// assert_eq!(tokio::join!(store.count(), release).0.unwrap(), 0);
    ///
    /// // Once more, between the work and its answer.
    /// faults.hold_answers();
    /// let release = async {
    ///     faults.until_waiting(1).await;
    ///     faults.release();
    /// };
    /// assert_eq!(tokio::join!(store.count(), release).0.unwrap(), 0);
    /// # }
    /// ```
    pub fn hold_calls(&self) {
        self.change(|state| state.calls_held = true);
    }

    /// Calls take effect and then wait with their answer, until [`release`](Self::release).
    pub fn hold_answers(&self) {
        self.change(|state| state.answers_held = true);
    }

    /// Continues the held calls and answers, and holds no others.
    pub fn release(&self) {
        self.change(|state| {
            state.calls_held = false;
            state.answers_held = false;
        });
    }

    /// Limits failing, losing and holding to these calls; none named means all.
    pub fn only(&self, calls: &[Call]) {
        self.change(|state| state.only = calls.to_vec());
    }

    /// With `false`, [`get_ready`](crate::Store::get_ready) never answers, as on a store that
    /// does I/O. With `true`, the default, it answers as the wrapped store.
    pub fn answers_at_once(&self, at_once: bool) {
        self.change(|state| state.answers_at_once = at_once);
    }

    /// Ends all faults, continues the held calls, and resets the counts.
    pub fn reset(&self) {
        self.change(|state| {
            let (waiting, wakers) = (state.waiting, std::mem::take(&mut state.wakers));
            *state = State { waiting, wakers, ..State::default() };
        });
    }

    /// How often this operation was called, with or without success.
    pub fn count(&self, call: Call) -> usize {
        self.lock().counts.get(&call).copied().unwrap_or(0)
    }

    /// How many calls of all kinds there were.
    pub fn count_all(&self) -> usize {
        self.lock().counts.values().sum()
    }

    /// The key of the latest insertion, also while it is held.
    pub fn inserted_key(&self) -> Option<Key> {
        self.lock().inserted
    }

    /// How many calls are held at the moment.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Waits until at least so many calls are held.
    pub async fn until_waiting(&self, calls: usize) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.waiting >= calls {
                return Poll::Ready(());
            }
            state.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) async fn before(&self, call: Call) -> Result<()> {
        self.record(call);
        self.pass(|state| state.calls_held, call).await;
        self.fail(call)
    }

    pub(super) async fn after<T>(&self, call: Call, answer: Result<T>) -> Result<T> {
        self.pass(|state| state.answers_held, call).await;
        self.lose(call)?;
        answer
    }

    pub(super) fn record(&self, call: Call) {
        *self.lock().counts.entry(call).or_default() += 1;
    }

    pub(super) fn note_insertion(&self, key: Key) {
        self.lock().inserted = Some(key);
    }

    pub(super) fn fail(&self, call: Call) -> Result<()> {
        let mut state = self.lock();
        let is_write = matches!(call, Call::Insert | Call::Replace);
        let is_concerned = state.failure != Failure::Full || is_write;
        if !is_concerned || !state.applies_to(call) || !state.fail.applies() {
            return Ok(());
        }
        let message = "failed on purpose, before anything was done";
        Err(match state.failure {
            Failure::Unavailable => Error::unavailable(message),
            Failure::Full => Error::full(message),
            Failure::Misconfigured => Error::misconfigured(message),
        })
    }

    pub(super) fn lose(&self, call: Call) -> Result<()> {
        let mut state = self.lock();
        if state.applies_to(call) && state.lose.applies() {
            return Err(Error::unavailable("failed on purpose, after it was done"));
        }
        Ok(())
    }

    /// Whether `get_ready` must not answer this call.
    pub(super) fn must_wait(&self, call: Call) -> bool {
        let state = self.lock();
        let held = state.calls_held || state.answers_held;
        !state.answers_at_once || (held && state.applies_to(call))
    }

    async fn pass(&self, is_held: impl Fn(&State) -> bool, call: Call) {
        let mut waiting = None;
        poll_fn(|context| {
            let mut state = self.lock();
            if !is_held(&state) || !state.applies_to(call) {
                return Poll::Ready(());
            }
            state.wakers.push(context.waker().clone());
            if waiting.is_none() {
                state.waiting += 1;
                drop(state);
                waiting = Some(Waiting(self));
                // Wakes `until_waiting`.
                self.change(|_| ());
            }
            Poll::Pending
        })
        .await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.lock();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn applies_to(&self, call: Call) -> bool {
        // Faults of `get` apply to `get_ready`.
        let asked = if call == Call::GetReady { Call::Get } else { call };
        self.only.is_empty() || self.only.contains(&call) || self.only.contains(&asked)
    }
}

/// A held call, which counts until it continues or is dropped.
struct Waiting<'a>(&'a Faults);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
