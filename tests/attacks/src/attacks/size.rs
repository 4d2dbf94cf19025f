//! The size of a session is limited.

use http::StatusCode;

use crate::deployment::Deployment;

/// Symfony CVE-2016-4423: a client stores any amount of data without a sign-in.
///
/// Above the limit, the caller gets an error and nothing changes. Each encoded session has a limit;
/// in memory, where values are not encoded, the whole store has one.
pub async fn session_above_the_size_limit_is_an_error(deployment: &Deployment) {
    let (too_much, expected) = match deployment.is_in_memory() {
        true => (16 << 20, StatusCode::SERVICE_UNAVAILABLE),
        false => (128 << 10, StatusCode::PAYLOAD_TOO_LARGE),
    };
    let mut visitor = deployment.one.client();
    let answer = visitor.post(&format!("/guest/{too_much}")).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (expected, 0));
    assert!(!answer.text.is_empty() && answer.text.len() < 100, "{}", answer.text);
    assert!(visitor.jar.is_empty());
    assert_eq!(deployment.count(), 0, "no part is stored");

    visitor.post("/guest/1000").await;
    visitor.post("/count").await;
    let jar = visitor.jar.clone();
    for _ in 0..3 {
        let answer = visitor.post(&format!("/note/{too_much}")).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (expected, 0));
    }
    assert_eq!(visitor.jar, jar);
    assert_eq!(
        visitor.post("/count").await.text,
        "2",
        "the session is unchanged, and can be updated"
    );
    let note = |manager: kvolt_session::Manager<crate::User>, token| async move {
        let session = manager.peek(&token).await.expect("the store answers");
        session.expect("the session exists").note.len()
    };
    deployment.outlive_copies().await;
    for server in deployment.servers() {
        let token = visitor.token().expect("a session");
        assert_eq!(note(server.manager(), token).await, 1_000);
    }
    let mut other = deployment.other.client();
    assert_eq!(other.post("/login/ada").await.status, StatusCode::OK, "and others have room");
}
