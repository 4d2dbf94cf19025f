use std::time::Duration;

use kvolt_cache::Expiry;

use crate::Level;

/// When a session ends: after a time without use, and after a time in any case.
///
/// ```
/// use std::time::Duration;
/// use kvolt_session::{Level, Timeouts};
///
/// let timeouts = Timeouts::new(Duration::from_secs(20 * 60), Duration::from_secs(8 * 3_600));
/// assert!(timeouts.is_within(&Timeouts::nist(Level::Two)));
/// assert!(!timeouts.is_within(&Timeouts::OWASP_HIGH_VALUE));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long the session lives without use. Each use restarts it.
    pub idle: Duration,
    /// How long the session lives at most, however often it is used.
    pub lifetime: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Timeouts {
    /// The default: 30 minutes without use, 12 hours in any case.
    ///
    /// 30 minutes is within what OWASP recommends for applications of low risk, and half of what
    /// NIST SP 800-63B-4 allows at level 2; 12 hours is what it allows at level 3.
    pub const DEFAULT: Self = Self::new(MINUTE.saturating_mul(30), HOUR.saturating_mul(12));

    /// NIST SP 800-63B-4, level 1: 30 days in any case; no limit without use.
    pub const NIST_LEVEL_1: Self = Self::new(DAY.saturating_mul(30), DAY.saturating_mul(30));

    /// NIST SP 800-63B-4, level 2: one hour without use, 24 hours in any case.
    pub const NIST_LEVEL_2: Self = Self::new(HOUR, HOUR.saturating_mul(24));

    /// NIST SP 800-63B-4, level 3: 15 minutes without use, 12 hours in any case.
    pub const NIST_LEVEL_3: Self = Self::new(MINUTE.saturating_mul(15), HOUR.saturating_mul(12));

    /// The strict end of the OWASP session management cheat sheet for applications of high value:
    /// 2 minutes without use (of 2 to 5), 4 hours in any case (of 4 to 8).
    pub const OWASP_HIGH_VALUE: Self = Self::new(MINUTE.saturating_mul(2), HOUR.saturating_mul(4));

    /// The lax end of the OWASP session management cheat sheet for applications of low risk: 30
    /// minutes without use (of 15 to 30), 8 hours in any case (of 4 to 8).
    pub const OWASP_LOW_RISK: Self = Self::new(MINUTE.saturating_mul(30), HOUR.saturating_mul(8));

    /// Ends after `idle` without use, and after `lifetime` in any case.
    pub const fn new(idle: Duration, lifetime: Duration) -> Self {
        Self { idle, lifetime }
    }

    /// The limits that NIST SP 800-63B-4 sets for a level.
    pub const fn nist(level: Level) -> Self {
        match level {
            Level::One => Self::NIST_LEVEL_1,
            Level::Two => Self::NIST_LEVEL_2,
            Level::Three => Self::NIST_LEVEL_3,
        }
    }

    pub(crate) const fn expiry(&self) -> Expiry {
        Expiry::idle_within(self.idle, self.lifetime)
    }

    /// The shorter of these times and of the given ones, with the idle time within the lifetime.
    pub(crate) fn shortened(self, idle: Option<Duration>, lifetime: Option<Duration>) -> Self {
        let lifetime = lifetime.map_or(self.lifetime, |lifetime| lifetime.min(self.lifetime));
        let idle = idle.map_or(self.idle, |idle| idle.min(self.idle));
        Self { idle: idle.min(lifetime), lifetime }
    }

    /// Whether neither time is longer than in `limits`.
    pub fn is_within(&self, limits: &Self) -> bool {
        self.idle <= limits.idle && self.lifetime <= limits.lifetime
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_as_documented() {
        let minutes = |timeouts: Timeouts| {
            (timeouts.idle.as_secs_f64() / 60.0, timeouts.lifetime.as_secs_f64() / 60.0)
        };
        assert_eq!(minutes(Timeouts::DEFAULT), (30.0, 720.0));
        assert_eq!(minutes(Timeouts::NIST_LEVEL_1), (43_200.0, 43_200.0));
        assert_eq!(minutes(Timeouts::NIST_LEVEL_2), (60.0, 1_440.0));
        assert_eq!(minutes(Timeouts::NIST_LEVEL_3), (15.0, 720.0));
        assert_eq!(minutes(Timeouts::OWASP_HIGH_VALUE), (2.0, 240.0));
        assert_eq!(minutes(Timeouts::OWASP_LOW_RISK), (30.0, 480.0));
        for level in Level::ALL {
            assert!(Timeouts::NIST_LEVEL_3.is_within(&Timeouts::nist(level)));
        }
        assert!(Timeouts::DEFAULT.is_within(&Timeouts::NIST_LEVEL_2));
        assert!(!Timeouts::NIST_LEVEL_2.is_within(&Timeouts::DEFAULT));
    }
}
