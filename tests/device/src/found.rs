use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Fault, Fixture, Server};

/// Asserts that a check fails on a server with this fault, at the assertion with this text.
#[track_caller]
pub fn assert_found(check: fn(&dyn Server), fault: Fault, text: &str) {
    let server = Fixture::broken(fault);
    let outcome = catch_unwind(AssertUnwindSafe(|| check(&server)));
    let panic = outcome.expect_err("the check passes on a broken server");
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(message.contains(text), "the check fails elsewhere: {message}");
}
