#![doc = include_str!("../README.md")]
//!
//! [`ChangeFeed`]: kvolt_cache::ChangeFeed
//! [`clean_every`]: SqlStoreBuilder::clean_every
//! [`max_cleaned_rows`]: SqlStoreBuilder::max_cleaned_rows
//! [`max_connections`]: SqlStoreBuilder::max_connections
//! [`migrate`]: SqlStoreBuilder::migrate
//! [`migrations`]: SqlStore::migrations
//! [`on_expired`]: kvolt_cache::Store::on_expired
//! [`slide_after`]: SqlStoreBuilder::slide_after
//! [`timeout`]: SqlStoreBuilder::timeout
//! [`within("shop_admin")`]: SqlStore::within
//! [namespace]: kvolt_cache::Namespace
//! [the laws]: kvolt_cache::Store#the-laws
//! [times]: kvolt_cache::EntryTimes
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a database there is no store.
#![cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod builder;
mod change;
mod cleaner;
mod connections;
mod core;
mod dialect;
mod existing_pool;
mod failure;
mod insert;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod own_connections;
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
