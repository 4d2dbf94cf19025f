//! No update is lost.

use kvolt_session::RotateOutcome;
use kvolt_testkit::Call;
use std::time::Duration;

use super::{rotated, sign_in};
use crate::stage::Stage;

/// tower-sessions 36, 37; actix-extras 212; aspnet/Session 60, 72; fastify-session 237: the
/// last save wins, and other changes are lost.
pub async fn of_two_writers_at_once_neither_is_lost(stage: &Stage) {
    let (one, other) = (stage.one.manager(), stage.other.manager());
    let token = sign_in(&one, "ada").await;

    // One client has read and is about to write; another changes a different field in
    // between.
    stage.one.faults.only(&[Call::Replace]);
    stage.one.faults.hold_calls();
    let (slow, slow_token) = (one.clone(), token.clone());
    let slow = tokio::spawn(async move {
        slow.update(&slow_token, |user| user.count = 7).await.expect("the store answers")
    });
    stage.one.faults.until_waiting(1).await;
    let quick = other.update(&token, |user| "quick".clone_into(&mut user.note)).await;
    assert!(quick.expect("the store answers").is_some());
    stage.one.faults.release();
    stage.one.faults.only(&[]);
    let slow = slow.await.expect("it is answered").expect("the session is there");
    assert_eq!((slow.count, &*slow.note), (7, "quick"));

    // Many concurrent updates of both kinds.
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
    stage.outlive_copies().await;
    for manager in [one, other] {
        let session = manager.get(&token).await.expect("the store answers");
        let session = session.expect("the session is there");
        assert_eq!((session.count, &*session.note), (87, "quick"));
    }
}

/// Related: the session is rotated while an update is in flight. The caller must learn that
/// the old token is invalid, or the change must be in the successor.
pub async fn an_update_in_flight_across_a_rotation_is_kept_or_told(stage: &Stage) {
    for grace in [Duration::ZERO, Duration::from_secs(600)] {
        let builder = stage.one.builder().rotation_grace(grace);
        let one = builder.build().expect("it can work");
        let other = stage.other.builder().rotation_grace(grace).build().expect("it can work");
        let token = sign_in(&one, "ada").await;
        stage.one.faults.only(&[Call::Replace]);
        stage.one.faults.hold_calls();
        let (slow, slow_token) = (one.clone(), token.clone());
        let slow = tokio::spawn(async move {
            slow.update(&slow_token, |user| user.count = 7).await.expect("the store answers")
        });
        stage.one.faults.until_waiting(1).await;
        let successor = rotated(other.rotate(&token).await.expect("the store answers"));
        stage.one.faults.release();
        stage.one.faults.only(&[]);
        let told = slow.await.expect("it is answered").is_some();
        assert_eq!(told, !grace.is_zero(), "a former token leads on in its grace, and not without");
        let found = other.get(&successor).await.expect("the store answers");
        let count = found.map(|session| session.count);
        assert_eq!(count, Some(if told { 7 } else { 0 }));
        stage.is_accepted(&successor).await;
        if told {
            let again = one.rotate(&token).await.expect("the store answers");
            assert!(
                matches!(again, RotateOutcome::AlreadyRotated),
                "no second successor: {again:?}"
            );
        } else {
            stage.is_refused(&token).await;
        }
    }
}
