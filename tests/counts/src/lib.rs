//! The hot paths of KVolt, each as a call that a [`Counter`] counts, and the baseline of the counts.
//!
//! - The test `counts` counts allocations, and for a store commands, round trips and bytes.
//! - The program `kvolt-instructions` counts instructions of the paths in memory, by callgrind.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::print_stdout, reason = "the program prints what it counts")]

#[cfg(feature = "actix")]
mod actix;
mod baseline;
mod http;
mod manager;
#[cfg(feature = "stores")]
mod stores;
mod user;

pub use baseline::{Baseline, Counts, Fault, compare, is_renewal, report};

/// Counts what calls cost.
pub trait Counter {
    /// Makes the call, and adds its costs to those of the path with this name.
    fn count(&mut self, path: &str, call: &mut dyn FnMut());
}

/// Calls each path in memory this often.
pub fn in_memory(counter: &mut dyn Counter, samples: usize) {
    manager::in_memory(counter, samples);
    http::requests(counter, samples);
    #[cfg(feature = "actix")]
    actix::requests(counter, samples);
}

#[cfg(feature = "stores")]
pub use stores::{Servers, on_servers, on_sqlite};
