//! What the store synchronizes with: the standard library's, or the model checker's.
//!
//! Under `--cfg kvolt_shuttle` the same code runs with every operation below
//! under the checker's control. The map's own operations are then single steps.

#[cfg(not(kvolt_shuttle))]
pub(crate) use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::yield_now,
};

#[cfg(kvolt_shuttle)]
pub(crate) use {
    shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    shuttle::thread::yield_now,
    std::sync::PoisonError,
};

// No invariant of the store spans a call of the user's code under a lock, so a
// panic there (in a value's `clone`) leaves nothing half done: poison is ignored.

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
