use kvolt_cache::Timestamp;

/// How strongly a user has proved their identity: the authentication assurance levels of NIST SP
/// 800-63B-4.
///
/// The application decides which proof has which level. A password alone is level 1, with a second
/// factor level 2, and with a hardware key that resists phishing level 3.
///
/// ```
/// use kvolt_session::Level;
///
/// assert!(Level::Two > Level::One);
/// assert_eq!(Level::from_number(2), Some(Level::Two));
/// assert_eq!(Level::Three.number(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Level {
    /// One factor.
    #[default]
    One = 1,
    /// Two factors.
    Two = 2,
    /// Two factors, one of them a hardware key that resists phishing.
    Three = 3,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// The level with this number, from 1 to 3.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// The number of the level, from 1 to 3.
    pub const fn number(self) -> u8 {
        self as u8
    }

    const fn index(self) -> usize {
        self as usize - 1
    }
}

/// When a user last proved their identity, at each level. In milliseconds; zero for never.
///
/// It only grows: no proof lowers another, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "json", serde(from = "Levels", into = "Levels"))]
pub(crate) struct Proofs([u64; 3]);

#[cfg(feature = "json")]
type Levels = std::collections::BTreeMap<u8, Timestamp>;

impl Proofs {
    /// No proof.
    pub(crate) const NONE: Self = Self([0; 3]);

    pub(crate) fn add(&mut self, level: Level, at: Timestamp) {
        let latest = &mut self.0[level.index()];
        *latest = (*latest).max(at.as_millis().max(1));
    }

    #[cfg(feature = "testing")]
    pub(crate) fn make_older(&mut self, by: std::time::Duration) {
        let proved = self.0.iter_mut().filter(|latest| **latest > 0);
        proved.for_each(|at| {
            *at = Timestamp::from_millis(*at).saturating_sub(by).as_millis().max(1);
        });
    }

    /// At exactly this level.
    pub(crate) fn exactly(&self, level: Level) -> Option<Timestamp> {
        moment(self.0[level.index()])
    }

    /// At this level or above.
    pub(crate) fn at(&self, level: Level) -> Option<Timestamp> {
        moment(self.0[level.index()..].iter().copied().max().unwrap_or(0))
    }

    pub(crate) fn highest(&self) -> Option<Level> {
        Level::ALL.into_iter().rev().find(|level| self.exactly(*level).is_some())
    }
}

fn moment(millis: u64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn proofs_lower_nothing_in_any_order() {
        let proved = [(Level::Two, at(10)), (Level::One, at(20)), (Level::Two, at(5))];
        let mut forwards = Proofs::NONE;
        let mut backwards = Proofs::NONE;
        proved.iter().for_each(|(level, at)| forwards.add(*level, *at));
        proved.iter().rev().for_each(|(level, at)| backwards.add(*level, *at));
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.highest(), Some(Level::Two));
        assert_eq!(forwards.at(Level::One), Some(at(20)));
        assert_eq!(forwards.at(Level::Two), Some(at(10)), "a password later is no second factor");
        assert_eq!(forwards.at(Level::Three), None);
    }
}
