#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod any_store;
mod cache;
mod change_feed;
mod changes;
mod clock;
pub mod codec;
mod encoded;
mod entry;
mod error;
mod key;
pub mod memory;
mod namespace;
#[cfg(feature = "near")]
pub mod near;
mod owner;
mod store;
mod sync;

pub use any_store::AnyStore;
#[cfg(feature = "metrics")]
pub use any_store::STORE_SECONDS;
pub use cache::Cache;
pub use change_feed::{ChangeFeed, ChangeObserver};
pub use changes::{Changes, Notice, Watch};
pub use clock::{Clock, ManualClock, Timestamp};
pub use codec::Codec;
pub use encoded::{DEFAULT_MAX_VALUE_SIZE, Encoded};
pub use entry::{
    AfterRead, AtLimit, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, EntryTimes,
    Expiry, Freshness, InsertOutcome, NewEntry, OwnerLimit, Predecessor, RemoveOutcome,
    ReplaceOutcome, Target, Version,
};
pub use error::{Error, Result};
pub use key::Key;
pub use memory::{MemoryStore, MemoryStoreBuilder};
pub use namespace::Namespace;
#[cfg(feature = "near")]
pub use near::{NearCache, NearCacheBuilder};
pub use owner::Owner;
pub use store::{OnExpired, Store};
