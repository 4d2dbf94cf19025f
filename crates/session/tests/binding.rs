//! Sessions that are bound to a version of their account's credentials.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_session::{
    Binding, EndReason, EventKind, Manager, ManagerBuilder, NewSession, OwnerLimit, RefusalReason,
    RotateOutcome, TokenReuse,
};
use kvolt_testkit::Call;
use support::{GRACE, TICK, World, ada, rotated, world, world_with};

/// The accounts of an application, each with the version of its credentials.
#[derive(Clone)]
struct Accounts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Accounts {
    fn new() -> Self {
        let accounts = ["ada", "bob"].map(|name| (name.to_owned(), 1));
        Self(Arc::new(Mutex::new(accounts.into())))
    }

    fn change(&self, name: &str, version: u64) {
        self.0.lock().unwrap().insert(name.to_owned(), version);
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    fn bind(&self, builder: ManagerBuilder<String>) -> ManagerBuilder<String> {
        let accounts = self.clone();
        builder.bound_to(move |name: &String| {
            let version = accounts.0.lock().unwrap().get(name.trim_end_matches('!')).copied();
            version.map(Binding::from)
        })
    }
}

fn at(version: u64) -> NewSession<String> {
    ada().bound_to(version)
}

fn worlds(
    settings: impl Fn(ManagerBuilder<String>) -> ManagerBuilder<String>,
) -> [(World, Accounts); 2] {
    [true, false].map(|at_once| {
        let accounts = Accounts::new();
        let world = world_with(|builder| settings(accounts.bind(builder)));
        world.faults.answers_at_once(at_once);
        (world, accounts)
    })
}

/// listmonk, nhost: sessions survive a password change.
#[tokio::test]
async fn session_with_an_old_binding_is_refused() {
    for (world, accounts) in worlds(|builder| builder) {
        let token = world.manager.create(at(1)).await.unwrap();
        let bob = NewSession::new(String::from("bob")).owner("bob").bound_to(1);
        let bob = world.manager.create(bob).await.unwrap();
        assert!(world.lives(&token).await);
        accounts.change("ada", 2);
        assert!(world.manager.get(&token).await.unwrap().is_none());
        assert!(world.manager.update(&token, |_| panic!("no data")).await.unwrap().is_none());
        assert!(matches!(world.manager.rotate(&token).await.unwrap(), RotateOutcome::Absent));
        let read = world.manager.read(&token, kvolt_session::Access::PEEK, String::len).await;
        assert_eq!(read.unwrap(), None);
        assert_eq!(world.manager.revoke_others(&token).await.unwrap(), 0);
        assert_eq!(world.of("ada").await, 0, "and it is not shown as one of theirs");
        assert!(world.lives(&bob).await, "another account's is as it was");
        let again = world.manager.create(at(2)).await.unwrap();
        assert!(world.lives(&again).await);
    }
}

#[tokio::test]
async fn account_that_is_gone_has_no_sessions() {
    for (world, accounts) in worlds(|builder| builder) {
        let token = world.manager.create(at(1)).await.unwrap();
        accounts.remove("ada");
        assert!(world.manager.get(&token).await.unwrap().is_none());
        accounts.change("ada", 1);
        assert!(world.lives(&token).await, "nothing was done to it");
    }
}

#[tokio::test]
async fn refusal_says_that_the_credentials_were_changed() {
    let accounts = Accounts::new();
    let world = world_with(|builder| accounts.bind(builder));
    let token = world.manager.create(at(1)).await.unwrap();
    accounts.change("ada", 2);
    assert!(world.manager.get(&token).await.unwrap().is_none());
    let events = world.events.take();
    let reason = RefusalReason::CredentialsChanged;
    assert_eq!(events[1].kind, EventKind::Refused { reason });
    assert_eq!(events[1].id, Some(token.id()));
    assert!(events[1].owner.is_some());
}

#[tokio::test]
async fn session_without_a_binding_is_an_error() {
    for (world, _) in worlds(|builder| builder) {
        let old = world.manager.create(at(1)).await.unwrap();
        for error in [
            world.manager.create(ada()).await.unwrap_err(),
            world.manager.login(Some(&old), ada()).await.unwrap_err(),
        ] {
            assert!(error.is_misconfigured() && !error.is_store_error(), "{error}");
            assert!(error.to_string().contains("`bound_to`"), "{error}");
        }
        assert!(world.lives(&old).await, "and nothing was done");
        assert_eq!(world.manager.count().await.unwrap(), 1);
    }
}

/// Checked against the old password, made after the change.
#[tokio::test]
async fn login_that_a_change_has_overtaken_is_refused() {
    for (world, accounts) in worlds(|builder| builder) {
        let seen = 1;
        accounts.change("ada", 2);
        let token = world.manager.create(at(seen)).await.unwrap();
        assert!(world.manager.get(&token).await.unwrap().is_none());
    }
}

/// ASVS 7.4.3: after a factor changes, the others end and the current one goes on under a new token.
#[tokio::test]
async fn credentials_change_ends_the_other_sessions() {
    for (world, accounts) in worlds(|builder| builder.rotation_grace(GRACE)) {
        let others = [
            world.manager.create(at(1)).await.unwrap(),
            world.manager.create(at(1)).await.unwrap(),
        ];
        let bob = NewSession::new(String::from("bob")).owner("bob").bound_to(1);
        let bob = world.manager.create(bob).await.unwrap();
        let token = world.manager.create(at(1)).await.unwrap();
        let _ = world.manager.update(&token, |name| name.push('!')).await.unwrap();
        let before = world.manager.peek(&token).await.unwrap().unwrap();
        accounts.change("ada", 2);
        let changed = world.manager.change_credentials(&token, Some(Binding::from(2))).await;
        let (changed, ended) = changed.unwrap();
        let token = rotated(changed);
        assert_eq!(ended, 2);
        let session = world.manager.get(&token).await.unwrap().unwrap();
        assert_eq!(session.data(), "ada!");
        assert_eq!(session.binding().map(Binding::as_str), Some("2"));
        assert_eq!(session.ends_at(), before.ends_at(), "it is no new sign-in");
        assert_eq!(session.authenticated(), before.authenticated());
        assert!(world.lives(&bob).await);
        for other in &others {
            assert!(!world.lives(other).await);
        }
        assert_eq!(world.manager.count().await.unwrap(), 2);
    }
}

#[tokio::test]
async fn change_of_credentials_leaves_no_token_in_its_grace() {
    for (world, accounts) in worlds(|builder| builder.rotation_grace(GRACE)) {
        let other = world.manager.create(at(1)).await.unwrap();
        let old = world.manager.create(at(1)).await.unwrap();
        let given = world.rotate(&old).await;
        accounts.change("ada", 2);
        let changed = world.manager.change_credentials(&old, Some(Binding::from(2))).await.unwrap();
        assert_eq!(changed.1, 1);
        let token = rotated(changed.0);
        assert!(world.lives(&token).await && !world.lives(&other).await);
        for former in [&old, &given] {
            assert!(!world.lives(former).await, "it is refused at once");
        }
        assert!(world.lives(&token).await, "and that ends nothing");
        assert_eq!(world.of("ada").await, 1);
    }
}

#[tokio::test]
async fn request_during_a_credentials_change_is_no_theft() {
    let world =
        world_with(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession));
    let old = world.manager.create(ada()).await.unwrap();
    let token = rotated(world.manager.change_credentials(&old, None).await.unwrap().0);
    assert_eq!(token.id(), old.id());
    world.time.advance(GRACE * 2 - TICK);
    assert!(!world.lives(&old).await && world.lives(&token).await);
    let reason = RefusalReason::CredentialsChanged;
    assert_eq!(world.events.kinds()[2], EventKind::Refused { reason });
    world.time.advance(TICK);
    assert!(!world.lives(&old).await);
    assert!(!world.lives(&token).await, "after twice the grace it is");
}

#[tokio::test]
async fn change_of_credentials_needs_no_bindings() {
    let world = world();
    let other = world.manager.create(ada()).await.unwrap();
    let token = world.manager.create(ada()).await.unwrap();
    let (changed, ended) = world.manager.change_credentials(&token, None).await.unwrap();
    let new = rotated(changed);
    assert_eq!(ended, 1);
    assert!(world.lives(&new).await && !world.lives(&token).await && !world.lives(&other).await);
    let reason = EndReason::CredentialsChanged;
    assert_eq!(world.events.kinds()[2], EventKind::Ended { reason });
}

/// The others end first. A session that can't be given a new token then ends too: its token may
/// be known to a thief.
#[tokio::test]
async fn change_of_credentials_fails_closed() {
    for (world, accounts) in worlds(|builder| builder) {
        let other = world.manager.create(at(1)).await.unwrap();
        let token = world.manager.create(at(1)).await.unwrap();
        accounts.change("ada", 2);
        world.faults.only(&[Call::Replace]);
        world.faults.fail_next(1);
        let failed = world.manager.change_credentials(&token, Some(Binding::from(2))).await;
        assert!(failed.unwrap_err().is_unavailable());
        assert!(!world.lives(&other).await && !world.lives(&token).await);
        assert_eq!(world.store.len(), 0);
    }
}

/// Neither can be done: it is called again.
#[tokio::test]
async fn failed_credentials_change_can_be_repeated() {
    for (world, accounts) in worlds(|builder| builder) {
        let other = world.manager.create(at(1)).await.unwrap();
        let token = world.manager.create(at(1)).await.unwrap();
        accounts.change("ada", 2);
        world.faults.only(&[Call::Replace, Call::Remove]);
        world.faults.fail_all(true);
        let failed = world.manager.change_credentials(&token, Some(Binding::from(2))).await;
        assert!(failed.unwrap_err().is_unavailable());
        assert!(!world.lives(&other).await);
        world.faults.fail_all(false);
        let (changed, ended) =
            world.manager.change_credentials(&token, Some(Binding::from(2))).await.unwrap();
        assert!(world.lives(&rotated(changed)).await);
        assert_eq!((world.of("ada").await, ended), (1, 0));
    }
}

/// A thief rotates the session after its owner's request was let in, and before the owner's new
/// token is made. Without a grace, the owner's token is then no longer accepted.
#[tokio::test]
async fn credentials_change_ends_a_stolen_session() {
    for grace in [Duration::ZERO, GRACE] {
        let world = Arc::new(world_with(|builder| builder.rotation_grace(grace)));
        let builder = Manager::builder(world.store.clone());
        let elsewhere = builder.rotation_grace(grace).build().unwrap();
        let token = world.manager.create(ada()).await.unwrap();
        world.faults.only(&[Call::RemoveOwner]);
        world.faults.hold_calls();
        let change = {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.manager.change_credentials(&token, None).await })
        };
        world.faults.until_waiting(1).await;
        let stolen = rotated(elsewhere.rotate(&token).await.unwrap());
        world.faults.release();
        let (changed, _) = change.await.unwrap().unwrap();
        match changed {
            RotateOutcome::Token(new) if !grace.is_zero() => assert!(world.lives(&new).await),
            RotateOutcome::Absent if grace.is_zero() => assert_eq!(world.store.len(), 0),
            other => panic!("{other:?} with a grace of {grace:?}"),
        }
        assert!(!world.lives(&stolen).await && !world.lives(&token).await);
    }
}

/// A session that was made before the setting, or without an account, is not let in.
#[tokio::test]
async fn unbound_session_is_refused() {
    for (world, accounts) in worlds(|builder| builder) {
        let builder = Manager::builder(world.store.clone());
        let unbound = builder.build().unwrap().create(ada()).await.unwrap();
        assert!(!world.lives(&unbound).await);
        accounts.remove("ada");
        assert!(!world.lives(&unbound).await, "no account is no binding");
    }
}

/// A device that signs in again after the password was changed takes up no second place.
#[tokio::test]
async fn login_replaces_a_session_with_an_old_binding() {
    let limit = OwnerLimit::refuse(1);
    for (world, accounts) in worlds(|builder| builder.owner_limit(limit)) {
        let stale = world.manager.create(at(1)).await.unwrap();
        accounts.change("ada", 2);
        let token = world.manager.login(Some(&stale), at(2)).await.unwrap();
        assert!(world.lives(&token).await);
        assert_eq!(world.manager.count().await.unwrap(), 1);
        accounts.change("ada", 1);
        assert!(!world.lives(&stale).await, "also where the version goes back");
    }
}
