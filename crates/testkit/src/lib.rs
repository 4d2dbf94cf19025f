#![doc = include_str!("../README.md")]
//!
//! [`check_laws`]: conformance::check_laws
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
pub mod conformance;
#[cfg(feature = "device")]
pub mod device;
#[cfg(feature = "http")]
pub mod http;
mod model;
mod model_store;
mod op;
mod pushing;

pub use check::{Divergence, check_ops};
pub use conformance::Fixture;
pub use kvolt_cache::ManualClock;
pub use kvolt_cache::testing::{Call, Failure, Faults, FaultyStore};
pub use model::Model;
pub use model_store::ModelStore;
pub use op::{Op, Seen, ops_from_bytes};
pub use pushing::{Pushes, PushingStore};
