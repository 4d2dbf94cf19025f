//! The settings of a manager.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::MemoryStore;
use kvolt_session::{
    AnonymousSessions, Detail, Device, Flash, Level, Manager, NewSession, OwnerLimit, Record,
    StepUp, Timeouts, TokenReuse,
};
use support::{GRACE, IDLE, LIFETIME, TICK, ada, bob, owner, world, world_with};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Timeouts = Timeouts::new(DAY.saturating_mul(7), DAY.saturating_mul(30));

#[tokio::test]
async fn remembered_sessions_have_timeouts_of_their_own() {
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
async fn remembered_session_stays_one_until_the_next_login() {
    let world = world_with(|builder| builder.remembered_timeouts(MONTH));
    let token = world.manager.create(ada().remember(true)).await.unwrap();
    let token = world.rotate(&token).await;
    assert!(world.manager.peek(&token).await.unwrap().unwrap().is_remembered());
    world.time.advance(DAY);
    let again = world.manager.reauthenticate(&token, Level::One).await.unwrap();
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
async fn remembered_sessions_end_as_others_by_default() {
    let world = world();
    let token = world.manager.create(ada().remember(true)).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(session.is_remembered());
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(LIFETIME));
    assert_eq!(world.manager.remembered_timeouts(), world.manager.timeouts());
}

/// The session ends at the earlier of two bounds, whichever of them is the policy's.
#[tokio::test]
async fn chosen_timeouts_hold_to_the_tick() {
    let short = Timeouts::new(IDLE / 10, LIFETIME / 4);
    for (idle, lifetime, expected) in [
        (Some(short.idle), Some(short.lifetime), short),
        (Some(short.idle), None, Timeouts::new(short.idle, LIFETIME)),
        (None, Some(short.lifetime), Timeouts::new(IDLE, short.lifetime)),
        (None, Some(IDLE - TICK), Timeouts::new(IDLE - TICK, IDLE - TICK)),
        (Some(IDLE), Some(LIFETIME), Timeouts::new(IDLE, LIFETIME)),
        (Some(IDLE + TICK), Some(LIFETIME + TICK), Timeouts::new(IDLE, LIFETIME)),
        (Some(Duration::MAX), Some(Duration::MAX), Timeouts::new(IDLE, LIFETIME)),
        (Some(LIFETIME), Some(TICK), Timeouts::new(TICK, TICK)),
    ] {
        let chosen = || {
            let new = idle.into_iter().fold(ada(), NewSession::idle_timeout);
            lifetime.into_iter().fold(new, NewSession::lifetime)
        };
        let world = world();
        assert_eq!(world.manager.timeouts_of(&chosen()), expected);
        let unused = world.manager.create(chosen()).await.unwrap();
        let used = world.manager.create(chosen()).await.unwrap();
        let [listed, _] = &world.manager.list(&owner("ada")).await.unwrap().sessions[..] else {
            panic!("two sessions")
        };
        assert_eq!(listed.timeouts(), expected);

        world.time.advance(expected.idle - TICK);
        assert!(world.lives(&unused).await, "{expected:?}");
        let mut left = expected.lifetime - (expected.idle - TICK);
        let used_at = world.manager.get(&used).await.unwrap();
        assert!(used_at.is_some(), "{expected:?}");
        world.time.advance(TICK);
        left -= TICK;
        assert!(!world.lives(&unused).await, "{expected:?}");
        while left > TICK {
            assert!(world.manager.get(&used).await.unwrap().is_some(), "{expected:?}");
            let step = left.min(expected.idle) - TICK;
            world.time.advance(step.max(TICK));
            left -= step.max(TICK);
        }
        assert_eq!(world.lives(&used).await, left == TICK, "{expected:?}");
        world.time.advance(left);
        assert!(!world.lives(&used).await, "{expected:?}");
    }
}

#[tokio::test]
async fn chosen_timeouts_last_until_the_next_login() {
    let chosen = Timeouts::new(IDLE / 10, LIFETIME / 4);
    let world = world_with(|builder| builder.remembered_timeouts(MONTH));
    for remember in [false, true] {
        let new = ada().idle_timeout(chosen.idle).lifetime(chosen.lifetime).remember(remember);
        let token = world.manager.create(new).await.unwrap();
        let begun = world.time.clock().now();
        let step = chosen.idle - TICK;
        world.time.advance(step);
        let token = world.rotate(&token).await;
        world.manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
        world.time.advance(step);
        assert!(world.manager.flash(&token, Flash::new("info", "x")).await.unwrap());
        let (token, _) = world.manager.change_credentials(&token, None).await.unwrap();
        let token = support::rotated(token);
        let session = world.manager.get(&token).await.unwrap().unwrap();
        assert_eq!(session.timeouts(), chosen);
        assert_eq!(session.ends_at(), begun.saturating_add(chosen.lifetime));
        assert_eq!(session.is_remembered(), remember);

        // A proof starts both again.
        world.time.advance(step);
        let token = world.manager.reauthenticate(&token, Level::Two).await.unwrap();
        let token = support::rotated(token);
        let now = world.time.clock().now();
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert_eq!(session.timeouts(), chosen);
        assert_eq!(session.expires_at(), now.saturating_add(chosen.idle));
        assert_eq!(session.ends_at(), now.saturating_add(chosen.lifetime));

        let token = world.manager.login(Some(&token), ada().remember(remember)).await.unwrap();
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        let expected = if remember { MONTH } else { Timeouts::new(IDLE, LIFETIME) };
        assert_eq!(session.timeouts(), expected);
        assert!(world.manager.logout(&token).await.unwrap());
    }
}

/// As for sessions that chose nothing, a new policy holds from the next proof on.
#[tokio::test]
async fn chosen_timeouts_obey_a_stricter_policy_at_the_next_proof() {
    let world = world();
    let new = ada().idle_timeout(IDLE).lifetime(LIFETIME);
    let token = world.manager.create(new).await.unwrap();
    let stricter = Manager::builder(world.store.clone())
        .timeouts(Timeouts::new(IDLE / 2, LIFETIME / 2))
        .build()
        .unwrap();
    let token = support::rotated(stricter.reauthenticate(&token, Level::One).await.unwrap());
    let session = stricter.peek(&token).await.unwrap().unwrap();
    assert_eq!(session.timeouts(), stricter.timeouts());
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(LIFETIME / 2));
}

#[tokio::test]
async fn session_without_time_is_refused() {
    let world = world();
    for new in [
        ada().idle_timeout(Duration::ZERO),
        ada().lifetime(Duration::ZERO),
        ada().lifetime(Duration::from_micros(999)),
    ] {
        let error = world.manager.create(new).await.unwrap_err();
        assert!(error.is_misconfigured(), "{error}");
        assert!(error.to_string().contains("at least one millisecond"), "{error}");
    }
    assert_eq!(world.of("ada").await, 0);
}

/// ASVS 7.1.1, 7.3.1, 7.3.2; NIST SP 800-63B-4 section 2; OWASP's cheat sheet.
#[tokio::test]
async fn session_ends_as_its_preset_says() {
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
fn contradicting_settings_are_refused_by_name() {
    let builder = || Manager::builder(MemoryStore::<Record<String>>::new());
    let short = Timeouts::new(Duration::from_secs(5), MONTH.lifetime);
    let backwards = Timeouts::new(MONTH.lifetime, MONTH.idle);
    let zero = Timeouts::new(Duration::ZERO, DAY);
    let anonymous = |timeouts| builder().anonymous(AnonymousSessions::new(10).timeouts(timeouts));
    for (builder, expected) in [
        (builder().timeouts(zero), "the idle timeout and the lifetime must not be zero"),
        (builder().timeouts(backwards), "is longer than the lifetime"),
        (builder().idle_timeout(DAY), "is longer than the lifetime"),
        (builder().remembered_timeouts(zero), "of remembered sessions must not be zero"),
        (builder().remembered_timeouts(backwards), "the idle timeout of remembered sessions"),
        (anonymous(zero), "of anonymous sessions must not be zero"),
        (anonymous(backwards), "the idle timeout of anonymous sessions"),
        (builder().rotation_grace(Duration::from_secs(3_600)), "the rotation grace (3600s)"),
        (
            builder().rotation_grace(GRACE).remembered_timeouts(short),
            "longer than the idle timeout of remembered sessions (5s)",
        ),
        (
            anonymous(short).rotation_grace(GRACE),
            "longer than the idle timeout of anonymous sessions (5s)",
        ),
        (
            builder().owner_limit(OwnerLimit::refuse(0)),
            "an owner's limit of 0 entries: use 1 to 64",
        ),
        (builder().owner_limit(OwnerLimit::remove_oldest(65)), "an owner's limit of 65 entries"),
        (builder().anonymous(AnonymousSessions::new(0)), "a limit of zero anonymous sessions"),
        (
            builder().rotate_every(Duration::ZERO),
            "`rotate_every` and `live_interval` must not be zero",
        ),
        (
            builder().live_interval(Duration::ZERO),
            "`rotate_every` and `live_interval` must not be zero",
        ),
        (
            builder().rotate_every(GRACE).rotation_grace(GRACE + TICK),
            "`rotation_grace` must not be longer than `rotate_every`",
        ),
        (builder().token_reuse(TokenReuse::EndSession), "needs a `rotation_grace` above zero"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_misconfigured() && !error.is_store_error(), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert!(builder().owner_limit(OwnerLimit::refuse(OwnerLimit::MAX)).build().is_ok());
    assert!(builder().rotate_every(GRACE).rotation_grace(GRACE).build().is_ok());
    assert!(builder().rotation_grace(Timeouts::DEFAULT.idle).build().is_ok());
}

/// The idiom for "never".
#[tokio::test]
async fn longest_durations_never_end_and_never_panic() {
    const NEVER: Duration = Duration::MAX;
    let never = Timeouts::new(NEVER, NEVER);
    for every in [NEVER, NEVER / 16, NEVER - TICK] {
        let world = world_with(|builder| {
            let anonymous = AnonymousSessions::new(10).timeouts(never);
            let builder = builder.timeouts(never).remembered_timeouts(never).anonymous(anonymous);
            let builder = builder.rotate_every(every).rotation_grace(every).live_interval(NEVER);
            builder.token_reuse(TokenReuse::EndSession)
        });
        let manager = &world.manager;
        let visitor = manager.create_anonymous(String::new()).await.unwrap();
        let mut tokens = vec![manager.login(Some(&visitor), ada().remember(true)).await.unwrap()];
        for _ in 0..20 {
            let token = tokens.last().unwrap();
            let session = manager.get(token).await.unwrap().unwrap();
            assert!(session.meets(&StepUp::within(NEVER), world.time.clock().now()));
            assert!(!manager.is_rotation_due(&session));
            let _ = manager.update(token, |name| name.push('!')).await.unwrap();
            let next = world.rotate(token).await;
            let next = manager.reauthenticate(&next, Level::Two).await.unwrap();
            let (next, _) =
                manager.change_credentials(&support::rotated(next), None).await.unwrap();
            tokens.push(support::rotated(next));
        }
        for token in &tokens[..20] {
            assert!(!world.lives(token).await);
        }
        assert!(world.lives(&tokens[20]).await, "the graces never end, so nothing is a theft");
        let manager: Manager<String> =
            Manager::builder(MemoryStore::new()).timeouts(never).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        assert!(manager.get(&token).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn invalid_owner_is_an_error_with_its_reason() {
    let world = world_with(|builder| builder.owned_by(|name: &String| name.clone()));
    for name in ["x".repeat(256), String::from("a\0b"), String::from("\u{1}anonymous 0")] {
        for new in [
            NewSession::new(String::new()).owner(name.as_str()),
            NewSession::new(String::new()).owner(name.clone()),
            NewSession::new(name),
        ] {
            let error = world.manager.create(new).await.unwrap_err();
            assert!(error.is_misconfigured() && !error.is_store_error(), "{error}");
            assert!(error.to_string().contains("owner"), "{error}");
        }
    }
    let token = world.manager.create(NewSession::new(String::from("7")).owner(42)).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert_eq!(session.owner(), Some(&owner("42")), "a number is a name");
}

/// In lists, for new sessions and for older ones that are changed.
#[tokio::test]
async fn recorded_details_follow_the_setting() {
    let device = || {
        let device = Device::new().with_user_agent("curl/8.14.1");
        NewSession::new(String::from("ada"))
            .owner("ada")
            .device(device.with_address([192, 0, 2, 7].into()))
    };
    let store = MemoryStore::<Record<String>>::new();
    let full = Manager::builder(store.clone()).build().unwrap();
    for (detail, address, user_agent) in [
        (Detail::Full, Some([192, 0, 2, 7].into()), Some("curl/8.14.1")),
        (Detail::Short, Some([192, 0, 2, 0].into()), Some("curl/8.0.0")),
        (Detail::None, None, None),
    ] {
        let older = full.create(device()).await.unwrap();
        let manager = Manager::builder(store.clone());
        let manager = manager.address_detail(detail).user_agent_detail(detail).build().unwrap();
        let visitor = manager.create(device()).await.unwrap();
        let _newer = manager.login(Some(&visitor), device()).await.unwrap();
        manager.update(&older, |name| name.push('!')).await.unwrap().unwrap();
        let list = manager.list(&owner("ada")).await.unwrap().sessions;
        assert_eq!(list.len(), 2);
        for session in list {
            let shown = session.device();
            assert_eq!((shown.address(), shown.user_agent()), (address, user_agent), "{detail:?}");
        }
        manager.revoke_owner(&owner("ada")).await.unwrap();

        // A rotation and a proof change a session too.
        let older = full.create(device()).await.unwrap();
        let token = support::rotated(manager.rotate(&older).await.unwrap());
        assert_eq!(manager.peek(&token).await.unwrap().unwrap().device().address(), address);
        manager.revoke_owner(&owner("ada")).await.unwrap();
    }
}
