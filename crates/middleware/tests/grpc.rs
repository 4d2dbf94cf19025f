//! Calls of gRPC: tokens in metadata, and refusals as statuses. Services and clients of tonic are in
//! `examples/grpc`.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{any, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use kvolt_cache::OwnerLimit;
use kvolt_middleware::{
    CsrfForm, Error, RETRY_AFTER_SECONDS, Refusal, Result, Session, SessionHandle, SessionLayer,
    Sessions,
};
use kvolt_session::{Level, StepUp};
use kvolt_testkit::Call;
use support::{User, World, user};
use tower::{Layer, ServiceExt, service_fn};

/// A service of gRPC without its messages, which the session layer does not read.
async fn handle(request: &Request<Body>) -> Result<(), Error> {
    let client = SessionHandle::<User>::from_extensions(request.extensions())?;
    match request.uri().path() {
        "/test.Accounts/SignIn" => client.login(user("ada")).await,
        "/test.Accounts/SignOut" => client.logout().await,
        path => {
            let mut session = Session::<User>::from_extensions(request.extensions())?;
            match path {
                "/test.Bank/Rotate" => session.rotate().await,
                "/test.Bank/Prove" => session.reauthenticate(Level::Two).await,
                "/test.Bank/Pay" => session.require(StepUp::at_level(Level::Two)),
                "/test.Bank/Count" => session.update(|user| user.count += 1).await.map(drop),
                _ => Ok(()),
            }
        }
    }
}

/// The answer of a gRPC library: a status of its own, in headers or after a message.
async fn serve(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = match handle(&request).await {
        Ok(()) => {
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())]);
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let frames = stream::iter(frames.map(Ok::<_, Infallible>));
            Response::new(Body::new(StreamBody::new(frames)))
        }
        Err(error) => {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = error.to_grpc();
            response
        }
    };
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}

struct Answer {
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code and the message, wherever they are.
    #[track_caller]
    fn status(&self) -> (&str, &str) {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        let text = |name| trailers.get(name).map(|value| value.to_str().unwrap());
        (text("grpc-status").unwrap(), text("grpc-message").unwrap_or_default())
    }
}

fn request(path: &str, metadata: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post(path).body(Body::from(vec![0; 5])).unwrap();
    let all = [("content-type", "application/grpc"), ("te", "trailers"), ("host", "app.test")];
    for (name, value) in all.iter().chain(metadata) {
        request.headers_mut().insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    request
}

/// Reads a response as a client of gRPC does.
async fn read(response: Response<Body>) -> Answer {
    assert_eq!(response.status(), StatusCode::OK);
    let (head, body) = response.into_parts();
    // axum adds the length of an empty body.
    assert!(head.headers.get("content-length").is_none_or(|length| length == "0"));
    let content_type = head.headers["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("application/grpc"), "{content_type}");
    let is_trailers_only = head.headers.contains_key("grpc-status");
    assert_eq!(body.is_end_stream(), is_trailers_only);
    let trailers = body.collect().await.unwrap().trailers().cloned();
    assert_eq!(trailers.is_some(), !is_trailers_only);
    Answer { headers: head.headers, trailers }
}

async fn call(layer: &SessionLayer<User>, path: &str, metadata: &[(&str, &str)]) -> Answer {
    read(layer.layer(service_fn(serve)).oneshot(request(path, metadata)).await.unwrap()).await
}

fn is_expected(answer: &Answer, code: &str, message: &str) {
    assert_eq!(answer.status(), (code, message));
    for name in ["retry-after", "location", "set-cookie"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("grpc-retry-pushback-ms").is_some(), code == "14");
}

const UNAUTHENTICATED: &str = "16";
const PERMISSION_DENIED: &str = "7";

#[tokio::test]
async fn token_travels_in_metadata_both_ways() {
    for at_once in [true, false] {
        for (lookup, sent, received) in [
            ("header:X-Session-ID", "x-session-id", "x-session-id"),
            ("header:Authorization", "authorization", "authorization"),
            ("cookie:__Host-session_id", "cookie", "set-cookie"),
        ] {
            let world = World::new();
            world.faults.answers_at_once(at_once);
            let sessions = world.sessions_by(lookup);
            let (open, closed) = (sessions.layer().optional(), sessions.layer());
            let token = |answer: &Answer| {
                assert_eq!(answer.status().0, "0");
                let value = answer.header(received).unwrap();
                value.split(';').next().unwrap().to_owned()
            };
            let first = token(&call(&open, "/test.Accounts/SignIn", &[]).await);
            assert_eq!(first.starts_with("Bearer "), sent == "authorization");
            let known = call(&closed, "/test.Bank/Count", &[(sent, &first)]).await;
            assert_eq!((known.status().0, known.header(received)), ("0", None));
            assert_eq!(known.header("cache-control"), Some("no-store"));
            assert_eq!(known.header("vary"), Some(sent));

            let rotated = call(&closed, "/test.Bank/Rotate", &[(sent, &first)]).await;
            let second = token(&rotated);
            let old = call(&closed, "/test.Bank/Count", &[(sent, &first)]).await;
            assert_eq!(old.status().0, UNAUTHENTICATED);
            let out = call(&open, "/test.Accounts/SignOut", &[(sent, &second)]).await;
            assert_eq!(out.status().0, "0");
            let out = out.header(received).map(|cookie| cookie.contains("Max-Age=0"));
            assert_eq!(out, (sent == "cookie").then_some(true));
            let gone = call(&closed, "/test.Bank/Count", &[(sent, &second)]).await;
            is_expected(&gone, UNAUTHENTICATED, "sign in first");
        }
    }
}

/// The token is in the headers, before the first message of a stream that stays open.
#[tokio::test]
async fn new_token_comes_before_a_stream() {
    let world = World::new();
    let watch = |request: Request<Body>| async move {
        let session = Session::<User>::from_extensions(request.extensions()).unwrap();
        session.rotate().await.unwrap();
        let message = |byte| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(&[byte; 5])));
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 16.into())]);
        let messages = stream::iter([message(1)]).chain(stream::pending());
        let messages = session.live().take_until_ended(messages);
        let messages = messages.ending_with(Ok(Frame::trailers(trailers)));
        let mut response = Response::new(StreamBody::new(messages));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok::<_, Infallible>(response)
    };
    let layer = world.sessions_by("header:X-Session-ID").layer();
    let token = world.manager.create(user("ada")).await.unwrap();
    let request = request("/test.Bank/Watch", &[("x-session-id", token.expose())]);
    let response = layer.layer(service_fn(watch)).oneshot(request).await.unwrap();
    let renewed = response.headers()["x-session-id"].to_str().unwrap().to_owned();
    assert_ne!(renewed, token.expose());
    let mut body = pin!(response.into_body());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), [1; 5].as_slice());
    let context = &mut Context::from_waker(Waker::noop());
    assert!(matches!(body.as_mut().poll_frame(context), Poll::Pending), "a rotation is no end");
    assert!(world.manager.revoke(token.id()).await.unwrap());
    let last = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(last["grpc-status"], UNAUTHENTICATED);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn refusals_are_statuses() {
    for at_once in [true, false] {
        let world = World::with(|builder| builder.owner_limit(OwnerLimit::refuse(1)));
        world.faults.answers_at_once(at_once);
        let sessions = world.sessions_by("header:Authorization,cookie:__Host-session_id");
        let token = world.manager.create(user("ada")).await.unwrap();
        let bearer = &format!("Bearer {}", token.expose());
        let cookie = &format!("__Host-session_id={}", token.expose());
        let (open, closed) = (sessions.layer().optional(), sessions.layer());

        for layer in [&open, &closed] {
            let refused = call(layer, "/test.Bank/Count", &[]).await;
            is_expected(&refused, UNAUTHENTICATED, "sign in first");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
            assert_eq!(refused.header("vary"), Some("authorization, cookie"));
        }
        let strong = StepUp::within(Duration::from_secs(300)).and_level(Level::Two);
        let strong = closed.clone().require(strong);
        let needed = "insufficient_user_authentication: authenticate again, ";
        let weak = call(&strong, "/test.Bank/Count", &[("authorization", bearer)]).await;
        let message = format!("{needed}max_age=300, acr_values=2");
        is_expected(&weak, PERMISSION_DENIED, &message);
        let challenge = weak.header("www-authenticate").unwrap();
        assert!(challenge.ends_with("max_age=\"300\", acr_values=\"2\""), "{challenge}");
        let weak = call(&closed, "/test.Bank/Pay", &[("authorization", bearer)]).await;
        is_expected(&weak, PERMISSION_DENIED, &format!("{needed}acr_values=2"));

        // A page of another site, by way of gRPC-Web.
        let foreign = [("cookie", &**cookie), ("origin", "https://evil.test")];
        let refused = call(&closed, "/test.Bank/Count", &foreign).await;
        is_expected(&refused, PERMISSION_DENIED, "requests from other sites are rejected");
        let full = call(&open, "/test.Accounts/SignIn", &[]).await;
        is_expected(&full, "8", "too many sessions are open");

        let many: Vec<String> =
            (0..9).map(|n| format!("__Host-session_id={n}{}", &token.expose()[1..])).collect();
        let many = call(&open, "/test.Accounts/SignIn", &[("cookie", &many.join("; "))]).await;
        let message = "the request has several session tokens: clear the cookies";
        is_expected(&many, "3", message);
    }
}

#[tokio::test]
async fn store_that_is_down_is_unavailable_and_says_when_to_retry() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let sessions = world.sessions_by("header:X-Session-ID");
        let token = world.manager.create(user("ada")).await.unwrap();
        let metadata = [("x-session-id", token.expose())];
        let message = "sessions are unavailable, try again later";
        let pushback = (RETRY_AFTER_SECONDS * 1000).to_string();

        world.faults.fail_all(true);
        for layer in [sessions.layer(), sessions.layer().optional()] {
            let down = call(&layer, "/test.Bank/Count", &metadata).await;
            is_expected(&down, "14", message);
            assert_eq!(down.header("grpc-retry-pushback-ms"), Some(&*pushback));
        }
        // In the handler.
        let down = call(&sessions.layer().optional(), "/test.Accounts/SignIn", &[]).await;
        is_expected(&down, "14", message);
        assert_eq!(down.header("grpc-retry-pushback-ms"), Some(&*pushback));
        world.faults.only(&[Call::Replace]);
        let down = call(&sessions.layer(), "/test.Bank/Count", &metadata).await;
        is_expected(&down, "14", message);
        world.faults.reset();
        assert_eq!(call(&sessions.layer(), "/test.Bank/Count", &metadata).await.status().0, "0");
    }
}

#[tokio::test]
async fn service_without_a_layer_is_an_internal_error() {
    let response = serve(request("/test.Accounts/SignIn", &[])).await.unwrap();
    is_expected(&read(response).await, "13", "internal error");
}

/// The extractors and errors of axum, in a router that serves gRPC and pages.
#[tokio::test]
async fn one_router_serves_calls_and_pages() {
    async fn pay(session: Session<User>) -> Result<()> {
        session.require(StepUp::at_level(Level::Two))
    }
    async fn form(_: CsrfForm<User, ()>) {}
    let world = World::new();
    let refusal = Refusal::redirect("/login").unwrap().step_up_page("/password").unwrap();
    let sessions = Sessions::builder(world.manager.clone()).refusal(refusal).build().unwrap();
    let app = Router::new()
        .route("/pay", post(pay))
        .route("/form", post(form))
        .route("/bare", any(|_: SessionHandle<User>| async {}))
        .route("/extractor", post(|_: Session<User>| async {}).layer(sessions.layer().optional()))
        .route_layer(sessions.layer().optional());
    let token = world.manager.create(user("ada")).await.unwrap();
    let cookie = &*format!("__Host-session_id={}", token.expose());
    let send = async |path, metadata: &[_]| {
        app.clone().oneshot(request(path, metadata)).await.unwrap().into_response()
    };
    let needed = "insufficient_user_authentication: authenticate again, acr_values=2";
    for (content_type, expected) in [
        ("application/grpc+proto", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
    ] {
        // A browser sends this with gRPC-Web.
        let json = ("accept", "application/json, text/html");
        let kind = ("content-type", content_type);
        let known = [kind, json, ("cookie", cookie)];
        let weak = read(send("/pay", &known).await).await;
        is_expected(&weak, PERMISSION_DENIED, needed);
        assert_eq!(weak.header("content-type"), Some(expected));
        let form = read(send("/form", &known).await).await;
        let message = "the form token is missing or too old: load the page again";
        is_expected(&form, PERMISSION_DENIED, message);
        let visitor = read(send("/extractor", &[kind, json]).await).await;
        is_expected(&visitor, UNAUTHENTICATED, "sign in first");
        assert_eq!(visitor.header("content-type"), Some(expected));
    }
    for content_type in ["application/json", "text/plain"] {
        let kind = ("content-type", content_type);
        assert_eq!(send("/extractor", &[kind]).await.status(), StatusCode::SEE_OTHER);
        assert_eq!(send("/pay", &[kind, ("cookie", cookie)]).await.status(), 401);
    }
    let mut get = request("/extractor", &[]);
    *get.method_mut() = http::Method::GET;
    let response = app.clone().oneshot(get).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "not a call");
    let closed = app.layer(sessions.layer());
    let mut get = request("/bare", &[]);
    *get.method_mut() = http::Method::GET;
    assert_eq!(closed.oneshot(get).await.unwrap().status(), StatusCode::SEE_OTHER);
}
