#![doc = include_str!("../README.md")]

mod account;
mod application;
pub mod attacks;
mod client;
mod gated;
mod jar;
mod stage;
mod suite;
mod told;
mod user;

pub use application::router;
pub use client::{Answer, Client};
pub use gated::Collisions;
pub use jar::Jar;
pub use stage::{Server, Stage};
pub use user::{User, guest, signed_in};
