//! Checks a history for broken promises. A pure function: it reads no clock and no store.
//!
//! An answered call took effect at one moment between its invocation and its answer. A call
//! that failed or timed out took effect at any moment after its invocation, or never. If no
//! order of such moments explains an answer, it is a violation, reported with the
//! operations that prove it. Each rule is a necessary condition and is checked separately:
//! hundreds of thousands of operations are checked within seconds, every reported violation
//! is real, but some violations may be missed.

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

/// The promises to check.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Maximum age of a near cache's answer; `None` without near caches.
    pub bound: Option<Duration>,
    /// Grace period of a graceful rotation.
    pub grace: Duration,
    /// Maximum difference between the clocks of the store and the clients at the end of a
    /// grace period.
    pub slack: Duration,
    /// Whether a login takes two steps because the old session may be on another server:
    /// the store creates the new session, then ends the old one or rolls back the new one.
    pub login_takes_two_steps: bool,
    /// Whether the engine may lose changes acknowledged shortly before a failover. Such
    /// losses are then counted separately instead of reported as violations.
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

/// Checks all rules.
pub fn check(history: &History, rules: &Rules) -> Report {
    let mut report = Report::new(history, rules);
    let mut index = Index::new(history, rules);
    identity::find(&mut index, rules, &mut report);
    index.collect_evidence(rules);
    removal::check(&index, &mut report);
    absence::check(&index, &mut report);
    counts::check(&index, &mut report);
    rotation::check(&index, &mut report);
    updates::check(&index, &mut report);
    report
}
