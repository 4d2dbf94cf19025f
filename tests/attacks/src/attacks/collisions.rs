//! An existing id is never overwritten.

use kvolt_cache::{Expiry, Freshness, InsertOutcome, Key, NewEntry, Predecessor, Store};
use std::time::Duration;

use super::{account, rotated, sign_in};
use crate::stage::Stage;
use crate::user::{guest, signed_in};

/// tower-sessions 180, 181, 188: a new id that already exists overwrites the other session.
/// Here every new id is taken just before it is used. (A rotation keeps the id, so it can't
/// collide.)
///
/// (The equivalent with a repeating random generator, which only the crate's own tests can
/// inject, is `repeating_generator_overwrites_no_session`.)
pub async fn an_id_that_collides_overwrites_nobody(stage: &Stage) {
    let manager = stage.one.manager();
    let victim = sign_in(&manager, "victim").await.id().key(manager.namespace());
    let before = manager.create(guest(String::new())).await.expect("the store answers");
    let collisions = &stage.one.collisions;

    collisions.arm(victim);
    let created = sign_in(&manager, "ada").await;
    collisions.arm(victim);
    let logged_in = manager.login(Some(&before), signed_in("bob")).await.expect("it works");
    collisions.arm(victim);
    let switched = manager.login(Some(&logged_in), signed_in("cleo")).await.expect("it works");
    let moved = rotated(manager.rotate(&switched).await.expect("the store answers"));

    let planted = collisions.planted();
    assert_eq!(planted.len(), 3, "each of them collided");
    stage.outlive_copies().await;
    for key in planted {
        let found = stage.other.store.get(&key, Freshness::Bounded).await;
        let found = found.expect("the store answers");
        let found = found.expect("the one who was there first is still there");
        assert_eq!(found.value.data().expect("it can be read").name, "victim");
        let key_of = |token: &kvolt_session::Token| token.id().key(manager.namespace());
        assert!([&created, &moved].into_iter().all(|token| key_of(token) != key));
    }
    for (token, name) in [(&created, "ada"), (&moved, "cleo")] {
        let session = stage.other.manager().get(token).await.expect("the store answers");
        assert_eq!(session.expect("it was made").name, name);
    }
    for token in [&before, &logged_in, &switched] {
        stage.is_refused(token).await;
    }
}

/// The same property at the level of the store: every operation that its contract allows on
/// a taken key.
pub async fn insertion_to_a_taken_key_changes_nothing(stage: &Stage) {
    let manager = stage.one.manager();
    let (ada, bob) = (sign_in(&manager, "ada").await, sign_in(&manager, "bob").await);
    let (ada, bob) = (ada.id().key(manager.namespace()), bob.id().key(manager.namespace()));
    let read = async |key: &Key| {
        let found = stage.one.store.get(key, Freshness::Strict).await;
        found.expect("the store answers").expect("it is there")
    };
    let (first, second) = (read(&ada).await, read(&bob).await);
    let long = Expiry::after(Duration::from_secs(3_600));
    for server in stage.servers() {
        let entry = || NewEntry::new(first.value.clone(), long).owner(account("eve"));
        // Alone, and as a replacement of another entry, which must then stay.
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

    // Of many concurrent insertions under one key, one succeeds.
    let key = Key::of("drawn by everybody");
    let value = read(&ada).await.value;
    let draws = stage.servers().into_iter().cycle().take(40).map(|server| {
        let (store, entry) = (server.store.clone(), NewEntry::new(value.clone(), long));
        tokio::spawn(async move { store.insert(key, entry).await.expect("the store answers") })
    });
    let mut winners = 0;
    for draw in draws.collect::<Vec<_>>() {
        winners += usize::from(draw.await.expect("it is answered") != InsertOutcome::Occupied);
    }
    assert_eq!(winners, 1);
}
