//! The state of a store, and the operations that leave the map as it is.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Once, OnceLock};

use papaya::{HashMap, HashMapRef, LocalGuard};

use super::capacity::Capacity;
use super::cleaning::{Cleaning, Waker};
use super::due_queue::DueQueue;
use super::hash::OwnHash;
use super::node::{Node, NotLive};
use super::owners::Owners;
use crate::sync::{Apart, AtomicU64, Mutex, Ordering, lock, step, yield_now};
use crate::{
    AfterRead, Changes, Clock, Deadlines, Entry, EntryRef, Key, Namespace, OnExpired, Timestamp,
};

/// The state that all clones of a store share.
pub(crate) struct Inner<V> {
    map: HashMap<Key, Node<V>, OwnHash>,
    pub(super) namespace: Namespace,
    pub(super) owners: Owners,
    /// One for each group of threads, so that their insertions do not wait for each other. A
    /// bounded store has one in all.
    pub(super) stripes: Box<[Apart<Stripe>]>,
    pub(super) capacity: Capacity<V>,
    pub(super) clock: Clock,
    pub(super) cleaning: Cleaning,
    pub(super) started_cleaner: Once,
    pub(super) waker: Arc<Waker>,
    /// Notified after a change was made. Reading and sliding never touch it.
    pub(super) changes: Arc<Changes>,
    pub(super) on_expired: OnceLock<OnExpired>,
}

/// The state that the insertions of a group of threads write to.
#[derive(Default)]
pub(super) struct Stripe {
    pub(super) queue: Mutex<DueQueue>,
    /// How many versions were given to nodes.
    versions: AtomicU64,
}

const STRIPES: usize = 16;

/// A small number of the calling thread. Threads that start one after the other have different
/// ones.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

pub(super) type Map<'a, V> = HashMapRef<'a, Key, Node<V>, OwnHash, LocalGuard<'a>>;

/// A node of the map, and when it was found.
pub(super) struct Found<'a, V> {
    key: &'a Key,
    pub(super) node: &'a Node<V>,
    pub(super) now: Timestamp,
}

impl<V: Clone> Found<'_, V> {
    pub(super) fn to_entry(&self) -> Entry<V> {
        let slide_due = self.node.slide_due(self.now);
        self.node.view(self.key, self.now).to_entry().slide_due(slide_due)
    }
}

impl<V> Inner<V> {
    pub(super) fn new(capacity: Capacity<V>, clock: Clock, cleaning: Cleaning) -> Self {
        let stripes = if capacity.is_bounded() { 1 } else { STRIPES };
        Self {
            map: HashMap::with_hasher(OwnHash),
            namespace: Namespace::memory(),
            owners: Owners::new(),
            stripes: (0..stripes).map(|_| Apart::default()).collect(),
            capacity,
            clock,
            cleaning,
            started_cleaner: Once::new(),
            waker: Arc::default(),
            changes: Arc::default(),
            on_expired: OnceLock::new(),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Timestamp {
        step();
        self.clock.now()
    }

    #[inline]
    pub(super) fn map(&self) -> Map<'_, V> {
        step();
        self.map.pin()
    }

    /// How many entries the map has, expired ones included.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    fn stripe(&self) -> (usize, &Stripe) {
        let index = thread_number() % self.stripes.len();
        (index, &self.stripes[index].0)
    }

    /// Unique among all states of all entries, so that no key ever has a version again.
    pub(super) fn next_version(&self) -> u64 {
        let (index, stripe) = self.stripe();
        stripe.versions.fetch_add(1, Ordering::Relaxed) * STRIPES as u64 + index as u64
    }

    /// Files an entry in the due queue, so that it is reclaimed after it has ended.
    pub(super) fn file(&self, key: &Key, ends: u64) {
        if ends >= Timestamp::NEVER {
            return;
        }
        let due = lock(&self.stripe().1.queue).file(key.prefix(), ends);
        self.waker.wake_by(due);
    }

    /// Runs `act` on the node under a key until its state is decided; `None` if it is not live.
    #[inline]
    fn decide<'a, R>(
        &self,
        map: &'a Map<'_, V>,
        key: &Key,
        mut act: impl FnMut(Found<'a, V>) -> Result<R, NotLive>,
    ) -> Option<R> {
        loop {
            // The time is read before the look-up: an answer is never newer than it says.
            let now = self.now();
            let (key, node) = map.get_key_value(key)?;
            match act(Found { key, node, now }) {
                Ok(answer) => return Some(answer),
                Err(NotLive::Expired) => return None,
                Err(NotLive::Undecided) => yield_now(),
            }
        }
    }

    /// The live entry under a key.
    pub(super) fn find<'a>(&self, map: &'a Map<'_, V>, key: &Key) -> Option<Found<'a, V>> {
        self.decide(map, key, |found| found.node.state(found.now).map(|()| found))
    }

    /// Shows a live entry to `visit`, and slides it if `visit` says so.
    #[inline]
    pub(crate) fn read<R>(
        &self,
        key: &Key,
        mut visit: impl FnMut(EntryRef<'_, V>) -> (AfterRead, R),
    ) -> Option<R> {
        self.decide(&self.map(), key, |Found { key, node, now }| {
            node.state(now)?;
            let (after, answer) = visit(node.view(key, now));
            if after == AfterRead::Slide {
                node.slide(now)?;
            }
            Ok(answer)
        })
    }

    pub(super) fn touch(&self, key: &Key) -> Option<Deadlines> {
        self.decide(&self.map(), key, |found| {
            found.node.slide(found.now).map(|()| found.node.deadlines())
        })
    }
}
