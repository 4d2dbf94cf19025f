//! The checker: reports the operations of a history that break a promise. It is a pure function.
//!
//! A call that was answered took effect at one moment between its invocation and its answer. A call
//! that failed or was cut off took effect at any moment from its invocation on, or never. Operations
//! that contradict every order of such moments are a violation, and are reported with their proof.
//! The rules are necessary conditions that are checked one by one, so a history of hundreds of
//! thousands of operations is checked in a moment. Every violation that they find is one.

mod absence;
mod counts;
mod identity;
mod index;
mod removal;
mod report;
mod rotation;
mod updates;

use std::time::Duration;

use report::Effect;
pub use report::{Kind, Loss, Report, Violation};

use self::index::Index;
use crate::history::History;

/// The promises of a run.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The bound of a near cache; `None` without one.
    pub bound: Option<Duration>,
    /// How long a token is accepted after a rotation with grace.
    pub grace: Duration,
    /// How far apart the clocks of the store and of the clients may be when a grace ends.
    pub slack: Duration,
    /// Whether a login over a session in another slot takes two steps: the new session is created, and
    /// then the old one is ended, or the new one again.
    pub login_takes_two_steps: bool,
    /// Whether an engine may lose changes that it acknowledged shortly before a failover. Such losses
    /// are then counted, and are not violations.
    pub lossy: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            bound: None,
            grace: Duration::from_millis(400),
            slack: Duration::from_millis(100),
            login_takes_two_steps: false,
            lossy: false,
        }
    }
}

/// Checks everything.
pub fn check(history: &History, rules: &Rules) -> Report {
    let mut report = Report::new(history, rules);
    let mut index = Index::new(history, rules);
    identity::find(&mut index, rules, &mut report);
    index.note(rules);
    removal::check(&index, &mut report);
    absence::check(&index, &mut report);
    counts::check(&index, &mut report);
    rotation::check(&index, &mut report);
    updates::check(&index, &mut report);
    report
}
