//! The use of a session, where the store must know of it.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvolt_session::Access;
use kvolt_testkit::Call;
use support::{GRACE, IDLE, Log, TICK, World, ada, world_with};

/// A store that is asked over a network.
fn remote() -> World {
    let world = world_with(|builder| builder.rotation_grace(GRACE));
    world.faults.answers_at_once(false);
    world
}

#[tokio::test]
async fn only_the_session_s_own_token_slides_it() {
    let world = remote();
    let manager = &world.manager;
    let old = manager.create(ada()).await.unwrap();
    let token = world.rotate(&old).await;
    world.time.advance(GRACE / 2);
    assert!(manager.get(&old).await.unwrap().is_some());
    assert!(manager.update(&old, |name| name.push('!')).await.unwrap().is_some());
    assert!(manager.peek(&token).await.unwrap().is_some());
    assert!(manager.read(&token, Access::PEEK, String::len).await.unwrap().is_some());
    assert_eq!(world.faults.count(Call::Touch), 0);
    for _ in 0..2 {
        world.time.advance(TICK);
        let session = manager.get(&token).await.unwrap().unwrap();
        assert_eq!(session.last_seen(), world.time.clock().now());
        assert_eq!(session.expires_at(), session.last_seen().saturating_add(IDLE));
    }
    assert_eq!(world.faults.count(Call::Touch), 2);
}

/// It was live when it was read, and has ended since.
#[tokio::test]
async fn session_that_ends_before_its_slide_is_refused() {
    let world = Arc::new(remote());
    let token = world.manager.create(ada()).await.unwrap();
    world.time.advance(IDLE / 2);
    world.faults.only(&[Call::Touch]);
    world.faults.hold_calls();
    let used = {
        let (world, token) = (Arc::clone(&world), token.clone());
        tokio::spawn(async move { world.manager.get(&token).await.unwrap() })
    };
    world.faults.until_waiting(1).await;
    assert!(world.manager.logout(&token).await.unwrap());
    world.faults.release();
    assert!(used.await.unwrap().is_none());
    assert_eq!(world.store.len(), 0);
}

/// A store that is full, or read-only, must not sign everyone out within one idle time.
#[tokio::test]
async fn failed_slide_lets_requests_in_and_is_logged() {
    let world = remote();
    let token = world.manager.create(ada()).await.unwrap();
    let before = world.manager.peek(&token).await.unwrap().unwrap();
    world.faults.only(&[Call::Touch]);
    world.faults.fail_all(true);
    let log = Log::default();
    let _logged = tracing::subscriber::set_default(log.subscriber(tracing::Level::WARN));
    for minute in 1..=3 {
        for _ in 0..100 {
            world.time.advance(TICK);
            let session = world.manager.get(&token).await.unwrap().unwrap();
            assert_eq!(session.expires_at(), before.expires_at(), "with the old deadlines");
        }
        let lines = log.lines_with("could not extend a session");
        assert_eq!(lines, minute, "once a minute: {}", log.text());
        world.time.advance(Duration::from_secs(60));
    }
    world.faults.fail_all(false);
    let session = world.manager.get(&token).await.unwrap().unwrap();
    assert_eq!(session.last_seen(), world.time.clock().now());
}
