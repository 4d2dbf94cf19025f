//! A new token atomically replaces the old one.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::RotateOutcome;
use kvolt_testkit::Call;

use super::{ids, rotated, sign_in};
use crate::stage::Stage;

/// saysion 0.2, async-session: the new id works, but the old one works too.
pub async fn after_a_rotation_the_old_token_is_refused(stage: &Stage) {
    let managers = stage.servers().map(crate::Server::manager);
    let mut token = sign_in(&managers[0], "ada").await;
    for step in 0..4 {
        // Both servers have used it, and may have a copy.
        stage.is_accepted(&token).await;
        let moved = managers[step % 2].rotate(&token).await.expect("the store answers");
        let successor = rotated(moved);
        stage.is_refused(&token).await;
        stage.is_accepted(&successor).await;
        assert_eq!(successor.id(), token.id(), "a rotation keeps the id");
        assert_eq!(ids(&managers[0], "ada").await, [token.id()]);
        let again = managers[1].rotate(&token).await.expect("the store answers");
        assert!(matches!(again, RotateOutcome::Absent), "{again:?}");
        token = successor;
    }
    // Of two concurrent rotations, one succeeds.
    let racing = [0, 1].map(|at| {
        let (manager, token): (kvolt_session::Manager<_>, _) =
            (managers[at].clone(), token.clone());
        tokio::spawn(async move { manager.rotate(&token).await.expect("the store answers") })
    });
    let mut successors = Vec::new();
    for racing in racing {
        if let RotateOutcome::Token(successor) = racing.await.expect("it is answered") {
            successors.push(successor);
        }
    }
    assert_eq!(successors.len(), 1);
    stage.is_refused(&token).await;
    stage.is_accepted(&successors[0]).await;
}

/// tower-sessions 0.14 (tried): the handler fails after it has rotated the id, so the old
/// token is invalid and the new one never reaches the client.
pub async fn a_new_token_reaches_the_client_also_when_its_handler_fails(stage: &Stage) {
    let mut client = stage.one.client();
    client.post("/login/ada").await;
    client.post("/count").await;
    let before = client.clone();
    let answer = client.post("/rotate-and-fail").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(client.jar, before.jar);
    stage.is_refused(&before.token().expect("it was one")).await;
    for server in stage.servers() {
        assert_eq!(client.at(server).get("/count").await.text, "1");
    }
}

/// Related: the rotation fails, is cancelled, or loses its answer. Afterwards exactly one
/// session exists, with the old or the new token.
pub async fn a_rotation_that_fails_or_is_given_up_leaves_exactly_one_session(stage: &Stage) {
    let grace = Duration::from_secs(600);
    let faults = &stage.one.faults;
    for has_grace in [false, true] {
        let builder = stage.one.builder();
        let builder = if has_grace { builder.rotation_grace(grace) } else { builder };
        let manager = builder.build().expect("it can work");
        for what in ["fails", "is lost", "is given up before", "is given up after"] {
            let owner = format!("{what}, {has_grace}");
            let token = sign_in(&manager, &owner).await;
            faults.only(&[Call::Replace]);
            let is_done = match what {
                "fails" => {
                    faults.fail_next(1);
                    assert!(manager.rotate(&token).await.expect_err("it fails").is_unavailable());
                    false
                }
                "is lost" => {
                    // The manager reads the store again, and finds that the rotation took
                    // effect.
                    faults.lose_next_answers(1);
                    let settled = rotated(manager.rotate(&token).await.expect("it is settled"));
                    stage.is_accepted(&settled).await;
                    true
                }
                _ => {
                    let is_done = what == "is given up after";
                    if is_done {
                        faults.hold_answers()
                    } else {
                        faults.hold_calls()
                    }
                    let (giving_up, own) = (manager.clone(), token.clone());
                    let in_flight =
                        tokio::spawn(async move { giving_up.rotate(&own).await.is_ok() });
                    faults.until_waiting(1).await;
                    in_flight.abort();
                    assert!(in_flight.await.is_err(), "it is given up");
                    faults.release();
                    is_done
                }
            };
            faults.only(&[]);
            stage.outlive_copies().await;
            for server in stage.servers() {
                assert_eq!(ids(&server.manager(), &owner).await, [token.id()], "{owner}");
            }
            // With a grace period, a client without the answer can continue until it ends.
            match is_done && !has_grace {
                true => stage.is_refused(&token).await,
                false => stage.is_accepted(&token).await,
            }
        }
    }
}
