//! Laws of signing in and out.

use super::client::Client;
use super::{Application, CLEARED_COOKIE, COOKIE, LIMIT, REMEMBERED_LIFETIME};

/// A login sets one cookie, with the attributes of the policy and no others.
pub async fn login_sets_one_cookie(application: &impl Application) {
    let answer = Client::of(application).post("/login/ada").await;
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie: {answer:?}") };
    let attributes = cookie.split_once(';').map(|(_, attributes)| attributes);
    assert_eq!(attributes, Some(" Path=/; HttpOnly; Secure; SameSite=Lax"));
    assert!(cookie.starts_with(&format!("{COOKIE}=")), "{cookie}");
}

/// A token has 48 characters that need no quotes and no escapes.
pub async fn token_has_48_characters(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let token = client.token();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(token.len() == 48 && token.bytes().all(is_plain), "{token}");
}

/// The requests after a login have its session, on routes that require one and on others.
pub async fn login_is_remembered_by_the_next_request(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    for path in ["/", "/merely", "/strict", "/peek", "/basket-owner"] {
        assert_eq!(client.get(path).await.text(), "ada", "{path}");
    }
}

/// A request without a session passes an optional layer and no other.
pub async fn visitor_is_refused_where_a_session_is_required(application: &impl Application) {
    let mut client = Client::of(application);
    assert_eq!(client.get("/").await.text(), "no session");
    for path in ["/name", "/merely", "/strict", "/peek", "/basket-owner", "/nested/name"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, &*answer.text()), (401, "sign in first\n"), "{path}");
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
}

/// A request reads the change of the one before it.
pub async fn change_is_read_by_the_next_request(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for expected in ["1", "2", "3"] {
        assert_eq!(client.post("/count").await.text(), expected);
        assert_eq!(client.get("/count").await.text(), expected);
    }
}

/// Each login gives another token, also to the same user.
pub async fn each_login_gives_another_token(application: &impl Application) {
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(Client::signed_in(application, "ada").await.token().to_owned());
    }
    for at in 1..tokens.len() {
        // Neither the id, which is the first third, nor the rest.
        let differs =
            |other: &String| other[..16] != tokens[at][..16] && other[16..] != tokens[at][16..];
        assert!(tokens[..at].iter().all(differs), "{tokens:?}");
    }
}

/// A login over a session ends that session in the same step.
pub async fn login_ends_the_session_before_it(application: &impl Application) {
    for next in ["ada", "bob"] {
        let mut client = Client::signed_in(application, "ada").await;
        let mut before = client.clone();
        client.login(next).await;
        assert_eq!(before.name().await, None, "a login of {next}");
        assert_eq!(client.name().await.as_deref(), Some(next));
        client.post("/revoke-all").await;
    }
}

/// A login of a client that has a session counts once against the owner's limit.
pub async fn login_at_the_limit_is_a_409(application: &impl Application) {
    let mut clients = Vec::new();
    for _ in 0..LIMIT {
        clients.push(Client::signed_in(application, "ada").await);
    }
    let answer = Client::of(application).post("/login/ada").await;
    assert_eq!((answer.status, &*answer.text()), (409, "too many sessions are open\n"));
    assert!(answer.set_cookies().is_empty());
    for client in &mut clients {
        client.login("ada").await;
    }
    assert_eq!(Client::of(application).post("/login/bob").await.status, 200, "another owner");
}

/// A handler that refuses a login, before it calls anything, sets no cookie and keeps the session
/// that the client has.
pub async fn refused_login_changes_nothing(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.post("/reject").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (403, 0));
    client.login("ada").await;
    let answer = client.post("/reject").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (403, 0));
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// A logout clears the cookie with the attributes that it was set with, or browsers would keep it.
pub async fn logout_clears_the_cookie(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.post("/logout").await;
    assert_eq!((answer.status, &*answer.text()), (200, "out"));
    assert_eq!(answer.set_cookies(), [CLEARED_COOKIE]);
}

/// A logout ends the session on the server: its token is worthless on every route.
pub async fn logout_ends_the_session(application: &impl Application) {
    for path in ["/logout", "/deep/down/logout"] {
        let mut client = Client::signed_in(application, "ada").await;
        let mut replay = client.clone();
        let answer = client.post(path).await;
        assert_eq!(answer.set_cookies(), [CLEARED_COOKIE], "{path}");
        for required in ["/name", "/merely", "/strict", "/peek", "/count"] {
            assert_eq!(replay.get(required).await.status, 401, "{required}");
        }
        assert_eq!(replay.get("/").await.text(), "no session");
        assert_eq!(replay.post("/count").await.status, 401);
    }
}

/// A logout with the token of an ended session is no error, and clears the cookie.
pub async fn logout_with_an_ended_token_clears_the_cookie(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut replay = client.clone();
    client.post("/logout").await;
    let refused = replay.get("/name").await;
    assert_eq!((refused.status, refused.set_cookies().len()), (401, 0));
    let answer = replay.post("/logout").await;
    assert_eq!((answer.status, answer.set_cookies()), (200, vec![CLEARED_COOKIE]));
}

/// A logout without a token is no error, and sets no cookie.
pub async fn logout_without_a_token_sets_no_cookie(application: &impl Application) {
    let answer = Client::of(application).post("/logout").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 0));
}

/// The cookie of a remembered login has the lifetime of its session as `Max-Age`. That of another
/// login ends with the browser.
pub async fn remembered_cookie_has_a_max_age(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.post("/remember/ada").await;
    let [cookie] = answer.set_cookies()[..] else { panic!("one cookie: {answer:?}") };
    let seconds = REMEMBERED_LIFETIME.as_secs();
    let attributes = format!("; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax");
    assert!(cookie.ends_with(&attributes), "{cookie}");
    let answer = client.post("/login/ada").await;
    assert!(!answer.set_cookies()[0].contains("Max-Age"), "{answer:?}");
}
