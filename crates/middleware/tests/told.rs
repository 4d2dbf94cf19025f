//! Events of refusals, and the cost of requests in store calls.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use kvolt_middleware::{Result, Session};
use kvolt_session::{
    Binding, EndReason, EventKind, Flash, Level, OwnerLimit, RefusalReason, StepUp,
};
use kvolt_testkit::{Call, Faults};
use support::{Client, User, World, refusals, router, user};

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

async fn strong(session: Session<User>) -> Result<&'static str> {
    session.require(StepUp::at_level(Level::Two))?;
    Ok("done")
}

async fn twice(mut session: Session<User>) -> Result<String> {
    session.update(|user| user.count += 1).await?;
    Ok(session.update(|user| user.count += 1).await?.count.to_string())
}

async fn message(session: Session<User>) -> Result<()> {
    session.flash(Flash::new("info", "saved")).await
}

fn app(world: &World) -> Router {
    let layer = world.sessions().layer();
    let require = layer.clone().require(StepUp::within(Duration::from_secs(60)));
    Router::new()
        .merge(Router::new().route("/fresh", get(name)).route_layer(require))
        .merge(Router::new().route("/strong", get(strong)).route_layer(layer.clone()))
        .route("/count-twice", post(twice).route_layer(layer.clone()))
        .route("/message", post(message).route_layer(layer))
        .merge(router(world.sessions()))
}

#[tokio::test]
async fn refusal_is_reported_once_with_its_reason() {
    for at_once in [true, false] {
        let limit = OwnerLimit::refuse(1);
        let world = World::with(|builder| {
            builder.owner_limit(limit).rotation_grace(Duration::from_secs(5))
        });
        world.faults.answers_at_once(at_once);
        let mut client = Client::new(app(&world));
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        client.cookie = Some(String::from("__Host-session_id=none"));
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        assert!(world.events.take().is_empty(), "who shows no token is no one to tell of");
        client.cookie = Some(format!("__Host-session_id={}", "A".repeat(48)));
        for (path, status) in [("/profile", 401), ("/", 200)] {
            assert_eq!(client.get(path).await.status, status);
        }
        assert_eq!(refusals(&world.events), [RefusalReason::Unknown, RefusalReason::Unknown]);

        client.cookie = None;
        client.post("/login").await;
        assert!(matches!(world.events.take()[0].kind, EventKind::Created { .. }));
        assert_eq!(client.other().post("/login").await.status, StatusCode::CONFLICT);
        assert_eq!(refusals(&world.events), [RefusalReason::Limit]);

        let foreign = [("sec-fetch-site", "cross-site")];
        for path in ["/count", "/login"] {
            let answer = client.send(Method::POST, path, &foreign).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
        }
        assert_eq!(
            refusals(&world.events),
            [RefusalReason::CrossOrigin, RefusalReason::CrossOrigin]
        );

        world.clock.advance(Duration::from_secs(61));
        for path in ["/fresh", "/strong"] {
            assert_eq!(client.get(path).await.status, StatusCode::UNAUTHORIZED);
        }
        let events = world.events.take();
        for event in &events {
            assert_eq!(event.kind, EventKind::Refused { reason: RefusalReason::StepUp });
            assert!(event.id.is_some() && event.owner.is_some());
        }

        world.faults.fail_all(true);
        assert_eq!(client.get("/profile").await.status, StatusCode::SERVICE_UNAVAILABLE);
        world.faults.fail_all(false);
        assert_eq!(refusals(&world.events), [RefusalReason::Unavailable]);

        let mut late = client.same();
        client.post("/rotate").await;
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(5));
            assert_eq!(late.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        }
        let whats: Vec<_> = world.events.take().into_iter().map(|event| event.kind).collect();
        let refused = |reason| EventKind::Refused { reason };
        let expected = [
            EventKind::Rotated,
            refused(RefusalReason::Replaced),
            EventKind::Reused,
            refused(RefusalReason::Reuse),
        ];
        assert_eq!(whats, expected);
        assert_eq!(client.get("/profile").await.text, "ada");
        client.post("/logout").await;
        let reason = EndReason::Logout;
        assert_eq!(world.events.take()[0].kind, EventKind::Ended { reason });
        assert!(world.events.take().is_empty());
    }
}

#[tokio::test]
async fn credentials_changed_is_its_own_refusal() {
    for at_once in [true, false] {
        let world = World::with(|builder| {
            // The account's name stands for the version of its credentials.
            builder.bound_to(|user: &User| Some(Binding::from(u64::from(user.count))))
        });
        world.faults.answers_at_once(at_once);
        let token = world.manager.create(user("ada").bound_to(0)).await.unwrap();
        let mut client = Client::with(&app(&world), &token);
        assert_eq!(client.get("/profile").await.text, "ada");
        assert_eq!(client.post("/count").await.status, StatusCode::OK, "which changes it");
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.events.take()[1].kind, {
            EventKind::Refused { reason: RefusalReason::CredentialsChanged }
        });
        assert!(world.events.take().is_empty());
    }
}

/// The calls of a store that does I/O, in the order of their names here.
fn calls(faults: &Faults) -> [usize; 5] {
    [Call::Get, Call::Touch, Call::Insert, Call::Replace, Call::Remove]
        .map(|call| faults.count(call))
}

#[tokio::test]
async fn request_costs_the_fewest_store_calls() {
    let world = World::with(|builder| {
        let builder = builder.rotate_every(Duration::from_secs(120));
        builder.rotation_grace(Duration::from_secs(5)).listener(|_: &kvolt_session::Event| {})
    });
    let mut client = Client::new(app(&world));
    let mut cost = async |method: Method, path: &str, status: u16| {
        world.faults.reset();
        world.faults.answers_at_once(false);
        let answer = client.send(method, path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        let (calls, all) = (calls(&world.faults), world.faults.count_all());
        let ready = world.faults.count(Call::GetReady);
        assert_eq!(calls.iter().sum::<usize>() + ready, all, "and nothing else: {path}");
        calls
    };
    let (get, post) = (Method::GET, Method::POST);
    assert_eq!(cost(get.clone(), "/profile", 401).await, [0, 0, 0, 0, 0]);
    assert_eq!(cost(post.clone(), "/login", 200).await, [0, 0, 1, 0, 0]);
    for path in ["/profile", "/", "/fresh"] {
        assert_eq!(cost(get.clone(), path, 200).await, [1, 0, 0, 0, 0], "{path}");
    }
    assert_eq!(cost(get.clone(), "/strong", 401).await, [1, 0, 0, 0, 0]);
    assert_eq!(cost(post.clone(), "/count", 200).await, [1, 0, 0, 1, 0]);
    assert_eq!(cost(post.clone(), "/count-twice", 200).await, [1, 0, 0, 2, 0]);
    assert_eq!(cost(post.clone(), "/message", 200).await, [1, 0, 0, 1, 0]);
    assert_eq!(cost(post.clone(), "/rotate", 200).await, [1, 0, 0, 1, 0]);
    assert_eq!(cost(post.clone(), "/login", 200).await, [1, 0, 1, 0, 0]);
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(cost(get.clone(), "/fresh", 401).await, [1, 1, 0, 0, 0], "with a slide");
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(cost(get.clone(), "/profile", 200).await, [1, 1, 0, 1, 0], "and a rotation");
    assert_eq!(cost(get.clone(), "/profile", 200).await, [1, 0, 0, 0, 0], "and then neither");
    assert_eq!(cost(post.clone(), "/logout", 200).await, [1, 0, 0, 0, 1]);
    assert_eq!(cost(post, "/logout", 200).await, [0, 0, 0, 0, 0]);
}

/// Several layers are how several things are asked for at once.
#[tokio::test]
async fn layers_within_each_other_ask_the_store_once() {
    let world = World::new();
    let layer = || world.sessions_by("cookie:__Host-session_id").layer();
    let sessions = world.sessions();
    let own = || sessions.layer();
    let route = |path: &str| Router::new().route(path, get(name));
    let app = Router::new()
        .merge(route("/two").route_layer(own()).route_layer(own().optional()))
        .merge(route("/fresh").route_layer(own().require(StepUp::at_level(Level::One))))
        .layer(own().optional())
        .merge(route("/stricter").route_layer(own().strict()).route_layer(own().optional()))
        .merge(route("/looser").route_layer(own().peek()).route_layer(own().strict()))
        .merge(route("/used").route_layer(own()).route_layer(own().peek()))
        .merge(route("/others").route_layer(layer()).route_layer(own()));
    let token = world.manager.create(user("ada")).await.unwrap();
    for (path, expected) in
        [("/two", 1), ("/fresh", 1), ("/looser", 1), ("/stricter", 2), ("/used", 2), ("/others", 2)]
    {
        let mut client = Client::with(&app, &token);
        for at_once in [true, false] {
            world.faults.reset();
            world.faults.answers_at_once(at_once);
            assert_eq!(client.get(path).await.text, "ada", "{path}");
            let call = if at_once { Call::GetReady } else { Call::Get };
            assert_eq!(world.faults.count(call), expected, "{path}");
        }
    }
    // An unknown token is also searched for and reported only once.
    world.faults.reset();
    let mut client = Client::new(app);
    client.cookie = Some(format!("__Host-session_id={}", "A".repeat(48)));
    assert_eq!(client.get("/two").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.faults.count(Call::GetReady), 1);
}

#[tokio::test]
async fn logout_costs_one_call() {
    for path in ["/logout", "/deep/down/logout"] {
        let world = World::new();
        let mut client = world.client();
        client.post("/login").await;
        world.faults.reset();
        client.post(path).await;
        assert_eq!(calls(&world.faults), [0, 0, 0, 0, 1]);
        assert_eq!(world.faults.count(Call::GetReady), 1, "{path}");
    }
}
