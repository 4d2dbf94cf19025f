//! Options and outcomes of a read.

/// How old the answer to a read may be.
///
/// ```
/// use kvolt_cache::{Freshness, Key, MemoryStore, Store};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::<String>::new();
/// let entry = store.get(&Key::of("missing"), Freshness::Strict).await?;
/// assert!(entry.is_none());
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Freshness {
    /// A near cache may answer from a copy that is no older than its bound. Without a near cache,
    /// the store answers.
    #[default]
    Bounded,
    /// The store answers a question that was asked after the call began. For a decision that must
    /// not rest on an older answer.
    Strict,
}

/// The reaction of a visitor to the entry that it was shown: see
/// [`Store::get_ready`](crate::Store::get_ready).
///
/// ```
/// use kvolt_cache::{AfterRead, Key, MemoryStore};
///
/// let store = MemoryStore::<String>::new();
/// let length = store.read(&Key::of("missing"), |entry| (AfterRead::Slide, entry.value.len()));
/// assert_eq!(length, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum AfterRead {
    /// The entry keeps its deadline.
    Keep,
    /// The entry was used: its idle time starts again, if the store can do that in place.
    Slide,
}
