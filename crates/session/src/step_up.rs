use std::time::Duration;

use kvolt_cache::Timestamp;

use crate::Level;
use crate::level::Proofs;

/// The authentication that a sensitive action requires beyond a session: a recent one, a strong
/// one, or both.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Level, Manager, StepUp};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
///
/// let recent = StepUp::within(Duration::from_secs(5 * 60));
/// assert!(session.meets(&recent, manager.clock().now()));
/// let strong = recent.and_level(Level::Two);
/// assert!(!session.meets(&strong, manager.clock().now()), "a password is level 1");
/// assert_eq!(strong, recent.and(StepUp::at_level(Level::Two)));
/// assert_eq!((strong.level(), strong.max_age()), (Level::Two, recent.max_age()));
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "a requirement does nothing until it is checked"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUp {
    level: Level,
    within: Option<Duration>,
}

impl StepUp {
    /// Requires an authentication at most this long ago.
    pub const fn within(within: Duration) -> Self {
        Self { level: Level::One, within: Some(within) }
    }

    /// Requires an authentication at this level or above, at any time.
    pub const fn at_level(level: Level) -> Self {
        Self { level, within: None }
    }

    /// Sets the lowest level that is accepted.
    pub const fn and_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The lowest level that is accepted.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How old the authentication may be; `None` for any age.
    pub const fn max_age(&self) -> Option<Duration> {
        self.within
    }

    /// Combines two requirements: the stricter of each part.
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
    fn step_up_is_met_by_age_and_level() {
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
