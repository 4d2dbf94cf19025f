//! A stronger authentication opens more routes, for its session only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, Level, RotateOutcome};
use kvolt_testkit::Call;

use crate::account_routes::FRESH;
use crate::attacks::{rotated, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::signed_in;

/// A sensitive action accepts any session: one that was opened hours ago, or with a password only.
/// OWASP ASVS 7.5.1 and 7.2.4, NIST SP 800-63B-4, 5.2.
pub async fn sensitive_action_needs_a_fresh_and_strong_session(deployment: &Deployment) {
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    assert_eq!(client.post("/account/fresh").await.status, StatusCode::OK);
    for server in deployment.servers() {
        let answer = client.at(server).post("/account/strong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a password is no second factor");
        let said = answer.header("www-authenticate").unwrap_or(&answer.text);
        assert!(said.contains("insufficient"), "{said}");
    }
    deployment.advance(FRESH + Duration::from_millis(100)).await;
    for server in deployment.servers() {
        let mut client = client.at(server);
        assert_eq!(client.post("/account/fresh").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.get("/profile").await.text, "ada", "no session ends");
    }

    // With a password: fresh, and not stronger than a password.
    let stale = client.clone();
    assert_eq!(client.post("/account/prove/1").await.status, StatusCode::OK);
    assert_ne!(client.jar, stale.jar, "a proof changes the token");
    deployment.is_refused(&stale.token().expect("a token")).await;
    assert_eq!(client.at(&deployment.other).post("/account/fresh").await.status, StatusCode::OK);
    let low = client.clone();
    for server in deployment.servers() {
        let answer = client.at(server).post("/account/strong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // With a second factor: level two, and not stronger.
    assert_eq!(client.post("/account/prove/2").await.status, StatusCode::OK);
    assert_ne!(client.jar, low.jar);
    let token = client.token().expect("a token in the cookie");
    deployment.is_refused(&low.token().expect("a token")).await;
    for server in deployment.servers() {
        assert_eq!(client.at(server).post("/account/strong").await.status, StatusCode::OK);
        for old in [&stale, &low] {
            for path in ["/account/strong", "/account/fresh", "/account/prove/3"] {
                let answer = old.at(server).post(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
                assert!(answer.set_cookies().is_empty(), "{path}");
            }
        }
        let session = server.manager().peek(&token).await.expect("the store answers");
        let session = session.expect("the session exists");
        assert_eq!(session.level(), Some(Level::Two), "exactly what was proved");
        assert_eq!(session.authenticated_at(Level::Three), None);
    }
    // Another session of the same user is unaffected.
    let mut device = deployment.other.client();
    device.post("/login/ada").await;
    assert_eq!(device.post("/account/strong").await.status, StatusCode::UNAUTHORIZED);
}

/// The class of the above: parallel authentications overwrite each other, or raise the session
/// above the level of any of them.
pub async fn parallel_reauthentications_lower_no_level(deployment: &Deployment) {
    for highest in [Level::Two, Level::Three] {
        let managers = deployment.servers().map(|server| {
            let builder = server.builder().rotation_grace(Duration::from_secs(600));
            builder.build().expect("valid settings")
        });
        let new = signed_in("ada").level(Level::Two);
        let token = managers[0].create(new).await.expect("the sign-in succeeds");
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (is_over, manager, token) =
                (Arc::clone(&is_over), managers[1].clone(), token.clone());
            tokio::spawn(async move {
                let mut proved = [None; 3];
                while !is_over.load(Ordering::Relaxed) {
                    let found = manager.find(token.id()).await;
                    let session = found.expect("the store answers").expect("the session exists");
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
            match proof.await.expect("the task ends") {
                RotateOutcome::Token(successor) => successors.push(successor),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("the grace applies"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let proved = watch.await.expect("the level stays");
        assert_eq!(successors.len(), 16, "each has proved it, and has its token");
        for successor in &successors {
            let found = managers[0].get_with(successor, Access::PEEK.strict()).await;
            let found = found.expect("the store answers").expect("the grace applies");
            assert!(found.level() <= Some(highest));
        }
        // One of the tokens is current. The others are in their grace.
        let mut last = None;
        for successor in &successors {
            match managers[1].rotate(successor).await.expect("the store answers") {
                RotateOutcome::Token(token) => assert!(last.replace(token).is_none()),
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("the grace applies"),
            }
        }
        let last = last.expect("one of them is the session's own");
        let session = managers[0].get_with(&last, Access::PEEK.strict()).await;
        let session = session.expect("the store answers").expect("the session exists");
        assert_eq!(session.level(), Some(highest));
        let now = Level::ALL.map(|level| session.authenticated_at(level));
        assert!(proved.iter().zip(&now).all(|(then, now)| then <= now));
    }
}

/// The class of the above: the token is replaced during the authentication, without a grace. The
/// caller gets an error, and no session is raised.
pub async fn late_reauthentication_is_an_error(deployment: &Deployment) {
    let managers = deployment.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    deployment.one.faults.only(&[Call::Replace]);
    deployment.one.faults.hold_calls();
    let (late, own) = (managers[0].clone(), token.clone());
    let late = tokio::spawn(async move {
        late.reauthenticate(&own, Level::Three).await.expect("the store answers")
    });
    deployment.one.faults.until_waiting(1).await;
    let successor = rotated(managers[1].rotate(&token).await.expect("the store answers"));
    deployment.one.faults.release();
    deployment.one.faults.only(&[]);
    let late = late.await.expect("the task ends");
    assert!(
        matches!(late, RotateOutcome::Absent),
        "no session was raised, but the answer is {late:?}"
    );
    deployment.is_refused(&token).await;
    for manager in &managers {
        let found = manager.get_with(&successor, Access::PEEK.strict()).await;
        let session = found.expect("the store answers").expect("the session exists");
        assert_eq!(session.level(), Some(Level::One));
    }
}
