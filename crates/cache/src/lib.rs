#![doc = include_str!("../README.md")]

mod any_store;
mod cache;
mod changes;
mod clock;
pub mod codec;
mod coded;
mod entry;
mod error;
mod key;
pub mod memory;
mod namespace;
#[cfg(feature = "near")]
pub mod near;
mod owner;
mod push;
mod store;
mod sync;

pub use any_store::AnyStore;
#[cfg(feature = "metrics")]
pub use any_store::STORE_SECONDS;
pub use cache::Cache;
pub use changes::{Changes, Notice, Watch};
pub use clock::{Clock, ManualClock, Timestamp};
pub use codec::Codec;
pub use coded::{Coded, VALUE_SIZE_MAX_DEFAULT};
pub use entry::{
    At, AtLimit, Cursor, Deadlines, Entry, EntryRef, Expiry, Freshness, Insert, Listing, NewEntry,
    OwnerLimit, Page, Remove, Replace, Replaces, Times, Use, Version,
};
pub use error::{Error, Result};
pub use key::{Key, ParseKeyError};
pub use memory::MemoryStore;
pub use namespace::Namespace;
#[cfg(feature = "near")]
pub use near::NearCache;
pub use owner::Owner;
pub use push::{Listener, Push};
pub use store::{OnExpired, Store};
