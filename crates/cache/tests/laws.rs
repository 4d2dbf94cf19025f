//! The laws of the contract on the store in memory.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(not(kvolt_shuttle))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    AnyStore, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Expiry, Freshness,
    InsertOutcome, Key, ManualClock, MemoryStore, Namespace, NewEntry, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target, Version,
};
use kvolt_testkit::{FaultyStore, Fixture, check_ops, ops_from_bytes};
use proptest::prelude::*;

/// A clock that is moved, and no cleaning: expiry must not need it.
#[derive(Clone)]
struct Memory(ManualClock);

impl Fixture for Memory {
    type Store = MemoryStore<String>;

    async fn store(&self) -> Self::Store {
        MemoryStore::builder().clock(self.0.clock()).build()
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    async fn clean(&self, store: &Self::Store) {
        store.clean();
    }
}

mod memory {
    use super::*;

    kvolt_testkit::conformance_suite!(Memory(ManualClock::new()));
}

/// The same store behind the erased form, on its asynchronous path.
#[derive(Clone, Default)]
struct Erased {
    time: ManualClock,
    stores: Arc<Mutex<Vec<MemoryStore<String>>>>,
}

impl Fixture for Erased {
    type Store = AnyStore<String>;

    async fn store(&self) -> Self::Store {
        let store = MemoryStore::builder().clock(self.time.clock()).build();
        self.stores.lock().unwrap().push(store.clone());
        let (store, faults) = FaultyStore::new(store);
        faults.answers_at_once(false);
        AnyStore::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    async fn clean(&self, _: &Self::Store) {
        self.stores.lock().unwrap().iter().for_each(MemoryStore::clean);
    }

    fn rounds(&self) -> usize {
        25
    }
}

mod erased {
    use super::*;

    kvolt_testkit::conformance_suite!(Erased::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_matches_the_model(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let checked = pollster::block_on(check_ops(&store, &time, &ops_from_bytes(&bytes)));
        prop_assert!(checked.is_ok(), "{}\n{:#?}", checked.unwrap_err(), ops_from_bytes(&bytes));
    }

    #[test]
    fn cleaning_changes_no_answer(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        steps in 1usize..20,
    ) {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let ops = ops_from_bytes(&bytes);
        let cleaned = Cleaned { store, every: steps, calls: AtomicUsize::new(0) };
        let checked = pollster::block_on(check_ops(&cleaned, &time, &ops));
        prop_assert!(checked.is_ok(), "{}\n{:#?}", checked.unwrap_err(), ops_from_bytes(&bytes));
    }
}

/// Cleans before every so many calls.
struct Cleaned {
    store: MemoryStore<String>,
    every: usize,
    calls: AtomicUsize,
}

impl Cleaned {
    fn store(&self) -> &MemoryStore<String> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call.is_multiple_of(self.every) {
            self.store.clean();
        }
        &self.store
    }
}

impl Store<String> for Cleaned {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }
    fn clock(&self) -> Clock {
        self.store.clock()
    }
    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<String>>> {
        self.store().get(key, freshness).await
    }
    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.store().touch(at).await
    }
    async fn insert(&self, key: Key, entry: NewEntry<String>) -> Result<InsertOutcome> {
        self.store().insert(key, entry).await
    }
    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: String,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<String>> {
        self.store().replace(at, seen, value, expiry).await
    }
    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.store().remove(at, seen).await
    }
    async fn list(&self, owner: &Owner) -> Result<EntryList<String>> {
        self.store().list(owner).await
    }
    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.store().remove_owner(owner, keep).await
    }
    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<String>> {
        self.store().scan(after, max_entries).await
    }
    async fn clear(&self) -> Result<()> {
        self.store().clear().await
    }
    async fn count(&self) -> Result<u64> {
        self.store().count().await
    }
}

/// Values encrypted with the key of their entry, in a store of bytes.
#[cfg(all(feature = "json", feature = "encrypt"))]
mod encoded {
    use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
    use kvolt_cache::{Encoded, MemoryStore};

    use super::*;

    #[derive(Clone)]
    struct Sealed(ManualClock);

    impl Fixture for Sealed {
        type Store = Encoded<String, MemoryStore<Vec<u8>>, Encrypted<Json>>;

        async fn store(&self) -> Self::Store {
            let keys = EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32]));
            let store = MemoryStore::builder().clock(self.0.clock()).build();
            Encoded::new(store, Encrypted::new(Json, keys))
        }

        async fn advance(&self, by: Duration) {
            self.0.advance(by);
        }

        async fn clean(&self, store: &Self::Store) {
            store.store().clean();
        }

        async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
            let bytes = store.store();
            let Some(entry) = bytes.get(key, Freshness::Strict).await.unwrap() else {
                return false;
            };
            let damaged = bytes.replace(key.into(), entry.version, b"damaged".to_vec(), None);
            matches!(damaged.await.unwrap(), ReplaceOutcome::Replaced(_))
        }

        fn rounds(&self) -> usize {
            50
        }
    }

    kvolt_testkit::conformance_suite!(Sealed(ManualClock::new()));
}
