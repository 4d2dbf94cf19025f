#![doc = include_str!("../README.md")]
//!
//! [`AtCapacity`]: memory::AtCapacity
#![cfg_attr(docsrs, feature(doc_cfg))]

mod any_store;
mod cache;
mod change_feed;
mod changes;
mod clock;
pub mod codec;
mod credentials;
mod encoded;
mod entry;
mod entry_list;
mod error;
mod expiry;
mod key;
pub mod memory;
mod namespace;
#[cfg(feature = "near")]
pub mod near;
mod new_entry;
mod outcome;
mod owner;
mod owner_limit;
mod read;
mod store;
mod sync;
mod target;
#[cfg(feature = "testing")]
pub mod testing;

pub use any_store::AnyStore;
#[cfg(feature = "metrics")]
pub use any_store::STORE_SECONDS;
pub use cache::Cache;
pub use change_feed::{ChangeFeed, ChangeObserver};
pub use changes::{Changes, Notice, Watch};
pub use clock::{Clock, ManualClock, Timestamp};
pub use codec::Codec;
pub use credentials::{Credentials, CredentialsProvider};
pub use encoded::{DEFAULT_MAX_VALUE_SIZE, Encoded};
pub use entry::{Entry, EntryRef, Version};
pub use entry_list::{Cursor, EntryList, EntryPage};
pub use error::{Error, Result};
pub use expiry::{Deadlines, Expiry};
pub use key::Key;
pub use memory::{MemoryStore, MemoryStoreBuilder};
pub use namespace::Namespace;
#[cfg(feature = "near")]
pub use near::{NearCache, NearCacheBuilder};
pub use new_entry::{EntryTimes, NewEntry, Predecessor};
pub use outcome::{InsertOutcome, RemoveOutcome, ReplaceOutcome};
pub use owner::Owner;
pub use owner_limit::{AtLimit, OwnerLimit};
pub use read::{AfterRead, Freshness};
pub use store::{OnExpired, Store};
pub use target::Target;
