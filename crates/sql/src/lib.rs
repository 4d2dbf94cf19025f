#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a database there is no store.
#![cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod builder;
mod change;
mod cleaner;
mod connections;
mod core;
mod dialect;
mod failure;
mod insert;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod remove;
mod row;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod store;
mod turns;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod url;

pub use builder::{DEFAULT_TIMEOUT, SqlStoreBuilder};
pub use dialect::Dialect;
#[cfg(feature = "mysql")]
pub use mysql::{MySql, MySqlStore};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteStore, Synchronous};
pub use store::SqlStore;
