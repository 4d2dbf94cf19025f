#![doc = include_str!("../README.md")]
//!
//! [`ChangeFeed`]: kvolt_cache::ChangeFeed
//! [`ca_file`]: RedisStoreBuilder::ca_file
//! [`client_certificate`]: RedisStoreBuilder::client_certificate
//! [`credentials`]: RedisStoreBuilder::credentials
//! [`credentials_from`]: RedisStoreBuilder::credentials_from
//! [`listen_url`]: RedisStoreBuilder::listen_url
//! [`place`]: kvolt_cache::Store::place
//! [`sentinel_credentials`]: RedisStoreBuilder::sentinel_credentials
//! [`slack`]: RedisStore::slack
//! [`slide_after`]: RedisStoreBuilder::slide_after
//! [`timeout`]: RedisStoreBuilder::timeout
//! [`wait_replicas(1, …)`]: RedisStoreBuilder::wait_replicas
//! [`wait_replicas`]: RedisStoreBuilder::wait_replicas
//! [`within`]: RedisStore::within
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arguments;
mod builder;
mod check;
mod clear;
mod concurrent;
mod connect;
mod entries;
mod errors;
mod header;
mod insert;
mod names;
mod node;
mod owners;
mod pass;
mod push;
mod reply;
mod scan;
mod script;
mod sentinel;
mod server_time;
mod servers;
mod slots;
mod snapshots;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use builder::RedisStoreBuilder;
pub use store::RedisStore;
