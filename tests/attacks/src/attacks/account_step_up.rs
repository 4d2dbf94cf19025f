//! Only a stronger proof allows sensitive actions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, Level, RotateOutcome};
use kvolt_testkit::Call;

use super::{rotated, sign_in};
use crate::account::FRESH;
use crate::stage::{Server, Stage};
use crate::user::signed_in;

/// A sensitive action requires only a session, even one left open for hours or opened by a
/// password alone. OWASP ASVS 7.5.1 and 7.2.4, NIST SP 800-63B-4, 5.2.
pub async fn a_sensitive_act_is_refused_to_a_session_that_is_stale_or_too_low(stage: &Stage) {
    let mut client = stage.one.client();
    client.post("/login/ada").await;
    assert_eq!(client.post("/account/fresh").await.status, StatusCode::OK);
    for server in stage.servers() {
        let answer = client.at(server).post("/account/strong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a password is no second factor");
        let said = answer.header("www-authenticate").unwrap_or(&answer.text);
        assert!(said.contains("insufficient"), "{said}");
    }
    stage.pass(FRESH + Duration::from_millis(100)).await;
    for server in stage.servers() {
        let mut client = client.at(server);
        assert_eq!(client.post("/account/fresh").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.get("/profile").await.text, "ada", "nobody is signed out by it");
    }

    // With a password: fresh, and no stronger than a password.
    let stale = client.clone();
    assert_eq!(client.post("/account/prove/1").await.status, StatusCode::OK);
    assert_ne!(client.jar, stale.jar, "a proof changes the token");
    stage.is_refused(&stale.token().expect("it was one")).await;
    assert_eq!(client.at(&stage.other).post("/account/fresh").await.status, StatusCode::OK);
    let low = client.clone();
    for server in stage.servers() {
        let answer = client.at(server).post("/account/strong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // With a second factor: stronger, but no stronger than that.
    assert_eq!(client.post("/account/prove/2").await.status, StatusCode::OK);
    assert_ne!(client.jar, low.jar);
    let token = client.token().expect("it is signed in");
    stage.is_refused(&low.token().expect("it was one")).await;
    for server in stage.servers() {
        assert_eq!(client.at(server).post("/account/strong").await.status, StatusCode::OK);
        for old in [&stale, &low] {
            for path in ["/account/strong", "/account/fresh", "/account/prove/3"] {
                let answer = old.at(server).post(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
                assert!(answer.set_cookies().is_empty(), "{path}");
            }
        }
        let session = server.manager().peek(&token).await.expect("the store answers");
        let session = session.expect("it is there");
        assert_eq!(session.level(), Some(Level::Two), "exactly what was proved");
        assert_eq!(session.authenticated_at(Level::Three), None);
    }
    // Another session of the same user has proved nothing.
    let mut device = stage.other.client();
    device.post("/login/ada").await;
    assert_eq!(device.post("/account/strong").await.status, StatusCode::UNAUTHORIZED);
}

/// Related: concurrent proofs, where a weaker or older proof undoes another, or the session
/// gets a higher level than any of them proved.
pub async fn of_proofs_at_once_none_lowers_anything(stage: &Stage) {
    for highest in [Level::Two, Level::Three] {
        let managers = stage.servers().map(|server| {
            let builder = server.builder().rotation_grace(Duration::from_secs(600));
            builder.build().expect("it can work")
        });
        let new = signed_in("ada").level(Level::Two);
        let token = managers[0].create(new).await.expect("a sign-in works");
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (is_over, manager, token) =
                (Arc::clone(&is_over), managers[1].clone(), token.clone());
            tokio::spawn(async move {
                let mut proved = [None; 3];
                while !is_over.load(Ordering::Relaxed) {
                    let found = manager.find(token.id()).await;
                    let session = found.expect("the store answers").expect("it is there");
                    let now = Level::ALL.map(|level| session.authenticated_at(level));
                    assert!(proved.iter().zip(&now).all(|(then, now)| then <= now));
                    proved = now;
                }
                proved
            })
        };
        let levels = [Level::One, highest, Level::One, Level::Two];
        let proofs = levels.into_iter().cycle().take(16).zip(managers.iter().cycle());
        let proofs = proofs.map(|(level, manager)| {
            let (manager, token) = (manager.clone(), token.clone());
            tokio::spawn(async move {
                manager.reauthenticate(&token, level).await.expect("the store answers")
            })
        });
        let mut successors = Vec::new();
        for proof in proofs.collect::<Vec<_>>() {
            match proof.await.expect("it is answered") {
                RotateOutcome::Token(successor) => successors.push(successor),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("it is in its grace"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let proved = watch.await.expect("nothing is ever lowered");
        assert_eq!(successors.len(), 16, "each has proved it, and has its token");
        for successor in &successors {
            let found = managers[0].get_with(successor, Access::PEEK.strict()).await;
            let found = found.expect("the store answers").expect("it is in its grace");
            assert!(found.level() <= Some(highest));
        }
        // A session has one current token: the others are in their grace period, and have
        // no successor.
        let mut last = None;
        for successor in &successors {
            match managers[1].rotate(successor).await.expect("the store answers") {
                RotateOutcome::Token(token) => assert!(last.replace(token).is_none()),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("it is in its grace"),
            }
        }
        let last = last.expect("one of them is the session's own");
        let session = managers[0].get_with(&last, Access::PEEK.strict()).await;
        let session = session.expect("the store answers").expect("it is there");
        assert_eq!(session.level(), Some(highest));
        let now = Level::ALL.map(|level| session.authenticated_at(level));
        assert!(proved.iter().zip(&now).all(|(then, now)| then <= now));
    }
}

/// Related: the token is rotated while its user completes a proof, so without a grace
/// period the proof has no session. The caller must be notified, and no other session may
/// be raised.
pub async fn a_proof_that_comes_too_late_is_told_and_lifts_nothing(stage: &Stage) {
    let managers = stage.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    stage.one.faults.only(&[Call::Replace]);
    stage.one.faults.hold_calls();
    let (late, own) = (managers[0].clone(), token.clone());
    let late = tokio::spawn(async move {
        late.reauthenticate(&own, Level::Three).await.expect("the store answers")
    });
    stage.one.faults.until_waiting(1).await;
    let successor = rotated(managers[1].rotate(&token).await.expect("the store answers"));
    stage.one.faults.release();
    stage.one.faults.only(&[]);
    let late = late.await.expect("it is answered");
    assert!(
        matches!(late, RotateOutcome::Absent),
        "it was noted nowhere, and {late:?} says it was"
    );
    stage.is_refused(&token).await;
    for manager in &managers {
        let found = manager.get_with(&successor, Access::PEEK.strict()).await;
        let session = found.expect("the store answers").expect("it is there");
        assert_eq!(session.level(), Some(Level::One));
    }
}
