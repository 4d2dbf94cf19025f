//! The move of a session from another library.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;

use axum::http::StatusCode;
use kvolt_bridge::{ActixSessionCookies, Bridge, OldCookie, OldSession};
use kvolt_cache::{ManualClock, MemoryStore, Store, Timestamp};
use kvolt_middleware::Sessions;
use kvolt_session::{Manager, NewSession, OwnerLimit};
use kvolt_testkit::Call;
use serde_json::json;
use support::{Jar, MINUTE, NEW, Server, World, router, send};
use tokio::sync::Semaphore;

#[test]
fn client_stays_signed_in_and_the_old_session_ends() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");

    let first = jar.send(&server, "GET", "/strict");
    assert_eq!((first.status, &*first.text), (StatusCode::OK, "ada"));
    assert_eq!((first.cookies.len(), &*first.cookies[0].0), (1, NEW));
    assert_eq!((world.old.len(), jar.0.len()), (1, 2));

    // The new cookie comes back: the old session ends, and its cookie.
    let second = jar.send(&server, "POST", "/shout");
    assert_eq!(second.text, "ada!");
    assert_eq!(second.cookies, [(String::from("id"), String::new())]);
    assert_eq!((world.old.len(), jar.0.len(), world.asked()), (0, 1, 1));

    let third = jar.send(&server, "GET", "/");
    assert_eq!((&*third.text, third.cookies.len()), ("ada!", 0));
    assert_eq!(world.sessions.len(), 1);
}

#[test]
fn moved_session_is_no_recent_authentication() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    let answer = jar.send(&server, "GET", "/fresh");
    assert_ne!(answer.status, StatusCode::OK, "{answer:?}");

    // The application knows when the user signed in.
    for (minutes_ago, status) in [(4, StatusCode::OK), (6, answer.status)] {
        let at = world.clock.clock().now().saturating_sub(minutes_ago * MINUTE);
        let old = [("user", json!("ada")), ("signed_in", json!(at.as_millis()))];
        let id = format!("old-since-{minutes_ago}");
        world.old.put(&id, old.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
        let mut jar = Jar::old(&id);
        assert_eq!(jar.name(&server), "ada");
        assert_eq!(jar.send(&server, "GET", "/fresh").status, status);
    }
}

#[test]
fn parallel_first_requests_on_two_servers_share_one_session() {
    let world = World::new();
    let servers = [world.server(), world.server()];
    for visitor in 0..50 {
        let id = format!("old-{visitor}");
        world.old.sign_in(&id, &format!("user-{visitor}"));
        let jar = Jar::old(&id);
        let requests: Vec<_> = (0..10)
            .map(|at| {
                let (app, jar) = (servers[at % 2].app.clone(), jar.clone());
                servers[at % 2].runtime.spawn(async move { send(app, "GET", "/", &jar).await })
            })
            .collect();
        let answers: Vec<_> = requests
            .into_iter()
            .map(|request| servers[0].runtime.block_on(request).unwrap())
            .collect();
        assert_eq!(answers[0].text, format!("user-{visitor}"));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    assert_eq!((world.sessions.len(), world.asked()), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn slow_conversion_is_asked_once() {
    let mut world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    world.gate = Some(Arc::clone(&gate));
    let server = || {
        world.server_of(
            |manager| manager.owner_limit(OwnerLimit::remove_oldest(1)),
            |bridge| bridge,
            |sessions| sessions,
        )
    };
    let servers = [server(), server()];
    world.old.sign_in("old-1", "ada");
    let jar = Jar::old("old-1");
    let requests: Vec<_> = (0..10)
        .map(|at| {
            let (app, jar) = (servers[at % 2].app.clone(), jar.clone());
            tokio::spawn(async move { send(app, "GET", "/", &jar).await })
        })
        .collect();
    for _ in 0..50 {
        tokio::time::sleep(MINUTE / 600).await;
        world.clock.advance(MINUTE / 600);
    }
    assert_eq!(world.asked(), 1);
    gate.add_permits(10);
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((&*answers[0].text, world.asked(), world.sessions.len()), ("ada", 1, 1));
    let mut jar = jar;
    jar.store(&answers[0]);
    assert_eq!(send(servers[0].app.clone(), "GET", "/", &jar).await.text, "ada");
    servers.into_iter().for_each(Server::crash);
}

#[test]
fn sign_out_in_the_first_request_is_one() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.send(&server, "POST", "/logout").status, StatusCode::OK);
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((world.old.len(), jar.0.len(), world.sessions.len()), (0, 0, 0));
    assert_eq!(world.markers().last().unwrap(), "token");
}

#[test]
fn spent_cookie_is_removed_from_the_browser() {
    let world = World::new();
    let server = world.server();
    for (id, signs_out) in [("old-1", false), ("old-2", true)] {
        world.old.sign_in(id, "ada");
        let (mut jar, mut other) = (Jar::old(id), Jar::old(id));
        assert_eq!(jar.name(&server), "ada");
        if signs_out {
            assert!(world.old.sign_out(id));
        }
        world.clock.advance(MINUTE);
        let answer = other.send(&server, "GET", "/");
        assert_eq!((&*answer.text, other.0.len()), ("nobody", 0), "{answer:?}");
        assert_eq!(answer.caching.as_deref(), Some("no-store"));
        // Another copy of it costs the old store no write.
        let before = world.old.removals();
        assert_eq!(Jar::old(id).name(&server), "nobody");
        assert_eq!(world.old.removals(), before);
    }
}

#[test]
fn record_that_is_no_session_is_never_removed() {
    let world = World::new();
    let server = world.server();
    let mut jar = Jar::default();
    assert_eq!(jar.send(&server, "POST", "/login").status, StatusCode::OK);
    world.old.sign_in("old-1", "something else");
    world.old.spoil();
    jar.0.insert("id".to_owned(), "old-1".to_owned());
    for _ in 0..3 {
        assert_eq!(jar.name(&server), "bob");
        assert_eq!(Jar::old("old-1").name(&server), "nobody");
        jar.0.insert("id".to_owned(), "old-1".to_owned());
    }
    assert_eq!((world.old.len(), world.old.removals()), (1, 0));
    assert_eq!(world.markers(), ["spent"]);
}

/// The cookie of the crate `cookie` that is signed with 64 bytes of 7, by Python's `hmac`.
const SIGNED: &str = r#"o5j5//TqIOHaGCtrcLAU2KXtNsIEbO96HdfoPKFrGfQ={"user":"\"ada\""}"#;

#[tokio::test]
async fn each_client_with_a_signed_cookie_has_a_session() {
    let clock = ManualClock::new();
    let store = || MemoryStore::builder().clock(clock.clock()).build();
    let manager = Manager::<String>::new(MemoryStore::builder().clock(clock.clock()).build());
    let until = clock.clock().now().saturating_add(60 * MINUTE);
    let old = ActixSessionCookies::new(OldCookie::signed("id", &[7; 64]).unwrap(), until);
    let bridge = Bridge::builder(&manager, store(), old).build(async |old: OldSession| {
        Ok::<_, serde_json::Error>(old.get::<String>("user")?.map(NewSession::new))
    });
    let sessions = Sessions::builder(manager).bridge(bridge.unwrap()).build().unwrap();
    let app = router(&sessions);
    let name = async |jar: &mut Jar| {
        let answer = send(app.clone(), "GET", "/", jar).await;
        jar.store(&answer);
        answer.text
    };
    let [mut one, mut other, mut last] = [(); 3].map(|()| Jar::old(SIGNED));
    assert_eq!(name(&mut one).await, "ada");
    assert_eq!(name(&mut one).await, "ada");
    assert_eq!(one.0.len(), 1, "the old cookie is removed");
    clock.advance(2 * MINUTE);
    assert_eq!(name(&mut other).await, "ada");
    assert_ne!(one.0[NEW], other.0[NEW]);
    assert_eq!((name(&mut one).await, name(&mut other).await), ("ada".into(), "ada".into()));
    clock.advance(58 * MINUTE);
    assert_eq!(name(&mut last).await, "nobody");
}

#[cfg(feature = "redis")]
#[test]
fn plain_cookies_of_actix_session_are_refused() {
    let manager = Manager::<String>::new(MemoryStore::new());
    let cookies = ActixSessionCookies::new(OldCookie::plain("id"), Timestamp::from_millis(1));
    let redis = kvolt_bridge::ActixSessionRedis::new(no_redis::NoRedis, OldCookie::plain("id"));
    let convert = async |_| Ok::<_, std::convert::Infallible>(None);
    let built = Bridge::builder(&manager, MemoryStore::new(), cookies).build(convert);
    assert!(built.unwrap_err().is_misconfigured());
    let built = Bridge::builder(&manager, MemoryStore::new(), redis).build(convert);
    assert!(built.unwrap_err().is_misconfigured());
}

#[test]
fn lost_answer_signs_no_client_out() {
    let world = World::new();
    let (first, second) = (world.server(), world.server());
    world.old.sign_in("old-1", "ada");
    let jar = Jar::old("old-1");
    let lost = first.send("GET", "/", &jar);
    assert_eq!(second.send("GET", "/", &jar), lost);
    // Also if another answer has arrived, and ended the old session, before this request.
    let mut other = jar.clone();
    assert_eq!(other.name(&first), "ada");
    assert_eq!(other.name(&first), "ada");
    assert_eq!(world.old.len(), 0);
    assert_eq!(second.send("GET", "/", &jar), lost);
    assert_eq!((world.sessions.len(), world.asked()), (1, 1));
}

#[test]
fn old_cookie_is_spent_after_the_handover() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.clone().name(&server), "ada");
    world.clock.advance(MINUTE);
    assert_eq!(jar.clone().name(&server), "nobody");
    assert_eq!(world.old.len(), 0);
    // The other library wrote it back, in a request that was under way.
    world.old.sign_in("old-1", "ada");
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((world.old.len(), world.sessions.len(), world.asked()), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn old_session_ends_after_the_handover_without_a_request() {
    let world = World::new();
    let (app, jar) = (world.server(), Jar::old("old-1"));
    world.old.sign_in("old-1", "ada");
    assert_eq!(send(app.app.clone(), "GET", "/", &jar).await.text, "ada");
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(world.old.len(), 1);
    // The old store fails at first: it is tried again.
    world.old.fail(true);
    tokio::time::sleep(MINUTE).await;
    world.old.fail(false);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.old.len(), 0);
    let page = world.markers.scan(None, 10).await.unwrap();
    let states: Vec<_> = page.listing.entries.into_iter().map(|entry| entry.value).collect();
    assert!(states.contains(&br#"{"state":"spent"}"#.to_vec()), "{states:?}");
    app.crash();
}

#[test]
fn return_of_the_new_cookie_alone_ends_the_old_session() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    let mut jar = jar.new_cookie();
    assert_eq!((jar.name(&server).as_str(), world.old.len()), ("ada", 0));
    // From then on, a request reads the markers once, and after two minutes not at all.
    let reads = || server.faults.count(Call::Get);
    let before = reads();
    assert_eq!((jar.name(&server).as_str(), reads() - before), ("ada", 1));
    world.clock.advance(2 * MINUTE);
    assert_eq!((jar.name(&server).as_str(), reads() - before), ("ada", 1));
}

#[test]
fn sign_out_on_the_old_side_stays_a_sign_out() {
    for has_old_cookie in [true, false] {
        let world = World::new();
        let servers = [world.server(), world.server()];
        world.old.sign_in("old-1", "ada");
        let mut jar = Jar::old("old-1");
        assert_eq!(jar.name(&servers[0]), "ada");
        assert!(world.old.sign_out("old-1"));
        let mut jar = if has_old_cookie { jar } else { jar.new_cookie() };
        assert_eq!(jar.clone().name(&servers[1]), "nobody");
        assert_eq!(jar.name(&servers[0]), "nobody");
        assert_eq!(world.sessions.len(), 0);
    }
}

#[test]
fn sign_out_on_the_old_side_is_seen_by_the_old_cookie_alone() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    let mut new = jar.clone();
    assert_eq!(new.name(&server), "ada");
    assert!(world.old.sign_out("old-1"));
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((new.new_cookie().name(&server).as_str(), world.sessions.len()), ("nobody", 0));
}

#[test]
fn sign_out_on_the_new_side_is_not_undone_by_the_old_cookie() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    assert_eq!(jar.new_cookie().send(&server, "POST", "/logout").status, StatusCode::OK);
    assert_eq!(Jar::old("old-1").name(&server), "nobody");
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((world.sessions.len(), world.old.len(), world.asked()), (0, 0, 1));
}

#[test]
fn parallel_returns_are_no_sign_out() {
    let world = World::new();
    let servers = [world.server(), world.server()];
    for visitor in 0..50 {
        let id = format!("old-{visitor}");
        world.old.sign_in(&id, "ada");
        let mut jar = Jar::old(&id);
        assert_eq!(jar.name(&servers[0]), "ada");
        let requests: Vec<_> = (0..10)
            .map(|at| {
                let jar = if at < 5 { jar.clone() } else { jar.new_cookie() };
                let app = servers[at % 2].app.clone();
                servers[at % 2].runtime.spawn(async move { send(app, "GET", "/", &jar).await })
            })
            .collect();
        for request in requests {
            assert_eq!(servers[0].runtime.block_on(request).unwrap().text, "ada");
        }
        assert_eq!(jar.name(&servers[1]), "ada");
    }
    assert_eq!((world.sessions.len(), world.old.len()), (50, 0));
}

#[test]
fn old_session_of_a_client_that_signs_in_is_ended() {
    let world = World::new();
    let server = world.server();
    // A visitor: the application wants no session.
    world.old.put("old-1", OldSession::from_iter([(String::from("theme"), json!("dark"))]));
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((world.asked(), world.old.len()), (1, 1));
    assert_eq!(jar.send(&server, "POST", "/login").status, StatusCode::OK);
    // The other library signs the same session in.
    world.old.sign_in("old-1", "eve");
    assert_eq!(jar.name(&server), "bob");
    assert_eq!((jar.0.len(), world.old.len()), (1, 0));
    assert_eq!(jar.send(&server, "POST", "/logout").status, StatusCode::OK);
    assert_eq!(Jar::old("old-1").name(&server), "nobody");
}

#[test]
fn unknown_old_cookies_cost_no_write() {
    let world = World::new();
    let server = world.server();
    for cookie in ["old-unknown", "malformed", "", &"x".repeat(5_000)] {
        let answer = server.send("GET", "/", &Jar::old(cookie));
        assert_eq!((&*answer.text, answer.cookies.len()), ("nobody", 0), "{cookie}");
    }
    assert_eq!((world.markers.len(), world.sessions.len(), world.asked()), (0, 0, 0));
}

#[test]
fn expired_old_session_is_not_taken_over() {
    let world = World::new();
    let server = world.server();
    let end = world.clock.clock().now().saturating_add(MINUTE);
    let old = OldSession::from_iter([(String::from("user"), json!("ada"))]).expiring_at(end);
    world.old.put("old-1", old.clone());
    world.old.put("old-2", old);
    assert_eq!(Jar::old("old-1").name(&server), "ada");
    world.clock.advance(MINUTE);
    assert_eq!(Jar::old("old-2").name(&server), "nobody");
    assert_eq!(world.asked(), 1);
}

#[test]
fn new_session_ends_with_the_old_one() {
    let world = World::new();
    let (server, sliding) =
        (world.server(), world.server_with(|bridge| bridge.ends_with_old(false)));
    for (at, server) in [&server, &sliding].into_iter().enumerate() {
        let end = world.clock.clock().now().saturating_add(10 * MINUTE);
        let id = format!("old-{at}");
        let old = OldSession::from_iter([(String::from("user"), json!("ada"))]).expiring_at(end);
        world.old.put(&id, old);
        let mut jar = Jar::old(&id);
        assert_eq!(
            (jar.name(server), jar.name(server)),
            (String::from("ada"), String::from("ada"))
        );
        world.clock.advance(10 * MINUTE);
        assert_eq!(jar.name(server), ["nobody", "ada"][at]);
    }
}

#[test]
fn expiry_of_the_old_session_is_no_sign_out() {
    let world = World::new();
    let server = world.server_with(|bridge| bridge.ends_with_old(false));
    let end = world.clock.clock().now().saturating_add(MINUTE / 2);
    let old = OldSession::from_iter([(String::from("user"), json!("ada"))]).expiring_at(end);
    world.old.put("old-1", old);
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    world.clock.advance(MINUTE / 2);
    assert!(world.old.sign_out("old-1"), "the old store has cleaned up");
    assert_eq!((jar.name(&server).as_str(), world.sessions.len()), ("ada", 1));
}

#[test]
fn failing_old_store_is_503_and_signs_no_client_out() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    world.old.fail(true);
    assert_eq!(jar.send(&server, "GET", "/").status, StatusCode::SERVICE_UNAVAILABLE);
    world.old.fail(false);
    assert_eq!(jar.name(&server), "ada");
    world.old.fail(true);
    assert_eq!(jar.send(&server, "GET", "/").status, StatusCode::SERVICE_UNAVAILABLE);
    world.old.fail(false);
    assert_eq!((jar.name(&server).as_str(), world.old.len()), ("ada", 0));
    server.faults.fail_all(true);
    assert_eq!(jar.send(&server, "GET", "/").status, StatusCode::SERVICE_UNAVAILABLE);
    world.clock.advance(2 * MINUTE);
    assert_eq!(jar.name(&server), "ada");
}

#[test]
fn failing_conversion_is_503_and_is_tried_again() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "broken");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.send(&server, "GET", "/").status, StatusCode::SERVICE_UNAVAILABLE);
    world.old.sign_in("old-1", "ada");
    assert_eq!((jar.name(&server).as_str(), world.asked()), ("ada", 2));
}

#[test]
fn unreadable_old_session_is_a_visitor() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    world.old.spoil();
    assert_eq!(Jar::old("old-1").name(&server), "nobody");
    assert_eq!((world.old.len(), world.markers.len()), (1, 0));
}

#[test]
fn store_holds_no_secret_of_a_client() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    let token = jar.0[NEW].clone();
    let page = server.runtime.block_on(world.markers.scan(None, 10)).unwrap();
    assert_eq!(page.listing.entries.len(), 3);
    for entry in page.listing.entries {
        let text = String::from_utf8(entry.value).unwrap();
        assert!(!text.contains("old-1") && !text.contains(&token), "{text}");
    }
    // After the handover, nothing of the token is left, even for a client with the old cookie.
    assert_eq!(jar.name(&server), "ada");
    world.clock.advance(MINUTE);
    assert_eq!(Jar::old("old-1").name(&server), "nobody");
    assert_eq!(world.markers(), ["spent"]);
}

#[test]
fn settings_that_can_not_work_are_refused() {
    let manager = Manager::<String>::new(MemoryStore::new());
    let world = World::new();
    let build = |zero| {
        let builder = Bridge::builder(&manager, MemoryStore::new(), world.old.clone());
        let builder = if zero { builder.handover(std::time::Duration::ZERO) } else { builder };
        builder.build(async |_| Ok::<_, std::convert::Infallible>(None))
    };
    assert!(build(true).unwrap_err().is_misconfigured());
    let bridge = build(false).unwrap();
    let sessions = Sessions::builder(manager.clone());
    let same_name = sessions.lookup("cookie:id".parse().unwrap()).bridge(bridge).build();
    assert!(same_name.unwrap_err().to_string().contains("another name"));
}

#[cfg(feature = "redis")]
mod no_redis {
    use redis::aio::ConnectionLike;
    use redis::{Cmd, Pipeline, RedisFuture, Value};

    #[derive(Clone)]
    pub(super) struct NoRedis;

    impl ConnectionLike for NoRedis {
        fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
            unreachable!("no command is sent")
        }

        fn req_packed_commands<'a>(
            &'a mut self,
            _: &'a Pipeline,
            _: usize,
            _: usize,
        ) -> RedisFuture<'a, Vec<Value>> {
            unreachable!("no command is sent")
        }

        fn get_db(&self) -> i64 {
            0
        }
    }
}
