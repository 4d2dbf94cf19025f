//! What needs a generator that is out of order, which only tests can have.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use kvolt_cache::{
    Access, AnyStore, Cursor, Entry, Expiry, Insert, Key, MemoryStore, NewEntry, Owner, Page,
    Rename, Renamed, Replace, Store, Version,
};
use pollster::block_on;

use crate::{Error, Manager, NewSession, Record, Rotated};

/// tower-sessions 180, 181, 188: an id that collides overwrites another's session.
#[test]
fn a_generator_that_repeats_itself_overwrites_no_session() {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let builder = Manager::builder(MemoryStore::<Record<&str>>::new()).random(|bytes| {
        // One, one, two, two, …
        bytes.fill(CALLS.fetch_add(1, Ordering::Relaxed) / 2);
        Ok(())
    });
    let manager = builder.build().unwrap();
    let ada = block_on(manager.create("ada")).unwrap();
    let bob = block_on(manager.create("bob")).unwrap();
    assert_eq!(block_on(manager.get(&ada)).unwrap().map(|session| *session.data()), Some("ada"));
    assert_eq!(block_on(manager.get(&bob)).unwrap().map(|session| *session.data()), Some("bob"));
    let Rotated::Token(bob) = block_on(manager.rotate(&bob)).unwrap() else {
        panic!("it was there")
    };
    assert_eq!(block_on(manager.get(&ada)).unwrap().map(|session| *session.data()), Some("ada"));
    assert_eq!(block_on(manager.get(&bob)).unwrap().map(|session| *session.data()), Some("bob"));
}

#[test]
fn a_generator_that_only_repeats_itself_is_an_error() {
    let builder = Manager::builder(MemoryStore::<Record<&str>>::new()).random(|bytes| {
        bytes.fill(7);
        Ok(())
    });
    let manager = builder.build().unwrap();
    let ada = block_on(manager.create("ada")).unwrap();
    for error in
        [block_on(manager.create("bob")).unwrap_err(), block_on(manager.rotate(&ada)).unwrap_err()]
    {
        assert!(error.is_misconfigured() && error.to_string().contains("repeats"), "{error}");
    }
    assert_eq!(block_on(manager.get(&ada)).unwrap().map(|session| *session.data()), Some("ada"));
}

/// RUSTSEC-2024-0343, fiber CVE-2025-66630: a generator that fails must not make weak ids.
#[test]
fn a_generator_that_fails_makes_no_session() {
    let store = MemoryStore::<Record<&str>>::new();
    let builder = Manager::builder(store.clone());
    let manager = builder.random(|_| Err(Error::no_randomness("out of order"))).build().unwrap();
    let error = block_on(manager.create("ada")).unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("random generator"), "{error}");
    assert!(store.is_empty());
}

/// Takes an owner's keys only in one of 1,024 parts, as a cluster does.
struct Parts(MemoryStore<Record<&'static str>>);

fn part(bytes: &[u8; 32]) -> u16 {
    u16::from_be_bytes([bytes[30], bytes[31]]) & 1_023
}

impl Store<Record<&'static str>> for Parts {
    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        owner.is_none_or(|owner| part(key.as_bytes()) == part(Key::of(owner.as_str()).as_bytes()))
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        part(from.as_bytes()) == part(to.as_bytes())
    }

    async fn get(
        &self,
        key: &Key,
        access: Access,
    ) -> kvolt_cache::Result<Option<Entry<Record<&'static str>>>> {
        self.0.get(key, access).await
    }

    async fn insert(
        &self,
        key: Key,
        entry: NewEntry<Record<&'static str>>,
    ) -> kvolt_cache::Result<Insert> {
        assert!(self.places(&key, entry.owner.as_ref()));
        self.0.insert(key, entry).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: Record<&'static str>,
        expiry: Option<Expiry>,
    ) -> kvolt_cache::Result<Replace<Record<&'static str>>> {
        self.0.replace(key, seen, value, expiry).await
    }

    async fn rename(
        &self,
        from: &Key,
        to: Key,
        rename: Rename<Record<&'static str>>,
    ) -> kvolt_cache::Result<Renamed> {
        assert!(self.reaches(from, &to));
        if let Some(owner) = &rename.owner {
            assert!(self.places(from, Some(owner)) && self.places(&to, Some(owner)));
        }
        self.0.rename(from, to, rename).await
    }

    async fn remove(&self, key: &Key) -> kvolt_cache::Result<bool> {
        self.0.remove(key).await
    }

    async fn list(&self, owner: &Owner) -> kvolt_cache::Result<Vec<Entry<Record<&'static str>>>> {
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
        entries_max: usize,
    ) -> kvolt_cache::Result<Page<Record<&'static str>>> {
        self.0.scan(after, entries_max).await
    }

    async fn clear(&self) -> kvolt_cache::Result<()> {
        self.0.clear().await
    }
}

#[test]
fn on_a_divided_store_an_owner_s_sessions_lie_in_the_owner_s_part() {
    let store = MemoryStore::new();
    let manager = Manager::new(AnyStore::new(Parts(store.clone())), Duration::from_secs(60));
    let ada = || NewSession::new("ada").owner("ada");
    let first = block_on(manager.create(ada())).unwrap();
    let Rotated::Token(first) = block_on(manager.rotate(&first)).unwrap() else {
        panic!("it was there")
    };
    let second = block_on(manager.login(Some(&first), ada())).unwrap();
    assert!(block_on(manager.get(&first)).unwrap().is_none());
    // One that nobody owned lies anywhere; it ends all the same when its client signs in.
    let visitor = block_on(manager.create("visitor")).unwrap();
    let Rotated::Token(visitor) = block_on(manager.rotate(&visitor)).unwrap() else {
        panic!("it was there")
    };
    let third = block_on(manager.login(Some(&visitor), ada())).unwrap();
    assert!(block_on(manager.get(&visitor)).unwrap().is_none());
    for token in [&second, &third] {
        assert_eq!(
            block_on(manager.get(token)).unwrap().map(|session| *session.data()),
            Some("ada")
        );
    }
    assert_eq!(block_on(manager.end_all(&Owner::from("ada"))).unwrap(), 2);
    assert!(store.is_empty());
}
