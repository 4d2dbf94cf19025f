//! The only file that reads the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// A moment, in whole milliseconds since the Unix epoch.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::Timestamp;
///
/// let moment = Timestamp::from_millis(5_000);
/// let later = moment.saturating_add(Duration::from_secs(2));
/// assert_eq!(later.as_millis(), 7_000);
/// assert_eq!(later.since(moment), Duration::from_secs(2));
/// assert_eq!(moment.since(later), Duration::ZERO);
/// assert_eq!(later.saturating_sub(Duration::from_secs(2)), moment);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than every moment that a clock returns.
    pub(crate) const NEVER: u64 = u64::MAX >> 2;

    /// The moment this many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `duration` later, or the latest moment if there is none so late.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)).min(Self::NEVER))
    }

    /// The moment `duration` earlier, or the epoch if that is later.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(timestamp.0)
    }
}

/// Whole milliseconds, rounded up, so that no positive duration becomes none.
pub(crate) fn millis(duration: Duration) -> u64 {
    let whole = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX).min(Timestamp::NEVER)
}

/// The source of the time: the system, or a test's [`ManualClock`].
///
/// The system's clock never goes back, and ignores later changes of the wall clock. It is the
/// kernel's coarse clock, with ticks of a few milliseconds, because a reading costs 6 ns instead of
/// 28: an entry ends within one tick of its deadline. Time during which the machine is suspended
/// does not count.
///
/// ```
/// use kvolt_cache::Clock;
///
/// let clock = Clock::system();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { epoch_millis: u64 },
    Boot,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch_millis = millis(wall).saturating_sub(monotonic_millis());
        Self(Source::System { epoch_millis })
    }

    /// The time since the machine was started, including the time during which it was suspended.
    /// For answers that must not be used after a suspension. A precise clock: about 30 ns a reading.
    #[doc(hidden)]
    pub const fn boot() -> Self {
        Self(Source::Boot)
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Timestamp {
        Timestamp(match &self.0 {
            Source::System { epoch_millis } => epoch_millis + monotonic_millis(),
            Source::Boot => boot_millis(),
            Source::Manual(millis) => millis.load(Ordering::SeqCst),
        })
    }

    /// Moves a test's clock forward, as [`ManualClock::advance`] does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::{Clock, ManualClock, MemoryStore, Store};
    ///
    /// let time = ManualClock::new();
    /// let store: MemoryStore<String> = MemoryStore::builder().clock(time.clock()).build();
    /// let before = store.clock().now();
    /// store.clock().advance(Duration::from_secs(60))?;
    /// assert_eq!(time.clock().now().since(before), Duration::from_secs(60));
    ///
    /// let refused = Clock::system().advance(Duration::from_secs(60));
    /// assert!(refused.is_err_and(|error| error.is_misconfigured()));
    /// # Ok::<(), kvolt_cache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) for a clock that no test moves: the system's,
    /// which is also the one of a store whose server has its own clock.
    pub fn advance(&self, by: Duration) -> Result<()> {
        match &self.0 {
            Source::Manual(millis) => {
                ManualClock(Arc::clone(millis)).advance(by);
                Ok(())
            }
            Source::System { .. } | Source::Boot => Err(Error::misconfigured(
                "can't move the time of the system, or of a store's server: test on a store in memory with a `ManualClock`",
            )),
        }
    }

    /// Whether the time passes by itself, and not only if a test moves it.
    pub(crate) fn is_system(&self) -> bool {
        !matches!(self.0, Source::Manual(_))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::ManualClock;
///
/// let time = ManualClock::new();
/// let clock = time.clock();
/// let before = clock.now();
/// time.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(before), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock at 2026-01-01 00:00 UTC.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600_000)))
    }

    /// The clock for the objects under test.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the time forward, in whole milliseconds, and no further than the latest moment.
    pub fn advance(&self, by: Duration) {
        let after = |now: u64| Some(now.saturating_add(millis(by)).min(Timestamp::NEVER - 1));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, after);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn monotonic_millis() -> u64 {
    read_millis(rustix::time::ClockId::MonotonicCoarse)
}

#[cfg(target_os = "linux")]
fn boot_millis() -> u64 {
    read_millis(rustix::time::ClockId::Boottime)
}

#[cfg(target_os = "linux")]
#[inline]
fn read_millis(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    // Neither part of these clocks is ever negative.
    time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn boot_millis() -> u64 {
    monotonic_millis()
}

#[cfg(not(target_os = "linux"))]
fn monotonic_millis() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(START.elapsed())
}
