//! Sessions expire on time, by the store's clock.

use http::StatusCode;
use kvolt_session::{Access, RotateOutcome};

use super::{account, listed, rotated, sign_in};
use crate::stage::Stage;
use crate::user::signed_in;

/// aiohttp-session CVE-2018-1000814: expiry depends on the client's cookie, or on a cleanup
/// job. No cleanup runs here, and no call may find or restore the session.
pub async fn an_idle_session_ends_and_no_call_brings_it_back(stage: &Stage) {
    let moment = stage.moment();
    let manager = stage.one.builder().idle_timeout(moment).build().expect("it can work");
    let mut client = stage.one.client_of(manager.clone());
    client.post("/login/ada").await;
    let token = client.token().expect("it is signed in");
    let companion = sign_in(&stage.other.manager(), "ada").await;
    stage.pass(moment + moment / 5).await;

    for path in ["/profile", "/poll", "/strict/profile"] {
        assert_eq!(client.clone().get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/count", "/rotate", "/password"] {
        let mut client = client.clone();
        let answer = client.post(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
    let owner = account("ada");
    for server in stage.servers() {
        let manager = server.manager();
        for access in [Access::PEEK, Access::SLIDE, Access::PEEK.strict(), Access::SLIDE.strict()] {
            assert!(manager.get_with(&token, access).await.expect("it answers").is_none());
        }
        let updated = manager.update(&token, |user| user.count += 1).await;
        assert!(updated.expect("the store answers").is_none());
        let rotated = manager.rotate(&token).await.expect("the store answers");
        assert!(matches!(rotated, RotateOutcome::Absent), "{rotated:?}");
        let left = listed(&manager, "ada").await.len();
        assert_eq!(left, 1, "the companion, which lives longer");
        assert!(!manager.revoke_owned(&owner, token.id()).await.expect("the store answers"));
        assert_eq!(manager.revoke_others(&token).await.expect("the store answers"), 0);
        assert!(!manager.logout(&token).await.expect("the store answers"));
    }
    let fresh = manager.login(Some(&token), signed_in("ada")).await.expect("a sign-in works");
    stage.is_accepted(&fresh).await;
    stage.is_accepted(&companion).await;
    stage.is_refused(&token).await;
}

/// @fastify/session CVE-2024-35220: loading or touching a session resets its absolute end.
///
/// Every later answer must report the end set at creation, on both servers and after every
/// operation, and no answer may come after it.
pub async fn nothing_that_is_done_with_a_session_moves_its_end(stage: &Stage) {
    let lifetime = stage.moment() * 2;
    let managers = stage.servers().map(|server| {
        let builder = server.builder().idle_timeout(lifetime).lifetime(lifetime);
        builder.build().expect("it can work")
    });
    // The settings apply when a session is created, not later.
    let longer = stage.one.manager();
    let made = stage.now();
    let mut token = sign_in(&managers[0], "ada").await;
    let after_made = stage.now();
    let end = managers[0].peek(&token).await.expect("it answers").expect("it is there").ends_at();
    assert!(made.saturating_add(lifetime) <= end.saturating_add(stage.inexactness()));
    assert!(end <= after_made.saturating_add(lifetime + stage.inexactness()));
    let mut steps = 0;
    loop {
        let asked = stage.now();
        let manager = if steps % 3 == 2 { &longer } else { &managers[steps % 2] };
        let session = match steps % 5 {
            0 => manager.get(&token).await,
            1 => manager.update(&token, |user| user.count += 1).await,
            2 => manager.get_with(&token, Access::SLIDE.strict()).await,
            3 => manager.list(&account("ada")).await.map(|mut list| list.sessions.pop()),
            _ => match manager.rotate(&token).await.expect("the store answers") {
                RotateOutcome::Absent => Ok(None),
                moved => {
                    token = rotated(moved);
                    manager.peek(&token).await
                }
            },
        };
        let Some(session) = session.expect("the store answers") else { break };
        assert_eq!(session.ends_at(), end, "step {steps}");
        assert!(session.expires_at() <= end, "step {steps}");
        let late = asked.since(end);
        assert!(late <= stage.inexactness(), "step {steps}: still there {late:?} after its end");
        steps += 1;
        stage.pass(lifetime / 16).await;
    }
    let early = end.since(stage.now());
    assert!(early <= stage.inexactness(), "it ended {early:?} early, after {steps} steps");
    stage.is_refused(&token).await;
}

/// Related: read-only access such as polling keeps an idle session alive.
pub async fn looking_does_not_keep_a_session_alive(stage: &Stage) {
    let idle = stage.moment();
    let manager = stage.one.builder().idle_timeout(idle).build().expect("it can work");
    let other = stage.other.builder().idle_timeout(idle).build().expect("it can work");
    let mut client = stage.one.client_of(manager.clone());
    client.post("/login/ada").await;
    let made = stage.now();
    let token = client.token().expect("it is signed in");
    let expires =
        manager.peek(&token).await.expect("it answers").expect("it is there").expires_at();
    assert!(expires <= made.saturating_add(idle + stage.inexactness()));
    loop {
        let asked = stage.now();
        let is_polled = client.get("/poll").await.status == StatusCode::OK;
        let is_seen = other.peek(&token).await.expect("the store answers").is_some();
        let is_listed = !listed(&other, "ada").await.is_empty();
        if !is_polled && !is_seen && !is_listed {
            break;
        }
        let late = asked.since(expires);
        assert!(late <= stage.inexactness(), "still there {late:?} after it should have ended");
        stage.pass(idle / 10).await;
    }
    stage.is_refused(&token).await;
}
