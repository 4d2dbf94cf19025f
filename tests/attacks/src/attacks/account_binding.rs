//! A change of credentials ends earlier sessions, even if the application does not end
//! them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use kvolt_session::{Access, Binding, Manager, RotateOutcome, Token};
use kvolt_testkit::Call;

use super::{ids, listed, rotated};
use crate::client::Client;
use crate::stage::{Server, Stage};
use crate::user::{User, signed_in};

/// The version of each account's credentials, read by both servers.
#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<HashMap<String, u64>>>);

impl Accounts {
    fn set(&self, name: &str, version: u64) {
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(name.to_owned(), version);
    }

    fn close(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn version(&self, name: &str) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Creates a manager on each server that binds sessions to the version.
    fn managers(&self, stage: &Stage) -> [Manager<User>; 2] {
        stage.servers().map(|server| {
            let accounts = self.clone();
            let bound_to = move |user: &User| accounts.version(&user.name).map(Binding::from);
            server.builder().bound_to(bound_to).build().expect("it can work")
        })
    }

    async fn sign_in(&self, manager: &Manager<User>, name: &str) -> Token {
        let version = self.version(name).expect("there is such an account");
        manager.create(signed_in(name).bound_to(version)).await.expect("a sign-in works")
    }
}

fn clients(stage: &Stage, managers: &[Manager<User>; 2], token: &Token) -> [Client; 2] {
    let [one, other] = managers;
    let clients = [stage.one.client_of(one.clone()), stage.other.client_of(other.clone())];
    clients.map(|client| client.presenting(token.expose()))
}

/// listmonk, nhost: the password was changed by code that does not end the sessions, or
/// directly in the database, or the account was closed. No code ends the session, yet both
/// servers must reject it.
pub async fn a_session_from_before_a_change_of_the_account_is_refused(stage: &Stage) {
    for closes in [false, true] {
        let accounts = Accounts::default();
        accounts.set("ada", 1);
        accounts.set("bob", 1);
        let managers = accounts.managers(stage);
        let token = accounts.sign_in(&managers[0], "ada").await;
        let bobs = accounts.sign_in(&managers[1], "bob").await;
        for manager in &managers {
            assert!(manager.get(&token).await.expect("the store answers").is_some());
        }
        match closes {
            true => accounts.close("ada"),
            false => accounts.set("ada", 2),
        }
        for (manager, client) in managers.iter().zip(clients(stage, &managers, &token)) {
            for access in [Access::PEEK, Access::SLIDE, Access::SLIDE.strict()] {
                let found = manager.get_with(&token, access).await.expect("the store answers");
                assert!(found.is_none(), "its account has changed");
            }
            for path in
                ["/count", "/rotate", "/password", "/account/prove/3", "/account/credentials"]
            {
                let answer = client.clone().post(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
                assert!(answer.set_cookies().is_empty(), "{path}");
            }
            let updated = manager.update(&token, |user| user.count += 1).await;
            assert!(updated.expect("the store answers").is_none());
            let moved = manager.rotate(&token).await.expect("the store answers");
            assert!(matches!(moved, RotateOutcome::Absent), "{moved:?}");
            assert!(listed(manager, "ada").await.is_empty());
            assert_eq!(manager.revoke_others(&token).await.expect("the store answers"), 0);
            assert!(manager.get(&bobs).await.expect("the store answers").is_some());
        }
        // An unbound session must be rejected at its creation, and a new login must
        // succeed.
        assert!(managers[0].create(signed_in("ada")).await.is_err());
        accounts.set("ada", 2);
        let fresh = accounts.sign_in(&managers[1], "ada").await;
        assert!(managers[0].get(&fresh).await.expect("the store answers").is_some());
        assert!(managers[1].logout(&bobs).await.expect("the store answers"));
        for manager in &managers {
            assert!(manager.get(&token).await.expect("the store answers").is_none());
        }
    }
}

/// listmonk, nhost, with the dedicated call: the other sessions end on both servers, this
/// session continues with a new token, and a thief's copy of the old token is rejected.
pub async fn a_change_of_the_credentials_ends_the_others_and_renews_this_one(stage: &Stage) {
    let accounts = Accounts::default();
    accounts.set("ada", 1);
    accounts.set("bob", 1);
    let managers = accounts.managers(stage);
    let own = accounts.sign_in(&managers[0], "ada").await;
    let bobs = accounts.sign_in(&managers[0], "bob").await;
    let mut others = vec![own.clone()];
    for manager in managers.iter().cycle().take(3) {
        others.push(accounts.sign_in(manager, "ada").await);
    }
    for token in &others {
        stage.is_accepted(token).await;
    }
    // The request was admitted before the change; the handler changes the account first, as
    // documented.
    let mut client = stage.one.client_of(managers[0].clone()).presenting(own.expose());
    stage.one.faults.only(&[Call::RemoveOwner]);
    stage.one.faults.hold_calls();
    let changing = tokio::spawn(async move {
        let answer = client.post("/account/credentials").await;
        (answer.status, client)
    });
    stage.one.faults.until_waiting(1).await;
    accounts.set("ada", 2);
    stage.one.faults.release();
    stage.one.faults.only(&[]);
    let (status, client) = changing.await.expect("it is answered");
    assert_eq!(status, StatusCode::OK);
    let token = client.token().expect("it is signed in");
    for old in &others {
        stage.is_refused(old).await;
        for mut client in clients(stage, &managers, old) {
            assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        }
    }
    for mut client in clients(stage, &managers, &token) {
        assert_eq!(client.get("/profile").await.text, "ada");
    }
    for manager in &managers {
        assert_eq!(ids(manager, "ada").await, [token.id()]);
        assert!(manager.get(&bobs).await.expect("the store answers").is_some());
    }
}

/// Related: a thief rotates the token during the change, and keeps the session that the
/// change could not reach. It must fail closed: the session ends, even if it has no
/// binding, and the caller is notified.
pub async fn a_change_of_the_credentials_that_comes_too_late_is_told(stage: &Stage) {
    for binds in [true, false] {
        let accounts = Accounts::default();
        accounts.set("ada", 1);
        let managers = match binds {
            true => accounts.managers(stage),
            false => stage.servers().map(Server::manager),
        };
        let own = accounts.sign_in(&managers[0], "ada").await;
        let companion = accounts.sign_in(&managers[1], "ada").await;
        stage.one.faults.only(&[Call::Replace]);
        stage.one.faults.hold_calls();
        let (late, token) = (managers[0].clone(), own.clone());
        let late = tokio::spawn(async move {
            late.change_credentials(&token, Some(2.into())).await.expect("the store answers")
        });
        stage.one.faults.until_waiting(1).await;
        let successor = rotated(managers[1].rotate(&own).await.expect("the store answers"));
        stage.one.faults.release();
        stage.one.faults.only(&[]);
        let (late, ended) = late.await.expect("it is answered");
        assert!(
            matches!(late, RotateOutcome::Absent),
            "the session is another's, and it is {late:?}"
        );
        assert_eq!(ended, 1, "the companion");
        for token in [&own, &successor, &companion] {
            stage.is_refused(token).await;
        }
        assert!(ids(&managers[0], "ada").await.is_empty());
    }
}
