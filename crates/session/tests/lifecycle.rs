//! The life of a session through the manager.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{
    AtLimit, Device, Manager, NewSession, OwnerLimit, Record, RotateOutcome, SessionId, Timeouts,
    Token,
};
use support::{IDLE, LIFETIME, TICK, ada, owner, rotated, world, world_with};

#[tokio::test]
async fn session_has_what_it_was_made_with() {
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
async fn session_ends_exactly_at_its_idle_timeout() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE - TICK);
    assert!(world.lives(&token).await);
    world.time.advance(TICK);
    assert!(!world.lives(&token).await);
    assert!(world.manager.get(&token).await.unwrap().is_none());
    world.time.advance(TICK);
    assert!(!world.lives(&token).await);
    assert!(world.manager.list(&owner("ada")).await.unwrap().sessions.is_empty());
    assert_eq!(world.store.len(), 1, "and nobody has cleaned");
}

/// ASVS 7.3.2, NIST SP 800-63B-4 section 5.2.
#[tokio::test]
async fn nothing_extends_the_lifetime() {
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
async fn peeking_does_not_keep_a_session_alive() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE / 2);
    let used = world.manager.get(&token).await.unwrap().unwrap().last_seen();
    world.time.advance(IDLE / 4);
    assert_eq!(world.manager.peek(&token).await.unwrap().unwrap().last_seen(), used);
    assert_eq!(world.manager.list(&owner("ada")).await.unwrap().sessions[0].last_seen(), used);
    world.time.advance(IDLE * 3 / 4);
    assert!(!world.lives(&token).await);
}

#[tokio::test]
async fn unknown_token_and_outage_are_told_apart() {
    let world = world();
    // Of another namespace: in memory that is another store.
    let admin = support::world().manager;
    let foreign = admin.create(ada()).await.unwrap();
    let ended = world.manager.create(ada()).await.unwrap();
    assert!(world.manager.logout(&ended).await.unwrap());
    let unknown = Token::parse("A".repeat(48)).unwrap();
    for token in [&foreign, &ended, &unknown] {
        assert!(world.manager.get(token).await.unwrap().is_none());
        assert!(world.manager.update(token, |_| panic!("no data")).await.unwrap().is_none());
        assert!(matches!(world.manager.rotate(token).await.unwrap(), RotateOutcome::Absent));
        assert!(!world.manager.logout(token).await.unwrap());
        assert_eq!(world.manager.revoke_others(token).await.unwrap(), 0);
    }
    assert!(admin.get(&foreign).await.unwrap().is_some(), "and nothing was done to it");

    world.faults.fail_all(true);
    for token in [&foreign, &ended, &unknown] {
        assert!(world.manager.get(token).await.unwrap_err().is_unavailable());
        assert!(world.manager.logout(token).await.unwrap_err().is_unavailable());
        assert!(world.manager.rotate(token).await.unwrap_err().is_unavailable());
    }
    assert!(world.manager.create(ada()).await.unwrap_err().is_unavailable());
}

/// axum_session 0.22: a store that can't be read gives an empty session, then written over the real one.
#[tokio::test]
async fn outage_during_an_update_harms_nothing() {
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
async fn rotation_keeps_everything_but_the_token() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(TICK);
    let before = world.manager.get(&token).await.unwrap().unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(!world.lives(&token).await);
    let after = world.manager.peek(&successor).await.unwrap().unwrap();
    assert_eq!(after.id(), before.id(), "the public id stays");
    assert_eq!((after.data(), after.created()), (before.data(), before.created()));
    assert_eq!((after.expires_at(), after.ends_at()), (before.expires_at(), before.ends_at()));
    assert_eq!(world.of("ada").await, 1);
    assert!(matches!(world.manager.rotate(&token).await.unwrap(), RotateOutcome::Absent));
}

#[tokio::test]
async fn grace_never_outlives_the_session() {
    let grace = Duration::from_secs(10);
    let world = world_with(|builder| builder.rotation_grace(grace));
    let token = world.manager.create(ada()).await.unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(matches!(world.manager.rotate(&token).await.unwrap(), RotateOutcome::AlreadyRotated));
    let _ = world.manager.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(*world.manager.get(&successor).await.unwrap().unwrap(), "ada!");
    world.time.advance(grace - TICK);
    assert_eq!(world.manager.get(&token).await.unwrap().unwrap().id(), successor.id());
    world.time.advance(TICK);
    assert!(!world.lives(&token).await && world.lives(&successor).await);

    let next = rotated(world.manager.rotate(&successor).await.unwrap());
    assert_eq!(world.manager.revoke_owner(&owner("ada")).await.unwrap(), 1);
    assert!(!world.lives(&successor).await && !world.lives(&next).await);

    let token = world.manager.create(ada()).await.unwrap();
    let successor = rotated(world.manager.rotate(&token).await.unwrap());
    assert!(world.manager.logout(&token).await.unwrap(), "a logout by the old token ends it");
    assert!(!world.lives(&token).await && !world.lives(&successor).await);
}

/// ASVS 7.2.4, Symfony CVE-2023-46733.
#[tokio::test]
async fn login_replaces_the_client_s_session() {
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
    assert!(world.manager.list(&owner("ada")).await.unwrap().sessions.is_empty());
    assert_eq!(world.manager.list(&owner("bob")).await.unwrap().sessions.len(), 1);

    let third = world.manager.login(Some(&second), String::from("visitor")).await.unwrap();
    assert!(!world.lives(&second).await && world.lives(&third).await);
    assert!(world.manager.list(&owner("bob")).await.unwrap().sessions.is_empty());
    let unknown = Token::parse("A".repeat(48)).unwrap();
    let fourth = world.manager.login(Some(&unknown), ada()).await.unwrap();
    assert!(!world.lives(&unknown).await && world.lives(&fourth).await);
    assert_eq!(world.store.len(), 2);
}

/// ASVS 7.4.2, 7.5.2; Mattermost CVE-2024-4183.
#[tokio::test]
async fn owner_lists_and_ends_only_their_own() {
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
        let listing = world.manager.list(&ada).await.unwrap();
        assert!(listing.unreadable.is_empty());
        listing.sessions.iter().map(kvolt_session::SessionSnapshot::id).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ids, "oldest first");
    assert!(!world.manager.revoke_owned(&ada, bob.id()).await.unwrap());
    assert!(world.lives(&bob).await);
    assert!(world.manager.revoke_owned(&ada, ids[1]).await.unwrap());
    assert!(!world.manager.revoke_owned(&ada, ids[1]).await.unwrap());
    assert_eq!(listed().await, [ids[0], ids[2]]);
    assert_eq!(world.manager.revoke_others(&tokens[2]).await.unwrap(), 1);
    assert_eq!(listed().await, [ids[2]]);
    assert_eq!(world.manager.revoke_owner(&ada).await.unwrap(), 1);
    assert!(listed().await.is_empty() && world.lives(&bob).await);
}

#[tokio::test]
async fn owner_limit_refuses_or_ends_the_oldest() {
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
            _ => {
                assert!(!world.lives(&first).await && world.lives(&second).await);
                assert!(world.lives(&third.unwrap()).await);
            }
        }
    }
}

#[tokio::test]
async fn owner_is_found_in_the_data() {
    let world = world_with(|builder| builder.owned_by(|name: &String| name.clone()));
    let _ = world.manager.create(String::from("ada")).await.unwrap();
    assert_eq!(world.manager.list(&owner("ada")).await.unwrap().sessions.len(), 1);
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

/// ASVS 7.1.1: the documented defaults are the real ones.
#[tokio::test]
async fn defaults_are_as_documented() {
    let new = Manager::new(MemoryStore::<Record<()>>::new());
    let built = Manager::builder(MemoryStore::<Record<()>>::new()).build().unwrap();
    for manager in [new, built] {
        let Timeouts { idle, lifetime } = manager.timeouts();
        assert_eq!(idle, Duration::from_secs(30 * 60));
        assert_eq!(lifetime, Duration::from_secs(12 * 60 * 60));
    }
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let manager: Manager<()> = Manager::builder(store).build().unwrap();
    let token = manager.create(()).await.unwrap();
    let session = manager.get(&token).await.unwrap().unwrap();
    assert_eq!(session.expires_at().since(time.clock().now()), Duration::from_secs(30 * 60));
    assert_eq!(session.ends_at().since(time.clock().now()), Duration::from_secs(12 * 3_600));
}

/// A session that a caller has read may be old, or ended, when it is used.
#[tokio::test]
async fn login_by_an_old_read_ends_the_session() {
    let world = world();
    for is_ended in [false, true] {
        let old = world.manager.create(ada()).await.unwrap();
        let read = world.manager.get(&old).await.unwrap().unwrap();
        world.manager.update(&old, |name| *name = "Ada".into()).await.unwrap();
        if is_ended {
            assert!(world.manager.logout(&old).await.unwrap());
        }
        let new = world.manager.login(Some((&old, read)), ada()).await.unwrap();
        assert!(world.lives(&new).await && !world.lives(&old).await);
        assert_eq!(world.manager.list(&owner("ada")).await.unwrap().sessions.len(), 1);
        assert!(world.manager.logout(&new).await.unwrap());
    }
}
