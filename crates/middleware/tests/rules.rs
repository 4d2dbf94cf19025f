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

/// Fixation (passport CVE-2022-25896, fiber CVE-2024-38513, axum_session and ruts at login).
#[tokio::test]
async fn chosen_token_is_never_adopted() {
    let world = World::new();
    let mut client = world.client();
    let chosen = format!("__Host-session_id={}", "A".repeat(48));
    for path in ["/login", "/nested/login"] {
        client.cookie = Some(chosen.clone());
        client.post(path).await;
        assert_ne!(client.cookie.as_deref(), Some(&*chosen));
        let mut attacker = client.other();
        attacker.cookie = Some(chosen.clone());
        assert_eq!(attacker.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// ASVS 7.2.4, WSTG-SESS-03.
#[tokio::test]
async fn cookies_saved_before_a_login_are_worthless() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    let mut saved = client.other();
    saved.cookie.clone_from(&client.cookie);
    client.post("/login").await;
    assert_eq!(saved.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/profile").await.text, "ada");
}

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

/// P13.
#[tokio::test]
async fn unchanged_session_sets_no_cookie() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(60));
        assert!(client.get("/profile").await.set_cookies().is_empty());
        assert!(client.post("/count").await.set_cookies().is_empty());
    }
}

/// Flask CVE-2023-30861, Django CVE-2014-1418.
#[tokio::test]
async fn session_response_is_not_cached() {
    let world = World::new();
    let mut client = world.client();
    let anonymous = client.get("/").await;
    assert_eq!(anonymous.header("vary"), Some("cookie"));
    assert_eq!(anonymous.header("cache-control"), None, "this one depends on there being none");
    let refused = client.get("/profile").await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(refused.header("vary"), Some("cookie"));
    for answer in [client.post("/login").await, client.get("/").await, client.post("/count").await]
    {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("vary"), Some("cookie"));
    }
    let logout = client.post("/logout").await;
    assert_eq!(logout.header("cache-control"), Some("no-store"));
}

/// P14: Django's cache backend, Express and ASP.NET turn an outage into anonymity.
#[tokio::test]
async fn store_outage_is_a_503_and_no_logout() {
    let world = World::new();
    for at_once in [true, false] {
        world.faults.answers_at_once(at_once);
        let mut client = world.client();
        client.post("/login").await;
        let cookie = client.cookie.clone();
        world.faults.fail_all(true);
        for (method, path) in [
            (Method::GET, "/profile"),
            (Method::GET, "/"),
            (Method::POST, "/count"),
            (Method::POST, "/deep/down/logout"),
            (Method::POST, "/login"),
            (Method::POST, "/nested/login"),
        ] {
            let answer = client.send(method, path, &[]).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
            assert!(answer.set_cookies().is_empty(), "{path}");
            assert!(answer.is_text() && !answer.text.contains("store"), "{}", answer.text);
        }
        world.faults.fail_all(false);
        assert_eq!(client.cookie, cookie);
        assert_eq!(client.get("/profile").await.text, "ada");
    }
}

/// P14, a visitor without a token does not need the store.
#[tokio::test]
async fn store_outage_does_not_affect_visitors() {
    let world = World::new();
    world.faults.fail_all(true);
    let mut client = world.client();
    assert_eq!(client.get("/").await.text, "nobody");
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
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

/// ASVS 3.5.1 to 3.5.3.
#[tokio::test]
async fn cross_site_request_changes_no_state() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://app.test")],
    ] {
        for path in ["/count", "/login", "/logout", "/deep/down/logout", "/nested/login"] {
            let answer = client.send(Method::POST, path, headers).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
        // Reading is harmless: links on other sites lead here.
        assert_eq!(client.send(Method::GET, "/profile", headers).await.text, "ada");
    }
    for headers in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "none")],
        &[("origin", "http://app.test")],
        &[("origin", "https://app.test:443")],
        &[],
    ] {
        assert_eq!(client.send(Method::POST, "/count", headers).await.status, StatusCode::OK);
    }
}

/// ASVS 3.5.3: which methods change state.
#[tokio::test]
async fn only_safe_methods_are_admitted_cross_site() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    let foreign = [("sec-fetch-site", "cross-site")];
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(client.send(method, "/profile", &foreign).await.status, StatusCode::OK);
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = client.send(method, "/profile", &foreign).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
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

/// Cross-site WebSocket hijacking (CWE-1385): a handshake is a `GET`.
#[tokio::test]
async fn cross_site_websocket_is_rejected() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    let upgrade = ("upgrade", "websocket");
    for foreign in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")] {
        let answer = client.send(Method::GET, "/profile", &[upgrade, foreign]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{foreign:?}");
    }
    for own in [("origin", "http://app.test"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(client.send(Method::GET, "/profile", &[upgrade, own]).await.text, "ada");
    }
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

/// RFC 6265bis: the order of cookies has no meaning, so conflicting ones are rejected.
#[tokio::test]
async fn two_cookies_of_one_name_are_rejected() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    let good = client.cookie.clone().unwrap();
    let other = format!("__Host-session_id={}", "A".repeat(48));
    for cookie in [
        format!("{good}; {other}"),
        format!("{other}; {good}"),
        format!("{good}; __Host-session_id="),
    ] {
        client.cookie = Some(cookie);
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    }
    client.cookie = Some(format!("{good}; {good}"));
    assert_eq!(client.get("/profile").await.text, "ada");
}

/// TYPO3 CVE-2021-21339, Rack CVE-2019-16782.
#[tokio::test]
async fn stored_key_is_not_a_token() {
    let world = World::new();
    let token = world.manager.create(user("ada")).await.unwrap();
    let id = token.id().to_string();
    assert!(Token::parse(&id).is_none());
    let mut client = world.client();
    for value in [id.clone(), id.repeat(2)] {
        client.cookie = Some(format!("__Host-session_id={value}"));
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    }
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
async fn only_browsers_are_redirected() {
    let world = World::new();
    let builder = Sessions::builder(world.manager.clone());
    let refusal = Refusal::redirect_browsers("/login").unwrap();
    let mut client = Client::new(router(builder.refusal(refusal).build().unwrap()));
    for (accept, expected) in [
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", 303),
        ("application/json, Text/HTML;q=0.1", 303),
        ("*/*", 401),
        ("application/json", 401),
        ("text/html-not", 401),
    ] {
        let answer = client.send(Method::GET, "/profile", &[("accept", accept)]).await;
        assert_eq!(answer.status.as_u16(), expected, "{accept}");
    }
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

/// Peeking does not count as use.
#[tokio::test]
async fn peeking_route_keeps_no_session_alive() {
    let world = World::new();
    let sessions = world.sessions();
    let app = Router::new()
        .route("/poll", get(|session: Session<User>| async move { session.name.clone() }))
        .route_layer(sessions.layer().peek())
        .merge(router(sessions));
    let mut client = Client::new(app);
    client.post("/login").await;
    for _ in 0..10 {
        assert_eq!(client.get("/poll").await.text, "ada");
        world.clock.advance(support::IDLE / 10);
    }
    assert_eq!(client.get("/poll").await.status, StatusCode::UNAUTHORIZED);
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

#[tokio::test]
async fn owner_limit_is_a_409() {
    let limit = kvolt_session::OwnerLimit::refuse(2);
    let world = World::with(|builder| builder.owner_limit(limit));
    let mut clients: Vec<Client> = (0..3).map(|_| world.client()).collect();
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(client.post("/login").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 409]);
    assert_eq!(clients[0].post("/login").await.status, StatusCode::OK, "one's own is replaced");
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
