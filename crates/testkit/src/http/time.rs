//! Laws of the idle timeout and the lifetime, for a clock that the suite moves.

use std::time::Duration;

use super::client::Client;
use super::{Application, IDLE, LIFETIME, REMEMBERED_IDLE, REMEMBERED_LIFETIME, advance};

/// Longer than a store may end a session early.
const SLACK: Duration = Duration::from_millis(IDLE.as_millis() as u64 / 8);

/// A session that is not used ends after the idle timeout, and stays ended.
pub async fn idle_session_ends(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    advance(application, IDLE - SLACK).await;
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    advance(application, IDLE).await;
    for _ in 0..2 {
        assert_eq!(client.name().await, None);
    }
    assert_eq!(client.get("/").await.text(), "no session");
}

/// Each use starts the idle time again.
pub async fn used_session_stays(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for path in ["/name", "/", "/strict", "/nested/name"] {
        advance(application, IDLE - SLACK).await;
        assert_eq!(client.get(path).await.text(), "ada", "{path}");
    }
}

/// A request that peeks does not start the idle time again, on a route that peeks.
pub async fn peek_keeps_no_session_alive(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for _ in 0..4 {
        assert_eq!(client.get("/peek").await.text(), "ada");
        advance(application, IDLE / 4).await;
    }
    assert_eq!(client.get("/peek").await.status, 401);
    assert_eq!(client.name().await, None);
}

/// Requests that are refused or rejected keep no session alive.
pub async fn rejected_request_keeps_no_session_alive(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let foreign = [("sec-fetch-site", "cross-site")];
    for _ in 0..4 {
        assert_eq!(client.send("POST", "/count", &foreign).await.status, 403);
        advance(application, IDLE / 4).await;
    }
    assert_eq!(client.name().await, None);
}

/// A session ends after its lifetime, however often it is used and its token is replaced.
pub async fn used_session_ends_after_its_lifetime(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let steps = 8;
    for _ in 1..steps {
        advance(application, LIFETIME / steps).await;
        assert_eq!(client.post("/count").await.status, 200);
        client.post("/rotate").await;
    }
    advance(application, LIFETIME / steps).await;
    assert_eq!(client.name().await, None);
}

/// A remembered session outlives the idle timeout of others, and has one of its own.
pub async fn remembered_session_lasts_longer(application: &impl Application) {
    let mut client = Client::of(application);
    client.post("/remember/ada").await;
    advance(application, LIFETIME).await;
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    advance(application, REMEMBERED_IDLE).await;
    assert_eq!(client.name().await, None, "the server does not rely on the browser");
}

/// A new token of a remembered session is kept for the rest of its lifetime, and no longer.
pub async fn rotated_cookie_is_kept_for_the_rest(application: &impl Application) {
    let mut client = Client::of(application);
    client.post("/remember/ada").await;
    let day = Duration::from_secs(86_400);
    advance(application, day).await;
    let answer = client.get("/name").await;
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie: {answer:?}") };
    let rest = format!("; Max-Age={};", (REMEMBERED_LIFETIME - day).as_secs());
    assert!(cookie.contains(&rest), "{cookie}");
}
