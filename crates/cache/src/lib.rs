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
#[cfg(feature = "metrics")]
mod measured;
pub mod memory;
#[cfg(feature = "near")]
pub mod near;
mod owner;
mod push;
mod store;
mod sync;

pub use any_store::AnyStore;
pub use cache::Cache;
pub use changes::{Changes, Watch};
pub use clock::{Clock, ManualClock, Timestamp};
pub use codec::Codec;
pub use coded::{Coded, VALUE_SIZE_MAX_DEFAULT};
pub use entry::{
    Access, AtLimit, Cursor, Deadlines, Entry, EntryRef, Expiry, Insert, NewEntry, OwnerLimit,
    Page, Rename, Renamed, Replace, Version,
};
pub use error::{Error, Result};
pub use key::{Key, ParseKeyError};
#[cfg(feature = "metrics")]
pub use measured::{Measured, STORE_SECONDS};
pub use memory::MemoryStore;
#[cfg(feature = "near")]
pub use near::{NearCache, Watched};
pub use owner::Owner;
pub use push::{Listener, Push};
pub use store::{OnExpired, Store};
