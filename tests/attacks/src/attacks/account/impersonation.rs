//! An administrator acts for a user, on one server, and the other server ends it.

use std::time::Duration;

use kvolt_session::{Access, Level, Manager, SessionId, SessionSnapshot, StepUp, Token};

use super::super::{account, ids, rotated, sign_in};
use crate::deployment::Deployment;
use crate::user::{User, signed_in};

/// The administrator's own token, and that of a session in which it acts for ada.
async fn acting(manager: &Manager<User>) -> (Token, Token) {
    let root = signed_in("root").level(Level::Three);
    let own = manager.create(root).await.expect("the sign-in succeeds");
    let started = manager.impersonate(&own, signed_in("ada")).await;
    let token = started.expect("the store answers").expect("the session exists");
    (own, token)
}

async fn is_over(deployment: &Deployment, token: &Token) {
    deployment.is_refused(token).await;
    for server in deployment.servers() {
        let manager = server.manager();
        assert!(manager.find(token.id()).await.expect("the store answers").is_none());
        for name in ["ada", "root"] {
            assert!(!ids(&manager, name).await.contains(&token.id()), "{name}");
        }
        let updated = manager.update(token, |user| user.count += 1).await;
        assert!(updated.expect("the store answers").is_none());
    }
}

fn id_in(sessions: &[SessionSnapshot<User>]) -> Vec<SessionId> {
    sessions.iter().map(SessionSnapshot::id).collect()
}

/// An impersonation that is a field of the administrator's own session: the user can't see it, a
/// revocation of the user misses it, and it has the rights of the administrator's sign-in.
pub async fn impersonation_is_seen_and_has_no_proof(deployment: &Deployment) {
    let [one, other] = deployment.servers().map(|server| server.manager());
    let hers = sign_in(&other, "ada").await;
    let (own, token) = acting(&one).await;
    for manager in [&one, &other] {
        let session = manager.get(&token).await.expect("the store answers");
        let session = session.expect("the session exists");
        assert_eq!(session.owner(), Some(&account("root")));
        assert_eq!(session.acting_for(), Some(&account("ada")));
        assert_eq!((session.level(), session.is_anonymous()), (None, false));
        let fresh = StepUp::within(Duration::from_secs(3_600));
        assert!(!session.meets(&fresh, manager.clock().now()));
        for refused in [
            manager.reauthenticate(&token, Level::One).await.map(drop),
            manager.change_credentials(&token, None).await.map(drop),
            manager.impersonate(&token, signed_in("bob")).await.map(drop),
        ] {
            assert!(refused.expect_err("it is an impersonation").is_impersonation());
        }
        for (name, own) in [("ada", &hers), ("root", &own)] {
            let list = manager.list(&account(name)).await.expect("the store answers").sessions;
            let (found, mut expected) = (id_in(&list), vec![own.id(), token.id()]);
            expected.sort_by_key(|id| found.iter().position(|found| found == id));
            assert_eq!(found, expected, "{name}");
        }
    }
    deployment.is_accepted(&hers).await;
    deployment.is_accepted(&own).await;
}

/// Each way to end either account's sessions, on the other server.
pub async fn impersonation_ends_with_either_account(deployment: &Deployment) {
    let [one, other] = deployment.servers().map(|server| server.manager());
    for case in 0..7 {
        let (own, token) = acting(&one).await;
        deployment.is_accepted(&token).await;
        let ended = match case {
            0 => other.revoke_owner(&account("root")).await.map(|ended| ended > 0),
            1 => other.revoke_owner(&account("ada")).await.map(|ended| ended > 0),
            2 => other.revoke(own.id()).await,
            3 => other.revoke_owned(&account("ada"), token.id()).await,
            4 => other.logout(&own).await,
            5 => {
                let laptop = sign_in(&other, "root").await;
                other.revoke_others(&laptop).await.map(|ended| ended > 0)
            }
            _ => other.logout(&token).await,
        };
        assert!(ended.expect("the store answers"), "{case}");
        is_over(deployment, &token).await;
        if [1, 3].contains(&case) {
            deployment.is_accepted(&own).await;
        } else {
            deployment.is_refused(&own).await;
        }
    }
}

/// The way back is on the other server: the administrator's own session has a new token, and the
/// impersonation has ended.
pub async fn administrator_returns_on_another_server(deployment: &Deployment) {
    let [one, other] = deployment.servers().map(|server| server.manager());
    let (own, token) = acting(&one).await;
    let token = rotated(other.rotate(&token).await.expect("the store answers"));
    let back = rotated(other.end_impersonation(&token).await.expect("the store answers"));
    assert_eq!(back.id(), own.id());
    is_over(deployment, &token).await;
    deployment.is_accepted(&back).await;
    let session = one.get_with(&back, Access::PEEK.strict()).await.expect("the store answers");
    let session = session.expect("the session exists");
    assert_eq!((session.level(), session.acting_for()), (Some(Level::Three), None));
}

/// An administrator starts to act for a user while the administrator is revoked: none of these
/// sessions is accepted afterwards, whichever came first.
pub async fn revocation_misses_no_impersonation(deployment: &Deployment) {
    let [one, other] = deployment.servers().map(|server| server.manager());
    let own = sign_in(&one, "root").await;
    let starting = (0..8).map(|_| {
        let (manager, own) = (one.clone(), own.clone());
        tokio::spawn(async move { manager.impersonate(&own, signed_in("ada")).await })
    });
    let starting: Vec<_> = starting.collect();
    other.revoke_owner(&account("root")).await.expect("the store answers");
    deployment.is_refused(&own).await;
    for start in starting {
        if let Some(token) = start.await.expect("no panic").expect("the store answers") {
            is_over(deployment, &token).await;
        }
    }
    assert!(ids(&other, "ada").await.is_empty());
}
