//! Streams, `HEAD`, upgrades and events work behind the layer as without it.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::WebSocketUpgrade;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kvolt_middleware::Session;
use support::{User, World, user};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    let socket = |upgrade: WebSocketUpgrade, session: Session<User>| async move {
        let name = session.name.clone();
        let greet = |mut socket: axum::extract::ws::WebSocket| async move {
            let _ = socket.send(axum::extract::ws::Message::text(name)).await;
        };
        let response: Response = upgrade.on_upgrade(greet);
        response
    };
    Router::new()
        .route("/stream", get(endless))
        .route("/events", get(events))
        .route("/socket", any(socket))
        .route_layer(world.sessions().layer())
}

async fn send(world: &World, method: &str, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).header("cookie", cookie(world).await);
    app(world).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn endless_body_is_streamed() {
    let world = World::new();
    for path in ["/stream", "/events"] {
        let response = send(&world, "GET", path).await;
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
    let response = send(&world, "GET", "/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // The stream's own `no-cache` still lets a cache keep it, if it asks each time.
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn head_request_has_no_body() {
    let world = World::new();
    let response = send(&world, "HEAD", "/stream").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn websocket_is_upgraded_over_a_connection() {
    let world = World::new();
    let cookie = cookie(&world).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app(&world)).into_future());
    for (cookie, expected) in [(&*cookie, "HTTP/1.1 101 "), ("a=b", "HTTP/1.1 401 ")] {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /socket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        // The greeting is one text frame: final, text, three bytes.
        while !answer.ends_with(b"\x81\x03ada") && !answer.starts_with(b"HTTP/1.1 401 ") {
            let read = connection.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
        assert!(answer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    server.abort();
}
