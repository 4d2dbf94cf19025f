#![doc = include_str!("../README.md")]

mod access;
mod anonymous;
mod binding;
mod by_owner;
mod changing;
mod csrf;
mod device;
mod error;
mod events;
mod flash;
mod id;
#[cfg(feature = "json")]
mod json;
mod level;
#[cfg(feature = "live")]
mod live;
mod manager;
mod policy;
mod reading;
mod record;
mod renewing;
mod session;
#[cfg(test)]
mod tests;
mod timeouts;
mod token;
mod turns;

pub use access::Access;
pub use anonymous::Anonymous;
pub use binding::Binding;
pub use by_owner::{Listing, Page};
pub use csrf::CsrfToken;
pub use device::Device;
pub use error::{Error, Result};
#[cfg(feature = "metrics")]
pub use events::metric::describe_metrics;
pub use events::{EndReason, Event, EventListener, RefusalReason, What};
pub use flash::Flash;
pub use id::{ParseSessionIdError, SessionId};
#[cfg(feature = "json")]
pub use json::RecordJson;
pub use level::{Level, StepUp};
#[cfg(feature = "live")]
pub use live::{Live, WhileLive};
pub use manager::Manager;
pub use policy::{
    Builder, IDLE_TIMEOUT_DEFAULT, LIFETIME_DEFAULT, LIVE_INTERVAL_DEFAULT, TokenReuse, Undecodable,
};
pub use reading::{Ready, Unread};
pub use record::{NewSession, Record};
pub use renewing::Rotated;
pub use session::Session;
pub use timeouts::Timeouts;
pub use token::Token;

pub use kvolt_cache::{AtLimit, Namespace, Owner, OwnerLimit, Timestamp};
