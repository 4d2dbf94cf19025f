//! Histories of concurrent operations on session stores while their servers are
//! hurt, and a checker that says whether the promises of KVolt held.
//!
//! [`record`] lets many clients work on a few sessions of a few owners, so that
//! they collide, while a [`Disturber`] kills, pauses and cuts off the servers;
//! [`check`](checker::check) reads the [`History`] of it.

pub mod checker;
mod clients;
mod disturb;
pub mod history;
mod ledger;
mod moment;
mod process;
mod random;
mod recorder;
pub mod stores;
mod summary;
mod world;

pub use disturb::{Disturber, Hurt, Rhythm};
pub use history::History;
pub use ledger::Ledger;
pub use moment::Origin;
pub use process::Process;
pub use random::Random;
pub use recorder::{Plan, Recording, record};
pub use summary::Summary;
