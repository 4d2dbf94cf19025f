//! Laws of a store that is unavailable, and of sessions that can't be read.

use super::client::Client;
use super::{Application, CLEARED_COOKIE, damage, fail_store};

/// A store that is unavailable is a 503 with `Retry-After`, and changes no cookie.
pub async fn outage_is_a_503(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let requests = [
        ("GET", "/name"),
        ("GET", "/"),
        ("GET", "/strict"),
        ("GET", "/peek"),
        ("GET", "/basket"),
        ("GET", "/nested/name"),
        ("POST", "/count"),
        ("POST", "/login/ada"),
        ("POST", "/nested/login/ada"),
        ("POST", "/rotate"),
    ];
    fail_store(application, true).await;
    for (method, path) in requests {
        let answer = client.send(method, path, &[]).await;
        let text = "sessions are unavailable, try again later\n";
        assert_eq!((answer.status, &*answer.text()), (503, text), "{path}");
        assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
    fail_store(application, false).await;
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// A login that the store could not keep gives the client no token.
pub async fn login_during_an_outage_sets_nothing(application: &impl Application) {
    let mut client = Client::of(application);
    fail_store(application, true).await;
    let answer = client.send("POST", "/login/ada", &[("accept", "application/json")]).await;
    let expected =
        "{\"error\":\"unavailable\",\"message\":\"sessions are unavailable, try again later\"}\n";
    assert_eq!((answer.status, &*answer.text()), (503, expected));
    assert!(answer.set_cookies().is_empty());
    assert_eq!(answer.header("retry-after"), Some("5"));
    fail_store(application, false).await;
    client.login("ada").await;
}

/// An outage is never a logout: session and cookie stay.
pub async fn outage_is_no_logout(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    client.post("/count").await;
    let token = client.token().to_owned();
    fail_store(application, true).await;
    for path in ["/logout", "/deep/down/logout", "/revoke-all"] {
        let answer = client.post(path).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (503, 0), "{path}");
    }
    fail_store(application, false).await;
    assert_eq!(client.token(), token);
    assert_eq!(client.get("/count").await.text(), "1");
    assert_eq!(client.post("/logout").await.set_cookies(), [CLEARED_COOKIE]);
}

/// A visitor without a token does not need the store.
pub async fn outage_does_not_affect_visitors(application: &impl Application) {
    let mut client = Client::of(application);
    fail_store(application, true).await;
    assert_eq!(client.get("/").await.text(), "no session");
    assert_eq!(client.get("/static").await.text(), "static");
    assert_eq!(client.get("/name").await.status, 401);
    assert_eq!(client.presenting("malformed").get("/name").await.status, 401);
}

/// A session that can't be read is an error of the server and no logout.
pub async fn unreadable_session_is_a_500(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let id = client.id().await;
    damage(application, &id).await;
    for path in ["/name", "/strict", "/", "/merely"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, &*answer.text()), (500, "internal error\n"), "{path}");
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
    assert_eq!(client.get("/static").await.status, 200, "where no handler asks for it");
    // The owner's list names it.
    let mut other = Client::signed_in(application, "ada").await;
    let list = other.get("/sessions").await.text();
    assert!(list.lines().any(|line| line == format!("- {id}")), "{list}");
}

/// A client whose session can't be read can sign out.
pub async fn unreadable_session_can_be_signed_out(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let id = client.id().await;
    damage(application, &id).await;
    let answer = client.post("/logout").await;
    assert_eq!((answer.status, answer.set_cookies()), (200, vec![CLEARED_COOKIE]));
    let list = Client::signed_in(application, "ada").await.get("/sessions").await.text();
    assert!(!list.contains(&id), "{list}");
}

/// A client whose session can't be read can sign in, and the login ends that session.
pub async fn unreadable_session_is_replaced_by_a_login(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let id = client.id().await;
    damage(application, &id).await;
    client.login("ada").await;
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    let list = client.get("/sessions").await.text();
    assert!(!list.contains(&id), "{list}");
}
