//! A store that fails harms nothing.

use std::time::Duration;

use http::{Method, StatusCode};
use kvolt_cache::{Access, Replace, Store};
use kvolt_testkit::Call;
use tokio::time::Instant;

use crate::client::Client;
use crate::stage::{Server, Stage};

/// Longer than any store takes to be served again.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// axum_session 0.22 (tried): a store that can't be read gives an empty session, which is then
/// written over the real one.
///
/// The store is taken away from one server, and given back. Meanwhile it says that it can't tell,
/// and touches neither cookie nor data; the other server goes on.
pub async fn an_outage_and_its_end_leave_the_data_unharmed(stage: &Stage) {
    let mut client = stage.one.client();
    client.post("/login/ada").await;
    for _ in 0..3 {
        client.post("/count").await;
    }
    client.post("/note/100").await;
    let (jar, token) = (client.jar.clone(), client.token().expect("it is signed in"));
    for _ in 0..2 {
        stage.one.cut();
        // What a near cache has may be used until the bound.
        stage.outlive_copies().await;
        for (method, path) in [
            (Method::POST, "/count"),
            (Method::POST, "/note/7"),
            (Method::POST, "/rotate"),
            (Method::POST, "/password"),
            (Method::POST, "/logout"),
            (Method::POST, "/deep/down/below/logout"),
            (Method::POST, "/login/eve"),
            (Method::POST, "/bare/login/eve"),
            (Method::GET, "/profile"),
            (Method::GET, "/"),
        ] {
            let answer = client.send(method, path, &[]).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
            assert!(answer.set_cookies().is_empty(), "{path}");
            assert!(answer.header("retry-after").is_some(), "{path}");
        }
        assert_eq!(client.jar, jar, "nobody is logged out by it");
        assert_eq!(client.at(&stage.other).get("/profile").await.text, "ada");
        stage.one.restore();
        is_served_again(&mut client).await;
        assert_eq!(client.get("/count").await.text, "3");
        for server in stage.servers() {
            let session = server.manager().get(&token).await.expect("the store answers");
            let session = session.expect("it lives");
            assert_eq!((&*session.name, session.count, session.note.len()), ("ada", 3, 100));
        }
    }
    assert_eq!(client.post("/count").await.text, "4");
}

async fn is_served_again(client: &mut Client) {
    let since = Instant::now();
    loop {
        let status = client.get("/profile").await.status;
        if status == StatusCode::OK {
            return;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(since.elapsed() < RECOVERY_MAX, "it does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A relative: the store has done what it was asked and the answer gets lost. That is an error, never
/// a success or an absence, and whatever was done is whole.
pub async fn a_lost_answer_is_an_error_and_nothing_is_half_done(stage: &Stage) {
    let mut client = stage.one.client();
    client.post("/login/ada").await;
    let faults = &stage.one.faults;
    let losing = |call: Call| {
        faults.only(&[call]);
        faults.lose_all_answers(true);
    };
    let found = || {
        faults.lose_all_answers(false);
        faults.only(&[]);
    };
    losing(Call::Replace);
    let answer = client.post("/count").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    found();
    stage.outlive_copies().await;
    assert_eq!(client.get("/count").await.text, "1", "it had been counted, and once");

    losing(Call::Insert);
    let mut visitor = client.other();
    let answer = visitor.post("/login/bob").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(visitor.jar.is_empty(), "nobody is in who was not told so");
    found();

    losing(Call::Remove);
    let jar = client.jar.clone();
    let answer = client.post("/logout").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.jar, jar, "they can try again");
    found();
    stage.is_refused(&client.token().expect("it is one")).await;
    assert_eq!(client.post("/logout").await.status, StatusCode::OK);
    assert!(client.jar.is_empty());
}

/// A relative: what is stored can't be decoded, and is taken for nothing and written over. It stays,
/// and is whole again once it can be decoded.
///
/// In memory nothing is decoded.
pub async fn a_session_that_can_not_be_decoded_is_not_written_over(stage: &Stage) {
    let Some(bytes) = &stage.other.bytes else { return };
    let mut client = stage.one.client();
    client.post("/login/ada").await;
    client.post("/count").await;
    let id = stage.one.manager().id(&client.token().expect("it is signed in"));
    let put = async |value: &[u8]| {
        let entry =
            bytes.get(id.key(), Access::PEEK).await.expect("it answers").expect("it is there");
        let replaced = bytes.replace(id.key(), entry.version, value.to_vec(), None).await;
        assert!(matches!(replaced.expect("the store answers"), Replace::Replaced(_)));
        entry.value
    };
    for damaged in
        [&b""[..], b"{}", b"null", b"{\"v\":999999}", b"\xff\xfe", b"{\"v\":1,\"data\":{}}"]
    {
        let whole = put(damaged).await;
        stage.outlive_copies().await;
        let jar = client.jar.clone();
        for server in stage.servers() {
            for path in ["/count", "/note/3", "/rotate"] {
                let mut client = client.at(server);
                let answer = client.post(path).await;
                assert!(answer.status.is_server_error(), "{path}: {}", answer.status);
                assert!(answer.set_cookies().is_empty() && client.jar == jar, "{path}");
            }
            let mut client = client.at(server);
            assert!(client.get("/").await.status.is_server_error(), "it is not nobody");
        }
        let kept = put(&whole).await;
        assert_eq!(kept, damaged, "it was written over");
        stage.outlive_copies().await;
        assert_eq!(client.get("/count").await.text, "1");
    }
    let has_failed = |server: &Server| server.faults.count(Call::Insert);
    assert_eq!(stage.servers().map(has_failed), [1, 0], "only the sign-in made anything");
}

/// A relative: whoever has a session that can't be decoded is neither let in nor let out, and can't
/// even sign in anew, since every request with that cookie fails. The documents say that a sign-in
/// replaces such a session, and that a sign-out ends it.
///
/// In memory nothing is decoded.
pub async fn who_has_a_session_that_can_not_be_decoded_signs_in_and_out(stage: &Stage) {
    let Some(bytes) = &stage.other.bytes else { return };
    let mut found = Vec::new();
    for path in ["/login/ada", "/bare/login/ada", "/logout"] {
        let mut client = stage.one.client();
        client.post("/login/ada").await;
        let before = client.clone();
        let id = stage.one.manager().id(&client.token().expect("it is signed in"));
        let entry = bytes.get(id.key(), Access::PEEK).await.expect("it answers");
        let version = entry.expect("it is there").version;
        let replaced = bytes.replace(id.key(), version, b"{}".to_vec(), None).await;
        assert!(matches!(replaced.expect("the store answers"), Replace::Replaced(_)));
        stage.outlive_copies().await;
        let answer = client.post(path).await;
        if answer.status != StatusCode::OK || client.jar == before.jar {
            found.push(format!("{path}: {}, and the cookie stays", answer.status));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
