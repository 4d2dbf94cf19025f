use std::time::Duration;

use kvolt_cache::Timestamp;

use crate::Level;
use crate::level::Proofs;

/// What a sensitive act asks for beyond a session: that one has proved who they
/// are not long ago, or strongly enough, or both at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUp {
    level: Level,
    within: Option<Duration>,
}

impl StepUp {
    /// Authenticated at most this long ago.
    pub const fn within(within: Duration) -> Self {
        Self { level: Level::One, within: Some(within) }
    }

    /// Authenticated at this level or above, however long ago.
    pub const fn at_level(level: Level) -> Self {
        Self { level, within: None }
    }

    /// The same, at this level or above.
    #[must_use]
    pub const fn and_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The lowest level that will do.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How long ago it may have been.
    pub const fn max_age(&self) -> Option<Duration> {
        self.within
    }

    /// Both at once: of each the stricter.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let within = match (self.within, other.within) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { level: self.level.max(other.level), within }
    }

    pub(crate) fn is_met(&self, proofs: &Proofs, now: Timestamp) -> bool {
        proofs
            .at(self.level)
            .is_some_and(|at| self.within.is_none_or(|within| now.since(at) <= within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_step_up_is_met_up_to_its_age_and_at_its_level() {
        let mut proofs = Proofs::NONE;
        let fresh = StepUp::within(Duration::from_secs(300));
        assert!(!fresh.is_met(&proofs, at(0)), "nobody who has proved nothing");
        proofs.add(Level::One, at(100));
        assert!(fresh.is_met(&proofs, at(400)) && !fresh.is_met(&proofs, at(401)));
        assert!(!StepUp::at_level(Level::Two).is_met(&proofs, at(100)));
        proofs.add(Level::Three, at(50));
        assert!(StepUp::at_level(Level::Two).is_met(&proofs, at(1_000_000)));
        let both = fresh.and(StepUp::at_level(Level::Two));
        assert!(both.is_met(&proofs, at(350)) && !both.is_met(&proofs, at(351)));
        assert_eq!(both, fresh.and_level(Level::Two));
    }
}
