//! A store to which others may write, and tokens that others have made up.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "json")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::{
    Deadlines, Encoded, Entry, Expiry, Freshness, ManualClock, MemoryStore, NewEntry, Owner, Store,
    Target,
};
use kvolt_session::{AnonymousSessions, Manager, RecordJson, Token};
use serde::{Deserialize, Deserializer, Serialize};
use support::{Forgery, GRACE, IDLE, LIFETIME, TICK, ada, bob, forged, owner};

type Bytes = MemoryStore<Vec<u8>>;

struct World {
    time: ManualClock,
    store: Bytes,
    manager: Manager<String>,
}

fn world() -> World {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(Encoded::new(store.clone(), RecordJson::new()));
    let builder =
        builder.idle_timeout(IDLE).lifetime(LIFETIME).anonymous(AnonymousSessions::new(10));
    let manager = builder.build().unwrap();
    World { time, store, manager }
}

impl World {
    async fn entry(&self, token: &Token) -> Entry<Vec<u8>> {
        let key = token.id().key(self.manager.namespace());
        self.store.get(&key, Freshness::Strict).await.unwrap().unwrap()
    }

    /// Writes the record as it is, with other deadlines or another owner.
    async fn forge(&self, token: &Token, expiry: Expiry, owner: Option<Owner>) {
        let entry = self.entry(token).await;
        let _ = self.store.remove(Target::new(&entry.key), None).await.unwrap();
        let forged = NewEntry::new(entry.value, expiry).maybe_owner(owner);
        let _ = self.store.insert(entry.key, forged).await.unwrap();
    }
}

/// The absolute end is in the record too, which a store's writer can't change where it is
/// encrypted.
#[tokio::test]
async fn store_s_writer_makes_no_session_immortal() {
    let world = world();
    let (ada_s, bob_s) =
        (world.manager.create(ada()).await.unwrap(), world.manager.create(bob()).await.unwrap());
    let long = Expiry::idle_within(LIFETIME * 100, LIFETIME * 100);
    world.forge(&ada_s, long, Some(owner("ada"))).await;
    // The clocks of the store and of the manager may differ by a minute.
    let minute = Duration::from_secs(60);
    world.time.advance(LIFETIME + minute - TICK);
    assert!(world.manager.get(&ada_s).await.unwrap().is_some());
    assert!(world.manager.get(&bob_s).await.unwrap().is_none(), "as any other");
    world.time.advance(TICK);
    assert!(world.manager.get(&ada_s).await.unwrap().is_none());
    support::does_nothing(&world.manager, &ada_s, || panic!("it sees the data")).await;
    assert!(world.manager.find(ada_s.id()).await.unwrap().is_none());
    let listing = world.manager.list(&owner("ada")).await.unwrap();
    assert!(listing.sessions.is_empty() && listing.unreadable.is_empty());
    assert!(world.manager.list_all(None, 10).await.unwrap().listing.sessions.is_empty());
}

#[tokio::test]
async fn proof_moves_the_sealed_end_with_the_deadlines() {
    let world = world();
    let mut token = world.manager.create(ada()).await.unwrap();
    for _ in 0..10 {
        world.time.advance(IDLE - TICK);
        let proved = world.manager.reauthenticate(&token, kvolt_session::Level::One).await;
        token = support::rotated(proved.unwrap());
        let session = world.manager.get(&token).await.unwrap().unwrap();
        assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(LIFETIME));
    }
}

/// Moved into another owner's index, or out of its own, where revoking all would not find it.
#[tokio::test]
async fn misfiled_session_is_damaged() {
    for other in [Some("bob"), None] {
        let world = world();
        let token = world.manager.create(ada()).await.unwrap();
        let whole = world.manager.create(bob()).await.unwrap();
        world.forge(&token, Expiry::idle(IDLE), other.map(owner)).await;
        let before = world.entry(&token).await;
        for error in [
            world.manager.get(&token).await.unwrap_err(),
            world.manager.update(&token, |_| panic!("no data")).await.unwrap_err(),
            world.manager.rotate(&token).await.unwrap_err(),
            world.manager.logout(&token).await.unwrap_err(),
            world.manager.find(token.id()).await.unwrap_err(),
        ] {
            assert!(error.is_corrupt() && error.to_string().contains("owner"), "{error}");
            assert!(error.to_string().contains(&token.id().to_string()), "{error}");
        }
        let new = world.manager.login(Some(&token), ada()).await.unwrap();
        assert!(world.manager.get(&new).await.unwrap().is_some());
        let after = world.entry(&token).await;
        assert_eq!((after.version, after.deadlines), (before.version, before.deadlines));

        let page = world.manager.list_all(None, 10).await.unwrap();
        assert_eq!((page.listing.sessions.len(), page.listing.unreadable), (2, vec![token.id()]));
        assert!(!world.manager.revoke_owned(&owner("ada"), token.id()).await.unwrap());
        let ended = match other {
            Some(other) => {
                let listing = world.manager.list(&owner(other)).await.unwrap();
                assert_eq!(listing.sessions[0].id(), whole.id(), "what it hides is shown");
                assert_eq!(listing.unreadable, [token.id()]);
                world.manager.revoke_owned(&owner(other), token.id()).await.unwrap()
            }
            None => world.manager.revoke(token.id()).await.unwrap(),
        };
        assert!(ended);
        assert_eq!(world.store.len(), 2);
    }
}

#[tokio::test]
async fn session_without_an_owner_is_given_none() {
    let world = world();
    let visitor = world.manager.create_anonymous(String::from("basket")).await.unwrap();
    assert!(world.manager.get(&visitor).await.unwrap().is_some(), "its group is no owner");
    world.forge(&visitor, Expiry::idle(IDLE), Some(owner("ada"))).await;
    assert!(world.manager.get(&visitor).await.unwrap_err().is_corrupt());
    let listing = world.manager.list(&owner("ada")).await.unwrap();
    assert_eq!((listing.sessions.len(), listing.unreadable), (0, vec![visitor.id()]));
}

static DECODED: AtomicUsize = AtomicUsize::new(0);

/// Data that counts how often it is decoded.
#[derive(Clone, Serialize)]
struct Counted(String);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        String::deserialize(from).map(Self)
    }
}

/// A client that knows the id could make the server decode, and an application's types run, for
/// some bytes a request.
#[tokio::test]
async fn unverified_token_decodes_no_data() {
    let store = Bytes::new();
    let builder = Manager::builder(Encoded::new(store.clone(), RecordJson::<Counted>::new()));
    let manager = builder.rotation_grace(GRACE).build().unwrap();
    let [token, other] = [
        manager.create(Counted(String::from("ada"))).await.unwrap(),
        manager.create(Counted(String::from("bob"))).await.unwrap(),
    ];
    let written = DECODED.load(Ordering::SeqCst);
    for forgery in Forgery::ALL {
        let junk = forged(forgery, &token, &other);
        support::does_nothing(&manager, &junk, || panic!("it sees the data")).await;
    }
    assert_eq!(DECODED.load(Ordering::SeqCst), written);
    assert!(manager.logout(&other).await.unwrap(), "nor to sign out");
    assert_eq!(DECODED.load(Ordering::SeqCst), written);
    assert!(manager.get(&token).await.unwrap().is_some());
    assert_eq!(DECODED.load(Ordering::SeqCst), written + 1, "once");
}

/// The deadlines of an entry that was never used.
#[tokio::test]
async fn wrong_secret_moves_no_deadline() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    let other = world.manager.create(bob()).await.unwrap();
    let (before, all): (Deadlines, usize) =
        (world.entry(&token).await.deadlines, world.store.len());
    world.time.advance(IDLE / 2);
    for forgery in Forgery::ALL {
        let junk = forged(forgery, &token, &other);
        support::does_nothing(&world.manager, &junk, || panic!("it sees the data")).await;
        let own = world.manager.login(Some(&junk), bob()).await.unwrap();
        assert!(world.manager.logout(&own).await.unwrap());
    }
    assert_eq!((world.entry(&token).await.deadlines, world.store.len()), (before, all));
}
