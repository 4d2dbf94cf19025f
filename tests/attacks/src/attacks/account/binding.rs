//! A change of the credentials ends older sessions, even without an explicit call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use kvolt_session::{Access, Binding, Manager, RotateOutcome, Token};
use kvolt_testkit::Call;

use crate::attacks::{ids, listed, rotated};
use crate::client::Client;
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

/// The version of each account's credentials, shared by all servers.
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

    /// A manager on each server that binds sessions to the version.
    fn managers(&self, deployment: &Deployment) -> [Manager<User>; 2] {
        deployment.servers().map(|server| {
            let accounts = self.clone();
            let bound_to = move |user: &User| accounts.version(&user.name).map(Binding::from);
            server.builder().bound_to(bound_to).build().expect("valid settings")
        })
    }

    async fn sign_in(&self, manager: &Manager<User>, name: &str) -> Token {
        let version = self.version(name).expect("the account exists");
        manager.create(signed_in(name).bound_to(version)).await.expect("the sign-in succeeds")
    }
}

fn clients(deployment: &Deployment, managers: &[Manager<User>; 2], token: &Token) -> [Client; 2] {
    let [one, other] = managers;
    let clients =
        [deployment.one.client_of(one.clone()), deployment.other.client_of(other.clone())];
    clients.map(|client| client.presenting(token.expose()))
}

/// listmonk, nhost: the password changed without a call that ends the sessions, or the account was
/// closed. The session still exists, and both servers refuse it.
pub async fn session_is_refused_after_a_change_of_the_account(deployment: &Deployment) {
    for closes in [false, true] {
        let accounts = Accounts::default();
        accounts.set("ada", 1);
        accounts.set("bob", 1);
        let managers = accounts.managers(deployment);
        let token = accounts.sign_in(&managers[0], "ada").await;
        let bobs = accounts.sign_in(&managers[1], "bob").await;
        for manager in &managers {
            assert!(manager.get(&token).await.expect("the store answers").is_some());
        }
        match closes {
            true => accounts.close("ada"),
            false => accounts.set("ada", 2),
        }
        for (manager, client) in managers.iter().zip(clients(deployment, &managers, &token)) {
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
        // An unbound session is refused, and a new sign-in works.
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

/// listmonk, nhost: with the library's own call, the other sessions end on both servers, this one
/// gets a new token, and the old token is invalid.
pub async fn changed_credentials_end_the_other_sessions(deployment: &Deployment) {
    let accounts = Accounts::default();
    accounts.set("ada", 1);
    accounts.set("bob", 1);
    let managers = accounts.managers(deployment);
    let own = accounts.sign_in(&managers[0], "ada").await;
    let bobs = accounts.sign_in(&managers[0], "bob").await;
    let mut others = vec![own.clone()];
    for manager in managers.iter().cycle().take(3) {
        others.push(accounts.sign_in(manager, "ada").await);
    }
    for token in &others {
        deployment.is_accepted(token).await;
    }
    // The request was admitted before the change. The handler changes the account first.
    let mut client = deployment.one.client_of(managers[0].clone()).presenting(own.expose());
    deployment.one.faults.only(&[Call::RemoveOwner]);
    deployment.one.faults.hold_calls();
    let changing = tokio::spawn(async move {
        let answer = client.post("/account/credentials").await;
        (answer.status, client)
    });
    deployment.one.faults.until_waiting(1).await;
    accounts.set("ada", 2);
    deployment.one.faults.release();
    deployment.one.faults.only(&[]);
    let (status, client) = changing.await.expect("the task ends");
    assert_eq!(status, StatusCode::OK);
    let token = client.token().expect("a token in the cookie");
    for old in &others {
        deployment.is_refused(old).await;
        for mut client in clients(deployment, &managers, old) {
            assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        }
    }
    for mut client in clients(deployment, &managers, &token) {
        assert_eq!(client.get("/profile").await.text, "ada");
    }
    for manager in &managers {
        assert_eq!(ids(manager, "ada").await, [token.id()]);
        assert!(manager.get(&bobs).await.expect("the store answers").is_some());
    }
}

/// The class of the above: a thief rotates the token during the change, and would keep the session.
/// The change fails closed: the session ends, bound or not, and the caller gets an error.
pub async fn late_change_of_credentials_is_an_error(deployment: &Deployment) {
    for binds in [true, false] {
        let accounts = Accounts::default();
        accounts.set("ada", 1);
        let managers = match binds {
            true => accounts.managers(deployment),
            false => deployment.servers().map(Server::manager),
        };
        let own = accounts.sign_in(&managers[0], "ada").await;
        let companion = accounts.sign_in(&managers[1], "ada").await;
        deployment.one.faults.only(&[Call::Replace]);
        deployment.one.faults.hold_calls();
        let (late, token) = (managers[0].clone(), own.clone());
        let late = tokio::spawn(async move {
            late.change_credentials(&token, Some(2.into())).await.expect("the store answers")
        });
        deployment.one.faults.until_waiting(1).await;
        let successor = rotated(managers[1].rotate(&own).await.expect("the store answers"));
        deployment.one.faults.release();
        deployment.one.faults.only(&[]);
        let (late, ended) = late.await.expect("the task ends");
        assert!(
            matches!(late, RotateOutcome::Absent),
            "the session has a new token, but the answer is {late:?}"
        );
        assert_eq!(ended, 1, "the companion");
        for token in [&own, &successor, &companion] {
            deployment.is_refused(token).await;
        }
        assert!(ids(&managers[0], "ada").await.is_empty());
    }
}
