//! The rules of a session system, as black-box tests. Each names what it stands for.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use kvolt_middleware::{CookiePolicy, Refusal, Session, Sessions};
use kvolt_session::{Manager, Token};
use kvolt_testkit::{Call, ModelStore};
use support::{Client, User, World, router, user};

/// Django CVE-2015-5143, -5963, -5964: visitors fill the store. ASVS 7.6.2.
#[tokio::test]
async fn visitors_cost_the_store_nothing() {
    let world = World::new();
    let mut client = world.client();
    for visit in 0..1_000 {
        client.cookie = Some(format!("__Host-session_id={visit:043}"));
        let answer = client.get("/").await;
        assert_eq!((answer.set_cookies().len(), &*answer.text), (0, "nobody"));
    }
    client.cookie = None;
    for _ in 0..1_000 {
        let answer = client.post("/logout").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0));
    }
    assert_eq!(world.store.len(), 0);
}

/// P13, and no store asked where there is nothing to ask for.
#[tokio::test]
async fn malformed_token_costs_the_store_nothing() {
    let world = World::new();
    let mut client = world.client();
    for value in ["", "x", &"A".repeat(47), &"A".repeat(49), &"%41".repeat(48), &"é".repeat(24)] {
        client.cookie = Some(format!("__Host-session_id={value}"));
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.faults.count_all(), 0);
}

/// P14.
#[tokio::test(start_paused = true)]
async fn silent_store_is_a_503_in_time() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    world.faults.answers_at_once(false);
    world.faults.hold_calls();
    for path in ["/profile", "/"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    world.faults.release();
    assert_eq!(client.get("/profile").await.text, "ada");
}

/// P15, P6: a change that took effect although its answer was lost is an error and no logout.
#[tokio::test]
async fn lost_answer_is_an_error_and_no_logout() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    world.faults.only(&[Call::Replace]);
    world.faults.lose_all_answers(true);
    assert_eq!(client.post("/count").await.status, StatusCode::SERVICE_UNAVAILABLE);
    world.faults.reset();
    assert_eq!(client.get("/profile").await.text, "ada");
}

/// P5.
#[tokio::test]
async fn protected_request_asks_the_store_once() {
    let world = World::new();
    for at_once in [true, false] {
        world.faults.answers_at_once(at_once);
        let mut client = world.client();
        client.post("/login").await;
        // `get_ready` is not a round trip: a store that does I/O has no ready answer.
        let round_trips = || world.faults.count_all() - world.faults.count(Call::GetReady);
        let before = round_trips();
        assert_eq!(client.get("/profile").await.text, "ada");
        assert_eq!(round_trips() - before, usize::from(!at_once));
    }
}

/// An operator must mend a full store; no user is logged out.
#[tokio::test]
async fn full_store_is_a_503() {
    let store = kvolt_cache::MemoryStore::builder().max_entries(1).build();
    let manager = Manager::new(store);
    let mut first = Client::new(router(Sessions::new(manager)));
    first.post("/login").await;
    let answer = first.other().post("/login").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((answer.header("retry-after"), answer.set_cookies().len()), (Some("5"), 0));
    assert_eq!(first.get("/profile").await.text, "ada");
}

/// A browser adds no header by itself, so a token in one can come from any page that was given it.
#[tokio::test]
async fn header_tokens_and_trusted_origins_are_admitted() {
    let world = World::new();
    let mut client = Client::new(router(world.sessions_by("cookie:__Host-id,header:X-Session-ID")));
    let token = world.manager.create(user("ada")).await.unwrap();
    let headers = [("sec-fetch-site", "cross-site"), ("x-session-id", token.expose())];
    assert_eq!(client.send(Method::POST, "/count", &headers).await.status, StatusCode::OK);

    // However it is written, it is what browsers send.
    for origin in ["https://admin.test", "https://Admin.Test", "https://admin.test:443"] {
        let trusting = Sessions::builder(world.manager.clone()).trusted_origin(origin);
        let mut client = Client::new(router(trusting.build().unwrap()));
        client.post("/login").await;
        let headers = [("sec-fetch-site", "cross-site"), ("origin", "https://admin.test")];
        assert_eq!(client.send(Method::POST, "/count", &headers).await.status, StatusCode::OK);
    }
    let nonsense = Sessions::builder(world.manager.clone()).trusted_origin("admin.test/x");
    assert!(nonsense.build().is_err());
}

/// OWASP: only the configured transport is accepted.
#[tokio::test]
async fn token_is_accepted_at_its_source_only() {
    let world = World::new();
    let token = world.manager.create(user("ada")).await.unwrap();
    let token = token.expose();
    let mut client = world.client();
    let bearer = format!("Bearer {token}");
    let others = [
        ("x-session-id", token),
        ("authorization", &bearer),
        ("cookie", &format!("session_id={token}")),
    ];
    assert_eq!(
        client.send(Method::GET, "/profile", &others).await.status,
        StatusCode::UNAUTHORIZED
    );
    let query = format!("/profile?__Host-session_id={token}");
    assert_eq!(client.get(&query).await.status, StatusCode::UNAUTHORIZED);
}

/// poem 3.1: data of others, read and deleted by the key of a session.
#[tokio::test]
async fn token_of_another_namespace_is_unknown() {
    let world = World::new();
    let model = ModelStore::new(world.clock.clock()).within("admin").unwrap();
    let admin: Manager<User> = Manager::builder(model).build().unwrap();
    let token = admin.create(user("ada")).await.unwrap();
    let mut client = world.client();
    client.cookie = Some(format!("__Host-session_id={}", token.expose()));
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    client.post("/logout").await;
    assert!(admin.get(&token).await.unwrap().is_some());
}

/// Tomcat CVE-2023-28708: the backend sees plain HTTP, the cookie is Secure all the same.
#[tokio::test]
async fn cookie_is_secure_behind_a_proxy() {
    let world = World::new();
    let mut client = world.client();
    let headers = [("x-forwarded-proto", "http"), ("forwarded", "proto=http")];
    let login = client.send(Method::POST, "/login", &headers).await;
    assert!(login.set_cookies()[0].contains("; Secure"));

    let plain = CookiePolicy::builder().insecure_plain_http(true).build().unwrap();
    let builder = || Sessions::builder(world.manager.clone()).cookie(plain.clone());
    assert!(builder().build().is_err(), "the default name needs Secure");
    let sessions = builder().lookup("cookie:session_id".parse().unwrap()).build().unwrap();
    let login = Client::new(router(sessions)).post("/login").await;
    assert!(!login.set_cookies()[0].contains("Secure"));
}

#[tokio::test]
async fn redirect_to_sign_in_keeps_the_target() {
    let world = World::new();
    let builder = Sessions::builder(world.manager.clone());
    let sessions = builder.refusal(Refusal::redirect("/login").unwrap()).build().unwrap();
    let private = Router::new()
        .route("/page", get(|session: Session<User>| async move { session.name.clone() }))
        .route_layer(sessions.layer());
    let merely = Router::new()
        .route("/merely", get(|session: Session<User>| async move { session.name.clone() }))
        .route_layer(sessions.layer().optional());
    let app = Router::new().nest("/app", private.merge(merely));
    let mut client = Client::new(app);
    for (path, expected) in [
        ("/app/page?a=b&c=//evil.test", "/login?next=/app/page%3Fa%3Db%26c%3D//evil.test"),
        ("/app/merely", "/login?next=/app/merely"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), Some(expected));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let answer = client.post("/app/page").await;
    assert_eq!(answer.header("location"), Some("/login"), "a form is not sent again");
    assert!(Refusal::redirect("https://evil.test").is_err());
    assert!(Refusal::redirect("//evil.test").is_err());
}

#[tokio::test]
async fn application_can_word_its_refusal() {
    let world = World::new();
    let refusal = Refusal::with(|refused| {
        let mut response =
            Response::new(Bytes::from(format!("{} needs you", refused.request.path())));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let sessions = Sessions::builder(world.manager.clone()).refusal(refusal).build().unwrap();
    let answer = Client::new(router(sessions)).get("/profile").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::IM_A_TEAPOT, "/profile needs you"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// rack-session CVE-2025-46336, connect-redis, actix-session 0.11: restored by a save in flight.
#[tokio::test]
async fn logout_is_never_undone_by_a_slow_request() {
    let world = World::new();
    world.faults.answers_at_once(false);
    let mut client = world.client();
    client.post("/login").await;
    let cookie = client.cookie.clone();
    for path in ["/count", "/rotate", "/profile"] {
        client.cookie = None;
        client.post("/login").await;
        let mut slow = client.other();
        slow.cookie.clone_from(&client.cookie);
        world.faults.hold_answers();
        let method = if path == "/profile" { Method::GET } else { Method::POST };
        let in_flight = tokio::spawn(async move {
            let answer = slow.send(method, path, &[]).await;
            (answer.status, answer.set_cookies().len(), slow.cookie)
        });
        world.faults.until_waiting(1).await;
        let token =
            Token::parse(&client.cookie.as_ref().unwrap()["__Host-session_id=".len()..]).unwrap();
        // The logout takes the way past the held answers.
        Manager::builder(world.store.clone()).build().unwrap().logout(&token).await.unwrap();
        world.faults.release();
        let (status, cookies, _) = in_flight.await.unwrap();
        // It had been let in before; what it changes comes too late.
        let expected = if path == "/profile" { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!((status, cookies), (expected, 0), "{path}");
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    client.cookie = cookie;
    client.post("/logout").await;
    assert_eq!(world.store.len(), 0);
}

#[tokio::test]
async fn invalid_settings_are_errors_at_start_up() {
    let world = World::new();
    let builder = || Sessions::builder(world.manager.clone());
    let below = CookiePolicy::builder().path("/app").build().unwrap();
    assert!(builder().cookie(below).build().is_err());
    assert!(builder().store_timeout(Duration::ZERO).build().is_err());
    let error = builder()
        .lookup("cookie:__Host-a".parse().unwrap())
        .cookie(CookiePolicy::builder().insecure_plain_http(true).build().unwrap())
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("without Secure"), "{error}");
}

/// `Clear-Site-Data`.
#[test]
fn logout_can_clear_site_data() {
    let response = (kvolt_middleware::clear_site_data(), "out").into_response();
    assert_eq!(response.headers()["clear-site-data"], "\"cache\", \"storage\"");
}

#[tokio::test]
async fn change_costs_one_more_store_call() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    world.faults.reset();
    world.faults.answers_at_once(false);
    assert_eq!(client.get("/profile").await.text, "ada");
    assert_eq!((world.faults.count(Call::Get), world.faults.count(Call::Replace)), (1, 0));
    for expected in ["1", "2"] {
        assert_eq!(client.post("/count").await.text, expected);
    }
    assert_eq!((world.faults.count(Call::Get), world.faults.count(Call::Replace)), (3, 2));
}
