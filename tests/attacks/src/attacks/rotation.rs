//! A new token replaces the old one in one step.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::RotateOutcome;
use kvolt_testkit::Call;

use super::{ids, rotated, sign_in};
use crate::deployment::Deployment;

/// saysion 0.2, async-session: the old id stays valid next to the new one.
pub async fn old_token_is_refused_after_a_rotation(deployment: &Deployment) {
    let managers = deployment.servers().map(crate::Server::manager);
    let mut token = sign_in(&managers[0], "ada").await;
    for step in 0..4 {
        // Both servers have read the session, and may have a copy.
        deployment.is_accepted(&token).await;
        let moved = managers[step % 2].rotate(&token).await.expect("the store answers");
        let successor = rotated(moved);
        deployment.is_refused(&token).await;
        deployment.is_accepted(&successor).await;
        assert_eq!(successor.id(), token.id(), "a rotation keeps the id");
        assert_eq!(ids(&managers[0], "ada").await, [token.id()]);
        let again = managers[1].rotate(&token).await.expect("the store answers");
        assert!(matches!(again, RotateOutcome::Absent), "{again:?}");
        token = successor;
    }
    // One of two parallel rotations succeeds.
    let racing = [0, 1].map(|at| {
        let (manager, token): (kvolt_session::Manager<_>, _) =
            (managers[at].clone(), token.clone());
        tokio::spawn(async move { manager.rotate(&token).await.expect("the store answers") })
    });
    let mut successors = Vec::new();
    for racing in racing {
        if let RotateOutcome::Token(successor) = racing.await.expect("the task ends") {
            successors.push(successor);
        }
    }
    assert_eq!(successors.len(), 1);
    deployment.is_refused(&token).await;
    deployment.is_accepted(&successors[0]).await;
}

/// tower-sessions 0.14 (tried): the handler fails after the rotation, so the old id is invalid, and
/// the client never gets the new one.
pub async fn new_token_reaches_the_client_when_its_handler_fails(deployment: &Deployment) {
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    client.post("/count").await;
    let before = client.clone();
    let answer = client.post("/rotate-and-fail").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(client.jar, before.jar);
    deployment.is_refused(&before.token().expect("a token")).await;
    for server in deployment.servers() {
        assert_eq!(client.at(server).get("/count").await.text, "1");
    }
}

/// The class of the above: the rotation fails, is cancelled, or its answer is lost. Exactly one
/// session exists afterwards, with the old token or with a new one.
pub async fn failed_rotation_leaves_one_session(deployment: &Deployment) {
    let grace = Duration::from_secs(600);
    let faults = &deployment.one.faults;
    for has_grace in [false, true] {
        let builder = deployment.one.builder();
        let builder = if has_grace { builder.rotation_grace(grace) } else { builder };
        let manager = builder.build().expect("valid settings");
        for what in ["fails", "is lost", "is given up before", "is given up after"] {
            let owner = format!("{what}, {has_grace}");
            let token = sign_in(&manager, &owner).await;
            faults.only(&[Call::Replace]);
            let is_done = match what {
                "fails" => {
                    faults.fail_next(1);
                    assert!(manager.rotate(&token).await.expect_err("an error").is_unavailable());
                    false
                }
                "is lost" => {
                    // The operation is repeated, and reports that it was done.
                    faults.lose_next_answers(1);
                    let settled =
                        rotated(manager.rotate(&token).await.expect("a definite outcome"));
                    deployment.is_accepted(&settled).await;
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
                    assert!(in_flight.await.is_err(), "the task is cancelled");
                    faults.release();
                    is_done
                }
            };
            faults.only(&[]);
            deployment.outlive_copies().await;
            for server in deployment.servers() {
                assert_eq!(ids(&server.manager(), &owner).await, [token.id()], "{owner}");
            }
            // During the grace, a client without the new token can continue.
            match is_done && !has_grace {
                true => deployment.is_refused(&token).await,
                false => deployment.is_accepted(&token).await,
            }
        }
    }
}
