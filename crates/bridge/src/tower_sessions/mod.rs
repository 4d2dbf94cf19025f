//! The stores of tower-sessions 0.14.

mod message_pack;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::TowerSessionsPostgres;
#[cfg(feature = "redis")]
pub use redis::TowerSessionsRedis;
#[cfg(feature = "sqlite")]
pub use sqlite::TowerSessionsSqlite;
