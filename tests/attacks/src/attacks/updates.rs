//! No update is lost.

use kvolt_session::RotateOutcome;
use kvolt_testkit::Call;
use std::time::Duration;

use super::{rotated, sign_in};
use crate::deployment::Deployment;

/// tower-sessions 36, 37; actix-extras 212; aspnet/Session 60, 72; fastify-session 237: the last
/// save wins, and the other change is lost.
pub async fn parallel_updates_are_all_kept(deployment: &Deployment) {
    let (one, other) = (deployment.one.manager(), deployment.other.manager());
    let token = sign_in(&one, "ada").await;

    // One has read and is about to write; the other changes the session in between.
    deployment.one.faults.only(&[Call::Replace]);
    deployment.one.faults.hold_calls();
    let (slow, slow_token) = (one.clone(), token.clone());
    let slow = tokio::spawn(async move {
        slow.update(&slow_token, |user| user.count = 7).await.expect("the store answers")
    });
    deployment.one.faults.until_waiting(1).await;
    let quick = other.update(&token, |user| "quick".clone_into(&mut user.note)).await;
    assert!(quick.expect("the store answers").is_some());
    deployment.one.faults.release();
    deployment.one.faults.only(&[]);
    let slow = slow.await.expect("the task ends").expect("the session exists");
    assert_eq!((slow.count, &*slow.note), (7, "quick"));

    // Many of both at the same time.
    let writers = [one.clone(), other.clone()].into_iter().cycle().take(8).map(|manager| {
        let token = token.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let updated = manager.update(&token, |user| user.count += 1).await;
                assert!(updated.expect("the store answers").is_some());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("all of it was written");
    }
    deployment.outlive_copies().await;
    for manager in [one, other] {
        let session = manager.get(&token).await.expect("the store answers");
        let session = session.expect("the session exists");
        assert_eq!((session.count, &*session.note), (87, "quick"));
    }
}

/// The class of the above: the token is replaced during an update. The update reports that the
/// session is absent, or the successor has it.
pub async fn update_across_a_rotation_is_kept_or_reported(deployment: &Deployment) {
    for grace in [Duration::ZERO, Duration::from_secs(600)] {
        let builder = deployment.one.builder().rotation_grace(grace);
        let one = builder.build().expect("valid settings");
        let other =
            deployment.other.builder().rotation_grace(grace).build().expect("valid settings");
        let token = sign_in(&one, "ada").await;
        deployment.one.faults.only(&[Call::Replace]);
        deployment.one.faults.hold_calls();
        let (slow, slow_token) = (one.clone(), token.clone());
        let slow = tokio::spawn(async move {
            slow.update(&slow_token, |user| user.count = 7).await.expect("the store answers")
        });
        deployment.one.faults.until_waiting(1).await;
        let successor = rotated(other.rotate(&token).await.expect("the store answers"));
        deployment.one.faults.release();
        deployment.one.faults.only(&[]);
        let told = slow.await.expect("the task ends").is_some();
        assert_eq!(told, !grace.is_zero(), "a former token leads on in its grace, and not without");
        let found = other.get(&successor).await.expect("the store answers");
        let count = found.map(|session| session.count);
        assert_eq!(count, Some(if told { 7 } else { 0 }));
        deployment.is_accepted(&successor).await;
        if told {
            let again = one.rotate(&token).await.expect("the store answers");
            assert!(
                matches!(again, RotateOutcome::AlreadyRotated),
                "no second successor: {again:?}"
            );
        } else {
            deployment.is_refused(&token).await;
        }
    }
}
