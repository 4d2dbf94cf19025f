//! Sources of a token other than the cookie, and a route without a layer.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use http::{Method, StatusCode};
use support::{Client, World, router};

#[tokio::test]
async fn optional_session_without_its_layer_is_a_500() {
    let answer = World::new().client().get("/bare/home").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn header_token_goes_back_in_its_header() {
    let world = World::new();
    let app = router(world.sessions_by("cookie:__Host-id,header:X-Session-ID"));
    let mut client = Client::new(app.clone());
    let token = world.manager.create(support::user("ada")).await.unwrap();
    let header = [("x-session-id", token.expose())];
    let answer = client.send(Method::POST, "/rotate", &header).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0));
    let new = answer.header("x-session-id").unwrap().to_owned();
    assert_ne!(new, token.expose());
    let header = [("x-session-id", &*new)];
    assert_eq!(client.send(Method::GET, "/profile", &header).await.text, "ada");
    let logout = client.send(Method::POST, "/logout", &header).await;
    assert_eq!((logout.set_cookies().len(), logout.header("x-session-id")), (0, None));
    assert_eq!(world.store.len(), 0);
}

#[tokio::test]
async fn bearer_token_goes_back_as_one() {
    let world = World::new();
    let mut client = Client::new(router(world.sessions_by("header:Authorization")));
    let refused = client.get("/profile").await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let login = client.post("/login").await;
    let bearer = login.header("authorization").unwrap().to_owned();
    assert!(bearer.starts_with("Bearer "));
    let answer = client.send(Method::GET, "/profile", &[("authorization", &bearer)]).await;
    assert_eq!(answer.text, "ada");
    assert_eq!(answer.header("vary"), Some("authorization"));
}

#[tokio::test]
async fn query_token_is_never_replaced() {
    let world = World::new();
    let mut client = Client::new(router(world.sessions_by("query:token")));
    let token = world.manager.create(support::user("ada")).await.unwrap();
    let path = |path: &str| format!("{path}?token={}", token.expose());
    assert_eq!(client.get(&path("/profile")).await.text, "ada");
    assert_eq!(client.post(&path("/rotate")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.get(&path("/profile")).await.text, "ada", "nothing was half done");
}
