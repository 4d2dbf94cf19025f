#![doc = include_str!("../README.md")]
//!
//! [handover]: BridgeBuilder::handover
//! [`ends_with_old`]: BridgeBuilder::ends_with_old
#![cfg_attr(docsrs, feature(doc_cfg))]

mod actix_session;
mod bridge;
mod builder;
mod ending;
mod error;
mod marker;
mod old_cookie;
mod old_session;
mod old_sessions;
#[cfg(feature = "redis")]
mod redis;
mod sealed;
mod take_over;
mod tower_sessions;

pub use actix_session::ActixSessionCookies;
#[cfg(feature = "redis")]
pub use actix_session::ActixSessionRedis;
pub use bridge::Bridge;
pub use builder::BridgeBuilder;
pub use error::OldSessionError;
pub use old_cookie::OldCookie;
pub use old_session::OldSession;
pub use old_sessions::OldSessions;
#[cfg(feature = "postgres")]
pub use tower_sessions::TowerSessionsPostgres;
#[cfg(feature = "redis")]
pub use tower_sessions::TowerSessionsRedis;
#[cfg(feature = "sqlite")]
pub use tower_sessions::TowerSessionsSqlite;
