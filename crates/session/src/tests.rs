//! Tests that need a broken random generator or an unusual store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use kvolt_cache::{
    AfterRead, AnyStore, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Expiry,
    Freshness, InsertOutcome, Key, MemoryStore, Namespace, NewEntry, Owner, RemoveOutcome,
    ReplaceOutcome, Store, Target, Version,
};
use pollster::block_on;

use crate::random::Random;
use crate::{Error, Manager, ManagerBuilder, NewSession, Record, RotateOutcome, Token};

impl<T> ManagerBuilder<T> {
    fn random(mut self, random: Random) -> Self {
        self.policy.random = random;
        self
    }
}

fn data(manager: &Manager<&'static str>, token: &Token) -> Option<&'static str> {
    block_on(manager.get(token)).unwrap().map(|session| *session.data())
}

/// tower-sessions 180, 181, 188: an id that collides overwrites another's session.
#[test]
fn repeating_generator_overwrites_no_session() {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let builder = Manager::builder(MemoryStore::<Record<&str>>::new()).random(|bytes| {
        // Seed, id and secret: a session's are equal, and each is used by two sessions.
        bytes.fill(CALLS.fetch_add(1, Ordering::Relaxed) / 6);
        Ok(())
    });
    let manager = builder.build().unwrap();
    let ada = block_on(manager.create("ada")).unwrap();
    let bob = block_on(manager.create("bob")).unwrap();
    assert_ne!(ada.id(), bob.id());
    assert_eq!((data(&manager, &ada), data(&manager, &bob)), (Some("ada"), Some("bob")));
}

#[test]
fn generator_that_only_repeats_itself_is_an_error() {
    let builder = Manager::builder(MemoryStore::<Record<&str>>::new()).random(|bytes| {
        bytes.fill(7);
        Ok(())
    });
    let manager = builder.build().unwrap();
    let ada = block_on(manager.create("ada")).unwrap();
    let error = block_on(manager.create("bob")).unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("repeats"), "{error}");
    assert_eq!(data(&manager, &ada), Some("ada"));
}

/// RUSTSEC-2024-0343, fiber CVE-2025-66630: a generator that fails must not make weak ids.
#[test]
fn failing_generator_makes_no_session() {
    let store = MemoryStore::<Record<&str>>::new();
    let builder = Manager::builder(store.clone());
    let manager = builder.random(|_| Err(Error::no_randomness("out of order"))).build().unwrap();
    let error = block_on(manager.create("ada")).unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("random generator"), "{error}");
    assert!(store.is_empty());
}

/// A rotation makes a token before it changes anything.
#[test]
fn rotation_without_randomness_leaves_the_session_as_it_was() {
    static WORKS: AtomicU8 = AtomicU8::new(1);
    let builder = Manager::builder(MemoryStore::<Record<&str>>::new()).random(|bytes| match WORKS
        .load(Ordering::Relaxed)
    {
        1 => crate::random::system_random(bytes),
        _ => Err(Error::no_randomness("out of order")),
    });
    let manager = builder.build().unwrap();
    let ada = block_on(manager.create(NewSession::new("ada").owner("ada"))).unwrap();
    WORKS.store(0, Ordering::Relaxed);
    assert!(block_on(manager.rotate(&ada)).unwrap_err().is_unavailable());
    assert_eq!(data(&manager, &ada), Some("ada"));
    // A change of credentials fails closed.
    assert!(block_on(manager.change_credentials(&ada, None)).unwrap_err().is_unavailable());
    assert_eq!(data(&manager, &ada), None);
}

/// A store that keeps an owner's entries in one of 1,024 parts, as a cluster does.
struct Parts {
    store: MemoryStore<Record<&'static str>>,
    /// Whether an entry is removed while it is visited.
    vanishes: Arc<AtomicBool>,
}

fn part(owner: &Owner) -> [u8; 2] {
    let [.., a, b] = *Key::of(owner.as_str()).as_bytes();
    [a & 3, b]
}

impl Store<Record<&'static str>> for Parts {
    fn namespace(&self) -> &Namespace {
        self.store.namespace()
    }

    fn clock(&self) -> Clock {
        self.store.clock()
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        let mut bytes = *key.as_bytes();
        if let Some(owner) = owner {
            let [high, low] = part(owner);
            bytes[8] = bytes[8] & !3 | high;
            bytes[9] = low;
        }
        Key::from_bytes(bytes)
    }

    async fn get(
        &self,
        key: &Key,
        freshness: Freshness,
    ) -> kvolt_cache::Result<Option<Entry<Record<&'static str>>>> {
        self.store.get(key, freshness).await
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, Record<&'static str>>) -> AfterRead,
    ) -> Option<kvolt_cache::Result<bool>> {
        let shown = self.store.get_ready(key, freshness, visit)?;
        Some(shown.map(|shown| shown && !self.vanishes.load(Ordering::Relaxed)))
    }

    async fn touch(&self, at: Target<'_>) -> kvolt_cache::Result<Option<Deadlines>> {
        self.store.touch(at).await
    }

    async fn insert(
        &self,
        key: Key,
        entry: NewEntry<Record<&'static str>>,
    ) -> kvolt_cache::Result<InsertOutcome> {
        assert_eq!(self.place(key, entry.owner.as_ref()), key, "it is not where its owner is");
        self.store.insert(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Record<&'static str>,
        expiry: Option<Expiry>,
    ) -> kvolt_cache::Result<ReplaceOutcome<Record<&'static str>>> {
        self.store.replace(at, seen, value, expiry).await
    }

    async fn remove(
        &self,
        at: Target<'_>,
        seen: Option<Version>,
    ) -> kvolt_cache::Result<RemoveOutcome> {
        self.store.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> kvolt_cache::Result<EntryList<Record<&'static str>>> {
        self.store.list(owner).await
    }

    async fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> kvolt_cache::Result<Vec<Key>> {
        self.store.remove_owner(owner, keep).await
    }

    async fn scan(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> kvolt_cache::Result<EntryPage<Record<&'static str>>> {
        self.store.scan(after, max_entries).await
    }

    async fn clear(&self) -> kvolt_cache::Result<()> {
        self.store.clear().await
    }

    async fn count(&self) -> kvolt_cache::Result<u64> {
        self.store.count().await
    }
}

#[test]
fn owner_s_sessions_are_in_one_part() {
    let store = MemoryStore::new();
    let builder =
        Manager::builder(AnyStore::new(Parts { store: store.clone(), vanishes: Arc::default() }));
    let manager = builder.anonymous(crate::AnonymousSessions::new(1_000)).build().unwrap();
    let ada = || NewSession::new("ada").owner("ada");
    let first = block_on(manager.create(ada())).unwrap();
    let RotateOutcome::Token(first) = block_on(manager.rotate(&first)).unwrap() else {
        panic!("it was there")
    };
    let second = block_on(manager.login(Some(&first), ada())).unwrap();
    assert_eq!(data(&manager, &first), None);
    // Each group of visitors has a part of its own; a session without an owner may lie anywhere.
    for new in 0..100 {
        let visitor = block_on(manager.create_anonymous("visitor")).unwrap();
        let other = block_on(manager.create("other")).unwrap();
        if new == 0 {
            for old in [&visitor, &other] {
                let third = block_on(manager.login(Some(old), ada())).unwrap();
                assert_eq!((data(&manager, old), data(&manager, &third)), (None, Some("ada")));
            }
        }
    }
    assert_eq!(data(&manager, &second), Some("ada"));
    assert_eq!(block_on(manager.revoke_owner(&Owner::new("ada").unwrap())).unwrap(), 3);
    assert_eq!(store.len(), 99 * 2);
}

#[test]
fn entry_removed_while_visited_is_absent() {
    let (store, vanishes) = (MemoryStore::new(), Arc::<AtomicBool>::default());
    let parts = Parts { store, vanishes: Arc::clone(&vanishes) };
    let manager = Manager::new(AnyStore::new(parts));
    let token = block_on(manager.create(NewSession::new("ada").owner("ada"))).unwrap();
    let session = block_on(manager.peek(&token)).unwrap().unwrap();
    vanishes.store(true, Ordering::Relaxed);
    assert_eq!(data(&manager, &token), None);
    assert!(block_on(manager.find(token.id())).unwrap().is_none());
    assert!(block_on(manager.peek_session(&session, Freshness::Bounded)).unwrap().is_none());
    assert!(matches!(block_on(manager.rotate(&token)).unwrap(), RotateOutcome::Absent));
    assert!(!block_on(manager.logout(&token)).unwrap());
    assert!(!block_on(manager.revoke(token.id())).unwrap());
}
