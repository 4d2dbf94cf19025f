//! Laws of connections that stay open, and of requests in parallel.

use super::client::{Client, Connection, PATIENCE};
use super::{Application, WEBSOCKET};

/// An open stream that has shown that it is one.
async fn stream(client: &mut Client) -> Connection {
    let mut stream = client.open("/stream", &[]).await;
    assert_eq!(stream.answer.status, 200);
    stream.until(b"ada\n").await;
    stream
}

/// A stream ends when its client signs out by another request.
pub async fn stream_ends_with_a_logout(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let stream = stream(&mut client).await;
    client.post("/logout").await;
    assert_eq!(stream.rest().await.text(), "ada\n");
}

/// A stream ends when another client of the owner revokes its session.
pub async fn stream_ends_with_a_revocation(application: &impl Application) {
    for way in ["/revoke-others", "/revoke-all", "/credentials", "/revoke/"] {
        let mut client = Client::signed_in(application, "ada").await;
        let mut other = Client::signed_in(application, "ada").await;
        let stream = stream(&mut client).await;
        let id = if way == "/revoke/" { client.id().await } else { String::new() };
        assert_eq!(other.post(&format!("{way}{id}")).await.status, 200);
        assert_eq!(stream.rest().await.text(), "ada\n", "{way}");
        other.post("/logout").await;
    }
}

/// A stream ends when its client signs in again.
pub async fn stream_ends_with_the_next_login(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let stream = stream(&mut client).await;
    client.login("ada").await;
    assert_eq!(stream.rest().await.text(), "ada\n");
}

/// A stream outlives a change and a rotation of its session.
pub async fn stream_survives_a_rotation(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut stream = stream(&mut client).await;
    client.post("/rotate").await;
    client.post("/count").await;
    stream.until(b"\n1\n").await;
    client.post("/logout").await;
    stream.rest().await;
}

/// The response of a stream is not cached, and its head is sent before its end.
pub async fn stream_is_not_cached(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let stream = stream(&mut client).await;
    assert_eq!(stream.answer.header("cache-control"), Some("no-store"));
    assert!(stream.answer.set_cookies().is_empty());
}

/// A WebSocket is opened with its session, and ends with it.
pub async fn websocket_ends_with_its_session(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut socket = client.open("/socket", &WEBSOCKET).await;
    assert_eq!(socket.answer.status, 101);
    assert_eq!(socket.answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // A text frame of three bytes.
    socket.until(b"\x81\x03ada").await;
    client.post("/logout").await;
    let body = socket.rest().await.body;
    assert_eq!(body.get(5), Some(&0x88), "a close frame: {body:?}");
}

/// A WebSocket is refused without a session.
pub async fn websocket_needs_a_session(application: &impl Application) {
    let socket = Client::of(application).open("/socket", &WEBSOCKET).await;
    assert_eq!(socket.answer.status, 401);
}

/// Parallel changes of one session all take effect, and each request sees its own.
pub async fn parallel_changes_are_all_kept(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = client.clone();
        requests.spawn(async move {
            let answer = client.post("/count").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.text().parse::<u32>().expect("a number")
        });
    }
    let mut counts = requests.join_all().await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=16).collect::<Vec<_>>());
    assert_eq!(client.get("/count").await.text(), "16");
}

/// A call has taken effect when it returns: it waits neither for the response nor for its client.
pub async fn call_takes_effect_before_the_response(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let waiting = client.begin("/logout-and-wait").await;
    let ended = async { while client.name().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the logout takes effect");
    drop(waiting);
    assert_eq!(client.name().await, None, "and the client that went away undoes nothing");
}

/// A logout is never undone by requests that change the session at that moment.
pub async fn logout_is_never_undone(application: &impl Application) {
    for _ in 0..4 {
        let mut client = Client::signed_in(application, "ada").await;
        let mut requests = tokio::task::JoinSet::new();
        for at in 0..8 {
            let mut client = client.clone();
            let path = if at % 2 == 0 { "/count" } else { "/rotate" };
            requests.spawn(async move { client.post(path).await.status });
        }
        let mut replay = client.clone();
        assert_eq!(client.post("/logout").await.status, 200);
        assert_eq!(replay.name().await, None);
        let statuses = requests.join_all().await;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
        assert_eq!(replay.name().await, None);
    }
}
