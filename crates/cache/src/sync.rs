//! Primitives of synchronization: the standard library's, or the model checker's.
//!
//! With `--cfg kvolt_shuttle`, the same code runs with every operation below under the control of
//! the checker. The map's own operations are then single steps.

#[cfg(not(kvolt_shuttle))]
pub(crate) use std::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::yield_now,
};

#[cfg(kvolt_shuttle)]
pub(crate) use {
    shuttle::sync::atomic::{AtomicU64, Ordering},
    shuttle::sync::{Mutex, MutexGuard},
    shuttle::thread::yield_now,
    std::sync::PoisonError,
};

// No invariant of the store spans a call of the application's code under a lock. So a panic in such
// a call (a value's `clone`) leaves nothing half done, and a poisoned lock can be used.

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step at which the checker may switch to another thread: before an operation of the map or a
/// reading of the clock.
#[inline]
pub(crate) fn step() {
    #[cfg(kvolt_shuttle)]
    AtomicU64::new(0).load(Ordering::Relaxed);
}

/// A value on cache lines of its own, so that threads that write to different values do not slow
/// each other.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);
