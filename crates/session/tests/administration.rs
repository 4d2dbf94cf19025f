//! Administration: find, list, count and end sessions of any owner.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeSet;

use kvolt_cache::{Expiry, Freshness, Key, NewEntry, Store};
use kvolt_session::{NewSession, SessionId, TokenReuse};
use support::{GRACE, IDLE, TICK, ada, bob, owner, world, world_with};

#[tokio::test]
async fn find_does_not_count_as_use() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let first = world.manager.create(ada()).await.unwrap();
        let ownerless = world.manager.create(String::from("ownerless")).await.unwrap();
        let second = world.rotate(&first).await;
        world.time.advance(GRACE * 2);
        let before = world.manager.peek(&second).await.unwrap().unwrap();
        let found = world.manager.find(first.id()).await.unwrap().unwrap();
        assert_eq!((found.id(), found.data()), (second.id(), before.data()));
        assert_eq!(found.expires_at(), before.expires_at());
        assert!(world.manager.find(ownerless.id()).await.unwrap().is_some());
        assert!(world.manager.logout(&second).await.unwrap());
        assert!(world.manager.find(second.id()).await.unwrap().is_none());
        world.faults.fail_all(true);
        assert!(world.manager.find(before.id()).await.unwrap_err().is_unavailable());
    }
}

#[tokio::test]
async fn find_reports_no_theft() {
    let reuse = TokenReuse::EndSession;
    let world = world_with(|builder| builder.rotation_grace(GRACE).token_reuse(reuse));
    let first = world.manager.create(ada()).await.unwrap();
    let second = world.rotate(&first).await;
    world.time.advance(GRACE * 3);
    assert!(world.manager.find(first.id()).await.unwrap().is_some());
    assert!(world.lives(&second).await);
}

/// ASVS 7.4.5, 7.5.2. A list may be some rotations old when a user picks from it.
#[tokio::test]
async fn id_from_before_a_rotation_ends_the_session() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let (ada_s, bob_s) = (owner("ada"), owner("bob"));
        for as_administrator in [true, false] {
            let first = world.manager.create(ada()).await.unwrap();
            let stays = world.manager.create(ada()).await.unwrap();
            let id = first.id();
            let mut last = world.rotate(&first).await;
            for _ in 0..3 {
                world.time.advance(TICK);
                last = world.rotate(&last).await;
            }
            assert!(!world.manager.revoke_owned(&bob_s, id).await.unwrap(), "it is none of theirs");
            assert!(world.lives(&last).await);
            let ended = if as_administrator {
                world.manager.revoke(id).await.unwrap()
            } else {
                world.manager.revoke_owned(&ada_s, id).await.unwrap()
            };
            assert!(ended && !world.lives(&last).await && world.lives(&stays).await);
            assert!(!world.manager.revoke_owned(&ada_s, id).await.unwrap());
            assert!(!world.manager.revoke(id).await.unwrap());
        }
    }
}

#[tokio::test]
async fn all_sessions_are_listed_page_by_page_each_once() {
    let world = world();
    let mut expected = BTreeSet::new();
    for number in 0..500 {
        let new = NewSession::new(number.to_string()).owner(format!("owner {}", number % 7));
        expected.insert(world.manager.create(new).await.unwrap().id());
    }
    let gone = world.manager.create(bob()).await.unwrap();
    let key = gone.id().key(world.manager.namespace());
    let record = world.store.get(&key, Freshness::Strict).await.unwrap().unwrap().value;
    assert!(world.manager.logout(&gone).await.unwrap());
    // An entry that is no session, as a plain cache in the same namespace has it.
    let other = NewEntry::new(record, Expiry::idle(IDLE)).owner(owner("owner 1"));
    let _ = world.store.insert(Key::of("a name"), other).await.unwrap();

    let (mut listed, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = world.manager.list_all(after.as_ref(), 50).await.unwrap();
        listed.extend(page.listing.sessions.iter().map(kvolt_session::SessionSnapshot::id));
        assert!(page.listing.unreadable.is_empty());
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages >= 5, "{pages}");
    assert_eq!(listed.len(), 500);
    assert_eq!(listed.into_iter().collect::<BTreeSet<SessionId>>(), expected);
    assert_eq!(world.of("owner 1").await, 72);
    assert_eq!(world.manager.count().await.unwrap(), 501, "of the whole namespace");
    world.time.advance(IDLE);
    let page = world.manager.list_all(None, 10_000).await.unwrap();
    assert!(page.listing.sessions.is_empty(), "they have ended");
}

/// ASVS 7.4.5.
#[tokio::test]
async fn everyone_is_signed_out_at_once() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let mut tokens = Vec::new();
        for new in [ada(), ada(), bob(), NewSession::new(String::new())] {
            tokens.push(world.manager.create(new).await.unwrap());
        }
        tokens.push(world.rotate(&tokens[0]).await);
        assert_eq!(world.manager.count().await.unwrap(), 4);
        world.manager.revoke_everyone().await.unwrap();
        for token in &tokens {
            assert!(!world.lives(token).await);
            assert!(world.manager.find(token.id()).await.unwrap().is_none());
        }
        assert_eq!((world.of("ada").await, world.manager.count().await.unwrap()), (0, 0));
        let again = world.manager.create(ada()).await.unwrap();
        assert!(world.lives(&again).await);
    }
}
