#![doc = include_str!("../README.md")]

mod account_routes;
mod application;
pub mod attacks;
mod browser;
mod client;
mod deployment;
mod jar;
mod recording_listener;
mod suite;
mod user;

pub use application::router;
pub use client::{Answer, Client};
pub use deployment::{Deployment, Server};
pub use jar::Jar;
pub use user::{User, guest, signed_in};
