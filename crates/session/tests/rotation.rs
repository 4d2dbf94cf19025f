//! Rotation, and the rights of previous tokens.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{
    Access, EndReason, EventKind, Flash, Level, Manager, Ready, RefusalReason, RotateOutcome,
    Token, TokenReuse,
};
use kvolt_testkit::{Call, FaultyStore};
use support::{GRACE, IDLE, TICK, World, ada, bob, rotated, world_with};

const EVERY: Duration = Duration::from_secs(120);

fn both(
    settings: impl Fn(kvolt_session::ManagerBuilder<String>) -> kvolt_session::ManagerBuilder<String>,
) -> [World; 2] {
    [true, false].map(|at_once| {
        let world = world_with(&settings);
        world.faults.answers_at_once(at_once);
        world
    })
}

#[tokio::test]
async fn token_is_rotated_exactly_when_it_is_due() {
    for world in both(|builder| builder.rotate_every(EVERY).rotation_grace(GRACE)) {
        let mut token = world.manager.create(ada()).await.unwrap();
        for _ in 0..3 {
            world.time.advance(EVERY - TICK);
            let session = world.manager.get(&token).await.unwrap().unwrap();
            assert!(!world.manager.is_rotation_due(&session));
            world.time.advance(TICK);
            assert!(world.manager.is_rotation_due(&session));
            let next = world.manager.rotate((&token, session.clone())).await.unwrap();
            let again = world.manager.rotate((&token, session.clone())).await.unwrap();
            assert!(
                matches!(again, RotateOutcome::AlreadyRotated),
                "to one who has read the old session"
            );
            token = rotated(next);
            let after = world.manager.peek(&token).await.unwrap().unwrap();
            assert_eq!(after.rotated(), world.time.clock().now());
            assert_eq!((after.expires_at(), after.ends_at()), {
                (session.expires_at(), session.ends_at())
            });
        }
    }
    let world = world_with(|builder| builder);
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE - TICK);
    let session = world.manager.get(&token).await.unwrap().unwrap();
    assert!(!world.manager.is_rotation_due(&session), "never, by default");
}

/// Everything by which a spent token could do something.
async fn try_everything(world: &World, spent: &Token) {
    let manager = &world.manager;
    let read = manager.peek(spent).await.unwrap();
    assert!(read.is_none());
    assert!(manager.get(spent).await.unwrap().is_none());
    assert!(manager.get_with(spent, Access::SLIDE.strict()).await.unwrap().is_none());
    assert!(manager.read(spent, Access::SLIDE, String::len).await.unwrap().is_none());
    match manager.get_ready(spent, Access::SLIDE) {
        Ready::Yes(answer) => assert!(answer.unwrap().is_none()),
        Ready::No(unread) => assert!(manager.finish(spent, unread).await.unwrap().is_none()),
    }
    assert!(manager.update(spent, |name| name.push('?')).await.unwrap().is_none());
    assert!(!manager.flash(spent, Flash::new("info", "stolen")).await.unwrap());
    assert!(manager.take_flashes(spent).await.unwrap().is_empty());
    assert!(!manager.logout(spent).await.unwrap(), "a logout by it ends nothing");
    assert_eq!(manager.revoke_others(spent).await.unwrap(), 0);
    assert!(matches!(manager.rotate(spent).await.unwrap(), RotateOutcome::Absent));
    let again = manager.reauthenticate(spent, Level::Three).await.unwrap();
    assert!(matches!(again, RotateOutcome::Absent));
    let changed = manager.change_credentials(spent, None).await.unwrap();
    assert!(matches!(changed, (RotateOutcome::Absent, 0)));
    let own = manager.login(Some(spent), bob()).await.unwrap();
    assert!(world.lives(&own).await, "who signs in with it gets a session of their own");
}

#[tokio::test]
async fn token_after_its_grace_does_nothing() {
    for reuse in [TokenReuse::Ignore, TokenReuse::Report] {
        for grace in [Duration::ZERO, GRACE] {
            for world in both(|builder| builder.rotation_grace(grace).token_reuse(reuse)) {
                let other = world.manager.create(ada()).await.unwrap();
                let spent = world.manager.create(ada()).await.unwrap();
                let token = world.rotate(&spent).await;
                assert!(world.manager.flash(&token, Flash::new("info", "saved")).await.unwrap());
                world.time.advance(grace);
                let before = world.manager.peek(&token).await.unwrap().unwrap();
                world.time.advance(TICK);
                try_everything(&world, &spent).await;
                let after = world.manager.peek(&token).await.unwrap().unwrap();
                assert_eq!((after.id(), after.data()), (before.id(), before.data()));
                assert_eq!((after.expires_at(), after.ends_at()), {
                    (before.expires_at(), before.ends_at())
                });
                assert_eq!((after.level(), after.flashes()), (before.level(), before.flashes()));
                assert_eq!(after.rotated(), before.rotated());
                assert!(world.lives(&other).await);
                assert_eq!(world.of("ada").await, 2);
            }
        }
    }
}

#[tokio::test]
async fn token_in_its_grace_uses_the_same_session() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let manager = &world.manager;
        let other = manager.create(ada()).await.unwrap();
        let old = manager.create(ada()).await.unwrap();
        let token = world.rotate(&old).await;
        world.time.advance(GRACE - TICK);
        let id = token.id();
        assert_eq!(manager.get(&old).await.unwrap().unwrap().id(), id);
        assert_eq!(manager.peek(&old).await.unwrap().unwrap().id(), id);
        assert_eq!(manager.read(&old, Access::PEEK, String::len).await.unwrap(), Some(3));
        let updated = manager.update(&old, |name| name.push('!')).await.unwrap().unwrap();
        assert_eq!(updated.id(), id);
        assert_eq!(world.data(&token).await, "ada!");
        assert!(manager.flash(&old, Flash::new("info", "saved")).await.unwrap());
        assert_eq!(manager.take_flashes(&old).await.unwrap().len(), 1);
        assert!(matches!(manager.rotate(&old).await.unwrap(), RotateOutcome::AlreadyRotated));
        assert_eq!(manager.revoke_others(&old).await.unwrap(), 1);
        assert!(world.lives(&token).await && !world.lives(&other).await);
        let again = manager.login(Some(&old), ada()).await.unwrap();
        assert!(!world.lives(&token).await && !world.lives(&old).await);
        assert!(world.lives(&again).await);
        assert_eq!(world.of("ada").await, 1, "it was replaced, and is no second one");

        let newer = world.rotate(&again).await;
        assert!(manager.logout(&again).await.unwrap());
        assert!(!world.lives(&newer).await && !world.lives(&again).await);
        assert_eq!(world.of("ada").await, 0);
    }
}

#[tokio::test]
async fn token_in_its_grace_keeps_nothing_alive() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let old = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&old).await;
        let before = world.manager.peek(&token).await.unwrap().unwrap().expires_at();
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&old).await.unwrap().is_some());
        assert_eq!(world.manager.peek(&token).await.unwrap().unwrap().expires_at(), before);
    }
}

/// A request that was under way while the token changed may be late by another grace. After that,
/// someone else has had the token.
#[tokio::test]
async fn use_is_a_theft_after_twice_the_grace() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let old = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&old).await;
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&old).await.unwrap().is_some());
        world.time.advance(TICK);
        assert!(world.manager.get(&old).await.unwrap().is_none());
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&old).await.unwrap().is_none());
        world.time.advance(TICK);
        assert!(world.manager.get(&old).await.unwrap().is_none());
        let events = world.events.take();
        let refused = |reason| EventKind::Refused { reason };
        let whats: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(whats, {
            [
                EventKind::Created { anonymous: false },
                EventKind::Rotated,
                refused(RefusalReason::Replaced),
                refused(RefusalReason::Replaced),
                EventKind::Reused,
                refused(RefusalReason::Reuse),
            ]
        });
        for event in &events {
            assert_eq!(event.owner, Some(support::owner("ada")));
            assert_eq!(event.id, Some(token.id()));
        }
        assert!(world.lives(&token).await, "it is reported and nothing more");
    }
}

#[tokio::test]
async fn reuse_ends_the_session_where_that_is_set() {
    for at_once in [true, false] {
        let world =
            world_with(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession));
        world.faults.answers_at_once(at_once);
        let other = world.manager.create(ada()).await.unwrap();
        let old = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&old).await;
        world.time.advance(GRACE * 2 - TICK);
        assert!(world.manager.get(&old).await.unwrap().is_none());
        assert!(world.lives(&token).await, "not within twice its grace");
        world.time.advance(TICK);
        assert!(world.manager.update(&old, |_| panic!("no data")).await.unwrap().is_none());
        assert!(!world.lives(&token).await && !world.lives(&old).await);
        assert!(world.lives(&other).await, "of the owner's sessions that one");
        let reason = EndReason::Reuse;
        let whats = world.events.kinds();
        assert!(whats.contains(&EventKind::Ended { reason }) && whats.contains(&EventKind::Reused));
    }
}

#[tokio::test]
async fn ignored_reuse_is_an_unknown_token() {
    let world = world_with(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::Ignore));
    let old = world.manager.create(ada()).await.unwrap();
    let token = world.rotate(&old).await;
    for wait in [GRACE * 2, IDLE / 2] {
        world.time.advance(wait);
        assert!(world.manager.get(&old).await.unwrap().is_none());
        assert!(world.lives(&token).await);
    }
    let reason = RefusalReason::Unknown;
    assert_eq!(
        world.events.kinds()[2..],
        [EventKind::Refused { reason }, EventKind::Refused { reason }]
    );
}

/// A thief who waits is noticed all the same, by any token that the session ever had.
#[tokio::test]
async fn late_reuse_of_any_token_is_noticed() {
    let world = world_with(|builder| builder.rotation_grace(GRACE));
    let mut tokens = vec![world.manager.create(ada()).await.unwrap()];
    for _ in 0..40 {
        world.time.advance(GRACE);
        let next = world.rotate(tokens.last().unwrap()).await;
        assert!(world.manager.get(&next).await.unwrap().is_some());
        tokens.push(next);
    }
    for _ in 0..4 {
        world.time.advance(IDLE - TICK);
        assert!(world.manager.get(tokens.last().unwrap()).await.unwrap().is_some());
    }
    assert_eq!(world.events.take().len(), 41);
    for token in &tokens[..40] {
        assert!(world.manager.get(token).await.unwrap().is_none());
        assert_eq!(world.events.kinds()[0], EventKind::Reused);
    }
}

/// The clocks of servers are never equal. By which one a grace ends must not depend on them.
#[tokio::test]
async fn grace_ends_by_the_store_s_time() {
    let hour = Duration::from_secs(3_600);
    for at_once in [true, false] {
        for (ahead, behind) in [(hour, Duration::ZERO), (Duration::ZERO, hour)] {
            let (store_time, fast, slow) =
                (ManualClock::new(), ManualClock::new(), ManualClock::new());
            store_time.advance(behind);
            fast.advance(ahead);
            let store = MemoryStore::builder().clock(store_time.clock()).build();
            let (store, faults) = FaultyStore::new(store);
            faults.answers_at_once(at_once);
            let manager = |clock: &ManualClock| {
                let builder = Manager::builder(store.clone().with_clock(clock.clock()));
                builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession).build().unwrap()
            };
            // Two servers whose clocks differ from the store's, and from each other.
            let (here, there): (Manager<String>, _) = (manager(&fast), manager(&slow));
            let advance = |by| [&store_time, &fast, &slow].map(|time| time.advance(by));
            let old = here.create(ada()).await.unwrap();
            let token = rotated(here.rotate(&old).await.unwrap());
            advance(GRACE - TICK);
            for manager in [&here, &there] {
                assert!(manager.get(&old).await.unwrap().is_some());
                let again = manager.rotate(&old).await.unwrap();
                assert!(matches!(again, RotateOutcome::AlreadyRotated));
            }
            advance(TICK);
            for manager in [&here, &there] {
                assert!(manager.get(&old).await.unwrap().is_none());
                assert!(matches!(manager.rotate(&old).await.unwrap(), RotateOutcome::Absent));
            }
            advance(GRACE - TICK);
            for manager in [&here, &there] {
                assert!(manager.get(&old).await.unwrap().is_none());
                assert!(manager.peek(&token).await.unwrap().is_some(), "no theft yet");
            }
            advance(TICK);
            assert!(there.get(&old).await.unwrap().is_none());
            assert!(here.peek(&token).await.unwrap().is_none(), "a theft");
        }
    }
}

/// A handler may take longer than the grace before the session that it was given is rotated.
#[tokio::test]
async fn grace_begins_when_the_token_is_replaced() {
    for world in both(|builder| {
        builder.rotate_every(GRACE).rotation_grace(GRACE).token_reuse(TokenReuse::EndSession)
    }) {
        let old = world.manager.create(ada()).await.unwrap();
        let session = world.manager.get(&old).await.unwrap().unwrap();
        world.time.advance(GRACE * 5);
        let rotation = world.manager.rotate((&old, session.clone())).await.unwrap();
        let token = rotated(rotation);
        world.time.advance(GRACE - TICK);
        assert!(world.lives(&old).await, "its grace lasts");
        world.time.advance(GRACE);
        assert!(!world.lives(&old).await);
        assert!(world.lives(&token).await, "and that is no theft");
    }
}

/// saysion 0.2, async-session: old ids stay alive.
#[tokio::test]
async fn logout_ends_all_tokens_of_the_session() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        for by in 0..3 {
            let first = world.manager.create(ada()).await.unwrap();
            let second = world.rotate(&first).await;
            let third = world.rotate(&second).await;
            let tokens = [first, second, third];
            assert!(world.manager.logout(&tokens[by]).await.unwrap());
            for token in &tokens {
                assert!(world.manager.get(token).await.unwrap().is_none());
                assert!(!world.manager.logout(token).await.unwrap());
            }
        }
        assert_eq!(world.manager.count().await.unwrap(), 0);
    }
}

/// More rotations within a grace than previous tokens are kept: the first are refused early, and
/// that is no theft for as long as a request with them may be late.
#[tokio::test]
async fn twenty_rotations_within_a_grace_are_no_theft() {
    for world in both(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession)) {
        let mut tokens = vec![world.manager.create(ada()).await.unwrap()];
        for rotation in 0..20 {
            world.time.advance(TICK);
            let next = world.rotate(&tokens[rotation]).await;
            let updated = world.manager.update(&next, |name| name.push('!')).await.unwrap();
            assert_eq!(updated.unwrap().len(), 4 + rotation);
            tokens.push(next);
        }
        let (last, previous) = tokens.split_last().unwrap();
        for (number, token) in previous.iter().enumerate() {
            assert_eq!(world.lives(token).await, number >= 4, "{number}: the last 16 are kept");
        }
        // The first four were replaced within four ticks, the last of them 16 ticks ago.
        world.time.advance(GRACE * 2 - TICK * 17);
        for token in previous {
            assert!(!world.lives(token).await && !world.manager.logout(token).await.unwrap());
        }
        assert_eq!(world.data(last).await, format!("ada{}", "!".repeat(20)));
        assert_eq!(world.of("ada").await, 1);
        world.time.advance(TICK);
        assert!(!world.lives(&previous[3]).await);
        assert!(!world.lives(last).await, "after all of their times, it is");
    }
}

#[tokio::test]
async fn rotation_without_a_grace_keeps_no_token() {
    for world in both(|builder| builder) {
        let mut tokens = vec![world.manager.create(ada()).await.unwrap()];
        for rotation in 0..20 {
            tokens.push(world.rotate(&tokens[rotation]).await);
        }
        let (last, previous) = tokens.split_last().unwrap();
        for token in previous {
            assert!(!world.lives(token).await && !world.manager.logout(token).await.unwrap());
        }
        assert!(world.lives(last).await);
    }
}

#[tokio::test]
async fn each_previous_token_has_a_grace_of_its_own() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let first = world.manager.create(ada()).await.unwrap();
        let second = world.rotate(&first).await;
        world.time.advance(GRACE / 2);
        let third = world.rotate(&second).await;
        world.time.advance(GRACE / 2 - TICK);
        assert!(world.lives(&first).await && world.lives(&second).await);
        world.time.advance(TICK);
        assert!(!world.lives(&first).await && world.lives(&second).await);
        world.time.advance(GRACE / 2 - TICK);
        assert!(world.lives(&second).await);
        world.time.advance(TICK);
        assert!(!world.lives(&second).await && world.lives(&third).await);
    }
}

#[tokio::test]
async fn rotation_that_fails_leaves_a_token_that_works() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let token = world.manager.create(ada()).await.unwrap();
        world.faults.only(&[Call::Replace]);
        world.faults.fail_next(1);
        assert!(world.manager.rotate(&token).await.unwrap_err().is_unavailable());
        assert!(world.lives(&token).await);
        assert!(matches!(world.manager.rotate(&token).await.unwrap(), RotateOutcome::Token(_)));
    }
}

/// The store did what it was asked, and the answer was lost: it is asked again how the session is.
#[tokio::test]
async fn lost_rotation_answer_is_settled_by_a_read() {
    for world in both(|builder| builder) {
        let old = world.manager.create(ada()).await.unwrap();
        world.faults.only(&[Call::Replace]);
        world.faults.lose_next_answers(1);
        let token = world.rotate(&old).await;
        assert!(world.lives(&token).await && !world.lives(&old).await);
        world.faults.lose_next_answers(1);
        let proved = world.manager.reauthenticate(&token, Level::Two).await.unwrap();
        let session = world.manager.peek(&rotated(proved)).await.unwrap().unwrap();
        assert_eq!(session.level(), Some(Level::Two));
        // A change after it starts from its own read.
        let token = world.manager.create(ada()).await.unwrap();
        world.faults.lose_next_answers(1);
        let token = world.rotate(&token).await;
        assert!(world.manager.update(&token, |name| name.push('!')).await.unwrap().is_some());
        assert_eq!(world.data(&token).await, "ada!");
    }
}

#[tokio::test]
async fn failed_rotation_leaves_the_old_token() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let token = world.manager.create(ada()).await.unwrap();
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert!(!world.manager.is_rotation_due(&session));
        world.faults.only(&[Call::Replace]);
        world.faults.hold_answers();
        let mut rotation = Box::pin(world.manager.rotate(&token));
        tokio::select! {
            biased;
            _ = &mut rotation => panic!("its answer is held"),
            () = world.faults.until_waiting(1) => {}
        }
        world.faults.only(&[]);
        world.faults.fail_all(true);
        world.faults.lose_all_answers(true);
        world.faults.release();
        assert!(rotation.await.unwrap_err().is_unavailable());
        world.faults.reset();
        assert!(world.lives(&token).await, "in its grace");
        assert_eq!(world.of("ada").await, 1);
    }
}
