use std::time::Duration;

use crate::Timestamp;

/// How long an entry lives: a time without use, a time in all, or whichever of both ends first.
///
/// Given as durations, because the store's own clock decides.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::Expiry;
///
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// let expiry = Expiry::idle_within(30 * MINUTE, 720 * MINUTE);
/// assert_eq!(expiry.idle_timeout(), Some(30 * MINUTE));
/// assert_eq!(expiry.lifetime(), Some(720 * MINUTE));
/// assert_eq!(Expiry::after(MINUTE).idle_timeout(), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expiry {
    idle: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Expiry {
    /// Ends `lifetime` after the insertion, also if the entry is used.
    pub const fn after(lifetime: Duration) -> Self {
        Self { idle: None, lifetime: Some(lifetime) }
    }

    /// Ends `idle` after the last use.
    pub const fn idle(idle: Duration) -> Self {
        Self { idle: Some(idle), lifetime: None }
    }

    /// Ends `idle` after the last use, and no later than `lifetime` after the insertion.
    pub const fn idle_within(idle: Duration, lifetime: Duration) -> Self {
        Self { idle: Some(idle), lifetime: Some(lifetime) }
    }

    /// How long the entry lives without use; `None` if use does not prolong it.
    pub const fn idle_timeout(&self) -> Option<Duration> {
        self.idle
    }

    /// How long the entry lives at most; `None` for no limit.
    pub const fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
}

/// When an entry was last used and when it ends.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Deadlines, Timestamp};
///
/// let (idle, ends) = (Duration::from_millis(300), Timestamp::from_millis(1_000));
/// let deadlines = Deadlines::new(Some((idle, ends)), Some(Timestamp::from_millis(5_000)));
/// assert_eq!(deadlines.expires_at(), Some(ends));
/// assert_eq!(deadlines.last_used(), Some(Timestamp::from_millis(700)));
/// assert_eq!(deadlines.absolute(), Some(Timestamp::from_millis(5_000)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    idle: Option<(Duration, Timestamp)>,
    absolute: Option<Timestamp>,
}

impl Deadlines {
    /// Makes deadlines of their parts: the idle time with the moment at which it ends, and the
    /// absolute deadline. For implementors of [`Store`](crate::Store).
    pub const fn new(idle: Option<(Duration, Timestamp)>, absolute: Option<Timestamp>) -> Self {
        Self { idle, absolute }
    }

    /// The first moment at which the entry is absent if it is not used until then; `None` if it
    /// has no deadline.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.idle_ends().into_iter().chain(self.absolute).min()
    }

    /// The deadline that no use moves.
    pub const fn absolute(&self) -> Option<Timestamp> {
        self.absolute
    }

    /// How long the entry lives without use; `None` if use does not prolong it.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle.map(|(timeout, _)| timeout)
    }

    /// When the entry was last used, or else inserted; `None` if use does not prolong it.
    ///
    /// As exact as the store slides: see [`Store::touch`](crate::Store::touch).
    pub fn last_used(&self) -> Option<Timestamp> {
        self.idle.map(|(timeout, ends)| ends.saturating_sub(timeout))
    }

    /// The deadline that a use moves.
    pub(crate) fn idle_ends(&self) -> Option<Timestamp> {
        self.idle.map(|(_, ends)| ends)
    }

    /// The expiry that leads to these deadlines, with the lifetime counted from the last use.
    pub(crate) fn expiry(&self) -> Expiry {
        let idle = self.idle_timeout();
        let lifetime = self.absolute.map(|end| end.since(self.last_used().unwrap_or(end)));
        Expiry { idle, lifetime }
    }
}
