//! Hashing of keys: they are uniformly distributed, so their own bytes are the hash.

use std::hash::{BuildHasher, Hash, Hasher};

use papaya::Equivalent;

use crate::Key;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OwnHash;

impl BuildHasher for OwnHash {
    type Hasher = OwnHasher;

    fn build_hasher(&self) -> OwnHasher {
        OwnHasher(0)
    }
}

pub(super) struct OwnHasher(u64);

impl Hasher for OwnHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Keys and prefixes write one `u64`.
        self.0 = bytes.first_chunk().map_or(0, |prefix| u64::from_ne_bytes(*prefix));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The first eight bytes of a key, to find the entry by.
///
/// If two keys share a prefix, one of them may never be found by it. With a million keys that
/// happens once in 36 million stores, and costs the memory of one entry: only cleaning and eviction
/// use prefixes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix(pub(super) u64);

impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Equivalent<Key> for Prefix {
    fn equivalent(&self, key: &Key) -> bool {
        key.prefix() == self.0
    }
}
