//! Waiting for what comes about by itself, and the only place that reads the time.

use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;

/// How long anything may take: generous, as the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the condition is met.
///
/// # Panics
///
/// Panics if it is not within 60 seconds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let attempt = || match condition() {
        true => Ok(()),
        false => Err(Failure::new("not yet")),
    };
    if let Err(failure) = until(what, attempt) {
        panic!("{failure}");
    }
}

/// Tries until it succeeds, or fails in a way that no further attempt will change.
pub(crate) fn until<T>(
    what: &str,
    attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    within(PATIENCE, what, attempt)
}

pub(crate) fn within<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let start = now();
    let mut pause = Duration::from_millis(2);
    loop {
        let failure = match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if failure.is_final() {
            return Err(failure.during(what));
        }
        if start.elapsed() > limit {
            return Err(failure.during(format_args!("{what}: gave up after {limit:?}")));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[expect(clippy::disallowed_methods, reason = "servers live in real time, which no test moves")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
