//! A service that is not axum's.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kvolt_middleware::SessionHandle;
use support::{User, World, user};
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn plain_tower_service_finds_the_session() {
    let world = World::new();
    let answer = |request: Request<()>| async move {
        let body = Full::<Bytes>::from;
        let handle: SessionHandle<User> =
            SessionHandle::from_extensions(request.extensions()).unwrap();
        let Some(session) = handle.session() else {
            return Ok::<_, Infallible>(handle.refuse(&request).map(body));
        };
        let name = session.name.clone();
        session.rotate().await.unwrap();
        Ok(Response::new(body(Bytes::from(name))))
    };
    let send = async |required: bool, cookie: &str| {
        let layer = world.sessions().layer();
        let layer = if required { layer } else { layer.optional() };
        let request = Request::builder().header(COOKIE, cookie).body(()).unwrap();
        let response = layer.layer(service_fn(answer)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    };
    let token = world.manager.create(user("ada")).await.unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());
    let (head, body) = send(true, &cookie).await;
    assert_eq!((head.status.as_u16(), &*body), (200, &b"ada"[..]));
    assert!(head.headers.contains_key(SET_COOKIE), "by the layer");
    let (by_layer, layer_body) = send(true, &cookie).await;
    let (by_handler, handler_body) = send(false, &cookie).await;
    assert_eq!((by_layer.status.as_u16(), by_handler.status.as_u16()), (401, 401));
    assert_eq!(layer_body, handler_body);
}
