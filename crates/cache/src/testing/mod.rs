//! For tests: a store that fails on purpose.

mod faults;
mod faulty_store;

pub use faults::{Call, Failure, Faults};
pub use faulty_store::FaultyStore;
