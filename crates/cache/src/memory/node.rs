//! One entry in memory, and the word that says until when it lives.
//!
//! # The states of an entry
//!
//! The map leads from a key to a node. A node's word holds its idle deadline and two flags. The
//! node of a key is in one of four states:
//!
//! | state | word | a look finds | a use | a change | a removal |
//! |---|---|---|---|---|---|
//! | pending | zero | nothing yet: waits | waits | waits | waits |
//! | live | deadline | the entry, before the deadline | slides the deadline | seals it | removes it |
//! | sealed | deadline, [`SEALED`] | the entry before the deadline; at it, waits | waits | waits | removes it |
//! | expired | deadline, [`EXPIRED`] | nothing | nothing | nothing | reclaims it |
//!
//! To wait is to yield and to look the key up again. Whatever is waited for is a few steps of one
//! other call, which waits for nothing meanwhile.
//!
//! | from | to | by |
//! |---|---|---|
//! | (no node) | live | an insertion that removes nothing |
//! | (no node) | pending | an insertion that replaces an entry or removes some at a limit |
//! | pending | live | that insertion, once it has removed them |
//! | pending | (no node) | that insertion, if the entry that it replaces was changed meanwhile |
//! | live | live, later | a use, by compare-and-swap: it fails against either flag |
//! | live | sealed | a change, if its node still is the key's; one change at a time |
//! | sealed | (another node, live) | that change, in one step of the map |
//! | live | expired | the first call that reads the clock at the deadline or later |
//! | live, sealed, expired | (no node) | a removal, or the reclaiming of an expired entry |
//!
//! No state leads from expired to live: an entry that one call saw expired is found by no other,
//! although calls read the clock at different moments. A change seals before it takes the node's
//! place, so the deadline that it hands on is final, and no deadline moves unseen. A change that
//! is overtaken by a removal finds no node under its key and gives up; the sealed node is garbage
//! then. A removed node may still be read and slid by calls that had found it: they took effect
//! before the removal.
//!
//! # Memory orderings
//!
//! The map publishes a node with everything in it (release), and a look-up acquires it. The word
//! orders nothing else, except that [`publish`](Node::publish) releases, for those that acquire the
//! word, what the insertion did before: the removals. Both flags are
//! set by a read-modify-write of the word, so each call sees them in the one order that the word
//! has; a slide may be relaxed, because it fails unless the word is still the one it has read.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::millis;
use crate::sync::{AtomicU64, Ordering};
use crate::{Deadlines, EntryRef, Expiry, Key, Owner, Timestamp, Version};

/// An entry's state. Everything but the idle deadline is fixed: a change makes another node.
pub(super) struct Node<V> {
    /// The idle deadline in milliseconds, shifted left by [`FLAG_BITS`], and the flags.
    word: AtomicU64,
    /// The absolute deadline in milliseconds; [`Timestamp::NEVER`] for none.
    absolute: u64,
    /// Shared with the owner index, one word here.
    owner: Option<Arc<Owner>>,
    version: u64,
    idle: Idle,
    value: V,
}

/// The entry was seen expired, which is final.
const EXPIRED: u64 = 1;

/// A change is about to put another node into this one's place, or has done so.
const SEALED: u64 = 2;

const FLAG_BITS: u32 = 2;

/// The word of a node that is in the map but not shown yet.
const PENDING: u64 = 0;

/// What a node says at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Expired,
    /// Another call is about to decide: look the key up again.
    Undecided,
}

impl<V> Node<V> {
    pub(super) fn new(
        value: V,
        deadlines: Deadlines,
        owner: Option<Arc<Owner>>,
        version: u64,
    ) -> Self {
        let idle = Idle::new(deadlines.idle_timeout());
        let idle_ends = deadlines.idle_ends().map_or(Timestamp::NEVER, Timestamp::as_millis);
        let absolute = deadlines.absolute().map_or(Timestamp::NEVER, Timestamp::as_millis);
        let word = AtomicU64::new(idle_ends.min(Timestamp::NEVER) << FLAG_BITS);
        Self { word, absolute: absolute.min(Timestamp::NEVER), owner, version, idle, value }
    }

    /// The node that a change puts into this one's place, which it has sealed.
    pub(super) fn successor(&self, value: V, version: u64, deadlines: Deadlines) -> Self {
        Self::new(value, deadlines, self.owner.clone(), version)
    }

    /// Makes a node that is not in the map yet invisible until [`publish`](Self::publish).
    pub(super) fn hide(&mut self) -> u64 {
        std::mem::replace(self.word.get_mut(), PENDING)
    }

    /// Shows a pending node, with the word that [`hide`](Self::hide) returned.
    pub(super) fn publish(&self, word: u64) {
        // Pairs with the acquire of each load of the word: a call that finds the entry also finds
        // that those that it removed are gone.
        self.word.store(word, Ordering::Release);
    }

    pub(super) fn is_pending(&self) -> bool {
        self.word.load(Ordering::Acquire) == PENDING
    }

    fn ends_by(&self, word: u64) -> u64 {
        (word >> FLAG_BITS).min(self.absolute)
    }

    /// Whether it is live at `now`. The first call that sees it expired makes that final.
    #[inline]
    pub(super) fn state(&self, now: Timestamp) -> State {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & EXPIRED != 0 {
                return State::Expired;
            }
            if now.as_millis() < self.ends_by(word) {
                return State::Live;
            }
            if word == PENDING || word & SEALED != 0 {
                return State::Undecided;
            }
            let expired = word | EXPIRED;
            match self.word.compare_exchange(word, expired, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return State::Expired,
                Err(changed) => word = changed,
            }
        }
    }

    /// Starts the idle time again if it is live at `now`; the deadline never moves back.
    #[inline]
    pub(super) fn slide(&self, now: Timestamp) -> State {
        let next = self.idle.ends(now);
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & (SEALED | EXPIRED) != 0 || now.as_millis() >= self.ends_by(word) {
                return match self.state(now) {
                    State::Live => State::Undecided,
                    decided => decided,
                };
            }
            if next <= word >> FLAG_BITS {
                return State::Live;
            }
            match self.word.compare_exchange_weak(
                word,
                next << FLAG_BITS,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return State::Live,
                Err(changed) => word = changed,
            }
        }
    }

    /// Ends all sliding, for one change at a time, and returns the deadlines, which are final.
    /// `None` if it is not live, or another change has sealed it.
    pub(super) fn seal(&self, now: Timestamp) -> Option<Deadlines> {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & SEALED != 0 || self.state(now) != State::Live {
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

    /// The first millisecond at which it is absent if it is not used; zero while it is pending.
    pub(super) fn ends(&self) -> u64 {
        self.ends_by(self.word.load(Ordering::Acquire))
    }

    /// Whether a use at `now` would move the deadline.
    pub(super) fn slide_due(&self, now: Timestamp) -> bool {
        self.idle.ends(now) > self.word.load(Ordering::Acquire) >> FLAG_BITS
    }

    pub(super) fn owner(&self) -> Option<&Arc<Owner>> {
        self.owner.as_ref()
    }

    pub(super) fn is_owned_by(&self, owner: &Owner) -> bool {
        self.owner.as_deref() == Some(owner)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn value(&self) -> &V {
        &self.value
    }

    pub(super) fn into_value(self) -> V {
        self.value
    }

    #[inline]
    pub(super) fn deadlines(&self) -> Deadlines {
        let idle_ends = self.word.load(Ordering::Relaxed) >> FLAG_BITS;
        let idle = self.idle.timeout().map(|idle| (idle, Timestamp::from_millis(idle_ends)));
        let absolute =
            (self.absolute != Timestamp::NEVER).then_some(Timestamp::from_millis(self.absolute));
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

/// The deadlines that an expiry gives to an entry that is made at `now`.
pub(super) fn deadlines(expiry: Expiry, now: Timestamp) -> Deadlines {
    let idle = Idle::new(expiry.idle_timeout());
    let ends = Timestamp::from_millis(idle.ends(now));
    Deadlines::new(
        idle.timeout().map(|timeout| (timeout, ends)),
        expiry.lifetime().map(|lifetime| now.saturating_add(lifetime)),
    )
}

/// An idle time in four bytes: milliseconds below 24 days, whole seconds (rounded up) above, 68
/// years at most.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Idle(u32);

impl Idle {
    const NONE: Self = Self(u32::MAX);
    const SECONDS: u32 = 1 << 31;

    fn new(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else {
            return Self::NONE;
        };
        match u32::try_from(millis(timeout)) {
            Ok(millis) if millis < Self::SECONDS => Self(millis),
            _ => {
                let seconds = millis(timeout).div_ceil(1_000).min(u64::from(Self::SECONDS) - 2);
                Self(Self::SECONDS | seconds as u32)
            }
        }
    }

    #[inline]
    fn as_millis(self) -> Option<u64> {
        if self == Self::NONE {
            None
        } else if self.0 < Self::SECONDS {
            Some(u64::from(self.0))
        } else {
            Some(u64::from(self.0 & !Self::SECONDS) * 1_000)
        }
    }

    fn timeout(self) -> Option<Duration> {
        self.as_millis().map(Duration::from_millis)
    }

    #[inline]
    fn ends(self, now: Timestamp) -> u64 {
        match self.as_millis() {
            Some(idle) => now.as_millis().saturating_add(idle).min(Timestamp::NEVER),
            None => Timestamp::NEVER,
        }
    }
}

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    fn node(idle: Duration) -> Node<()> {
        Node::new((), deadlines(Expiry::idle(idle), at(1_000)), None, 1)
    }

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn early_slide_does_not_revive_an_expired_node() {
        let node = node(Duration::from_millis(100));
        assert_eq!(node.state(at(1_100)), State::Expired);
        assert_eq!(node.slide(at(1_099)), State::Expired);
        assert_eq!(node.seal(at(1_099)), None);
        assert_eq!(node.state(at(1_099)), State::Expired);
    }

    #[test]
    fn sealed_node_hands_on_its_final_deadline() {
        let old = node(Duration::from_millis(100));
        assert_eq!(old.slide(at(1_050)), State::Live);
        let final_deadlines = old.seal(at(1_060)).unwrap();
        assert_eq!(old.slide(at(1_070)), State::Undecided);
        assert_eq!(old.seal(at(1_070)), None);
        let new = old.successor((), 2, final_deadlines);
        assert_eq!((new.ends(), new.slide(at(1_149))), (1_150, State::Live));
        // Whether the old one ended at its deadline depends on the change that sealed it.
        assert_eq!((old.state(at(1_149)), old.state(at(1_150))), (State::Live, State::Undecided));
    }

    #[test]
    fn deadline_never_moves_back() {
        let node = node(Duration::from_millis(100));
        assert_eq!(node.slide(at(1_050)), State::Live);
        assert_eq!(node.slide(at(1_010)), State::Live);
        assert_eq!(node.ends(), 1_150);
    }

    #[test]
    fn idle_times_are_kept_to_the_second() {
        for days in [0, 1, 24, 25, 400, 20_000] {
            let timeout = Duration::from_secs(days * 86_400);
            assert_eq!(Idle::new(Some(timeout)).timeout(), Some(timeout), "{days} days");
        }
        assert!(Idle::new(Some(Duration::MAX)).timeout() > Some(Duration::from_secs(1 << 30)));
        assert_eq!(Idle::new(None).timeout(), None);
    }

    #[test]
    fn entry_of_a_hundred_bytes_takes_168_in_its_node() {
        assert_eq!(size_of::<Node<[u8; 100]>>() + size_of::<Key>(), 168);
    }
}
