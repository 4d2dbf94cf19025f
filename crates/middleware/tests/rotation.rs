//! Tokens that the layer changes when they are old enough, and how long clients keep them.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use kvolt_middleware::{CookiePolicy, Result, Session, SessionHandle, Sessions};
use kvolt_session::{AnonymousSessions, Level, StepUp, Timeouts, Token};
use kvolt_testkit::Call;
use support::{Answer, Client, IDLE, User, World, router, user};

const EVERY: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Timeouts = Timeouts::new(DAY.saturating_mul(7), DAY.saturating_mul(30));

fn rotating() -> World {
    World::with(|builder| builder.rotate_every(EVERY).rotation_grace(GRACE))
}

fn both() -> [World; 2] {
    [true, false].map(|at_once| {
        let world = rotating();
        world.faults.answers_at_once(at_once);
        world
    })
}

async fn signed_in(world: &World) -> Client {
    let mut client = world.client();
    client.post("/login").await;
    client
}

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

#[tokio::test]
async fn due_token_is_rotated_once() {
    for world in both() {
        for (method, path) in [
            (Method::GET, "/profile"),
            (Method::GET, "/"),
            (Method::POST, "/count"),
            (Method::HEAD, "/profile"),
        ] {
            let mut client = signed_in(&world).await;
            let old = client.cookie.clone();
            world.clock.advance(EVERY - TICK);
            assert!(client.send(method.clone(), path, &[]).await.set_cookies().is_empty());
            world.clock.advance(TICK);
            let answer = client.send(method, path, &[]).await;
            assert_eq!(answer.status, StatusCode::OK);
            let [cookie] = answer.set_cookies()[..] else { panic!("one cookie, {path}") };
            assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_ne!(client.cookie, old);
            assert!(client.get("/profile").await.set_cookies().is_empty(), "once");
            world.clock.advance(GRACE);
            let mut late = client.other();
            late.cookie = old;
            assert_eq!(late.get("/profile").await.status, StatusCode::UNAUTHORIZED);
            client.post("/logout").await;
            assert_eq!(world.store.len(), 0);
        }
    }
}

#[tokio::test]
async fn peeking_rotates_no_token() {
    for world in both() {
        let sessions = world.sessions();
        let app = Router::new()
            .merge(Router::new().route("/poll", get(name)).route_layer(sessions.layer().peek()))
            .merge(Router::new().route("/page", get(name)).route_layer(
                sessions.layer().peek_if(|request| request.header("X-Poll").is_some()),
            ));
        let token = world.manager.create(user("ada")).await.unwrap();
        let mut client = Client::with(&app, &token);
        world.clock.advance(EVERY * 2);
        for (path, headers) in [("/poll", &[][..]), ("/page", &[("x-poll", "1")])] {
            let answer = client.send(Method::GET, path, headers).await;
            assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "ada"));
            assert!(answer.set_cookies().is_empty(), "{path}");
        }
        let answer = client.get("/page").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 1));
    }
}

#[tokio::test]
async fn peeking_request_keeps_no_session_alive() {
    for world in both() {
        let layer = world.sessions().layer();
        let layer = layer.peek_if(|request| request.query() == Some("poll"));
        let app = Router::new().route("/page", get(name)).route_layer(layer);
        let token = world.manager.create(user("ada")).await.unwrap();
        let mut client = Client::with(&app, &token);
        world.clock.advance(IDLE - TICK);
        assert_eq!(client.get("/page?poll").await.text, "ada");
        world.clock.advance(TICK);
        assert_eq!(client.get("/page?poll").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// A change counts as use, even in a request that only peeks.
#[tokio::test]
async fn change_counts_as_use_on_peeking_routes() {
    async fn count(mut session: Session<User>) -> Result<String> {
        Ok(session.update(|user| user.count += 1).await?.count.to_string())
    }
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let layer = || world.sessions().layer();
        for layer in [layer(), layer().peek(), layer().peek_if(|_| true)] {
            let app = Router::new().route("/count", post(count)).route_layer(layer);
            let token = world.manager.create(user("ada")).await.unwrap();
            let mut client = Client::with(&app, &token);
            world.clock.advance(IDLE - TICK);
            assert_eq!(client.post("/count").await.text, "1");
            let session = world.manager.peek(&token).await.unwrap().unwrap();
            assert_eq!(session.expires_at().since(world.clock.clock().now()), IDLE);
        }
    }
}

#[tokio::test]
async fn layer_rotates_no_token_of_a_query() {
    for world in both() {
        let sessions = world.sessions_by("query:token,header:X-Session-ID,header:Authorization");
        let mut client = Client::new(router(sessions));
        let token = world.manager.create(user("ada")).await.unwrap();
        world.clock.advance(EVERY);
        let path = format!("/profile?token={}", token.expose());
        let answer = client.get(&path).await;
        assert_eq!(answer.text, "ada");
        assert_eq!((answer.set_cookies().len(), answer.header("x-session-id")), (0, None));
        let answer =
            client.send(Method::GET, "/profile", &[("x-session-id", token.expose())]).await;
        let new = answer.header("x-session-id").unwrap().to_owned();
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 0));
        assert_ne!(new, token.expose());
        world.clock.advance(EVERY);
        let bearer = format!("Bearer {new}");
        let answer = client.send(Method::GET, "/profile", &[("authorization", &bearer)]).await;
        assert!(answer.header("authorization").unwrap().starts_with("Bearer "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_get_one_new_token() {
    for round in 0..40 {
        let world = rotating();
        world.faults.answers_at_once(round % 2 == 0);
        let client = signed_in(&world).await;
        world.clock.advance(EVERY);
        let requests = (0..20).map(|number| {
            let mut client = client.same();
            tokio::spawn(async move {
                let method = if number % 2 == 0 { Method::GET } else { Method::POST };
                let path = if number % 2 == 0 { "/profile" } else { "/count" };
                let answer = client.send(method, path, &[]).await;
                (answer.status, answer.set_cookies().len(), client.cookie)
            })
        });
        let mut new = Vec::new();
        for request in requests.collect::<Vec<_>>() {
            let (status, cookies, cookie) = request.await.unwrap();
            assert_eq!(status, StatusCode::OK);
            if cookies > 0 {
                new.push(cookie);
            }
        }
        let [new] = &new[..] else { panic!("one new token, and not {}", new.len()) };
        let mut client = client.other();
        client.cookie.clone_from(new);
        assert_eq!(client.post("/count").await.text, "11", "no update was lost");
        assert_eq!(world.store.len(), 1);
    }
}

#[tokio::test]
async fn refused_request_changes_no_token() {
    for world in both() {
        let layer = world.sessions().layer().require(StepUp::at_level(Level::Two));
        let app = Router::new().route("/strong", get(name)).route_layer(layer);
        let app = app.merge(router(world.sessions()));
        let token = world.manager.create(user("ada")).await.unwrap();
        let mut client = Client::with(&app, &token);
        world.clock.advance(EVERY);
        let answer = client.get("/strong").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::UNAUTHORIZED, 0));
        let answer = client.get("/profile").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 1));
    }
}

#[tokio::test]
async fn handler_overrides_the_rotation() {
    for world in both() {
        for path in ["/logout", "/deep/down/logout"] {
            let mut client = signed_in(&world).await;
            world.clock.advance(EVERY);
            let answer = client.post(path).await;
            let [cookie] = answer.set_cookies()[..] else { panic!("one cookie") };
            assert!(cookie.contains("Max-Age=0"), "{cookie}");
            assert_eq!((client.cookie, world.store.len()), (None, 0), "{path}");
        }
        for path in ["/login", "/rotate", "/rotate-and-fail", "/revoke-others", "/count"] {
            let mut client = signed_in(&world).await;
            world.clock.advance(EVERY);
            let answer = client.post(path).await;
            assert_eq!(answer.set_cookies().len(), 1, "{path}");
            world.clock.advance(GRACE);
            assert_eq!(client.get("/profile").await.text, "ada", "{path}");
        }
    }
}

/// A layer within a layer is how several things are asked for at once.
#[tokio::test]
async fn inner_layer_uses_the_rotated_token() {
    async fn login(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("bob")).await?, "in"))
    }
    async fn logout(session: Session<User>) -> Result<impl IntoResponse> {
        Ok((session.logout().await?, "out"))
    }
    for grace in [GRACE, Duration::ZERO] {
        for at_once in [true, false] {
            let world = World::with(|builder| builder.rotate_every(EVERY).rotation_grace(grace));
            world.faults.answers_at_once(at_once);
            let sessions = world.sessions();
            let app = Router::new()
                .route("/name", get(name))
                .route("/login", post(login))
                .route("/logout", post(logout))
                .route_layer(sessions.layer())
                .route_layer(sessions.layer().optional())
                .route_layer(sessions.layer());
            let client = async || {
                let token = world.manager.create(user("ada")).await.unwrap();
                world.clock.advance(EVERY);
                Client::with(&app, &token)
            };
            let mut changed = client().await;
            let answer = changed.get("/name").await;
            assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 1));
            world.clock.advance(GRACE);
            assert_eq!(changed.get("/name").await.text, "ada");

            let mut again = client().await;
            assert_eq!(again.post("/login").await.set_cookies().len(), 1);
            world.clock.advance(GRACE);
            assert_eq!(again.get("/name").await.text, "bob", "the login is not undone");

            let mut out = client().await;
            let answer = out.post("/logout").await;
            assert_eq!((answer.set_cookies().len(), out.cookie), (1, None));
        }
    }
}

/// Two applications' sessions by two cookies, of the same type.
#[tokio::test]
async fn nested_layers_of_other_sessions_are_independent() {
    async fn names(session: Session<User>) -> String {
        session.name.clone()
    }
    let world = rotating();
    let one = world.sessions_by("cookie:__Host-one");
    let other = world.sessions_by("cookie:__Host-other");
    let app =
        Router::new().route("/", get(names)).route_layer(one.layer()).route_layer(other.layer());
    let first = world.manager.create(user("ada")).await.unwrap();
    let second = world.manager.create(user("bob")).await.unwrap();
    world.clock.advance(EVERY);
    let mut client = Client::new(app);
    client.cookie =
        Some(format!("__Host-one={}; __Host-other={}", first.expose(), second.expose()));
    let answer = client.get("/").await;
    assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 2));
    let starts = |start: &str| answer.set_cookies().iter().any(|cookie| cookie.starts_with(start));
    assert!(starts("__Host-one=") && starts("__Host-other="));
}

#[tokio::test(start_paused = true)]
async fn failed_rotation_fails_no_request() {
    for world in both() {
        let mut client = signed_in(&world).await;
        let old = client.cookie.clone();
        world.clock.advance(EVERY);
        world.faults.only(&[Call::Replace]);
        world.faults.fail_all(true);
        for _ in 0..3 {
            let answer = client.get("/profile").await;
            assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 0));
        }
        world.faults.fail_all(false);
        world.faults.hold_calls();
        let answer = client.get("/profile").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 0), "one that hangs");
        world.faults.release();
        world.faults.lose_next_answers(1);
        let answer = client.get("/profile").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("ada", 1), "an answer is lost");
        assert_eq!(client.get("/profile").await.text, "ada");
        client.cookie = old;
        assert_eq!(client.get("/profile").await.text, "ada", "in its grace");
    }
}

/// The store fails between the change and what the handler does.
#[tokio::test]
async fn new_token_survives_a_failing_store() {
    let world = rotating();
    world.faults.answers_at_once(false);
    let mut client = signed_in(&world).await;
    world.clock.advance(EVERY);
    world.faults.only(&[Call::Replace]);
    world.faults.hold_answers();
    let mut slow = client.same();
    let request = tokio::spawn(async move {
        let answer = slow.post("/count").await;
        (answer.status, answer.set_cookies().len(), slow.cookie)
    });
    world.faults.until_waiting(1).await;
    world.faults.only(&[Call::Replace, Call::Get]);
    world.faults.fail_next(1);
    world.faults.release();
    let (status, cookies, cookie) = request.await.unwrap();
    assert_eq!((status, cookies), (StatusCode::SERVICE_UNAVAILABLE, 1));
    client.cookie = cookie;
    assert_eq!(client.post("/count").await.text, "1");
}

#[tokio::test]
async fn visitor_token_is_rotated_on_visitor_routes() {
    for at_once in [true, false] {
        let world = World::with(|builder| {
            let builder = builder.rotate_every(EVERY).rotation_grace(GRACE);
            builder.anonymous(AnonymousSessions::new(10))
        });
        world.faults.answers_at_once(at_once);
        async fn perhaps(session: Option<Session<User>>) -> String {
            session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
        }
        let layer = || world.sessions().layer().optional();
        let app = Router::new()
            .merge(Router::new().route("/", get(perhaps)).route_layer(layer()))
            .merge(Router::new().route("/shop", get(perhaps)).route_layer(layer().anonymous()));
        let visitor = User { name: String::from("visitor"), count: 0 };
        let token = world.manager.create_anonymous(visitor).await.unwrap();
        let mut client = Client::with(&app, &token);
        world.clock.advance(EVERY);
        let answer = client.get("/").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("nobody", 0));
        let answer = client.get("/shop").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("visitor", 1));
    }
}

fn max_age(answer: &Answer) -> Option<u64> {
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie") };
    let (_, after) = cookie.split_once("; Max-Age=")?;
    Some(after.split(';').next().unwrap().parse().unwrap())
}

/// An application in which one may ask to be remembered.
fn remembering(sessions: &Sessions<User>) -> Router {
    async fn login(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("ada")).await?, "in"))
    }
    async fn remember(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("ada").remember(true)).await?, "in"))
    }
    async fn again(session: Session<User>) -> Result<impl IntoResponse> {
        Ok((session.reauthenticate(Level::One).await?, "again"))
    }
    async fn rotate(session: Session<User>) -> Result<impl IntoResponse> {
        Ok((session.rotate().await?, "rotated"))
    }
    async fn change(session: Session<User>) -> Result<impl IntoResponse> {
        session.change_credentials(None).await?;
        Ok("changed")
    }
    async fn logout(session: Session<User>) -> Result<impl IntoResponse> {
        Ok((session.logout().await?, "out"))
    }
    Router::new()
        .route("/name", get(name))
        .route("/again", post(again))
        .route("/rotate", post(rotate))
        .route("/change", post(change))
        .route("/logout", post(logout))
        .route("/login", post(login))
        .route("/remember", post(remember))
        .route_layer(sessions.layer().optional())
}

#[tokio::test]
async fn remembered_cookie_lasts_as_long_as_its_session() {
    for at_once in [true, false] {
        let world = World::with(|builder| {
            builder.rotate_every(DAY).rotation_grace(GRACE).remembered_timeouts(MONTH)
        });
        world.faults.answers_at_once(at_once);
        let mut client = Client::new(remembering(&world.sessions()));
        assert_eq!(max_age(&client.post("/login").await), None);
        assert_eq!(max_age(&client.post("/rotate").await), None);
        assert_eq!(max_age(&client.post("/remember").await), Some(30 * 86_400));
        world.clock.advance(DAY);
        assert_eq!(max_age(&client.get("/name").await), Some(29 * 86_400), "by the layer");
        world.clock.advance(DAY / 2);
        assert_eq!(max_age(&client.post("/rotate").await), Some(57 * 43_200));
        assert_eq!(max_age(&client.post("/change").await), Some(57 * 43_200));
        assert_eq!(max_age(&client.post("/again").await), Some(30 * 86_400), "both start anew");
        assert_eq!(max_age(&client.post("/logout").await), Some(0));
        assert_eq!(max_age(&client.post("/login").await), None);
        assert_eq!(max_age(&client.post("/again").await), None);
    }
}

#[tokio::test]
async fn cookie_lasts_as_long_as_the_chosen_lifetime() {
    const HOUR: Duration = Duration::from_secs(3_600);
    async fn week(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("ada").remember(true).lifetime(7 * DAY)).await?, "in"))
    }
    async fn year(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("ada").remember(true).lifetime(365 * DAY)).await?, "in"))
    }
    async fn hour(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
        Ok((handle.login(user("ada").lifetime(HOUR)).await?, "in"))
    }
    let world = World::with(|builder| builder.remembered_timeouts(MONTH));
    let sessions = world.sessions();
    let router = Router::new()
        .route("/week", post(week))
        .route("/year", post(year))
        .route("/hour", post(hour))
        .route_layer(sessions.layer().optional())
        .merge(remembering(&sessions));
    let mut client = Client::new(router);
    assert_eq!(max_age(&client.post("/week").await), Some(7 * 86_400));
    world.clock.advance(DAY);
    assert_eq!(max_age(&client.post("/rotate").await), Some(6 * 86_400));
    assert_eq!(max_age(&client.post("/again").await), Some(7 * 86_400), "both start again");
    assert_eq!(max_age(&client.post("/year").await), Some(30 * 86_400), "the policy's");
    assert_eq!(max_age(&client.post("/hour").await), None, "until the browser closes");
}

#[tokio::test]
async fn persistent_policy_keeps_all_cookies() {
    let world = World::with(|builder| builder.remembered_timeouts(MONTH));
    let cookie = CookiePolicy::builder().persistent(true).build().unwrap();
    let sessions = Sessions::builder(world.manager.clone()).cookie(cookie).build().unwrap();
    let mut client = Client::new(remembering(&sessions));
    assert_eq!(max_age(&client.post("/login").await), Some(12 * 3_600));
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(max_age(&client.post("/rotate").await), Some(12 * 3_600 - 60));
    assert_eq!(max_age(&client.post("/remember").await), Some(30 * 86_400));
}

/// NIST SP 800-63B-4: the server never relies on cookie expiry.
#[tokio::test]
async fn cookie_does_not_outlive_its_session() {
    let world = World::with(|builder| builder.remembered_timeouts(MONTH));
    let mut client = Client::new(remembering(&world.sessions()));
    client.post("/remember").await;
    world.clock.advance(MONTH.idle);
    assert_eq!(client.get("/name").await.status, StatusCode::UNAUTHORIZED);
    let token = Token::parse(&client.cookie.unwrap()["__Host-session_id=".len()..]).unwrap();
    assert!(world.manager.peek(&token).await.unwrap().is_none());
}
