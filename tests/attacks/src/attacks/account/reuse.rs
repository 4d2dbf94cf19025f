//! A replaced token is invalid after its grace, and its use is reported.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::{
    Access, EndReason, Event, EventKind, Level, Manager, RefusalReason, RotateOutcome, SessionId,
    Token, TokenReuse,
};

use crate::attacks::{account, ids, rotated, sign_in};
use crate::deployment::{Deployment, Server};
use crate::recording_listener::RecordingListener;
use crate::user::User;

/// A manager on each server, and their events.
fn managers(
    deployment: &Deployment,
    reuse: TokenReuse,
    grace: Duration,
    idle: Duration,
) -> ([Manager<User>; 2], RecordingListener) {
    let events = RecordingListener::default();
    let managers = deployment.servers().map(|server: &Server| {
        let builder = server.builder().idle_timeout(idle).lifetime(idle * 12);
        let builder = builder.token_reuse(reuse).rotation_grace(grace).listener(events.clone());
        builder.build().expect("valid settings")
    });
    (managers, events)
}

const LONG: Duration = Duration::from_secs(1_800);

/// Asserts that the manager refuses a token, after all copies have expired.
async fn refused(deployment: &Deployment, manager: &Manager<User>, token: &Token) {
    deployment.is_refused(token).await;
    for access in [Access::SLIDE, Access::PEEK, Access::SLIDE.strict()] {
        let found = manager.get_with(token, access).await.expect("the store answers");
        assert!(found.is_none(), "a token that was replaced is accepted");
    }
}

/// Whether an event reports the reuse of this session's token.
fn is_reuse(id: SessionId) -> impl Fn(&Event) -> bool {
    move |event| event.kind == EventKind::Reused && event.id == Some(id)
}

/// A stolen token, or the owner's token after a thief rotated it, is used again, and no report is
/// made. Both servers refuse it and report the session's id.
pub async fn replaced_token_is_refused_and_reported(deployment: &Deployment) {
    let short = deployment.short_timeout() / 4;
    for grace in [Duration::ZERO, short] {
        let (managers, events) = managers(deployment, TokenReuse::Report, grace, LONG);
        let spent = sign_in(&managers[0], "ada").await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        if deployment.is_in_memory() && !grace.is_zero() {
            // A late request, shortly after the grace, is refused and not reported.
            deployment.advance(grace * 3 / 2).await;
            refused(deployment, &managers[1], &spent).await;
            let reason = RefusalReason::Replaced;
            events.until("its refusal", |event| event.kind == EventKind::Refused { reason }).await;
            assert_eq!(events.count(is_reuse(spent.id())), 0);
        }
        deployment.advance(grace * 2 + grace / 10).await;
        for manager in &managers {
            let before = events.count(is_reuse(spent.id()));
            refused(deployment, manager, &spent).await;
            events.until_more("its use", before, is_reuse(spent.id())).await;
        }
        let event = events.until("its refusal", |event| {
            let reason = RefusalReason::Reuse;
            event.kind == EventKind::Refused { reason } && event.id == Some(spent.id())
        });
        assert_eq!(event.await.owner, Some(account("ada")));
        deployment.is_accepted(&token).await;
    }
    // A made-up token is not reported as a reuse.
    let (managers, events) = managers(deployment, TokenReuse::Report, Duration::ZERO, LONG);
    let unknown = Token::parse("A".repeat(48)).expect("well-formed");
    assert!(managers[0].get(&unknown).await.expect("the store answers").is_none());
    let reason = RefusalReason::Unknown;
    events.until("a refusal", |event| event.kind == EventKind::Refused { reason }).await;
    assert!(events.events().iter().all(|event| event.kind != EventKind::Reused));
}

/// The class of the above: the token was stolen long ago, and the session has had many tokens
/// since. The 1st, the 20th and the 100th token are recognised alike.
pub async fn old_token_is_a_reuse_at_any_age(deployment: &Deployment) {
    let (managers, events) = managers(deployment, TokenReuse::Report, Duration::ZERO, LONG);
    let mut tokens = vec![sign_in(&managers[0], "ada").await];
    for number in 0..100 {
        let moved = managers[number % 2].rotate(&tokens[number]).await;
        tokens.push(rotated(moved.expect("the store answers")));
    }
    let own = tokens.pop().expect("one more");
    for number in [1, 2, 16, 17, 18, 20, 65, 100] {
        let before = events.count(is_reuse(own.id()));
        let manager = &managers[number % 2];
        let found = manager.get_with(&tokens[number - 1], Access::SLIDE.strict()).await;
        assert!(found.expect("the store answers").is_none(), "the token number {number}");
        events.until_more(&format!("token number {number}"), before, is_reuse(own.id())).await;
    }
    deployment.is_accepted(&own).await;
    let (ending, _) =
        self::managers(deployment, TokenReuse::EndSession, deployment.short_timeout(), LONG);
    assert!(ending[1].get(&tokens[19]).await.expect("the store answers").is_none());
    deployment.is_refused(&own).await;
}

/// Rotating refresh tokens (RFC 9700, 4.14.2): thief and owner can't be told apart, so both are
/// signed out, on both servers.
pub async fn reused_token_signs_out_thief_and_owner(deployment: &Deployment) {
    let grace = deployment.short_timeout() / 20;
    for thief_is_first in [true, false] {
        let (managers, events) = managers(deployment, TokenReuse::EndSession, grace, LONG);
        let mut owner = deployment.one.client_of(managers[0].clone());
        owner.post("/login/ada").await;
        let mut thief = deployment.other.client_of(managers[1].clone()).with(owner.jar.clone());
        let mut device = deployment.other.client_of(managers[1].clone());
        device.post("/login/ada").await;
        assert_eq!(thief.get("/profile").await.text, "ada");
        let (first, second) =
            if thief_is_first { (&mut thief, &mut owner) } else { (&mut owner, &mut thief) };
        assert_eq!(first.post("/rotate").await.status, StatusCode::OK);
        let (spent, token) = (second.token().expect("one"), first.token().expect("one"));
        deployment.advance(grace * 2 + grace / 2).await;
        // First by managers that only report it.
        deployment.is_refused(&spent).await;
        assert_eq!(first.get("/profile").await.status, StatusCode::OK);
        assert_eq!(second.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        deployment.is_refused(&token).await;
        deployment.is_refused(&spent).await;
        for server in deployment.servers() {
            for client in [&*first, &*second] {
                let mut client = client.at(server);
                assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
                assert_eq!(client.post("/count").await.status, StatusCode::UNAUTHORIZED);
            }
        }
        events.until("the reuse", is_reuse(token.id())).await;
        let reason = EndReason::Reuse;
        let ended = |event: &Event| event.kind == EventKind::Ended { reason };
        assert_eq!(events.until("the end", ended).await.id, Some(token.id()));
        // The owner's other devices stay signed in.
        deployment.is_accepted(&device.token().expect("a token in the cookie")).await;
    }
}

/// Requests in flight during a rotation: during the grace both tokens work on both servers, and all
/// requests for a new token get the same successor.
pub async fn both_tokens_work_during_the_grace(deployment: &Deployment) {
    for reuse in [TokenReuse::Report, TokenReuse::EndSession] {
        let (managers, events) = managers(deployment, reuse, Duration::from_secs(600), LONG);
        let name = format!("ada-{reuse:?}");
        let token = sign_in(&managers[0], &name).await;
        let racing = managers.iter().cycle().take(12).map(|manager| {
            let (manager, token) = (manager.clone(), token.clone());
            tokio::spawn(async move { manager.rotate(&token).await.expect("the store answers") })
        });
        let mut successors = Vec::new();
        for racing in racing.collect::<Vec<_>>() {
            match racing.await.expect("the task ends") {
                RotateOutcome::Token(successor) => successors.push(successor),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("the grace applies"),
            }
        }
        assert_eq!(successors.len(), 1);
        let id = successors[0].id();
        deployment.outlive_copies().await;
        for (server, manager) in deployment.servers().into_iter().zip(&managers) {
            for token in [&token, &successors[0]] {
                let found = manager.get(token).await.expect("the store answers");
                assert_eq!(found.expect("both work").id(), id);
            }
            let mut late = server.client_of(manager.clone()).presenting(token.expose());
            let answer = late.post("/rotate").await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.set_cookies().is_empty(), "a second successor");
            assert_eq!(ids(manager, &name).await, [id]);
        }
        let reused = events.events().iter().any(|event| event.kind == EventKind::Reused);
        assert!(!reused, "a request in flight is no theft");
    }
}

/// A replaced token keeps the session alive after its owner has left.
pub async fn replaced_token_does_not_extend_the_session(deployment: &Deployment) {
    let idle = deployment.short_timeout();
    // After its grace, and during it.
    for grace in [Duration::ZERO, idle] {
        let (managers, _) = managers(deployment, TokenReuse::Report, grace, idle);
        let spent = sign_in(&managers[0], "ada").await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
        let expires = found.expect("the store answers").expect("the session exists").expires_at();
        let mut used = 0;
        while deployment.now() < expires.saturating_add(deployment.clock_skew()) {
            let access = if used % 4 < 2 { Access::SLIDE } else { Access::SLIDE.strict() };
            let found = managers[used % 2].get_with(&spent, access).await;
            let found = found.expect("the store answers");
            // A change counts as use, but not with this token.
            if found.is_some() {
                let updated = managers[used % 2].update(&spent, |user| user.count += 1).await;
                updated.expect("the store answers");
            }
            used += 1;
            deployment.advance(idle / 16).await;
        }
        assert!(used > 4, "{used}");
        for manager in &managers {
            let found = manager.peek(&token).await.expect("the store answers");
            assert!(found.is_none(), "a replaced token extends the session, grace {grace:?}");
        }
        deployment.is_refused(&token).await;
        deployment.is_refused(&spent).await;
    }
}

/// A replaced token ends the owner's sessions, or changes one.
pub async fn replaced_token_changes_no_session(deployment: &Deployment) {
    for reuse in [TokenReuse::Ignore, TokenReuse::Report] {
        let (managers, _) = managers(deployment, reuse, Duration::ZERO, LONG);
        let spent = sign_in(&managers[0], "ada").await;
        let companion = sign_in(&managers[1], "ada").await;
        deployment.is_accepted(&spent).await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        deployment.is_refused(&spent).await;
        for (server, manager) in deployment.servers().into_iter().zip(&managers) {
            let thief = server.client_of(manager.clone()).presenting(spent.expose());
            for path in ["/logout", "/deep/down/below/logout", "/revoke-all", "/password"] {
                let answer = thief.clone().post(path).await;
                let gives_one = answer.set_cookies().iter().any(|it| !it.contains("Max-Age=0"));
                assert!(!gives_one, "{path}");
                deployment.is_accepted(&token).await;
                deployment.is_accepted(&companion).await;
            }
            assert!(!manager.logout(&spent).await.expect("the store answers"));
            assert_eq!(manager.revoke_others(&spent).await.expect("the store answers"), 0);
            let moved = manager.rotate(&spent).await.expect("the store answers");
            assert!(matches!(moved, RotateOutcome::Absent), "{moved:?}");
            let moved = manager.reauthenticate(&spent, Level::Three).await;
            assert!(matches!(moved.expect("the store answers"), RotateOutcome::Absent));
            let moved = manager.change_credentials(&spent, None).await;
            assert!(matches!(moved.expect("the store answers"), (RotateOutcome::Absent, 0)));
            let updated = manager.update(&spent, |user| user.count += 1).await;
            assert!(updated.expect("the store answers").is_none());
            // A sign-in with the token in the cookie ends no session.
            let mut fresh = thief.clone();
            assert_eq!(fresh.post("/login/eve").await.status, StatusCode::OK);
            assert_eq!(fresh.get("/profile").await.text, "eve");
            let found = manager.peek(&token).await.expect("the store answers");
            assert_eq!(found.expect("the session exists").count, 0);
            deployment.is_accepted(&token).await;
            deployment.is_accepted(&companion).await;
        }
    }
}
