//! The size of a session is bounded.

use http::StatusCode;

use crate::stage::Stage;

/// Symfony CVE-2016-4423: a client that is not signed in makes the server store arbitrary
/// amounts of data.
///
/// Beyond the bound the call must fail with a specific error, and change nothing. Remote
/// stores bound each session; the memory store, which encodes nothing, bounds its total
/// size.
pub async fn a_session_takes_no_more_than_its_bound_and_says_so(stage: &Stage) {
    let (too_much, expected) = match stage.is_in_memory() {
        true => (16 << 20, StatusCode::SERVICE_UNAVAILABLE),
        false => (128 << 10, StatusCode::PAYLOAD_TOO_LARGE),
    };
    let mut visitor = stage.one.client();
    let answer = visitor.post(&format!("/guest/{too_much}")).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (expected, 0));
    assert!(!answer.text.is_empty() && answer.text.len() < 100, "{}", answer.text);
    assert!(visitor.jar.is_empty());
    assert_eq!(stage.count(), 0, "nothing of it is kept");

    visitor.post("/guest/1000").await;
    visitor.post("/count").await;
    let jar = visitor.jar.clone();
    for _ in 0..3 {
        let answer = visitor.post(&format!("/note/{too_much}")).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (expected, 0));
    }
    assert_eq!(visitor.jar, jar);
    assert_eq!(visitor.post("/count").await.text, "2", "it is as it was, and can be changed");
    let note = |manager: kvolt_session::Manager<crate::User>, token| async move {
        let session = manager.peek(&token).await.expect("the store answers");
        session.expect("it is there").note.len()
    };
    stage.outlive_copies().await;
    for server in stage.servers() {
        let token = visitor.token().expect("it is a session");
        assert_eq!(note(server.manager(), token).await, 1_000);
    }
    let mut other = stage.other.client();
    assert_eq!(other.post("/login/ada").await.status, StatusCode::OK, "and others have room");
}
