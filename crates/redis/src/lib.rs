#![doc = include_str!("../README.md")]

mod builder;
mod check;
mod clear;
mod cluster;
mod connect;
mod count;
mod errors;
mod expired;
mod names;
mod node;
mod owners;
mod push;
mod rename;
mod reply;
mod scan;
mod script;
mod sentinel;
mod server;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use builder::RedisStoreBuilder;
pub use store::RedisStore;
