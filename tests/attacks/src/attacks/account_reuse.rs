//! A replaced token is rejected after its grace period, and its reuse is reported.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::{
    Access, EndReason, Event, EventKind, Level, Manager, RefusalReason, RotateOutcome, SessionId,
    Token, TokenReuse,
};

use super::{account, ids, rotated, sign_in};
use crate::stage::{Server, Stage};
use crate::told::Told;
use crate::user::User;

/// Creates a manager on each server, and a listener that records their events.
fn managers(
    stage: &Stage,
    reuse: TokenReuse,
    grace: Duration,
    idle: Duration,
) -> ([Manager<User>; 2], Told) {
    let told = Told::default();
    let managers = stage.servers().map(|server: &Server| {
        let builder = server.builder().idle_timeout(idle).lifetime(idle * 12);
        let builder = builder.token_reuse(reuse).rotation_grace(grace).listener(told.clone());
        builder.build().expect("it can work")
    });
    (managers, told)
}

const LONG: Duration = Duration::from_secs(1_800);

/// Asserts that this manager rejects a token once no copy is left.
async fn refused(stage: &Stage, manager: &Manager<User>, token: &Token) {
    stage.is_refused(token).await;
    for access in [Access::SLIDE, Access::PEEK, Access::SLIDE.strict()] {
        let found = manager.get_with(token, access).await.expect("the store answers");
        assert!(found.is_none(), "a token that was replaced is accepted");
    }
}

/// Matches an event that reports reuse of a token of this session.
fn is_reuse(id: SessionId) -> impl Fn(&Event) -> bool {
    move |event| event.kind == EventKind::Reused && event.id == Some(id)
}

/// A stolen token, or the owner's token after a thief has rotated it, is used again and not
/// detected. Both servers must reject it, and report it with the session's id.
pub async fn a_replaced_token_is_refused_after_its_grace_and_told_of(stage: &Stage) {
    let short = stage.moment() / 4;
    for grace in [Duration::ZERO, short] {
        let (managers, told) = managers(stage, TokenReuse::Report, grace, LONG);
        let spent = sign_in(&managers[0], "ada").await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        if stage.is_in_memory() && !grace.is_zero() {
            // A late request that was in flight is rejected, but is not reported as reuse.
            stage.pass(grace * 3 / 2).await;
            refused(stage, &managers[1], &spent).await;
            let reason = RefusalReason::Replaced;
            told.until("its refusal", |event| event.kind == EventKind::Refused { reason }).await;
            assert_eq!(told.count(is_reuse(spent.id())), 0);
        }
        stage.pass(grace * 2 + grace / 10).await;
        for manager in &managers {
            let before = told.count(is_reuse(spent.id()));
            refused(stage, manager, &spent).await;
            told.until_more("its use", before, is_reuse(spent.id())).await;
        }
        let event = told.until("its refusal", |event| {
            let reason = RefusalReason::Reuse;
            event.kind == EventKind::Refused { reason } && event.id == Some(spent.id())
        });
        assert_eq!(event.await.owner, Some(account("ada")));
        stage.is_accepted(&token).await;
    }
    // A made-up token must not be reported as reuse.
    let (managers, told) = managers(stage, TokenReuse::Report, Duration::ZERO, LONG);
    let unknown = Token::parse("A".repeat(48)).expect("it is well-formed");
    assert!(managers[0].get(&unknown).await.expect("the store answers").is_none());
    let reason = RefusalReason::Unknown;
    told.until("a refusal", |event| event.kind == EventKind::Refused { reason }).await;
    assert!(told.events().iter().all(|event| event.kind != EventKind::Reused));
}

/// Related: the token was stolen long ago, and the store no longer remembers it. The 1st,
/// 20th and 100th token of a session must all be recognized.
pub async fn earlier_token_is_a_reuse_however_old_it_is(stage: &Stage) {
    let (managers, told) = managers(stage, TokenReuse::Report, Duration::ZERO, LONG);
    let mut tokens = vec![sign_in(&managers[0], "ada").await];
    for number in 0..100 {
        let moved = managers[number % 2].rotate(&tokens[number]).await;
        tokens.push(rotated(moved.expect("the store answers")));
    }
    let own = tokens.pop().expect("there is one more");
    for number in [1, 2, 16, 17, 18, 20, 65, 100] {
        let before = told.count(is_reuse(own.id()));
        let manager = &managers[number % 2];
        let found = manager.get_with(&tokens[number - 1], Access::SLIDE.strict()).await;
        assert!(found.expect("the store answers").is_none(), "the token number {number}");
        told.until_more(&format!("token number {number}"), before, is_reuse(own.id())).await;
    }
    stage.is_accepted(&own).await;
    let (ending, _) = self::managers(stage, TokenReuse::EndSession, stage.moment(), LONG);
    assert!(ending[1].get(&tokens[19]).await.expect("the store answers").is_none());
    stage.is_refused(&own).await;
}

/// Rotating refresh tokens (RFC 9700, 4.14.2): either the thief or the owner used the old
/// token, so the session ends for both, on both servers.
pub async fn with_the_reuse_of_a_token_thief_and_owner_are_both_out(stage: &Stage) {
    let grace = stage.moment() / 20;
    for thief_is_first in [true, false] {
        let (managers, told) = managers(stage, TokenReuse::EndSession, grace, LONG);
        let mut owner = stage.one.client_of(managers[0].clone());
        owner.post("/login/ada").await;
        let mut thief = stage.other.client_of(managers[1].clone()).with(owner.jar.clone());
        let mut device = stage.other.client_of(managers[1].clone());
        device.post("/login/ada").await;
        assert_eq!(thief.get("/profile").await.text, "ada");
        let (first, second) =
            if thief_is_first { (&mut thief, &mut owner) } else { (&mut owner, &mut thief) };
        assert_eq!(first.post("/rotate").await.status, StatusCode::OK);
        let (spent, token) = (second.token().expect("one"), first.token().expect("one"));
        stage.pass(grace * 2 + grace / 2).await;
        // Checks with managers that only report reuse.
        stage.is_refused(&spent).await;
        assert_eq!(first.get("/profile").await.status, StatusCode::OK);
        assert_eq!(second.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        stage.is_refused(&token).await;
        stage.is_refused(&spent).await;
        for server in stage.servers() {
            for client in [&*first, &*second] {
                let mut client = client.at(server);
                assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
                assert_eq!(client.post("/count").await.status, StatusCode::UNAUTHORIZED);
            }
        }
        told.until("the reuse", is_reuse(token.id())).await;
        let reason = EndReason::Reuse;
        let ended = |event: &Event| event.kind == EventKind::Ended { reason };
        assert_eq!(told.until("the end", ended).await.id, Some(token.id()));
        // The owner's other devices stay signed in.
        stage.is_accepted(&device.token().expect("it is signed in")).await;
    }
}

/// Requests in flight during a rotation: during the grace period both tokens work on both
/// servers, and concurrent rotations produce one successor.
pub async fn within_the_grace_both_tokens_work_and_there_is_one_successor(stage: &Stage) {
    for reuse in [TokenReuse::Report, TokenReuse::EndSession] {
        let (managers, told) = managers(stage, reuse, Duration::from_secs(600), LONG);
        let name = format!("ada-{reuse:?}");
        let token = sign_in(&managers[0], &name).await;
        let racing = managers.iter().cycle().take(12).map(|manager| {
            let (manager, token) = (manager.clone(), token.clone());
            tokio::spawn(async move { manager.rotate(&token).await.expect("the store answers") })
        });
        let mut successors = Vec::new();
        for racing in racing.collect::<Vec<_>>() {
            match racing.await.expect("it is answered") {
                RotateOutcome::Token(successor) => successors.push(successor),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("it is in its grace"),
            }
        }
        assert_eq!(successors.len(), 1);
        let id = successors[0].id();
        stage.outlive_copies().await;
        for (server, manager) in stage.servers().into_iter().zip(&managers) {
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
        let reused = told.events().iter().any(|event| event.kind == EventKind::Reused);
        assert!(!reused, "what was under way is no theft");
    }
}

/// A client with a replaced token keeps the session alive long after its owner has left.
pub async fn a_replaced_token_keeps_nothing_alive(stage: &Stage) {
    let idle = stage.moment();
    // After the grace period, and during it.
    for grace in [Duration::ZERO, idle] {
        let (managers, _) = managers(stage, TokenReuse::Report, grace, idle);
        let spent = sign_in(&managers[0], "ada").await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
        let expires = found.expect("the store answers").expect("it is there").expires_at();
        let mut used = 0;
        while stage.now() < expires.saturating_add(stage.inexactness()) {
            let access = if used % 4 < 2 { Access::SLIDE } else { Access::SLIDE.strict() };
            let found = managers[used % 2].get_with(&spent, access).await;
            let found = found.expect("the store answers");
            // A change counts as use, but not with this token.
            if found.is_some() {
                let updated = managers[used % 2].update(&spent, |user| user.count += 1).await;
                updated.expect("the store answers");
            }
            used += 1;
            stage.pass(idle / 16).await;
        }
        assert!(used > 4, "{used}");
        for manager in &managers {
            let found = manager.peek(&token).await.expect("the store answers");
            assert!(found.is_none(), "kept alive with a former token, in a grace of {grace:?}");
        }
        stage.is_refused(&token).await;
        stage.is_refused(&spent).await;
    }
}

/// A client with a replaced token ends or changes the owner's session.
pub async fn a_replaced_token_ends_nothing_and_changes_nothing(stage: &Stage) {
    for reuse in [TokenReuse::Ignore, TokenReuse::Report] {
        let (managers, _) = managers(stage, reuse, Duration::ZERO, LONG);
        let spent = sign_in(&managers[0], "ada").await;
        let companion = sign_in(&managers[1], "ada").await;
        stage.is_accepted(&spent).await;
        let token = rotated(managers[0].rotate(&spent).await.expect("the store answers"));
        stage.is_refused(&spent).await;
        for (server, manager) in stage.servers().into_iter().zip(&managers) {
            let thief = server.client_of(manager.clone()).presenting(spent.expose());
            for path in ["/logout", "/deep/down/below/logout", "/revoke-all", "/password"] {
                let answer = thief.clone().post(path).await;
                let gives_one = answer.set_cookies().iter().any(|it| !it.contains("Max-Age=0"));
                assert!(!gives_one, "{path}");
                stage.is_accepted(&token).await;
                stage.is_accepted(&companion).await;
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
            // A login with this token in the jar must not end the owner's session.
            let mut fresh = thief.clone();
            assert_eq!(fresh.post("/login/eve").await.status, StatusCode::OK);
            assert_eq!(fresh.get("/profile").await.text, "eve");
            let found = manager.peek(&token).await.expect("the store answers");
            assert_eq!(found.expect("it is there").count, 0);
            stage.is_accepted(&token).await;
            stage.is_accepted(&companion).await;
        }
    }
}
