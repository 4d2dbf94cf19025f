//! How strongly one has proved who they are, and proving it again.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvolt_session::{AnonymousSessions, Level, Manager, RotateOutcome, StepUp};
use kvolt_testkit::Call;
use support::{GRACE, IDLE, LIFETIME, TICK, ada, rotated, world, world_with};

/// ASVS 7.2.4, NIST SP 800-63B-4 section 5.2: re-authentication resets both timeouts.
#[tokio::test]
async fn proof_gives_a_new_token_and_restarts_both_timeouts() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let token = world.manager.create(ada()).await.unwrap();
        let before = world.manager.peek(&token).await.unwrap().unwrap();
        let _ = world.manager.update(&token, |name| name.push('!')).await.unwrap();
        world.time.advance(IDLE - TICK);
        let again = world.manager.reauthenticate(&token, Level::One).await.unwrap();
        let again = rotated(again);
        assert!(!world.lives(&token).await);
        let now = world.time.clock().now();
        let session = world.manager.peek(&again).await.unwrap().unwrap();
        assert_eq!(session.data(), "ada!");
        assert_eq!((session.created(), session.owner()), (before.created(), before.owner()));
        assert_eq!((session.authenticated(), session.rotated()), (Some(now), now));
        assert_eq!(session.expires_at(), now.saturating_add(IDLE));
        assert_eq!(session.ends_at(), now.saturating_add(LIFETIME));
        assert_eq!(world.of("ada").await, 1);
    }
}

/// NIST SP 800-63B-4: a session's level never exceeds the event's, and rises only by re-authentication.
#[tokio::test]
async fn level_never_falls() {
    let world = world();
    let mut token = world.manager.create(ada()).await.unwrap();
    let mut moments = vec![world.time.clock().now()];
    for level in [Level::Two, Level::One, Level::Three, Level::One] {
        world.time.advance(Duration::from_secs(60));
        moments.push(world.time.clock().now());
        token = rotated(world.manager.reauthenticate(&token, level).await.unwrap());
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert_eq!(session.authenticated(), moments.last().copied(), "at whatever level");
        let expected = if moments.len() > 3 { Level::Three } else { Level::Two };
        assert_eq!(session.level(), Some(expected));
    }
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    for (level, expected) in [(Level::One, 4), (Level::Two, 3), (Level::Three, 3)] {
        assert_eq!(session.authenticated_at(level), Some(moments[expected]), "{level:?}");
    }
    let plain = world.manager.create(ada()).await.unwrap();
    let plain = world.manager.peek(&plain).await.unwrap().unwrap();
    assert_eq!((plain.level(), plain.authenticated_at(Level::Two)), (Some(Level::One), None));
    let strong = world.manager.create(ada().level(Level::Three)).await.unwrap();
    let strong = world.manager.peek(&strong).await.unwrap().unwrap();
    assert_eq!(strong.level(), Some(Level::Three));
    assert_eq!(strong.authenticated_at(Level::One), Some(strong.created()));
}

/// Rotations and updates never prove an identity.
#[tokio::test]
async fn only_a_proof_raises_a_level() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    let before = world.manager.peek(&token).await.unwrap().unwrap();
    world.time.advance(IDLE / 2);
    let token = world.rotate(&token).await;
    let after = world.manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
    assert_eq!((after.level(), after.authenticated()), (before.level(), before.authenticated()));
}

#[tokio::test]
async fn step_up_is_by_age_by_level_or_both() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(Duration::from_secs(60));
    let token = rotated(world.manager.reauthenticate(&token, Level::Two).await.unwrap());
    let token = {
        world.time.advance(Duration::from_secs(60));
        rotated(world.manager.reauthenticate(&token, Level::One).await.unwrap())
    };
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    let now = world.time.clock().now();
    let minute = StepUp::within(Duration::from_secs(59));
    let strong = StepUp::at_level(Level::Two);
    assert!(session.meets(&minute, now) && session.meets(&strong, now));
    assert!(
        !session.meets(&minute.and(strong), now),
        "the password was later, the second factor not"
    );
    assert!(session.meets(&StepUp::within(Duration::from_secs(60)).and(strong), now));
    assert!(!session.meets(&StepUp::at_level(Level::Three), now));
    let loose = StepUp::within(Duration::from_secs(300));
    assert_eq!(minute.and(loose).max_age(), Some(Duration::from_secs(59)));
    assert_eq!(loose.and(minute).max_age(), Some(Duration::from_secs(59)));
    assert_eq!(strong.and(StepUp::at_level(Level::One)).level(), Level::Two);
}

#[tokio::test]
async fn anonymous_session_has_no_level() {
    let world = world_with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    let token = world.manager.create_anonymous(String::from("basket")).await.unwrap();
    let error = world.manager.reauthenticate(&token, Level::Three).await.unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("anonymous"), "{error}");
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(session.is_anonymous());
    assert_eq!((session.level(), session.authenticated()), (None, None));
    let now = world.time.clock().now();
    assert!(!session.meets(&StepUp::at_level(Level::One), now));
    assert!(!session.meets(&StepUp::within(Duration::MAX), now));
}

#[tokio::test]
async fn proof_in_grace_gets_the_session() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let old = world.manager.create(ada()).await.unwrap();
        // The client with this one may be a thief that was faster.
        let given = world.rotate(&old).await;
        world.time.advance(GRACE - TICK);
        let token = rotated(world.manager.reauthenticate(&old, Level::Two).await.unwrap());
        let now = world.time.clock().now();
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert_eq!((session.level(), session.authenticated()), (Some(Level::Two), Some(now)));
        assert_eq!(session.ends_at(), now.saturating_add(LIFETIME), "both timeouts start anew");
        assert_eq!(session.expires_at(), now.saturating_add(IDLE));
        for former in [&old, &given] {
            let session = world.manager.peek(former).await.unwrap().unwrap();
            assert_eq!(session.id(), token.id(), "there is one session");
            assert_eq!(session.level(), Some(Level::One), "as it was when they were replaced");
            assert!(!session.meets(&StepUp::at_level(Level::Two), now));
            assert!(!session.meets(&StepUp::within(TICK), now));
        }
        assert_eq!(world.of("ada").await, 1);

        world.time.advance(TICK);
        let late = world.manager.reauthenticate(&old, Level::Three).await.unwrap();
        assert!(matches!(late, RotateOutcome::Absent), "after its grace it raises nothing");
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert_eq!(session.level(), Some(Level::Two));
    }
}

/// The rights that a token had are kept as they were: also those of the usual case, the password
/// once more at the level that was there.
#[tokio::test]
async fn token_in_grace_keeps_its_rights() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE * 3));
        world.faults.answers_at_once(at_once);
        let first = world.manager.create(ada()).await.unwrap();
        let made = world.time.clock().now();
        world.time.advance(GRACE);
        let second = rotated(world.manager.reauthenticate(&first, Level::One).await.unwrap());
        world.time.advance(GRACE);
        let third = rotated(world.manager.reauthenticate(&second, Level::Two).await.unwrap());
        let now = world.time.clock().now();
        let moments = [made, made.saturating_add(GRACE), now];
        let levels = [Level::One, Level::One, Level::Two];
        for (number, token) in [&first, &second, &third].into_iter().enumerate() {
            let session = world.manager.get(token).await.unwrap().unwrap();
            assert_eq!(session.level(), Some(levels[number]));
            assert_eq!(session.authenticated(), Some(moments[number]));
            assert!(!session.is_anonymous());
            assert!(session.meets(&StepUp::at_level(Level::One), now));
            assert_eq!(session.meets(&StepUp::within(TICK), now), number == 2);
            // Its change does not affect that.
            let updated = world.manager.update(token, |name| name.push('!')).await.unwrap();
            assert_eq!(updated.unwrap().authenticated(), Some(moments[number]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proofs_and_updates_at_once_all_take_effect() {
    for round in 0..200 {
        let world = Arc::new(world_with(|builder| builder.rotation_grace(GRACE)));
        world.faults.answers_at_once(round % 2 == 0);
        let token = Arc::new(world.manager.create(ada()).await.unwrap());
        world.time.advance(TICK);
        let authentications: Vec<_> = [Level::One, Level::Two]
            .into_iter()
            .map(|level| {
                let (world, token) = (Arc::clone(&world), Arc::clone(&token));
                tokio::spawn(
                    async move { world.manager.reauthenticate(&token, level).await.unwrap() },
                )
            })
            .collect();
        let updates: Vec<_> = (0..8)
            .map(|_| {
                let (world, token) = (Arc::clone(&world), Arc::clone(&token));
                tokio::spawn(async move {
                    world.manager.update(&token, |name| name.push('!')).await.unwrap().is_some()
                })
            })
            .collect();
        let mut tokens = Vec::new();
        for authentication in authentications {
            match authentication.await.unwrap() {
                RotateOutcome::Token(token) => tokens.push(token),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("the grace lasts"),
            }
        }
        for update in updates {
            assert!(update.await.unwrap());
        }
        assert_eq!(tokens.len(), 2, "each has proved it");
        for token in &tokens {
            assert!(world.lives(token).await, "the session's own, or in its grace");
        }
        let session = world.manager.find(token.id()).await.unwrap().unwrap();
        let now = world.time.clock().now();
        assert_eq!(session.authenticated_at(Level::Two), Some(now));
        assert_eq!(session.authenticated(), Some(now));
        assert_eq!(session.data(), "ada!!!!!!!!");
        assert_eq!(session.ends_at(), now.saturating_add(LIFETIME));
    }
}

/// A reported success has happened: without a grace, the slower of two finds no session.
#[tokio::test]
async fn second_proof_without_grace_is_absent() {
    let world = Arc::new(world());
    let elsewhere = Manager::builder(world.store.clone()).build().unwrap();
    let token = world.manager.create(ada()).await.unwrap();
    world.faults.only(&[Call::Replace]);
    world.faults.hold_calls();
    let slower = {
        let (world, token) = (Arc::clone(&world), token.clone());
        tokio::spawn(async move { world.manager.reauthenticate(&token, Level::Two).await.unwrap() })
    };
    world.faults.until_waiting(1).await;
    let faster = rotated(elsewhere.reauthenticate(&token, Level::One).await.unwrap());
    world.faults.release();
    assert!(matches!(slower.await.unwrap(), RotateOutcome::Absent));
    let session = world.manager.peek(&faster).await.unwrap().unwrap();
    assert_eq!(session.level(), Some(Level::One));
}
