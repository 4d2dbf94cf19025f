#![doc = include_str!("../README.md")]

mod by_owner;
mod device;
mod error;
mod events;
mod id;
#[cfg(feature = "json")]
mod json;
mod manager;
mod policy;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod token;

pub use device::Device;
pub use error::{Error, Result};
pub use id::{ParseSessionIdError, SessionId};
#[cfg(feature = "json")]
pub use json::RecordJson;
pub use manager::{Manager, Rotated};
pub use policy::{Builder, IDLE_TIMEOUT_DEFAULT, LIFETIME_DEFAULT, Undecodable};
pub use record::{NewSession, Record};
pub use session::Session;
pub use token::Token;

pub use kvolt_cache::{Access, AtLimit, Owner, OwnerLimit, Timestamp};
