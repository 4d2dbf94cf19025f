//! Streams and events work behind the layer as without it.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kvolt_middleware::Session;
use support::{User, World, user};
use tower::ServiceExt;

async fn cookie(world: &World) -> String {
    let token = world.manager.create(user("ada")).await.unwrap();
    format!("__Host-session_id={}", token.expose())
}

fn app(world: &World) -> Router {
    let endless = || async {
        let chunks = stream::iter((0..).map(|n: u32| Ok::<_, Infallible>(format!("{n}\n"))));
        Body::from_stream(chunks)
    };
    let events = |_: Session<User>| async {
        Sse::new(stream::iter(
            (0..).map(|n: u32| Ok::<_, Infallible>(Event::default().data(n.to_string()))),
        ))
    };
    Router::new()
        .route("/stream", get(endless))
        .route("/events", get(events))
        .route_layer(world.sessions().layer())
}

async fn get_from(world: &World, path: &str) -> Response {
    let request = Request::get(path).header("cookie", cookie(world).await);
    app(world).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn endless_body_is_streamed() {
    let world = World::new();
    for path in ["/stream", "/events"] {
        let response = get_from(&world, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        for _ in 0..100 {
            assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().len() > 1);
        }
    }
}

#[tokio::test]
async fn event_stream_keeps_its_content_type() {
    let world = World::new();
    let response = get_from(&world, "/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // The stream's own `no-cache` still lets a cache keep it, if it asks each time.
    assert_eq!(response.headers()["cache-control"], "no-store");
}
