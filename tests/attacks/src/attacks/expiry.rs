//! Sessions end on time, by the store's clock.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, Level, RotateOutcome, Timeouts};

use super::{account, listed, rotated, sign_in};
use crate::deployment::Deployment;
use crate::user::signed_in;

/// aiohttp-session CVE-2018-1000814: expiry depends on the client's cookie, or on a cleaning task.
/// Here no task cleans, and no call finds or restores the session.
pub async fn idle_session_ends_and_stays_ended(deployment: &Deployment) {
    let moment = deployment.short_timeout();
    let manager = deployment.one.builder().idle_timeout(moment).build().expect("valid settings");
    let mut client = deployment.one.client_of(manager.clone());
    client.post("/login/ada").await;
    let token = client.token().expect("a token in the cookie");
    let companion = sign_in(&deployment.other.manager(), "ada").await;
    deployment.advance(moment + moment / 5).await;

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
    for server in deployment.servers() {
        let manager = server.manager();
        for access in [Access::PEEK, Access::SLIDE, Access::PEEK.strict(), Access::SLIDE.strict()] {
            assert!(manager.get_with(&token, access).await.expect("the store answers").is_none());
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
    let fresh = manager.login(Some(&token), signed_in("ada")).await.expect("the sign-in succeeds");
    deployment.is_accepted(&fresh).await;
    deployment.is_accepted(&companion).await;
    deployment.is_refused(&token).await;
}

/// Express's `req.session.cookie.maxAge`, which lengthens a session at each response: the times that
/// one sign-in chose are the server's, on each server, and only a new proof restarts them.
pub async fn chosen_lifetime_ends_the_session_on_each_server(deployment: &Deployment) {
    let moment = deployment.short_timeout();
    let [one, other] = deployment.servers().map(|server| server.manager());
    let chosen = Timeouts::new(Duration::from_secs(120), Duration::from_secs(240));
    let new = signed_in("ada").idle_timeout(chosen.idle).lifetime(chosen.lifetime);
    let token = one.create(new).await.expect("the sign-in succeeds");
    let ends_at = listed(&other, "ada").await[0].ends_at();
    let short = one.create(signed_in("ada").lifetime(moment)).await.expect("the sign-in succeeds");

    let token = rotated(other.rotate(&token).await.expect("the store answers"));
    let updated = one.update(&token, |user| user.count += 1).await;
    updated.expect("the store answers").expect("the session exists");
    for manager in [&one, &other] {
        let session = manager.get(&token).await.expect("the store answers");
        let session = session.expect("the session exists");
        assert_eq!((session.timeouts(), session.ends_at()), (chosen, ends_at));
    }
    let token = rotated(one.reauthenticate(&token, Level::Two).await.expect("the store answers"));
    let session = other.get_with(&token, Access::PEEK.strict()).await.expect("the store answers");
    assert_eq!(session.expect("the session exists").timeouts(), chosen);

    deployment.advance(moment + moment / 5).await;
    deployment.is_refused(&short).await;
    deployment.is_accepted(&token).await;
}

/// @fastify/session CVE-2024-35220: a load or a touch of a session moves its absolute end.
///
/// Every operation on both servers reports the end that the session had at its creation. After it,
/// the session is unknown.
pub async fn no_operation_moves_the_absolute_end(deployment: &Deployment) {
    let lifetime = deployment.short_timeout() * 2;
    let managers = deployment.servers().map(|server| {
        let builder = server.builder().idle_timeout(lifetime).lifetime(lifetime);
        builder.build().expect("valid settings")
    });
    // The timeouts of the manager that creates a session apply, not those of later managers.
    let longer = deployment.one.manager();
    let made = deployment.now();
    let mut token = sign_in(&managers[0], "ada").await;
    let after_made = deployment.now();
    let end = managers[0]
        .peek(&token)
        .await
        .expect("the store answers")
        .expect("the session exists")
        .ends_at();
    assert!(made.saturating_add(lifetime) <= end.saturating_add(deployment.clock_skew()));
    assert!(end <= after_made.saturating_add(lifetime + deployment.clock_skew()));
    let mut steps = 0;
    loop {
        let asked = deployment.now();
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
        assert!(
            late <= deployment.clock_skew(),
            "step {steps}: still there {late:?} after its end"
        );
        steps += 1;
        deployment.advance(lifetime / 16).await;
    }
    let early = end.since(deployment.now());
    assert!(early <= deployment.clock_skew(), "it ended {early:?} early, after {steps} steps");
    deployment.is_refused(&token).await;
}

/// The class of the above: a poll that only peeks keeps an idle session alive.
pub async fn peek_does_not_extend_a_session(deployment: &Deployment) {
    let idle = deployment.short_timeout();
    let manager = deployment.one.builder().idle_timeout(idle).build().expect("valid settings");
    let other = deployment.other.builder().idle_timeout(idle).build().expect("valid settings");
    let mut client = deployment.one.client_of(manager.clone());
    client.post("/login/ada").await;
    let made = deployment.now();
    let token = client.token().expect("a token in the cookie");
    let expires = manager
        .peek(&token)
        .await
        .expect("the store answers")
        .expect("the session exists")
        .expires_at();
    assert!(expires <= made.saturating_add(idle + deployment.clock_skew()));
    loop {
        let asked = deployment.now();
        let is_polled = client.get("/poll").await.status == StatusCode::OK;
        let is_seen = other.peek(&token).await.expect("the store answers").is_some();
        let is_listed = !listed(&other, "ada").await.is_empty();
        if !is_polled && !is_seen && !is_listed {
            break;
        }
        let late = asked.since(expires);
        assert!(late <= deployment.clock_skew(), "still there {late:?} after it should have ended");
        deployment.advance(idle / 10).await;
    }
    deployment.is_refused(&token).await;
}
