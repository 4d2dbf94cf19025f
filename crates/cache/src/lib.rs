#![doc = include_str!("../README.md")]

mod any_store;
mod cache;
mod clock;
mod entry;
mod error;
mod key;
pub mod memory;
mod owner;
mod store;

pub use any_store::AnyStore;
pub use cache::Cache;
pub use clock::{Clock, ManualClock, Timestamp};
pub use entry::{
    Access, AtLimit, Cursor, Deadlines, Entry, EntryRef, Expiry, Insert, NewEntry, OwnerLimit,
    Page, Rename, Renamed, Replace, Version,
};
pub use error::{Error, Result};
pub use key::{Key, ParseKeyError};
pub use memory::MemoryStore;
pub use owner::Owner;
pub use store::Store;
