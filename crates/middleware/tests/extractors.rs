//! Extractors with any state, the newest data, and errors in the form that was asked for.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use kvolt_middleware::{Result, Session, SessionHandle};
use support::{Client, User, World, user};

async fn login(client: SessionHandle<User>) -> Result<&'static str> {
    client.login(user("ada")).await?;
    Ok("in")
}

struct AppState {
    greeting: &'static str,
}

async fn greet(State(state): State<Arc<AppState>>, session: Session<User>) -> String {
    format!("{} {}", state.greeting, session.name)
}

/// tokio-rs/axum#1374, aarambh-darshan/rust-backend-axum#4.
#[tokio::test]
async fn handlers_need_no_particular_state() {
    async fn sign_in(
        client: SessionHandle<User>,
        request: Request,
        next: Next,
    ) -> Result<Response> {
        client.login(user("ada")).await?;
        Ok(next.run(request).await)
    }
    let world = World::new();
    let layer = || world.sessions().layer().optional();
    let state = Arc::new(AppState { greeting: "hello" });
    let shared = Router::new()
        .route("/login", post(login))
        .route("/greet", get(greet))
        .layer(layer())
        .with_state(state);
    let mut client = Client::new(shared);
    assert_eq!(client.post("/login").await.set_cookies().len(), 1);
    assert_eq!(client.get("/greet").await.text, "hello ada");

    let none: Router<()> = Router::new().route("/login", post(login)).layer(layer());
    assert_eq!(Client::new(none).post("/login").await.set_cookies().len(), 1);

    let page = Router::new().route("/", get(|| async { "page" }));
    let in_a_function = page.layer(from_fn(sign_in)).layer(layer());
    let answer = Client::new(in_a_function).get("/").await;
    assert_eq!((&*answer.text, answer.set_cookies().len()), ("page", 1));
}

#[tokio::test]
async fn session_shows_the_newest_data_after_an_update() {
    async fn count(mut session: Session<User>) -> Result<String> {
        let before = session.count;
        let returned = session.update(|user| user.count += 1).await?.count;
        session.update(|user| user.count += 10).await?;
        Ok(format!("{before} {returned} {} {}", session.count, session.snapshot().count))
    }
    /// Runs before the handler, which extracts the session again.
    async fn counted(mut session: Session<User>, request: Request, next: Next) -> Result<Response> {
        session.update(|user| user.count += 100).await?;
        Ok(next.run(request).await)
    }
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let sessions = world.sessions();
        let app = Router::new()
            .route("/count", get(count))
            .route("/twice", get(count).layer(from_fn(counted)))
            .route_layer(sessions.layer())
            .route_layer(sessions.layer().optional());
        let token = world.manager.create(user("ada")).await.unwrap();
        let mut client = Client::with(&app, &token);
        assert_eq!(client.get("/count").await.text, "0 1 11 11");
        assert_eq!(client.get("/twice").await.text, "111 112 122 122");
        assert_eq!(world.manager.get(&token).await.unwrap().unwrap().count, 122);
    }
}
