//! Hints in the log, for mistakes that otherwise show only as a refusal.
//!
//! Any client can cause them. So each is a warning once, and after that for debugging only.

use std::sync::atomic::{AtomicBool, Ordering};

/// The hints that were given.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pub(crate) ambiguous: AtomicBool,
    pub(crate) cross_origin: AtomicBool,
    pub(crate) login: AtomicBool,
    pub(crate) plain_http: AtomicBool,
}

pub(crate) fn is_first(given: &AtomicBool) -> bool {
    !given.swap(true, Ordering::Relaxed)
}

/// The address of a section of the guide's page on errors.
macro_rules! help {
    ($section:literal) => {
        concat!("https://docs.rs/kvolt/latest/kvolt/guide/errors/#", $section)
    };
}

/// Logs an event, with a section of the guide's page on errors, as a warning the first time.
macro_rules! hint {
    ($given:expr, $help:expr, $($event:tt)+) => {
        if crate::sessions::hints::is_first(&$given) {
            tracing::warn!(target: "kvolt::http", help = $help, $($event)+);
        } else {
            tracing::debug!(target: "kvolt::http", help = $help, $($event)+);
        }
    };
}

pub(crate) use {help, hint};
