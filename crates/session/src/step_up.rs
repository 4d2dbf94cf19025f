use std::time::Duration;

use kvolt_cache::Timestamp;

use crate::Level;
use crate::level::Proofs;

/// What a sensitive action requires beyond a session: a recent authentication, a strong one, or a
/// recent proof of the device.
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
    device_within: Option<Duration>,
}

impl StepUp {
    /// Requires an authentication at most this long ago.
    pub const fn within(within: Duration) -> Self {
        Self { within: Some(within), ..Self::at_level(Level::One) }
    }

    /// Requires an authentication at this level or above, at any time.
    pub const fn at_level(level: Level) -> Self {
        Self { level, within: None, device_within: None }
    }

    /// Requires that the device of a bound session has proved its key at most this long ago.
    ///
    /// A session that is not bound to a device meets it, since most browsers can't bind one. The
    /// proof needs no act of the user. Take ten seconds at least: a proof has some age when the request
    /// arrives, and one that is always too old makes a browser try until its limit of redirects.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_session::StepUp;
    ///
    /// let minute = Duration::from_secs(60);
    /// let payment = StepUp::within(10 * minute).and(StepUp::device_proved_within(minute));
    /// assert_eq!(payment.max_device_age(), Some(minute));
    /// assert_eq!(payment.of_user(), StepUp::within(10 * minute));
    /// ```
    pub const fn device_proved_within(within: Duration) -> Self {
        Self { device_within: Some(within), ..Self::at_level(Level::One) }
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

    /// How old the proof of a bound session's device may be; `None` for any age.
    pub const fn max_device_age(&self) -> Option<Duration> {
        self.device_within
    }

    /// The part that the user must meet: without that of the [device](Self::device_proved_within).
    pub const fn of_user(self) -> Self {
        Self { device_within: None, ..self }
    }

    /// Combines two requirements: the stricter of each part.
    pub fn and(self, other: Self) -> Self {
        let shorter =
            |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
        Self {
            level: self.level.max(other.level),
            within: shorter(self.within, other.within),
            device_within: shorter(self.device_within, other.device_within),
        }
    }

    /// Whether the authentication suffices, whatever is required of the device.
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
