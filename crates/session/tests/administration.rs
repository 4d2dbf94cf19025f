//! What administrators do: find, list, count and end whosever sessions.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeSet;

use kvolt_session::{Manager, NewSession, Owner, SessionId, TokenReuse};
use support::{GRACE, IDLE, TICK, ada, bob, world, world_with};

#[tokio::test]
async fn a_session_is_found_by_its_name_whosever_it_is_and_that_is_no_use() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let first = world.manager.create(ada()).await.unwrap();
        let nobody = world.manager.create(String::from("nobody")).await.unwrap();
        let second = world.rotate(&first).await;
        world.time.advance(GRACE * 2);
        let before = world.manager.peek(&second).await.unwrap().unwrap();
        // Its name from before the rotation is still a name, though its token is good for nothing.
        for token in [&first, &second] {
            let found = world.manager.find(world.manager.id(token)).await.unwrap().unwrap();
            assert_eq!((found.id(), found.data()), (before.id(), before.data()));
            assert_eq!(found.expires_at(), before.expires_at());
        }
        assert!(world.manager.find(world.manager.id(&nobody)).await.unwrap().is_some());
        assert!(world.manager.destroy(&second).await.unwrap());
        for token in [&first, &second] {
            assert!(world.manager.find(world.manager.id(token)).await.unwrap().is_none());
        }
        let admin = Manager::builder(world.store.clone()).kind("admin").build().unwrap();
        let foreign = admin.create(ada()).await.unwrap();
        assert!(world.manager.find(admin.id(&foreign)).await.unwrap().is_none());
        assert!(!world.manager.end_any(admin.id(&foreign)).await.unwrap());
        assert!(admin.get(&foreign).await.unwrap().is_some());
        world.faults.fail_all(true);
        assert!(world.manager.find(before.id()).await.unwrap_err().is_unavailable());
    }
}

/// Finding is not using: it is no sign of a theft.
#[tokio::test]
async fn finding_by_a_former_name_ends_nothing() {
    let reuse = TokenReuse::EndSession;
    let world = world_with(|builder| builder.rotation_grace(GRACE).token_reuse(reuse));
    let first = world.manager.create(ada()).await.unwrap();
    let second = world.rotate(&first).await;
    world.time.advance(GRACE);
    assert!(world.manager.find(world.manager.id(&first)).await.unwrap().is_some());
    assert!(world.lives(&second).await);
}

/// ASVS 7.4.5, 7.5.2. A list may be a rotation old when a user picks from it.
#[tokio::test]
async fn a_session_is_ended_also_by_a_name_from_before_its_last_rotation() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let (owner, other) = (Owner::from("ada"), Owner::from("bob"));
        for as_administrator in [true, false] {
            let first = world.manager.create(ada()).await.unwrap();
            let stays = world.manager.create(ada()).await.unwrap();
            let name = world.manager.id(&first);
            let mut last = world.rotate(&first).await;
            for _ in 0..3 {
                world.time.advance(TICK);
                last = world.rotate(&last).await;
            }
            assert!(!world.manager.end(&other, name).await.unwrap(), "it is none of theirs");
            assert!(world.lives(&last).await);
            let ended = if as_administrator {
                world.manager.end_any(name).await.unwrap()
            } else {
                world.manager.end(&owner, name).await.unwrap()
            };
            assert!(ended && !world.lives(&last).await && world.lives(&stays).await);
            assert!(!world.manager.end(&owner, name).await.unwrap());
            assert!(!world.manager.end_any(name).await.unwrap());
        }
    }
}

#[tokio::test]
async fn all_sessions_are_listed_page_by_page_each_once() {
    let world = world();
    let admin = Manager::builder(world.store.clone()).kind("admin").build().unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..500 {
        let owner = format!("owner {}", number % 7);
        let new = NewSession::new(number.to_string()).owner(owner);
        let token = world.manager.create(new).await.unwrap();
        expected.insert(world.manager.id(&token));
        let _ = admin.create(ada()).await.unwrap();
    }
    let gone = world.manager.create(bob()).await.unwrap();
    assert!(world.manager.destroy(&gone).await.unwrap());
    let (mut listed, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = world.manager.list_all(after.as_ref(), 50).await.unwrap();
        listed.extend(page.sessions.iter().map(kvolt_session::Session::id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages >= 5, "{pages}");
    assert_eq!(listed.len(), 500);
    assert_eq!(listed.into_iter().collect::<BTreeSet<SessionId>>(), expected);
    assert_eq!(world.manager.count().await.unwrap(), 1_000, "those of other kinds included");
    world.time.advance(IDLE);
    let page = world.manager.list_all(None, 10_000).await.unwrap();
    assert!(page.sessions.is_empty(), "they have ended");
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
        world.manager.end_everyone().await.unwrap();
        for token in &tokens {
            assert!(!world.lives(token).await);
            assert!(world.manager.find(world.manager.id(token)).await.unwrap().is_none());
        }
        assert_eq!((world.of("ada").await, world.manager.count().await.unwrap()), (0, 0));
        let again = world.manager.create(ada()).await.unwrap();
        assert!(world.lives(&again).await);
    }
}
