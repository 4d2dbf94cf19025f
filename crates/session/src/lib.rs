#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
pub use anonymous::AnonymousSessions;
pub use binding::Binding;
pub use by_owner::{SessionList, SessionPage};
pub use csrf::CsrfToken;
pub use device::Device;
pub use error::{Error, Result};
#[cfg(feature = "metrics")]
pub use events::metric::describe_metrics;
pub use events::{EndReason, Event, EventKind, EventListener, RefusalReason};
pub use flash::Flash;
pub use id::{ParseSessionIdError, SessionId};
#[cfg(feature = "json")]
pub use json::RecordJson;
pub use level::{Level, StepUp};
#[cfg(feature = "live")]
pub use live::{LiveSession, UntilEnded};
pub use manager::Manager;
pub use policy::{
    DEFAULT_IDLE_TIMEOUT, DEFAULT_LIFETIME, DEFAULT_LIVE_INTERVAL, ManagerBuilder, TokenReuse,
    Undecodable,
};
pub use reading::{Ready, Unread};
pub use record::{NewSession, Record};
pub use renewing::RotateOutcome;
pub use session::SessionSnapshot;
pub use timeouts::Timeouts;
pub use token::Token;

pub use kvolt_cache::{AtLimit, Namespace, Owner, OwnerLimit, Timestamp};
