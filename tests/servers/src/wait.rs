//! Polling with a time limit. Only this module reads the time.

use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;

/// Time limit for all operations; generous, since other tests may keep the machine busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until the condition is met.
///
/// # Panics
///
/// Panics if the condition is not met within 60 seconds.
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

/// Retries until the operation succeeds or fails with a fatal failure.
pub(crate) fn until<T>(
    what: &str,
    attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    within(TIMEOUT, what, attempt)
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
        if failure.is_fatal() {
            return Err(failure.during(what));
        }
        if start.elapsed() > limit {
            return Err(failure.during(format_args!("{what}: gave up after {limit:?}")));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers run in real time, which tests can't control"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
