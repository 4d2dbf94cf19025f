//! A new session never replaces an existing one.

use kvolt_cache::{Expiry, Freshness, InsertOutcome, Key, NewEntry, Predecessor, Store};
use kvolt_testkit::Call;
use std::time::Duration;

use super::{account, rotated, sign_in};
use crate::deployment::Deployment;
use crate::user::{guest, signed_in};

/// tower-sessions 180, 181, 188: a new id that is already in use overwrites that session. Here each
/// new id is taken in the moment before its use. (A rotation keeps the id, so it can't collide.)
///
/// (A generator that repeats itself is possible only in the crate's own tests:
/// `repeating_generator_overwrites_no_session`.)
pub async fn colliding_id_overwrites_no_session(deployment: &Deployment) {
    let manager = deployment.one.manager();
    let victim = sign_in(&manager, "victim").await.id().key(manager.namespace());
    let before = manager.create(guest(String::new())).await.expect("the store answers");

    let mut planted = Vec::new();
    let created = collide(deployment, victim, &mut planted, sign_in(&manager, "ada")).await;
    let login = manager.login(Some(&before), signed_in("bob"));
    let logged_in = collide(deployment, victim, &mut planted, login).await;
    let logged_in = logged_in.expect("the store answers");
    let login = manager.login(Some(&logged_in), signed_in("cleo"));
    let switched = collide(deployment, victim, &mut planted, login).await;
    let switched = switched.expect("the store answers");
    let moved = rotated(manager.rotate(&switched).await.expect("the store answers"));

    deployment.outlive_copies().await;
    for key in planted {
        let found = deployment.other.store.get(&key, Freshness::Bounded).await;
        let found = found.expect("the store answers");
        let found = found.expect("the first session lives");
        assert_eq!(found.value.data().expect("the file is readable").name, "victim");
        let key_of = |token: &kvolt_session::Token| token.id().key(manager.namespace());
        assert!([&created, &moved].into_iter().all(|token| key_of(token) != key));
    }
    for (token, name) in [(&created, "ada"), (&moved, "cleo")] {
        let session = deployment.other.manager().get(token).await.expect("the store answers");
        assert_eq!(session.expect("the session was created").name, name);
    }
    for token in [&before, &logged_in, &switched] {
        deployment.is_refused(token).await;
    }
}

/// Runs a call whose first insertion finds its key occupied by a copy of the victim's session.
async fn collide<R>(
    deployment: &Deployment,
    victim: Key,
    planted: &mut Vec<Key>,
    call: impl Future<Output = R>,
) -> R {
    let (faults, store) = (&deployment.one.faults, &deployment.other.store);
    faults.only(&[Call::Insert]);
    faults.hold_calls();
    let plant = async {
        faults.until_waiting(1).await;
        let key = faults.inserted_key().expect("an insertion waits");
        let victim = store.get(&victim, Freshness::Strict).await.expect("the store answers");
        let victim = victim.expect("the session exists");
        let long = Expiry::after(Duration::from_secs(3_600));
        let copy = NewEntry::new(victim.value, long).maybe_owner(victim.owner);
        let inserted = store.insert(key, copy).await.expect("the store answers");
        assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
        planted.push(key);
        faults.reset();
    };
    tokio::join!(call, plant).0
}

/// The class of the above at the store: insertions to one key, as the contract allows them.
pub async fn insertion_to_an_occupied_key_is_refused(deployment: &Deployment) {
    let manager = deployment.one.manager();
    let (ada, bob) = (sign_in(&manager, "ada").await, sign_in(&manager, "bob").await);
    let (ada, bob) = (ada.id().key(manager.namespace()), bob.id().key(manager.namespace()));
    let read = async |key: &Key| {
        let found = deployment.one.store.get(key, Freshness::Strict).await;
        found.expect("the store answers").expect("the session exists")
    };
    let (first, second) = (read(&ada).await, read(&bob).await);
    let long = Expiry::after(Duration::from_secs(3_600));
    for server in deployment.servers() {
        let entry = || NewEntry::new(first.value.clone(), long).owner(account("eve"));
        // A plain insertion, and one that replaces another session, which stays too.
        let replacing = Predecessor::new(ada).owner(account("ada")).seen(first.version);
        for entry in [entry(), entry().replaces(replacing)] {
            let inserted = server.store.insert(bob, entry).await.expect("the store answers");
            assert_eq!(inserted, InsertOutcome::Occupied);
        }
    }
    for (key, before) in [(&ada, first), (&bob, second)] {
        let after = read(key).await;
        assert_eq!((after.version, &after.owner), (before.version, &before.owner));
        assert_eq!(after.value.data().ok(), before.value.data().ok());
        assert_eq!(after.deadlines.absolute(), before.deadlines.absolute());
    }

    // Many insertions to one key at the same time: one succeeds.
    let key = Key::of("drawn by everybody");
    let value = read(&ada).await.value;
    let draws = deployment.servers().into_iter().cycle().take(40).map(|server| {
        let (store, entry) = (server.store.clone(), NewEntry::new(value.clone(), long));
        tokio::spawn(async move { store.insert(key, entry).await.expect("the store answers") })
    });
    let mut winners = 0;
    for draw in draws.collect::<Vec<_>>() {
        winners += usize::from(draw.await.expect("the task ends") != InsertOutcome::Occupied);
    }
    assert_eq!(winners, 1);
}
