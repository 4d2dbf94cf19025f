//! Laws of routes that require a recent or a strong authentication.

use std::time::Duration;

use super::client::Client;
use super::{Application, FRESH, advance};

const TICK: Duration = Duration::from_millis(1);

/// A route that requires a recent authentication refuses an older one, until the user has
/// authenticated again.
pub async fn sensitive_route_needs_recent_authentication(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    advance(application, FRESH).await;
    assert_eq!(client.post("/fresh").await.text(), "done");
    advance(application, TICK).await;
    let answer = client.post("/fresh").await;
    let expected =
        "insufficient_user_authentication: authenticate again, max_age=300, acr_values=1\n";
    assert_eq!((answer.status, &*answer.text()), (401, expected));
    assert_eq!((answer.header("cache-control"), answer.set_cookies().len()), (Some("no-store"), 0));
    assert_eq!(client.name().await.as_deref(), Some("ada"), "the session is still one");
    assert_eq!(client.post("/reauthenticate/1").await.status, 200);
    assert_eq!(client.post("/fresh").await.text(), "done");
}

/// A route that requires a level refuses a session below it.
pub async fn strong_route_needs_its_level(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.post("/strong").await;
    let expected = "insufficient_user_authentication: authenticate again, acr_values=2\n";
    assert_eq!((answer.status, &*answer.text()), (401, expected));
    client.post("/reauthenticate/1").await;
    assert_eq!(client.post("/strong").await.status, 401);
    client.post("/reauthenticate/2").await;
    assert_eq!(client.post("/strong").await.text(), "done");
    client.post("/reauthenticate/1").await;
    assert_eq!(client.post("/strong").await.text(), "done", "a weaker proof takes nothing away");
}

/// A handler can require a level itself, with the same answer.
pub async fn handler_can_require_a_level(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let (by_layer, by_handler) = (client.post("/strong").await, client.post("/require").await);
    assert_eq!((by_handler.status, by_handler.text()), (401, by_layer.text()));
    assert_eq!(by_handler.header("www-authenticate"), by_layer.header("www-authenticate"));
    client.post("/reauthenticate/2").await;
    assert_eq!(client.post("/require").await.text(), "done");
}

/// A refusal says in the terms of RFC 9470 which authentication is missing, by a challenge and in
/// JSON.
pub async fn refusal_says_what_is_missing(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.send("POST", "/strong", &[("accept", "application/json")]).await;
    let expected = "{\"error\":\"insufficient_user_authentication\",\"message\":\"authenticate again\",\"acr_values\":\"2\"}\n";
    assert_eq!(answer.text(), expected);
    let challenge = "Bearer error=\"insufficient_user_authentication\", acr_values=\"2\"";
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
}

/// A re-authentication gives the session a new token and keeps the session.
pub async fn reauthentication_gives_a_new_token(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    client.post("/count").await;
    let (old, id) = (client.clone(), client.id().await);
    let answer = client.post("/reauthenticate/2").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 1));
    assert_ne!(client.token(), old.token());
    assert_eq!((client.id().await, client.get("/count").await.text()), (id, String::from("1")));
    // In its grace, the old token has the rights that it had.
    assert_eq!(old.clone().post("/strong").await.status, 401);
}

/// A request without a session, or with a visitor's, is asked to sign in and not to authenticate
/// again.
pub async fn missing_session_asks_to_sign_in(application: &impl Application) {
    let mut client = Client::of(application);
    for _ in 0..2 {
        for path in ["/fresh", "/strong"] {
            let answer = client.post(path).await;
            assert_eq!((answer.status, &*answer.text()), (401, "sign in first\n"), "{path}");
        }
        client.post("/basket/tea").await;
    }
}
