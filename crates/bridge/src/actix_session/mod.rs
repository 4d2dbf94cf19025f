//! The stores of actix-session 0.11.

mod cookie;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod state;

pub use cookie::ActixSessionCookies;
#[cfg(feature = "redis")]
pub use redis::ActixSessionRedis;
