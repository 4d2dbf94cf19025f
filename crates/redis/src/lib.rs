#![doc = include_str!("../README.md")]
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
