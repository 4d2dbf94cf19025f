#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod anonymous;
#[cfg(feature = "json")]
mod base64url;
mod binding;
mod csrf_token;
mod device;
mod device_binding;
mod error;
mod events;
mod flash;
#[cfg(feature = "json")]
mod json;
mod level;
mod manager;
mod new_session;
mod policy;
mod random;
mod record;
mod secret_digest;
mod session_id;
mod snapshot;
mod step_up;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod timeouts;
mod token;

pub use access::Access;
pub use anonymous::AnonymousSessions;
pub use binding::Binding;
pub use csrf_token::CsrfToken;
pub use device::{Detail, Device};
pub use device_binding::DeviceCookie;
pub use error::{Error, Result};
#[cfg(feature = "metrics")]
pub use events::metrics::describe_metrics;
pub use events::{Actor, EndReason, Event, EventKind, EventListener, RefusalReason};
pub use flash::Flash;
#[cfg(feature = "json")]
pub use json::RecordJson;
pub use level::Level;
#[cfg(feature = "device-bound")]
pub use manager::{DeviceAnswer, DeviceOutcome};
#[cfg(feature = "live")]
pub use manager::{LiveSession, UntilEnded};
pub use manager::{
    Manager, ManagerBuilder, Presented, Ready, RotateOutcome, SessionList, SessionPage, Unread,
};
pub use new_session::NewSession;
pub use policy::{TokenReuse, Undecodable};
pub use record::Record;
pub use session_id::{ParseSessionIdError, SessionId};
pub use snapshot::SessionSnapshot;
pub use step_up::StepUp;
pub use timeouts::Timeouts;
pub use token::Token;

pub use kvolt_cache::{AtLimit, Namespace, Owner, OwnerLimit, Timestamp};
