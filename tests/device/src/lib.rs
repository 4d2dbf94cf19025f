#![doc = include_str!("../README.md")]

pub mod browser;
mod client;
mod device;
mod fixture;
mod found;
mod key;
pub mod protocol;
mod server;
mod suite;

pub use client::Client;
pub use device::{Device, Offer};
pub use fixture::{Fault, Fixture};
pub use found::assert_found;
pub use key::DeviceKey;
pub use server::Server;
