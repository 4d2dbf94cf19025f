//! Routes that ask for a fresh, or a strong, authentication.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{any, post};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use kvolt_middleware::{Missing, Refusal, Result, Session, Sessions};
use kvolt_session::{AnonymousSessions, Level, StepUp};
use support::{Client, User, World, user};

const FRESH: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(1);

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

async fn perhaps(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

async fn in_the_handler(session: Session<User>) -> Result<&'static str> {
    session.require(StepUp::within(FRESH).and_level(Level::Two))?;
    Ok("done")
}

async fn again(session: Session<User>, Path(level): Path<u8>) -> Result<impl IntoResponse> {
    Ok((session.reauthenticate(Level::from_number(level).unwrap()).await?, "again"))
}

fn app(sessions: &Sessions<User>) -> Router {
    let fresh = StepUp::within(FRESH);
    let strong = StepUp::at_level(Level::Two);
    let layer = || sessions.layer();
    Router::new()
        .merge(Router::new().route("/fresh", any(name)).route_layer(layer().require(fresh)))
        .merge(Router::new().route("/strong", any(name)).route_layer(layer().require(strong)))
        .merge(
            Router::new()
                .route("/both", any(name))
                .route_layer(layer().require(fresh).require(strong)),
        )
        .merge(
            Router::new()
                .route("/nested", any(name))
                .route_layer(layer().require(strong))
                .route_layer(layer().require(fresh)),
        )
        .merge(
            Router::new()
                .route("/merely", any(perhaps))
                .route_layer(layer().optional().require(fresh)),
        )
        .merge(
            Router::new()
                .route("/handler", any(in_the_handler))
                .route("/again/{level}", post(again))
                .route_layer(layer()),
        )
        .merge(
            Router::new()
                .route("/visitors", any(perhaps))
                .route_layer(layer().anonymous().require(fresh)),
        )
        .merge(
            Router::new()
                .route("/merely-visitors", any(perhaps))
                .route_layer(layer().anonymous().optional().require(fresh)),
        )
}

async fn signed_in(world: &World, app: Router) -> Client {
    let token = world.manager.create(user("ada")).await.unwrap();
    Client::with(&app, &token)
}

/// ASVS 7.5.1, 7.5.3.
#[tokio::test]
async fn sensitive_route_needs_recent_authentication() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let mut client = signed_in(&world, app(&world.sessions())).await;
        for path in ["/fresh", "/merely"] {
            assert_eq!(client.get(path).await.text, "ada");
        }
        world.clock.advance(FRESH);
        assert_eq!(client.get("/fresh").await.text, "ada");
        world.clock.advance(TICK);
        for path in ["/fresh", "/merely"] {
            let answer = client.get(path).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(
                answer.text,
                "insufficient_user_authentication: authenticate again, max_age=300, acr_values=1\n"
            );
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("vary"), Some("cookie"));
            assert_eq!(answer.header("www-authenticate"), None, "cookies are no such scheme");
            assert!(answer.set_cookies().is_empty() && answer.is_text());
        }
        let before = client.cookie.clone();
        let answer = client.post("/again/1").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        assert_ne!(client.cookie, before);
        assert_eq!(client.get("/fresh").await.text, "ada");
        client.cookie = before;
        assert_eq!(client.get("/handler").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// An authentication that a handler notes counts in the same handler.
#[tokio::test]
async fn proof_counts_in_the_handler_that_notes_it() {
    async fn prove_and_act(session: Session<User>, Path(level): Path<u8>) -> Result<&'static str> {
        let strong = StepUp::within(FRESH).and_level(Level::Two);
        assert!(session.require(strong).is_err());
        session.reauthenticate(Level::from_number(level).unwrap()).await?;
        session.require(strong)?;
        Ok("done")
    }
    let world = World::new();
    let sessions = world.sessions();
    let app = Router::new()
        .route("/act/{level}", post(prove_and_act))
        .route_layer(sessions.layer().optional())
        .merge(app(&sessions));
    let mut client = signed_in(&world, app).await;
    world.clock.advance(FRESH + TICK);
    assert_eq!(client.post("/act/1").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.post("/act/2").await.text, "done");
    assert_eq!(client.get("/handler").await.text, "done");
    // And for no other request, though its memory is used again.
    let token = world.manager.create(user("bob")).await.unwrap();
    let mut bob = Client::with(&client.app, &token);
    assert_eq!(bob.get("/handler").await.status, StatusCode::UNAUTHORIZED);
    let nobody = bob.other().get("/merely").await;
    assert_eq!((&*nobody.text, nobody.set_cookies().len()), ("nobody", 0));
}

#[tokio::test]
async fn step_up_needs_both_age_and_level() {
    let world = World::new();
    let mut client = signed_in(&world, app(&world.sessions())).await;
    let answer = client.get("/strong").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.text, "insufficient_user_authentication: authenticate again, acr_values=2\n");
    let everywhere = ["/strong", "/both", "/nested", "/handler"];
    client.post("/again/2").await;
    for path in everywhere {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    world.clock.advance(FRESH + TICK);
    client.post("/again/1").await;
    assert_eq!(client.get("/fresh").await.status, StatusCode::OK);
    assert_eq!(client.get("/strong").await.status, StatusCode::OK, "however long ago");
    // A password that is fresh and a second factor that is not.
    for path in ["/both", "/handler"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            answer.text,
            "insufficient_user_authentication: authenticate again, max_age=300, acr_values=2\n"
        );
    }
    client.post("/again/3").await;
    for path in everywhere {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
}

/// RFC 9470, section 3.
#[tokio::test]
async fn bearer_client_is_challenged_for_a_step_up() {
    let world = World::new();
    let mut client = Client::new(app(&world.sessions_by("header:Authorization")));
    let token = world.manager.create(user("ada")).await.unwrap();
    let bearer = format!("Bearer {}", token.expose());
    let headers = [("authorization", &*bearer)];
    world.clock.advance(FRESH + TICK);
    for (path, expected) in [
        ("/fresh", "max_age=\"300\", acr_values=\"1\""),
        ("/strong", "acr_values=\"2\""),
        ("/both", "max_age=\"300\", acr_values=\"2\""),
        ("/handler", "max_age=\"300\", acr_values=\"2\""),
    ] {
        let answer = client.send(Method::GET, path, &headers).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let challenge = answer.header("www-authenticate").unwrap_or("none");
        let expected = format!("Bearer error=\"insufficient_user_authentication\", {expected}");
        assert_eq!(challenge, expected, "{path}");
    }
    let without = client.get("/fresh").await;
    assert_eq!(without.header("www-authenticate"), Some("Bearer"), "that is another matter");
}

fn with_page(world: &World) -> Router {
    let refusal = Refusal::redirect_browsers("/login").unwrap().step_up_page("/again").unwrap();
    let sessions = Sessions::builder(world.manager.clone()).refusal(refusal).build().unwrap();
    Router::new().nest("/app", app(&sessions))
}

const HTML: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

#[tokio::test]
async fn browser_is_redirected_to_step_up() {
    let world = World::new();
    let mut client = signed_in(&world, with_page(&world)).await;
    world.clock.advance(FRESH + TICK);
    let answer = client.send(Method::GET, "/app/fresh?a=b&next=/x", &[HTML]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let expected = "/again?next=/app/fresh%3Fa%3Db%26next%3D/x";
    assert_eq!(answer.header("location"), Some(expected));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let script = client.send(Method::GET, "/app/fresh", &[("accept", "application/json")]).await;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        script.text,
        "{\"error\":\"insufficient_user_authentication\",\"message\":\"authenticate again\",\"max_age\":\"300\",\"acr_values\":\"1\"}\n"
    );
    let nobody = client.other().send(Method::GET, "/app/fresh", &[HTML]).await;
    assert_eq!(nobody.header("location"), Some("/login?next=/app/fresh"), "and not to the other");
    assert!(Refusal::default().step_up_page("https://evil.test").is_err());
    assert!(Refusal::default().step_up_page("//evil.test").is_err());
}

#[tokio::test]
async fn step_up_returns_to_the_page_of_the_form() {
    let world = World::new();
    let mut client = signed_in(&world, with_page(&world)).await;
    world.clock.advance(FRESH + TICK);
    for (referer, expected) in [
        (Some("http://app.test/form?a=b"), "/again?next=/form%3Fa%3Db"),
        (Some("https://app.test/"), "/again?next=/"),
        (Some("http://app.test:80/form"), "/again?next=/form"),
        (None, "/again"),
        (Some("http://evil.test/form"), "/again"),
        (Some("http://app.test.evil.test/form"), "/again"),
        (Some("http://app.test@evil.test/form"), "/again"),
        (Some("http://app.test:8080/form"), "/again"),
        (Some("http://evil.test/http://app.test/form"), "/again"),
        (Some("http://app.test//evil.test/form"), "/again"),
        (Some("http://app.test/\\evil.test"), "/again"),
        (Some("http://app.test"), "/again"),
        (Some("app.test/form"), "/again"),
        (Some("/form"), "/again"),
        (Some("//app.test/form"), "/again"),
        (Some(""), "/again"),
    ] {
        let mut headers = vec![HTML];
        headers.extend(referer.map(|referer| ("referer", referer)));
        let answer = client.send(Method::POST, "/app/fresh", &headers).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), Some(expected), "{referer:?}");
    }
}

/// HTTP/2 has the host in the address, and no header of that name.
#[tokio::test]
async fn step_up_returns_to_the_form_over_http_2() {
    let world = World::new();
    let client = signed_in(&world, with_page(&world)).await;
    world.clock.advance(FRESH + TICK);
    for (referer, expected) in
        [("https://app.test/form", "/again?next=/form"), ("https://evil.test/form", "/again")]
    {
        let request = http::Request::post("https://app.test/app/fresh")
            .version(http::Version::HTTP_2)
            .header("cookie", client.cookie.clone().unwrap())
            .header("accept", "text/html")
            .header("referer", referer)
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = tower::ServiceExt::oneshot(client.app.clone(), request).await.unwrap();
        assert_eq!(answer.headers()["location"], expected);
    }
}

#[tokio::test]
async fn optional_route_admits_visitors() {
    let world = World::new();
    let mut client = signed_in(&world, app(&world.sessions())).await;
    assert_eq!(client.other().get("/merely").await.text, "nobody");
    assert_eq!(client.get("/merely").await.text, "ada");
    world.clock.advance(FRESH + TICK);
    assert_eq!(client.get("/merely").await.status, StatusCode::UNAUTHORIZED);
}

/// A visitor has never authenticated, so there is nothing to repeat.
#[tokio::test]
async fn visitor_is_asked_to_sign_in() {
    let world = World::with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    let visitor = User { name: String::from("visitor"), count: 0 };
    let token = world.manager.create_anonymous(visitor).await.unwrap();
    let mut client = Client::with(&with_page(&world), &token);
    let answer = client.get("/app/visitors").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::UNAUTHORIZED, "sign in first\n"));
    let answer = client.send(Method::GET, "/app/visitors", &[HTML]).await;
    assert_eq!(answer.header("location"), Some("/login?next=/app/visitors"));
    // The route admits clients without a session; a visitor's session must not pass as proved.
    let merely = client.get("/app/merely-visitors").await;
    assert_eq!((merely.status, &*merely.text), (StatusCode::UNAUTHORIZED, "sign in first\n"));
    assert_eq!(client.other().get("/app/merely-visitors").await.text, "nobody");
}

#[tokio::test]
async fn application_can_word_a_step_up() {
    let world = World::new();
    let refusal = Refusal::with(|refused| {
        let text = match refused.missing {
            Missing::StepUp(step_up) => format!("{:?} {:?}", step_up.level(), step_up.max_age()),
            _ => String::from("a session"),
        };
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let sessions = Sessions::builder(world.manager.clone()).refusal(refusal).build().unwrap();
    let mut client = signed_in(&world, app(&sessions)).await;
    world.clock.advance(FRESH + TICK);
    let answer = client.get("/both").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::IM_A_TEAPOT, "Two Some(300s)"));
    assert_eq!(client.other().get("/both").await.text, "a session");
}
