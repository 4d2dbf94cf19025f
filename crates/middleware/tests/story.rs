//! A client signs in, is recognized, changes its data and signs out.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use http::{Method, StatusCode};
use support::{Client, IDLE, World, router};

#[tokio::test]
async fn client_signs_in_and_out() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);

    let login = client.post("/login").await;
    assert_eq!((login.status, &*login.text), (StatusCode::OK, "in"));
    let [cookie] = login.set_cookies()[..] else { panic!("one cookie") };
    assert!(cookie.starts_with("__Host-session_id="));
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
    assert_eq!(client.get("/profile").await.text, "ada");
    assert_eq!(client.get("/").await.text, "ada");

    let kept = client.cookie.clone();
    let logout = client.post("/deep/down/logout").await;
    assert_eq!(logout.status, StatusCode::OK);
    let [cookie] = logout.set_cookies()[..] else { panic!("one cookie") };
    assert!(cookie.starts_with("__Host-session_id=; Path=/; Max-Age=0; Expires="), "{cookie}");
    assert_eq!(client.cookie, None);

    client.cookie = kept;
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED, "a replay");
    assert_eq!(client.get("/").await.text, "nobody");
    assert_eq!(world.store.len(), 0);
}

#[tokio::test]
async fn login_ends_the_session_before_it() {
    let world = World::new();
    let mut client = world.client();
    let login = client.post("/login").await;
    assert_eq!((login.status, login.set_cookies().len()), (StatusCode::OK, 1));
    assert_eq!(login.header("cache-control"), Some("no-store"));
    assert_eq!(client.get("/profile").await.text, "ada");

    let before = client.cookie.clone();
    client.post("/login").await;
    assert_ne!(client.cookie, before);
    assert_eq!(world.store.len(), 1);
}

#[tokio::test]
async fn handler_without_its_layer_is_a_500() {
    let mut client = World::new().client();
    client.post("/login").await;
    for path in ["/bare/profile", "/bare/home", "/bare/login"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(!answer.text.contains("layer"), "the client is told nothing: {}", answer.text);
    }
}

#[tokio::test]
async fn new_token_survives_a_failing_handler() {
    let mut client = World::new().client();
    client.post("/login").await;
    let before = client.cookie.clone();
    let answer = client.post("/rotate-and-fail").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_ne!(client.cookie, before);
    assert_eq!(client.get("/profile").await.text, "ada");
    client.cookie = before;
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn token_in_grace_makes_no_second_token() {
    let world = World::with(|builder| builder.rotation_grace(std::time::Duration::from_secs(10)));
    let mut client = world.client();
    client.post("/login").await;
    let mut late = client.other();
    late.cookie.clone_from(&client.cookie);
    client.post("/rotate").await;
    let answer = late.post("/rotate").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0));
    assert_eq!(late.get("/profile").await.text, "ada");
    world.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(late.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/profile").await.text, "ada");
}

#[tokio::test]
async fn next_request_sees_the_update() {
    let mut client = World::new().client();
    client.post("/login").await;
    for expected in ["1", "2", "3"] {
        assert_eq!(client.post("/count").await.text, expected);
    }
}

#[tokio::test]
async fn idle_session_ends_and_used_one_stays() {
    let world = World::new();
    let mut client = world.client();
    client.post("/login").await;
    for _ in 0..3 {
        world.clock.advance(IDLE - std::time::Duration::from_millis(1));
        assert_eq!(client.get("/profile").await.text, "ada");
    }
    world.clock.advance(IDLE);
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn revoking_others_keeps_this_session() {
    let mut client = World::new().client();
    client.post("/login").await;
    let mut others: Vec<Client> = (0..3).map(|_| client.other()).collect();
    for other in &mut others {
        other.post("/login").await;
    }
    assert_eq!(client.post("/revoke-others").await.text, "3");
    assert_eq!(client.get("/profile").await.text, "ada");
    for other in &mut others {
        assert_eq!(other.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    }
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
