//! What a manager is told at its start.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::MemoryStore;
use kvolt_session::{
    Anonymous, AtLimit, LIVE_INTERVAL_DEFAULT, Manager, OwnerLimit, Record, Timeouts,
};
use support::{GRACE, IDLE, LIFETIME, TICK, ada, bob, world, world_with};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Timeouts = Timeouts::new(DAY.saturating_mul(7), DAY.saturating_mul(30));

#[tokio::test]
async fn who_asked_to_be_remembered_has_timeouts_of_their_own_and_nobody_else() {
    let world = world_with(|builder| builder.remembered_timeouts(MONTH));
    let remembered = world.manager.create(ada().remember(true)).await.unwrap();
    let plain = world.manager.create(ada()).await.unwrap();
    let now = world.time.clock().now();
    let session = world.manager.get(&remembered).await.unwrap().unwrap();
    assert!(session.is_remembered());
    assert_eq!(session.expires_at(), now.saturating_add(MONTH.idle));
    assert_eq!(session.ends_at(), now.saturating_add(MONTH.lifetime));
    let session = world.manager.get(&plain).await.unwrap().unwrap();
    assert!(!session.is_remembered());
    assert_eq!(session.ends_at(), now.saturating_add(LIFETIME));
    assert_eq!(world.manager.remembered_timeouts(), MONTH);
    assert_eq!(world.manager.timeouts(), Timeouts::new(IDLE, LIFETIME));

    world.time.advance(MONTH.idle - TICK);
    assert!(!world.lives(&plain).await && world.lives(&remembered).await);
    world.time.advance(TICK);
    assert!(!world.lives(&remembered).await);
}

#[tokio::test]
async fn a_remembered_session_stays_one_over_rotations_and_authentications_and_no_longer() {
    let world = world_with(|builder| builder.remembered_timeouts(MONTH));
    let token = world.manager.create(ada().remember(true)).await.unwrap();
    let token = world.rotate(&token).await;
    assert!(world.manager.peek(&token).await.unwrap().unwrap().is_remembered());
    world.time.advance(DAY);
    let again = world.manager.reauthenticate(&token, kvolt_session::Level::One).await.unwrap();
    let again = support::rotated(again);
    let session = world.manager.peek(&again).await.unwrap().unwrap();
    assert!(session.is_remembered());
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(MONTH.lifetime));
    let other = world.manager.login(Some(&again), bob()).await.unwrap();
    let session = world.manager.peek(&other).await.unwrap().unwrap();
    assert!(!session.is_remembered());
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(LIFETIME));
}

#[tokio::test]
async fn without_timeouts_of_their_own_remembered_sessions_end_as_others_do() {
    let world = world();
    let token = world.manager.create(ada().remember(true)).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(session.is_remembered());
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(LIFETIME));
    assert_eq!(world.manager.remembered_timeouts(), world.manager.timeouts());
}

/// ASVS 7.1.1, 7.3.1, 7.3.2; NIST SP 800-63B-4 section 2; OWASP's cheat sheet.
#[tokio::test]
async fn a_session_ends_as_its_preset_says() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    for (preset, idle, lifetime) in [
        (Timeouts::DEFAULT, minute * 30, hour * 12),
        (Timeouts::NIST_LEVEL_1, DAY * 30, DAY * 30),
        (Timeouts::NIST_LEVEL_2, hour, hour * 24),
        (Timeouts::NIST_LEVEL_3, minute * 15, hour * 12),
        (Timeouts::OWASP_HIGH_VALUE, minute * 2, hour * 4),
        (Timeouts::OWASP_LOW_RISK, minute * 30, hour * 8),
    ] {
        let world = world_with(|builder| builder.timeouts(preset));
        let idle_one = world.manager.create(ada()).await.unwrap();
        let session = world.manager.get(&idle_one).await.unwrap().unwrap();
        let made = world.time.clock().now();
        assert_eq!(session.expires_at(), made.saturating_add(idle));
        assert_eq!(session.ends_at(), made.saturating_add(lifetime));
        world.time.advance(idle - TICK);
        assert!(world.lives(&idle_one).await, "{preset:?}");
        world.time.advance(TICK);
        assert!(!world.lives(&idle_one).await, "{preset:?}");
        let used = world.manager.create(ada()).await.unwrap();
        let mut left = lifetime;
        while left > idle {
            world.time.advance(idle - TICK);
            left -= idle - TICK;
            assert!(world.manager.get(&used).await.unwrap().is_some(), "{preset:?}");
        }
        world.time.advance(left - TICK);
        assert!(world.manager.get(&used).await.unwrap().is_some(), "{preset:?}");
        world.time.advance(TICK);
        assert!(world.manager.get(&used).await.unwrap().is_none(), "{preset:?}");
    }
}

#[test]
fn each_setting_that_can_not_work_is_refused_by_its_name() {
    let builder = || Manager::builder(MemoryStore::<Record<String>>::new());
    let short = Timeouts::new(Duration::from_secs(5), MONTH.lifetime);
    let backwards = Timeouts::new(MONTH.lifetime, MONTH.idle);
    let none = OwnerLimit::remove_oldest(0);
    let zero = Timeouts::new(Duration::ZERO, DAY);
    let anonymous = |timeouts| builder().anonymous(Anonymous::new(10).timeouts(timeouts));
    for (builder, expected) in [
        (builder().timeouts(zero), "the idle timeout and the lifetime must not be zero"),
        (builder().timeouts(backwards), "is longer than the lifetime"),
        (builder().remembered_timeouts(zero), "of those who are remembered must not be zero"),
        (builder().remembered_timeouts(backwards), "the idle timeout of those who are remembered"),
        (anonymous(zero), "of anonymous visitors must not be zero"),
        (anonymous(backwards), "the idle timeout of anonymous visitors"),
        (builder().rotation_grace(Duration::from_secs(3_600)), "the rotation's grace (3600s)"),
        (
            builder().rotation_grace(GRACE).remembered_timeouts(short),
            "longer than the idle timeout of those who are remembered (5s)",
        ),
        (
            anonymous(short).rotation_grace(GRACE),
            "longer than the idle timeout of anonymous visitors (5s)",
        ),
        (builder().owner_limit(none), "a limit of zero sessions"),
        (builder().anonymous(Anonymous::new(0)), "a limit of zero anonymous sessions"),
        (builder().rotate_every(Duration::ZERO), "a rotation or a look every zero seconds"),
        (builder().live_interval(Duration::ZERO), "a rotation or a look every zero seconds"),
        (
            builder().rotate_every(GRACE).rotation_grace(GRACE + TICK),
            "a rotation's grace is longer than the time to the next one",
        ),
        (builder().kind(&"k".repeat(65)), "the kind is longer than 64 bytes"),
        (builder().kind("a:b"), "has a colon"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_misconfigured() && !error.is_of_store(), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert!(builder().rotate_every(GRACE).rotation_grace(GRACE).build().is_ok());
    assert!(builder().rotation_grace(Timeouts::DEFAULT.idle).build().is_ok());
    assert_eq!(LIVE_INTERVAL_DEFAULT, Duration::from_secs(1));
}
