#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bridge;
mod builder;
mod crossing;
mod error;
mod marker;
mod old_cookie;
mod old_session;
mod old_sessions;
mod sealed;
mod take_over;

pub use bridge::Bridge;
pub use builder::BridgeBuilder;
pub use error::OldSessionError;
pub use old_cookie::OldCookie;
pub use old_session::OldSession;
pub use old_sessions::OldSessions;
