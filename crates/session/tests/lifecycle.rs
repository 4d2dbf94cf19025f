//! The life of a session through the manager.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{
    AtLimit, Builder, Device, Manager, NewSession, Owner, OwnerLimit, Record, Rotated, SessionId,
    Token,
};
use kvolt_testkit::{Faults, FaultyStore};

const IDLE: Duration = Duration::from_secs(600);
const LIFETIME: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_millis(1);

struct World {
    time: ManualClock,
    store: MemoryStore<Record<String>>,
    faults: Faults,
    manager: Manager<String>,
}

fn world() -> World {
    world_with(|builder| builder)
}

fn world_with(settings: impl FnOnce(Builder<String>) -> Builder<String>) -> World {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (faulty, faults) = FaultyStore::new(store.clone());
    let builder = Manager::builder(faulty).idle_timeout(IDLE).lifetime(LIFETIME);
    let manager = settings(builder.clock(time.clock())).build().unwrap();
    World { time, store, faults, manager }
}

fn ada() -> NewSession<String> {
    NewSession::new(String::from("ada")).owner("ada")
}

impl World {
    async fn lives(&self, token: &Token) -> bool {
        self.manager.peek(token).await.unwrap().is_some()
    }
}

fn rotated(rotated: Rotated) -> Token {
    match rotated {
        Rotated::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_carries_what_it_was_made_with() {
    let world = world();
    let device = Device::new().with_user_agent("Firefox").with_address([127, 0, 0, 1].into());
    let token = world.manager.create(ada().device(device.clone())).await.unwrap();
    let made = world.time.clock().now();
    world.time.advance(TICK * 5);
    let session = world.manager.get(&token).await.unwrap().unwrap();
    assert_eq!(*session, "ada");
    assert_eq!((session.owner(), session.device()), (Some(&owner("ada")), &device));
    assert_eq!((session.created(), session.authenticated()), (made, Some(made)));
    assert_eq!(session.last_seen(), world.time.clock().now());
    assert_eq!(session.expires_at(), session.last_seen().saturating_add(IDLE));
    assert_eq!(session.ends_at(), made.saturating_add(LIFETIME));
    assert_eq!(session.id(), token.id());
    assert_eq!(session.id().to_string().parse(), Ok(session.id()));
    assert!(!format!("{session:?} {:?}", world.manager).contains("ada"), "data stays out of logs");
}

/// @fastify/session CVE-2024-35220, aiohttp-session CVE-2018-1000814.
#[tokio::test]
async fn it_ends_at_its_idle_timeout_and_not_a_tick_before() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE - TICK);
    assert!(world.lives(&token).await);
    world.time.advance(TICK);
    assert!(!world.lives(&token).await);
    assert!(world.manager.get(&token).await.unwrap().is_none());
    world.time.advance(TICK);
    assert!(!world.lives(&token).await);
    assert!(world.manager.list(&owner("ada")).await.unwrap().is_empty());
    assert_eq!(world.store.len(), 1, "and nobody has cleaned");
}

/// ASVS 7.3.2, NIST SP 800-63B-4 section 5.2.
#[tokio::test]
async fn nothing_extends_its_lifetime() {
    let world = world_with(|builder| builder.rotation_grace(Duration::from_secs(5)));
    let mut token = world.manager.create(ada()).await.unwrap();
    let step = Duration::from_secs(60);
    for _ in 0..59 {
        world.time.advance(step);
        let session = world.manager.get(&token).await.unwrap().unwrap();
        assert_eq!(session.ends_at(), session.created().saturating_add(LIFETIME));
        let _ = world.manager.update(&token, |name| name.push('!')).await.unwrap();
        token = rotated(world.manager.rotate(&token).await.unwrap());
    }
    world.time.advance(step - TICK);
    assert!(world.manager.get(&token).await.unwrap().is_some());
    world.time.advance(TICK);
    assert!(world.manager.get(&token).await.unwrap().is_none());
}

#[tokio::test]
async fn looking_does_not_keep_it_alive_and_last_seen_never_goes_back() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE / 2);
    let used = world.manager.get(&token).await.unwrap().unwrap().last_seen();
    world.time.advance(IDLE / 4);
    assert_eq!(world.manager.peek(&token).await.unwrap().unwrap().last_seen(), used);
    assert_eq!(world.manager.list(&owner("ada")).await.unwrap()[0].last_seen(), used);
    world.time.advance(IDLE * 3 / 4);
    assert!(!world.lives(&token).await);
}

#[tokio::test]
async fn unknown_ended_and_foreign_tokens_are_one_answer_and_an_outage_is_another() {
    let world = world();
    let admin = Manager::builder(world.store.clone()).kind("admin").build().unwrap();
    let foreign = admin.create(ada()).await.unwrap();
    let ended = world.manager.create(ada()).await.unwrap();
    assert!(world.manager.destroy(&ended).await.unwrap());
    let unknown = Token::parse("A".repeat(48)).unwrap();
    for token in [&foreign, &ended, &unknown] {
        assert!(world.manager.get(token).await.unwrap().is_none());
        assert!(world.manager.update(token, |_| panic!("no data")).await.unwrap().is_none());
        assert!(matches!(world.manager.rotate(token).await.unwrap(), Rotated::Absent));
        assert!(!world.manager.destroy(token).await.unwrap());
        assert_eq!(world.manager.end_others(token).await.unwrap(), 0);
    }
    assert!(admin.get(&foreign).await.unwrap().is_some(), "and nothing was done to it");

    world.faults.fail_all(true);
    for token in [&foreign, &ended, &unknown] {
        assert!(world.manager.get(token).await.unwrap_err().is_unavailable());
        assert!(world.manager.destroy(token).await.unwrap_err().is_unavailable());
        assert!(world.manager.rotate(token).await.unwrap_err().is_unavailable());
    }
    assert!(world.manager.create(ada()).await.unwrap_err().is_unavailable());
}

/// axum_session 0.22: a store that can't be read gives an empty session, then written over the real one.
#[tokio::test]
async fn an_outage_in_the_middle_of_an_update_harms_nothing() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    for at_once in [true, false] {
        world.faults.answers_at_once(at_once);
        world.faults.fail_all(true);
        let updated = world.manager.update(&token, |name| name.push('!')).await;
        assert!(updated.unwrap_err().is_unavailable());
        world.faults.fail_all(false);
        assert_eq!(*world.manager.get(&token).await.unwrap().unwrap(), "ada");
    }
}

/// saysion 0.2, async-session: rotation leaves the old id alive.
#[tokio::test]
async fn a_rotation_moves_everything_and_ends_the_old_token() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(TICK);
    let before = world.manager.get(&token).await.unwrap().unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(!world.lives(&token).await);
    let after = world.manager.peek(&successor).await.unwrap().unwrap();
    assert_ne!(after.id(), before.id());
    assert_eq!((after.data(), after.created()), (before.data(), before.created()));
    assert_eq!((after.expires_at(), after.ends_at()), (before.expires_at(), before.ends_at()));
    assert_eq!(world.manager.list(&owner("ada")).await.unwrap()[0].id(), after.id());
    assert!(matches!(world.manager.rotate(&token).await.unwrap(), Rotated::Absent));
}

#[tokio::test]
async fn in_its_grace_the_old_token_leads_to_the_one_successor_and_never_outlives_it() {
    let grace = Duration::from_secs(10);
    let world = world_with(|builder| builder.rotation_grace(grace));
    let token = world.manager.create(ada()).await.unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(matches!(world.manager.rotate(&token).await.unwrap(), Rotated::AlreadyRotated));
    let _ = world.manager.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(*world.manager.get(&successor).await.unwrap().unwrap(), "ada!");
    world.time.advance(grace - TICK);
    assert_eq!(world.manager.get(&token).await.unwrap().unwrap().id(), successor.id());
    world.time.advance(TICK);
    assert!(!world.lives(&token).await && world.lives(&successor).await);

    let next = rotated(world.manager.rotate(&successor).await.unwrap());
    assert_eq!(world.manager.end_all(&owner("ada")).await.unwrap(), 1);
    assert!(!world.lives(&successor).await && !world.lives(&next).await);

    let token = world.manager.create(ada()).await.unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(world.manager.destroy(&token).await.unwrap(), "a logout by the old token ends it");
    assert!(!world.lives(&token).await && !world.lives(&successor).await);
}

/// ASVS 7.2.4, Symfony CVE-2023-46733.
#[tokio::test]
async fn a_login_replaces_what_the_client_had() {
    let world = world();
    let visitor = world.manager.create(String::from("visitor")).await.unwrap();
    world.time.advance(IDLE / 2);
    let first = world.manager.login(Some(&visitor), ada()).await.unwrap();
    assert!(!world.lives(&visitor).await);
    let session = world.manager.peek(&first).await.unwrap().unwrap();
    assert_eq!((&**session, session.owner()), ("ada", Some(&owner("ada"))));
    assert_eq!(session.created(), world.time.clock().now());
    assert_eq!(session.ends_at(), session.created().saturating_add(LIFETIME));

    let bob = NewSession::new(String::from("bob")).owner("bob");
    let second = world.manager.login(Some(&first), bob).await.unwrap();
    assert!(!world.lives(&first).await);
    assert!(world.manager.list(&owner("ada")).await.unwrap().is_empty());
    assert_eq!(world.manager.list(&owner("bob")).await.unwrap().len(), 1);

    let third = world.manager.login(Some(&second), String::from("visitor")).await.unwrap();
    assert!(!world.lives(&second).await && world.lives(&third).await);
    assert!(world.manager.list(&owner("bob")).await.unwrap().is_empty());
    let unknown = Token::parse("A".repeat(48)).unwrap();
    let fourth = world.manager.login(Some(&unknown), ada()).await.unwrap();
    assert!(!world.lives(&unknown).await && world.lives(&fourth).await);
    assert_eq!(world.store.len(), 2);
}

/// ASVS 7.4.2, 7.5.2; Mattermost CVE-2024-4183.
#[tokio::test]
async fn an_owner_lists_and_ends_what_is_theirs_and_nothing_else() {
    let world = world();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(world.manager.create(ada()).await.unwrap());
        world.time.advance(TICK);
    }
    let bob = NewSession::new(String::from("bob")).owner("bob");
    let bob = world.manager.create(bob).await.unwrap();
    let ids: Vec<SessionId> = tokens.iter().map(|token| token.id()).collect();
    let ada = owner("ada");
    let listed = || async {
        let sessions = world.manager.list(&ada).await.unwrap();
        sessions.iter().map(kvolt_session::Session::id).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ids, "oldest first");
    assert!(!world.manager.end(&ada, bob.id()).await.unwrap());
    assert!(world.lives(&bob).await);
    assert!(world.manager.end(&ada, ids[1]).await.unwrap());
    assert!(!world.manager.end(&ada, ids[1]).await.unwrap());
    assert_eq!(listed().await, [ids[0], ids[2]]);
    assert_eq!(world.manager.end_others(&tokens[2]).await.unwrap(), 1);
    assert_eq!(listed().await, [ids[2]]);
    assert_eq!(world.manager.end_all(&ada).await.unwrap(), 1);
    assert!(listed().await.is_empty() && world.lives(&bob).await);
}

#[tokio::test]
async fn owners_of_different_kinds_are_different_owners() {
    let world = world();
    let admin = Manager::builder(world.store.clone()).kind("admin").build().unwrap();
    let token = admin.create(ada()).await.unwrap();
    let _ = world.manager.create(ada()).await.unwrap();
    let owner = owner("ada");
    assert_eq!(world.manager.list(&owner).await.unwrap().len(), 1);
    assert!(!world.manager.end(&owner, admin.id(&token)).await.unwrap());
    assert_eq!(world.manager.end_all(&owner).await.unwrap(), 1);
    assert!(admin.get(&token).await.unwrap().is_some());
    assert_eq!(admin.get(&token).await.unwrap().unwrap().owner(), Some(&owner));

    let impostor = owner("admin:ada");
    assert!(world.manager.list(&impostor).await.unwrap().is_empty());
    assert_eq!(world.manager.end_all(&impostor).await.unwrap(), 0);
    assert!(admin.get(&token).await.unwrap().is_some());
}

#[tokio::test]
async fn the_limit_of_sessions_refuses_or_ends_the_oldest() {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let limit = OwnerLimit::new(2, at_limit);
        let world = world_with(|builder| builder.owner_limit(limit));
        let first = world.manager.create(ada()).await.unwrap();
        let second = world.manager.create(ada()).await.unwrap();
        let third = world.manager.create(ada()).await;
        match at_limit {
            AtLimit::Refuse => {
                assert!(third.unwrap_err().is_limit_reached());
                assert!(world.lives(&first).await && world.lives(&second).await);
                let again = world.manager.login(Some(&first), ada()).await.unwrap();
                assert!(world.lives(&again).await, "one's own does not count");
            }
            AtLimit::RemoveOldest => {
                assert!(!world.lives(&first).await && world.lives(&second).await);
                assert!(world.lives(&third.unwrap()).await);
            }
        }
    }
}

#[tokio::test]
async fn the_owner_is_found_in_the_data_where_none_is_named() {
    let world = world_with(|builder| builder.owned_by(|name: &String| owner(&**name)));
    let _ = world.manager.create(String::from("ada")).await.unwrap();
    assert_eq!(world.manager.list(&owner("ada")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn reading_in_place_is_like_getting() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    for at_once in [true, false] {
        world.faults.answers_at_once(at_once);
        let read = |access| world.manager.read(&token, access, String::len);
        world.time.advance(IDLE / 2);
        assert_eq!(read(kvolt_session::Access::SLIDE).await.unwrap(), Some(3));
        world.time.advance(IDLE - TICK);
        assert_eq!(read(kvolt_session::Access::PEEK).await.unwrap(), Some(3));
        assert_eq!(read(kvolt_session::Access::SLIDE).await.unwrap(), Some(3));
    }
    world.time.advance(IDLE);
    assert_eq!(
        world.manager.read(&token, kvolt_session::Access::SLIDE, String::len).await.unwrap(),
        None
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let builder = || Manager::builder(MemoryStore::<Record<()>>::new());
    let limit = OwnerLimit::refuse(0);
    for (builder, expected) in [
        (builder().idle_timeout(Duration::ZERO), "must not be zero"),
        (builder().lifetime(Duration::ZERO), "must not be zero"),
        (builder().idle_timeout(Duration::from_secs(90_000)), "longer than the lifetime"),
        (builder().rotation_grace(Duration::from_secs(3_600)), "longer than the idle timeout"),
        (builder().owner_limit(limit), "allows no sign-in"),
        (builder().kind(&"k".repeat(65)), "longer than 64 bytes"),
        (builder().kind("a:b"), "has a colon"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains(expected), "{error}");
    }
}

/// ASVS 7.1.1: the documented defaults are the real ones.
#[tokio::test]
async fn the_defaults_are_what_is_documented() {
    let manager = Manager::builder(MemoryStore::<Record<()>>::new()).build().unwrap();
    assert_eq!(manager.idle_timeout(), Duration::from_secs(30 * 60));
    assert_eq!(manager.lifetime(), Duration::from_secs(12 * 60 * 60));
    let manager = Manager::new(MemoryStore::<Record<()>>::new(), Duration::from_secs(24 * 3_600));
    assert_eq!(
        (manager.idle_timeout(), manager.lifetime()),
        (Duration::from_secs(24 * 3_600), Duration::from_secs(24 * 3_600))
    );
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let manager: Manager<()> = Manager::builder(store).build().unwrap();
    let token = manager.create(()).await.unwrap();
    let session = manager.get(&token).await.unwrap().unwrap();
    assert_eq!(session.expires_at().since(time.clock().now()), Duration::from_secs(30 * 60));
    assert_eq!(session.ends_at().since(time.clock().now()), Duration::from_secs(12 * 3_600));
}
