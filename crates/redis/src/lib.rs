#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod all;
mod builder;
mod check;
mod cluster;
mod connect;
mod errors;
mod header;
mod names;
mod node;
mod owners;
mod pass;
mod push;
mod reply;
mod scan;
mod script;
mod sentinel;
mod server;
mod server_time;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use builder::RedisStoreBuilder;
pub use store::RedisStore;
