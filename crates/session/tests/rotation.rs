//! Tokens that are changed, and what the old ones are good for.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_session::{
    Access, EndReason, Flash, Level, RefusalReason, Rotated, Token, TokenReuse, What,
};
use support::{GRACE, Heard, IDLE, TICK, World, ada, bob, rotated, world_with};

const EVERY: Duration = Duration::from_secs(120);

fn both(
    settings: impl Fn(kvolt_session::Builder<String>) -> kvolt_session::Builder<String>,
) -> [World; 2] {
    [true, false].map(|at_once| {
        let world = world_with(&settings);
        world.faults.answers_at_once(at_once);
        world
    })
}

#[tokio::test]
async fn a_token_is_changed_when_it_is_old_enough_and_not_a_tick_before() {
    for world in both(|builder| builder.rotate_every(EVERY).rotation_grace(GRACE)) {
        let mut token = world.manager.create(ada()).await.unwrap();
        for _ in 0..3 {
            world.time.advance(EVERY - TICK);
            let session = world.manager.get(&token).await.unwrap().unwrap();
            assert!(!world.manager.is_rotation_due(&session));
            assert!(world.manager.rotate_if_due(&token, &session).await.unwrap().is_none());
            world.time.advance(TICK);
            assert!(world.manager.is_rotation_due(&session));
            let next = world.manager.rotate_if_due(&token, &session).await.unwrap().unwrap();
            let again = world.manager.rotate_if_due(&token, &session).await.unwrap().unwrap();
            assert!(
                matches!(again, Rotated::AlreadyRotated),
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
    assert!(!world.manager.is_rotation_due(&session), "never, unless that is set");
    assert!(world.manager.rotate_if_due(&token, &session).await.unwrap().is_none());
}

/// Everything by which a spent token could do something.
async fn try_everything(world: &World, spent: &Token) {
    let manager = &world.manager;
    let read = manager.peek(spent).await.unwrap();
    assert!(read.is_none());
    assert!(manager.get(spent).await.unwrap().is_none());
    assert!(manager.get_with(spent, Access::SLIDE.strict()).await.unwrap().is_none());
    assert!(manager.read(spent, Access::SLIDE, String::len).await.unwrap().is_none());
    if let Some(ready) = manager.get_ready(spent, Access::SLIDE) {
        assert!(ready.unwrap().is_none());
    }
    assert!(manager.update(spent, |name| name.push('?')).await.unwrap().is_none());
    assert!(!manager.flash(spent, Flash::new("info", "stolen")).await.unwrap());
    assert!(manager.take_flashes(spent).await.unwrap().is_empty());
    assert!(!manager.destroy(spent).await.unwrap(), "a logout by it ends nothing");
    assert_eq!(manager.end_others(spent).await.unwrap(), 0);
    assert!(matches!(manager.rotate(spent).await.unwrap(), Rotated::Absent));
    let again = manager.reauthenticate(spent, Level::Three).await.unwrap();
    assert!(matches!(again, Rotated::Absent));
    let changed = manager.change_credentials(spent, None).await.unwrap();
    assert!(matches!(changed, (Rotated::Absent, 0)));
    let own = manager.login(Some(spent), bob()).await.unwrap();
    assert!(world.lives(&own).await, "who signs in with it gets a session of their own");
}

#[tokio::test]
async fn a_token_whose_grace_has_passed_does_nothing_at_all() {
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
async fn a_token_in_its_grace_does_everything_to_the_one_successor() {
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
        assert!(matches!(manager.rotate(&old).await.unwrap(), Rotated::AlreadyRotated));
        assert_eq!(manager.end_others(&old).await.unwrap(), 1);
        assert!(world.lives(&token).await && !world.lives(&other).await);
        let again = manager.login(Some(&old), ada()).await.unwrap();
        assert!(!world.lives(&token).await && !world.lives(&old).await);
        assert!(world.lives(&again).await);
        assert_eq!(world.of("ada").await, 1, "it was replaced, and is no second one");

        let newer = world.rotate(&again).await;
        assert!(manager.destroy(&again).await.unwrap());
        assert!(!world.lives(&newer).await && !world.lives(&again).await);
        assert_eq!(world.of("ada").await, 0);
    }
}

/// Whoever still has a token that was replaced keeps nothing alive with it.
#[tokio::test]
async fn a_token_in_its_grace_keeps_nothing_alive() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let old = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&old).await;
        let before = world.manager.peek(&token).await.unwrap().unwrap().expires_at();
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&old).await.unwrap().is_some());
        assert_eq!(world.manager.peek(&token).await.unwrap().unwrap().expires_at(), before);
    }
}

#[tokio::test]
async fn a_use_after_the_grace_is_told_with_the_session_s_present_name() {
    for at_once in [true, false] {
        let heard = Heard::default();
        let world = world_with(|builder| builder.rotation_grace(GRACE).listener(heard.listener()));
        world.faults.answers_at_once(at_once);
        let spent = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&spent).await;
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&spent).await.unwrap().is_some());
        world.time.advance(TICK);
        assert!(world.manager.get(&spent).await.unwrap().is_none());
        let events = heard.take(4);
        assert!(matches!(events[0].what, What::Created { anonymous: false }));
        let was = spent.id();
        assert_eq!(events[1].what, What::Rotated);
        assert_eq!(events[1].id, Some(token.id()));
        assert_eq!((events[2].what, events[2].id), (What::Reused, Some(token.id())));
        let reason = RefusalReason::Reuse;
        assert_eq!((events[3].what, events[3].id), (What::Refused { reason }, Some(was)));
        for event in &events {
            assert_eq!(event.owner.as_ref().map(ToString::to_string).as_deref(), Some("ada"));
        }
        assert!(world.lives(&token).await, "it is reported and nothing more");
    }
}

#[tokio::test]
async fn a_use_after_the_grace_ends_the_session_everywhere_where_that_is_set() {
    for at_once in [true, false] {
        let heard = Heard::default();
        let world = world_with(|builder| {
            let builder = builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession);
            builder.listener(heard.listener())
        });
        world.faults.answers_at_once(at_once);
        let other = world.manager.create(ada()).await.unwrap();
        let spent = world.manager.create(ada()).await.unwrap();
        let token = world.rotate(&spent).await;
        world.time.advance(GRACE - TICK);
        assert!(world.manager.get(&spent).await.unwrap().is_some());
        assert!(world.lives(&token).await, "not in its grace");
        world.time.advance(TICK);
        assert!(world.manager.update(&spent, |_| panic!("no data")).await.unwrap().is_none());
        assert!(!world.lives(&token).await && !world.lives(&spent).await);
        assert!(world.lives(&other).await, "of the owner's sessions that one");
        let reason = EndReason::Reuse;
        let told = heard.whats(6);
        assert!(told.contains(&What::Ended { reason }) && told.contains(&What::Reused), "{told:?}");
    }
}

#[tokio::test]
async fn a_use_after_the_grace_is_like_an_unknown_token_where_that_is_set() {
    let heard = Heard::default();
    let world = world_with(|builder| {
        let builder = builder.rotation_grace(GRACE).token_reuse(TokenReuse::Ignore);
        builder.listener(heard.listener())
    });
    let spent = world.manager.create(ada()).await.unwrap();
    let token = world.rotate(&spent).await;
    for wait in [GRACE, IDLE / 2] {
        world.time.advance(wait);
        assert!(world.manager.get(&spent).await.unwrap().is_none());
        assert!(world.lives(&token).await);
    }
    let reason = RefusalReason::Unknown;
    assert_eq!(heard.whats(4)[2..], [What::Refused { reason }, What::Refused { reason }]);
}

/// A thief who waits is noticed all the same, for as long as the session lives.
#[tokio::test]
async fn a_use_is_noticed_however_late_it_comes() {
    let heard = Heard::default();
    let world = world_with(|builder| builder.rotation_grace(GRACE).listener(heard.listener()));
    let spent = world.manager.create(ada()).await.unwrap();
    let token = world.rotate(&spent).await;
    for _ in 0..6 {
        world.time.advance(IDLE - TICK);
        assert!(world.manager.get(&token).await.unwrap().is_some());
    }
    assert!(world.manager.get(&spent).await.unwrap().is_none());
    assert_eq!(heard.whats(4)[2], What::Reused);
}

/// saysion 0.2, async-session: old ids stay alive.
#[tokio::test]
async fn after_a_logout_the_former_tokens_are_dead_too() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        for by in 0..3 {
            let first = world.manager.create(ada()).await.unwrap();
            let second = world.rotate(&first).await;
            let third = world.rotate(&second).await;
            let tokens = [first, second, third];
            assert!(world.manager.destroy(&tokens[by]).await.unwrap());
            for token in &tokens {
                assert!(world.manager.get(token).await.unwrap().is_none());
                assert!(!world.manager.destroy(token).await.unwrap());
            }
        }
        assert_eq!(world.manager.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn of_twenty_rotations_in_a_row_one_token_is_left() {
    for grace in [Duration::ZERO, TICK * 50] {
        for world in both(|builder| builder.rotation_grace(grace)) {
            let mut tokens = vec![world.manager.create(ada()).await.unwrap()];
            for rotation in 0..20 {
                world.time.advance(TICK);
                let next = world.rotate(&tokens[rotation]).await;
                let updated = world.manager.update(&next, |name| name.push('!')).await.unwrap();
                assert_eq!(updated.unwrap().len(), 4 + rotation);
                tokens.push(next);
            }
            let (last, former) = tokens.split_last().unwrap();
            // Of all that are in their grace, the last 16 are known.
            for (number, token) in former.iter().enumerate() {
                let lives = grace > Duration::ZERO && number >= former.len() - 16;
                assert_eq!(world.lives(token).await, lives, "{number}");
            }
            world.time.advance(grace);
            for token in former {
                assert!(!world.lives(token).await && !world.manager.destroy(token).await.unwrap());
            }
            assert_eq!(world.data(last).await, format!("ada{}", "!".repeat(20)));
            assert_eq!(world.of("ada").await, 1);
        }
    }
}

/// The clock of the grace is the manager's, and its end is exact.
#[tokio::test]
async fn each_former_token_has_a_grace_of_its_own() {
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

/// A store that fails in the middle of a rotation, and one that loses the answer.
#[tokio::test]
async fn a_rotation_that_fails_leaves_a_token_that_works() {
    for world in both(|builder| builder.rotation_grace(GRACE)) {
        let token = world.manager.create(ada()).await.unwrap();
        world.faults.only(&[kvolt_testkit::Call::Rename]);
        world.faults.fail_next(1);
        assert!(world.manager.rotate(&token).await.unwrap_err().is_unavailable());
        assert!(world.lives(&token).await);
        world.faults.lose_next_answers(1);
        assert!(world.manager.rotate(&token).await.unwrap_err().is_unavailable());
        assert!(world.lives(&token).await, "in its grace");
        assert_eq!(world.of("ada").await, 1);
    }
}
