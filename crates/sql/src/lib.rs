#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_macros,
        unused_imports,
        reason = "without a database there is no store"
    )
)]

mod builder;
mod cleaner;
mod dialect;
mod failure;
mod insert;
mod lease;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod remove;
mod rename;
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod store;

pub use builder::{Builder, TABLE_DEFAULT, TIMEOUT_DEFAULT};
#[cfg(feature = "mysql")]
pub use mysql::{MySql, MySqlStore};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteStore, Synchronous};
pub use store::SqlStore;
