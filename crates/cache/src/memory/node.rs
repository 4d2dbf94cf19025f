//! One entry in memory, and the word that says until when it is there.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::millis;
use crate::sync::{AtomicU64, Ordering};
use crate::{Access, Deadlines, EntryRef, Expiry, Key, Owner, Timestamp, Version};

/// An entry's state. Everything but the idle deadline is fixed: a change makes another node.
pub(super) struct Node<V> {
    /// The idle deadline in milliseconds, shifted left by one, and [`SEALED`].
    word: AtomicU64,
    /// The absolute deadline in milliseconds; [`Timestamp::NEVER`] for none.
    absolute: u64,
    /// Shared with the owner index, one word here.
    owner: Option<Arc<Owner>>,
    version: u64,
    idle: Idle,
    value: V,
}

/// Set once the idle deadline is final: the entry was seen expired, or another
/// node has taken its place. Whoever wants to slide it looks it up again.
const SEALED: u64 = 1;

/// The word of a node that is in the map but not there yet.
const PENDING: u64 = 0;

/// What came of sliding a node's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slid {
    Live,
    Expired,
    /// Not this node's to say: look the key up again.
    Stale,
}

impl<V> Node<V> {
    pub(super) fn new(
        value: V,
        expiry: Expiry,
        owner: Option<Arc<Owner>>,
        version: u64,
        now: Timestamp,
    ) -> Self {
        let idle = Idle::new(expiry.idle_timeout());
        let absolute = expiry
            .lifetime()
            .map_or(Timestamp::NEVER, |lifetime| now.saturating_add(lifetime).as_millis());
        Self { word: AtomicU64::new(idle.ends(now) << 1), absolute, owner, version, idle, value }
    }

    /// A node with another value or owner and the same deadlines, or new ones.
    pub(super) fn successor(
        &self,
        value: V,
        owner: Option<Arc<Owner>>,
        expiry: Option<Expiry>,
        version: u64,
        now: Timestamp,
    ) -> Self {
        match expiry {
            Some(expiry) => Self::new(value, expiry, owner, version, now),
            None => Self {
                word: AtomicU64::new(self.word.load(Ordering::Acquire) & !SEALED),
                absolute: self.absolute,
                owner,
                version,
                idle: self.idle,
                value,
            },
        }
    }

    /// Makes a node that nobody can see yet invisible until [`publish`](Self::publish).
    pub(super) fn pending(self) -> (Self, u64) {
        let word = self.word.swap(PENDING, Ordering::Relaxed);
        (self, word >> 1)
    }

    /// Makes a pending node visible, with this idle deadline.
    pub(super) fn publish(&self, idle_ends: u64) {
        // Release pairs with the acquire of every reader of the word: who sees the deadline sees
        // what came before it.
        self.word.store(idle_ends << 1, Ordering::Release);
    }

    pub(super) fn is_pending(&self) -> bool {
        self.word.load(Ordering::Acquire) == PENDING
    }

    /// Whether it is there at `now`. Seeing it expired makes that final, so that
    /// a slide that read the time before the deadline can't undo it after.
    #[inline]
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if now.as_millis() < (word >> 1).min(self.absolute) {
                return true;
            }
            if word == PENDING || word & SEALED != 0 {
                return false;
            }
            match self.word.compare_exchange(
                word,
                word | SEALED,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return false,
                Err(changed) => word = changed,
            }
        }
    }

    /// Whether it was there and is not any more at `now`, which is final.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        // In this order: one that is shown in between has not ended.
        !self.is_pending() && !self.is_live(now)
    }

    /// Looks at it, or uses it, at `now`.
    #[inline]
    pub(super) fn access(&self, access: Access, now: Timestamp) -> Slid {
        match access.slides() {
            true => self.slide(now),
            false if self.is_live(now) => Slid::Live,
            false => Slid::Expired,
        }
    }

    /// Starts the idle time anew if it is there at `now`; the deadline never moves back.
    #[inline]
    pub(super) fn slide(&self, now: Timestamp) -> Slid {
        let next = self.idle.ends(now);
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if now.as_millis() >= (word >> 1).min(self.absolute) {
                return if self.is_live(now) { Slid::Stale } else { Slid::Expired };
            }
            if word & SEALED != 0 {
                return Slid::Stale;
            }
            if next <= word >> 1 {
                return Slid::Live;
            }
            // Relaxed suffices: the word carries no other data. It fails against a seal, which
            // is what makes a slide that comes too late harmless.
            match self.word.compare_exchange_weak(
                word,
                next << 1,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Slid::Live,
                Err(changed) => word = changed,
            }
        }
    }

    /// Ends all sliding. Returns the final idle deadline, and whether it had been sealed before.
    pub(super) fn seal(&self) -> (u64, bool) {
        let word = self.word.fetch_or(SEALED, Ordering::AcqRel);
        (word >> 1, word & SEALED != 0)
    }

    /// Moves the idle deadline forward to one that a predecessor had.
    pub(super) fn inherit(&self, idle_ends: u64) {
        let mut word = self.word.load(Ordering::Acquire);
        while word >> 1 < idle_ends {
            // The seal bit stays as it is: a successor of this node reads the deadline after
            // sealing, and has to find what was inherited late.
            match self.word.compare_exchange_weak(
                word,
                idle_ends << 1 | word & SEALED,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }

    /// The first millisecond at which it is absent if nobody uses it.
    pub(super) fn ends(&self) -> u64 {
        (self.word.load(Ordering::Acquire) >> 1).min(self.absolute)
    }

    pub(super) fn owner(&self) -> Option<&Arc<Owner>> {
        self.owner.as_ref()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn value(&self) -> &V {
        &self.value
    }

    #[inline]
    pub(super) fn view<'a>(&'a self, key: &'a Key) -> EntryRef<'a, V> {
        let idle_ends = self.word.load(Ordering::Relaxed) >> 1;
        let idle = self.idle.timeout().map(|idle| (idle, Timestamp::from_millis(idle_ends)));
        let absolute =
            (self.absolute != Timestamp::NEVER).then_some(Timestamp::from_millis(self.absolute));
        EntryRef::new(
            key,
            &self.value,
            Version::from_number(self.version),
            self.owner.as_deref(),
            Deadlines::new(idle, absolute),
        )
    }
}

/// An idle time in four bytes: milliseconds below 24 days, whole seconds (rounded up) above.
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
            Some(idle) => now.as_millis() + idle,
            None => Timestamp::NEVER,
        }
    }
}

#[cfg(all(test, not(kvolt_shuttle)))]
mod tests {
    use super::*;

    fn node(expiry: Expiry) -> Node<()> {
        Node::new((), expiry, None, 1, Timestamp::from_millis(1_000))
    }

    #[test]
    fn a_slide_that_read_the_time_too_early_does_not_revive_what_was_seen_expired() {
        let node = node(Expiry::idle(Duration::from_millis(100)));
        assert!(!node.is_live(Timestamp::from_millis(1_100)));
        assert_eq!(node.slide(Timestamp::from_millis(1_099)), Slid::Stale);
        assert!(!node.is_live(Timestamp::from_millis(1_101)));
    }

    #[test]
    fn the_deadline_never_moves_back() {
        let node = node(Expiry::idle(Duration::from_millis(100)));
        assert_eq!(node.slide(Timestamp::from_millis(1_050)), Slid::Live);
        assert_eq!(node.slide(Timestamp::from_millis(1_010)), Slid::Live);
        assert_eq!(node.ends(), 1_150);
    }

    #[test]
    fn idle_times_of_any_length_are_kept_to_the_second() {
        for days in [0, 1, 24, 25, 400, 20_000] {
            let timeout = Duration::from_secs(days * 86_400);
            assert_eq!(Idle::new(Some(timeout)).timeout(), Some(timeout), "{days} days");
        }
        assert!(Idle::new(Some(Duration::MAX)).timeout() > Some(Duration::from_secs(1 << 30)));
        assert_eq!(Idle::new(None).timeout(), None);
    }

    #[test]
    fn an_entry_of_a_hundred_bytes_takes_168_in_its_node() {
        assert_eq!(size_of::<Node<[u8; 100]>>() + size_of::<Key>(), 168);
    }
}
