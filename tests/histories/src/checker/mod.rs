//! Says what in a history breaks a promise. A pure function: it reads no clock and no store.
//!
//! A call that was answered took effect at one moment between its invocation
//! and its answer; one that failed or was cut off, at any moment from its
//! invocation on, or never. What contradicts every order of such moments is a
//! violation, and comes with the operations that prove it. The rules are
//! necessary conditions that are checked one by one, so a history of hundreds of
//! thousands of operations is checked in a moment; a violation that they find is one.

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

/// What the run promised.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How old an answer of a near cache may be; `None` where there is none.
    pub bound: Option<Duration>,
    /// How long a token is accepted after a rotation with grace.
    pub grace: Duration,
    /// How far apart the clocks of the store and of the clients may be when a grace ends.
    pub slack: Duration,
    /// Whether a login over a session that is kept elsewhere takes two steps: the new session is
    /// made, then the old one is ended, or the new one again.
    pub login_takes_two_steps: bool,
    /// Whether an engine may lose what it acknowledged shortly before a failover. Then such
    /// losses are counted and are no violations.
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
    let index = Index::new(history, rules, &mut report);
    removal::check(&index, &mut report);
    absence::check(&index, &mut report);
    counts::check(&index, &mut report);
    rotation::check(&index, &mut report);
    updates::check(&index, &mut report);
    report
}
