//! An entry in memory, and the word that holds its deadline and its state.
//!
//! # The states of an entry
//!
//! The map has a node for each key. The node's word holds its idle deadline and two flags. A node
//! is in one of four states:
//!
//! | state | word | a read | a slide | a change | a removal |
//! |---|---|---|---|---|---|
//! | pending | zero | waits | waits | waits | waits |
//! | live | deadline | finds the entry until the deadline | moves the deadline | seals the node | unlinks the node |
//! | sealed | deadline, [`SEALED`] | finds the entry until the deadline, then waits | waits | waits | unlinks the node |
//! | expired | deadline, [`EXPIRED`] | finds nothing | finds nothing | finds nothing | reclaims the node |
//!
//! A call that waits yields, and reads the map again. The call that it waits for needs only a few
//! more steps and does not wait itself.
//!
//! | from | to | by |
//! |---|---|---|
//! | (no node) | live | an insertion that removes no entry |
//! | (no node) | pending | an insertion that replaces an entry, or removes entries at a limit |
//! | pending | live | that insertion, after it has removed them |
//! | pending | (no node) | that insertion, if the entry that it replaces was changed meanwhile |
//! | live | live, later | a slide, by a compare-and-swap that fails if a flag is set |
//! | live | sealed | a change, if the node is still in the map; one change at a time |
//! | sealed | (another node, live) | that change, in one step of the map |
//! | live | expired | the first call that reads the clock at the deadline or later |
//! | live, sealed, expired | (no node) | a removal, or the reclaiming of an expired entry |
//!
//! An expired node never becomes live again: once a call has found an entry expired, no other call
//! finds it, although calls read the clock at different moments. A change seals the node before it
//! replaces it. So the deadline that it copies to the new node is final, and no slide is lost. If a
//! removal overtakes a change, the change finds no node under its key and gives up; the sealed node
//! is then garbage. Calls that have found a node may still read and slide it after its removal:
//! they count as earlier than the removal.
//!
//! # Memory orderings
//!
//! The map publishes a node with all its fields (release), and a look-up acquires it. The word
//! orders nothing else, with one exception: [`publish`](Node::publish) releases the removals that
//! the insertion made before, and each load of the word acquires them. Both flags are set by a
//! read-modify-write, so all calls see them in the one order of changes to the word. A slide may be
//! relaxed, because its compare-and-swap fails unless the word is unchanged.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::millis;
use crate::sync::{AtomicU64, Ordering};
use crate::{Deadlines, EntryRef, Expiry, Key, Owner, Timestamp, Version};

/// An entry. Everything but the idle deadline is fixed: a change makes another node.
pub(super) struct Node<V> {
    /// The idle deadline in milliseconds, shifted left by [`FLAG_BITS`], and the flags.
    word: AtomicU64,
    /// The absolute deadline in milliseconds; [`Timestamp::NEVER`] for none.
    absolute: u64,
    /// The idle time in milliseconds; [`Timestamp::NEVER`] for none.
    idle: u64,
    /// Shared with the owner index, one word here.
    pub(super) owner: Option<Arc<Owner>>,
    pub(super) version: u64,
    pub(super) value: V,
}

/// A call has found the entry expired, which is final.
const EXPIRED: u64 = 1;

/// A change is about to replace this node, or has replaced it.
const SEALED: u64 = 2;

const FLAG_BITS: u32 = 2;

/// The word of a node that is in the map but not published yet.
const PENDING: u64 = 0;

/// Why a node is not live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotLive {
    Expired,
    /// Another call is about to decide: the caller must yield and read the map again.
    Undecided,
}

impl<V> Node<V> {
    pub(super) fn new(
        value: V,
        deadlines: Deadlines,
        owner: Option<Arc<Owner>>,
        version: u64,
    ) -> Self {
        let never = Timestamp::from_millis(Timestamp::NEVER);
        let word = deadlines.idle_ends().unwrap_or(never).min(never).as_millis() << FLAG_BITS;
        let absolute = deadlines.absolute().unwrap_or(never).min(never).as_millis();
        let idle = deadlines.idle_timeout().map_or(Timestamp::NEVER, idle_millis);
        Self { word: AtomicU64::new(word), absolute, idle, owner, version, value }
    }

    /// The node that a change puts in this one's place, after it has sealed this one.
    pub(super) fn successor(&self, value: V, version: u64, deadlines: Deadlines) -> Self {
        Self::new(value, deadlines, self.owner.clone(), version)
    }

    /// Makes a node that is not in the map yet invisible until [`publish`](Self::publish).
    pub(super) fn hide(&mut self) -> u64 {
        std::mem::replace(self.word.get_mut(), PENDING)
    }

    /// Makes a pending node visible, with the word that [`hide`](Self::hide) returned.
    pub(super) fn publish(&self, word: u64) {
        // Pairs with the acquire of each load of the word: a call that finds this entry does not
        // find the entries that the insertion has removed.
        self.word.store(word, Ordering::Release);
    }

    pub(super) fn is_pending(&self) -> bool {
        self.word.load(Ordering::Acquire) == PENDING
    }

    fn ends_by(&self, word: u64) -> u64 {
        (word >> FLAG_BITS).min(self.absolute)
    }

    /// The idle deadline after a use at `now`.
    fn idle_ends(&self, now: Timestamp) -> u64 {
        now.as_millis().saturating_add(self.idle).min(Timestamp::NEVER)
    }

    /// Whether it is live at `now`. The first call that sees it expired makes that final.
    #[inline]
    pub(super) fn state(&self, now: Timestamp) -> Result<(), NotLive> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & EXPIRED != 0 {
                return Err(NotLive::Expired);
            }
            if now.as_millis() < self.ends_by(word) {
                return Ok(());
            }
            if word == PENDING || word & SEALED != 0 {
                return Err(NotLive::Undecided);
            }
            let expired = word | EXPIRED;
            match self.word.compare_exchange(word, expired, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Err(NotLive::Expired),
                Err(changed) => word = changed,
            }
        }
    }

    /// Starts the idle time again if it is live at `now`; the deadline never moves back.
    #[inline]
    pub(super) fn slide(&self, now: Timestamp) -> Result<(), NotLive> {
        let next = self.idle_ends(now);
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & (SEALED | EXPIRED) != 0 || now.as_millis() >= self.ends_by(word) {
                return self.state(now).and(Err(NotLive::Undecided));
            }
            if next <= word >> FLAG_BITS {
                return Ok(());
            }
            match self.word.compare_exchange_weak(
                word,
                next << FLAG_BITS,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(()),
                Err(changed) => word = changed,
            }
        }
    }

    /// Ends all sliding, for one change at a time, and returns the deadlines, which are final.
    /// `None` if it is not live, or another change has sealed it.
    pub(super) fn seal(&self, now: Timestamp) -> Option<Deadlines> {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & SEALED != 0 || self.state(now).is_err() {
                return None;
            }
            let sealed = word | SEALED;
            let exchange =
                self.word.compare_exchange(word, sealed, Ordering::AcqRel, Ordering::Acquire);
            if exchange.is_ok() {
                return Some(self.deadlines());
            }
        }
    }

    /// The first millisecond at which the entry is absent if it is not used; zero while pending.
    pub(super) fn ends(&self) -> u64 {
        self.ends_by(self.word.load(Ordering::Acquire))
    }

    /// Whether a use at `now` would move the deadline.
    pub(super) fn slide_due(&self, now: Timestamp) -> bool {
        self.idle_ends(now) > self.word.load(Ordering::Acquire) >> FLAG_BITS
    }

    pub(super) fn is_owned_by(&self, owner: &Owner) -> bool {
        self.owner.as_deref() == Some(owner)
    }

    #[inline]
    pub(super) fn deadlines(&self) -> Deadlines {
        let idle_ends = Timestamp::from_millis(self.word.load(Ordering::Relaxed) >> FLAG_BITS);
        let limit = |millis| (millis != Timestamp::NEVER).then_some(millis);
        let idle = limit(self.idle).map(|idle| (Duration::from_millis(idle), idle_ends));
        let absolute = limit(self.absolute).map(Timestamp::from_millis);
        Deadlines::new(idle, absolute)
    }

    /// The entry as it was found at `now`.
    #[inline]
    pub(super) fn view<'a>(&'a self, key: &'a Key, now: Timestamp) -> EntryRef<'a, V> {
        EntryRef::new(
            key,
            &self.value,
            Version::from_number(self.version),
            self.owner.as_deref(),
            self.deadlines(),
            now,
        )
    }
}

/// The deadlines of an entry with this expiry that is inserted at `now`.
pub(super) fn deadlines_of(expiry: Expiry, now: Timestamp) -> Deadlines {
    let idle = expiry.idle_timeout().map(idle_millis).map(Duration::from_millis);
    Deadlines::new(
        idle.map(|timeout| (timeout, now.saturating_add(timeout))),
        expiry.lifetime().map(|lifetime| now.saturating_add(lifetime)),
    )
}

/// An idle time in milliseconds. The longest is so long that no entry reaches its end, and short
/// enough that a deadline still shows when the entry was used.
fn idle_millis(timeout: Duration) -> u64 {
    millis(timeout).min(Timestamp::NEVER / 2)
}

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    fn node(idle: Duration) -> Node<()> {
        Node::new((), deadlines_of(Expiry::idle(idle), at(1_000)), None, 1)
    }

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn early_slide_does_not_revive_an_expired_node() {
        let node = node(Duration::from_millis(100));
        assert_eq!(node.state(at(1_100)), Err(NotLive::Expired));
        assert_eq!(node.slide(at(1_099)), Err(NotLive::Expired));
        assert_eq!(node.seal(at(1_099)), None);
        assert_eq!(node.state(at(1_099)), Err(NotLive::Expired));
    }

    #[test]
    fn sealed_node_hands_on_its_final_deadline() {
        let old = node(Duration::from_millis(100));
        assert_eq!(old.slide(at(1_050)), Ok(()));
        let final_deadlines = old.seal(at(1_060)).unwrap();
        assert_eq!(old.slide(at(1_070)), Err(NotLive::Undecided));
        assert_eq!(old.seal(at(1_070)), None);
        let new = old.successor((), 2, final_deadlines);
        assert_eq!((new.ends(), new.slide(at(1_149))), (1_150, Ok(())));
        // Whether the old one ended at its deadline depends on the change that sealed it.
        assert_eq!((old.state(at(1_149)), old.state(at(1_150))), (Ok(()), Err(NotLive::Undecided)));
    }

    #[test]
    fn deadline_never_moves_back() {
        let node = node(Duration::from_millis(100));
        assert_eq!(node.slide(at(1_050)), Ok(()));
        assert_eq!(node.slide(at(1_010)), Ok(()));
        assert_eq!(node.ends(), 1_150);
    }

    #[test]
    fn endless_idle_time_shows_the_last_use() {
        let mut node = node(Duration::MAX);
        assert_eq!(node.slide(at(2_000)), Ok(()));
        assert_eq!(node.deadlines().last_used(), Some(at(2_000)));
        node = Node::new((), deadlines_of(Expiry::after(Duration::MAX), at(1_000)), None, 1);
        assert_eq!((node.deadlines().idle_timeout(), node.ends()), (None, Timestamp::NEVER));
    }

    #[test]
    fn entry_with_a_shared_value_takes_80_bytes() {
        assert_eq!(size_of::<Node<Arc<()>>>() + size_of::<Key>(), 80);
    }
}
