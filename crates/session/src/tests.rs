//! Tests that need a generator which is out of order, or a store with parts.

use std::sync::atomic::{AtomicU8, Ordering};

use kvolt_cache::{
    AnyStore, Cursor, Deadlines, Entry, EntryList, EntryPage, Expiry, Freshness, InsertOutcome,
    Key, MemoryStore, Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome, Store, Target,
    Version,
};
use pollster::block_on;

use crate::{Error, Manager, NewSession, Record, RotateOutcome, Token};

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
struct Parts(MemoryStore<Record<&'static str>>);

fn part(owner: &Owner) -> [u8; 2] {
    let [.., a, b] = *Key::of(owner.as_str()).as_bytes();
    [a & 3, b]
}

impl Store<Record<&'static str>> for Parts {
    fn namespace(&self) -> &Namespace {
        self.0.namespace()
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
        self.0.get(key, freshness).await
    }

    async fn touch(&self, at: Target<'_>) -> kvolt_cache::Result<Option<Deadlines>> {
        self.0.touch(at).await
    }

    async fn insert(
        &self,
        key: Key,
        entry: NewEntry<Record<&'static str>>,
    ) -> kvolt_cache::Result<InsertOutcome> {
        assert_eq!(self.place(key, entry.owner.as_ref()), key, "it is not where its owner is");
        self.0.insert(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Record<&'static str>,
        expiry: Option<Expiry>,
    ) -> kvolt_cache::Result<ReplaceOutcome<Record<&'static str>>> {
        self.0.replace(at, seen, value, expiry).await
    }

    async fn remove(
        &self,
        at: Target<'_>,
        seen: Option<Version>,
    ) -> kvolt_cache::Result<RemoveOutcome> {
        self.0.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> kvolt_cache::Result<EntryList<Record<&'static str>>> {
        self.0.list(owner).await
    }

    async fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> kvolt_cache::Result<Vec<Key>> {
        self.0.remove_owner(owner, keep).await
    }

    async fn scan(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> kvolt_cache::Result<EntryPage<Record<&'static str>>> {
        self.0.scan(after, max_entries).await
    }

    async fn clear(&self) -> kvolt_cache::Result<()> {
        self.0.clear().await
    }
}

#[test]
fn sessions_of_an_owner_lie_in_the_owner_s_part() {
    let store = MemoryStore::new();
    let builder = Manager::builder(AnyStore::new(Parts(store.clone())));
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
