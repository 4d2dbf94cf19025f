use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Server;

/// A check: panics if the server does not behave so.
pub type Check = fn(&dyn Server);

/// Runs checks on one server, so many at a time, and asserts that none fails.
pub fn check_all(checks: &[(&str, Check)], server: &dyn Server, at_once: usize) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((name, check)) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| check(server))).is_err() {
                        failed.lock().expect("no panic while it is held").push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic while it was held");
    assert!(failed.is_empty(), "failed checks: {}", failed.join(", "));
}
