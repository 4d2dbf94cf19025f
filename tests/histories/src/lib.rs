//! Histories of concurrent operations on session stores under fault injection, and a
//! checker for KVolt's promises.
//!
//! [`record`] runs many clients on a few sessions of a few owners, so that they conflict,
//! while a [`FaultInjector`] kills, pauses and disconnects the servers.
//! [`check`](checker::check) then checks the [`History`].

pub mod checker;
mod clients;
mod fault_injector;
pub mod history;
mod ledger;
mod origin;
mod process;
mod random;
mod recorder;
pub mod stores;
mod summary;
mod workload;

pub use fault_injector::{Fault, FaultInjector, Schedule};
pub use history::History;
pub use ledger::Ledger;
pub use origin::Origin;
pub use process::Process;
pub use random::Random;
pub use recorder::{Plan, Recording, record};
pub use summary::Summary;
