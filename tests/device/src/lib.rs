#![doc = include_str!("../README.md")]

mod alternating;
pub mod browser;
mod check_all;
mod client;
mod device;
mod key;
pub mod protocol;
mod server;
mod suite;

pub use alternating::alternate;
pub use check_all::{Check, check_all};
pub use client::Client;
pub use device::{Device, Offer};
pub use key::DeviceKey;
pub use server::Server;
