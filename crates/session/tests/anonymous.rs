//! Sessions of visitors who have not signed in.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{MemoryStore, Store};
use kvolt_session::{
    AnonymousSessions, AtLimit, Binding, EndReason, EventKind, Level, Manager, NewSession, Owner,
    OwnerLimit, Record, Timeouts,
};
use kvolt_testkit::{Call, FaultyStore};
use support::{GRACE, IDLE, LIFETIME, TICK, ada, bob, owner, world, world_with};

fn basket() -> String {
    String::from("basket")
}

/// Data of a shop: the name of a signed-in user, and the basket.
fn carrying() -> AnonymousSessions<String> {
    AnonymousSessions::new(100)
        .max_size(20, String::len)
        .carry_over(|visitor, user| *user = format!("{user} with {visitor}"))
}

#[tokio::test]
async fn anonymous_session_needs_the_setting() {
    let world = world();
    let error = world.manager.create_anonymous(basket()).await.unwrap_err();
    assert!(
        error.is_misconfigured() && error.to_string().contains("`ManagerBuilder::anonymous`"),
        "{error}"
    );
    assert_eq!(world.store.len(), 0);
}

/// Django CVE-2015-5143, -5963, -5964: visitors fill the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn number_of_visitors_is_bounded_exactly() {
    for max_sessions in [1, 5, 64, 65, 130] {
        for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
            let store = MemoryStore::new();
            let builder = Manager::<String>::builder(store.clone());
            let anonymous = AnonymousSessions::new(max_sessions).at_limit(at_limit);
            let manager = builder.anonymous(anonymous).build().unwrap();
            let signed_in = manager.create(ada()).await.unwrap();
            let created = (0..400).map(|_| {
                let (manager, store) = (manager.clone(), store.clone());
                tokio::spawn(async move {
                    let made = manager.create_anonymous(basket()).await;
                    assert!(in_groups(&store, max_sessions).await <= max_sessions as usize);
                    match made {
                        Ok(_) => true,
                        Err(error) if error.is_limit_reached() => false,
                        Err(error) => panic!("{error}"),
                    }
                })
            });
            let mut made = 0;
            for created in created.collect::<Vec<_>>() {
                made += usize::from(created.await.unwrap());
            }
            let page = manager.list_all(None, 1_000).await.unwrap();
            let live = page.listing.sessions.len() - 1;
            assert_eq!(live, in_groups(&store, max_sessions).await, "so they were counted");
            let expected = if at_limit == AtLimit::Refuse { live } else { 400 };
            assert_eq!(made, expected);
            assert!(live > max_sessions as usize * 3 / 4, "{live} of {max_sessions}");
            assert!(manager.peek(&signed_in).await.unwrap().is_some(), "it is not anonymous");
        }
    }
}

/// How many there are; of each group that is exact, whatever goes on.
async fn in_groups(store: &MemoryStore<Record<String>>, max_sessions: u32) -> usize {
    let (groups, mut all) = (max_sessions.div_ceil(OwnerLimit::MAX), 0);
    for group in 0..groups {
        let owner = Owner::reserved(&format!("anonymous {group}")).unwrap();
        let live = store.list(&owner).await.unwrap().entries.len();
        assert!(live <= (max_sessions / groups) as usize, "{live} in one of {groups}");
        all += live;
    }
    all
}

/// However many visitors are allowed, one more costs the same: a group has at most 64.
#[tokio::test]
async fn group_of_visitors_has_at_most_64() {
    let store = MemoryStore::new();
    let builder = Manager::<String>::builder(store.clone());
    let manager = builder.anonymous(AnonymousSessions::new(100_000)).build().unwrap();
    for _ in 0..20_000 {
        let _ = manager.create_anonymous(String::new()).await.unwrap();
    }
    let groups = 100_000_u32.div_ceil(OwnerLimit::MAX);
    let (mut all, mut used) = (0, 0);
    for group in 0..groups {
        let owner = Owner::reserved(&format!("anonymous {group}")).unwrap();
        let live = store.list(&owner).await.unwrap().entries.len();
        assert!(live <= 64, "{live}");
        (all, used) = (all + live, used + u32::from(live > 0));
    }
    assert_eq!((all, used), (20_000, groups), "evenly, and none is lost at a fifth of the bound");
}

#[tokio::test]
async fn oldest_of_a_full_group_ends_with_an_event() {
    let world = world_with(|builder| builder.anonymous(AnonymousSessions::new(1)));
    let first = world.manager.create_anonymous(basket()).await.unwrap();
    let second = world.manager.create_anonymous(basket()).await.unwrap();
    assert!(!world.lives(&first).await && world.lives(&second).await);
    let reason = EndReason::Limit;
    let events = world.events.take();
    assert!(events.iter().all(|event| event.owner.is_none()));
    assert_eq!(events[1].kind, EventKind::Created { anonymous: true });
    assert_eq!((events[2].kind, events[2].id), { (EventKind::Ended { reason }, Some(first.id())) });
}

/// Symfony CVE-2016-4423: unbounded data before login.
#[tokio::test]
async fn size_is_bounded_when_made_and_when_changed() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.anonymous(carrying()));
        world.faults.answers_at_once(at_once);
        let error = world.manager.create_anonymous("x".repeat(21)).await.unwrap_err();
        assert!(error.is_too_large() && !error.is_store_error(), "{error}");
        assert_eq!(world.store.len(), 0);
        let token = world.manager.create_anonymous("x".repeat(19)).await.unwrap();
        let grow = || world.manager.update(&token, |basket| basket.push('x'));
        assert_eq!(grow().await.unwrap().unwrap().len(), 20);
        assert!(grow().await.unwrap_err().is_too_large());
        assert_eq!(world.data(&token).await.len(), 20, "it is as it was");
        let shrunk = world.manager.update(&token, String::clear).await.unwrap();
        assert!(shrunk.unwrap().is_empty());
        let user = world.manager.create(NewSession::new("x".repeat(100))).await.unwrap();
        let updated = world.manager.update(&user, |name| name.push('x')).await.unwrap();
        assert_eq!(updated.unwrap().len(), 101, "the bound is for anonymous ones alone");
    }
}

#[tokio::test]
async fn login_carries_over_what_the_rule_says() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.anonymous(carrying()));
        world.faults.answers_at_once(at_once);
        let visitor = world.manager.create_anonymous(basket()).await.unwrap();
        let before = world.manager.peek(&visitor).await.unwrap().unwrap();
        world.time.advance(IDLE / 2);
        let token = world.manager.login(Some(&visitor), ada().level(Level::Two)).await.unwrap();
        assert!(!world.lives(&visitor).await, "fixation");
        let session = world.manager.peek(&token).await.unwrap().unwrap();
        assert_eq!(session.data(), "ada with basket");
        assert!(!session.is_anonymous() && session.level() == Some(Level::Two));
        assert_eq!(session.owner(), Some(&owner("ada")));
        assert_eq!(session.created(), world.time.clock().now(), "and not the visitor's");
        assert_ne!(session.id(), before.id());
        assert_eq!((world.store.len(), world.of("ada").await), (1, 1));
    }
}

/// Symfony CVE-2023-46733, and the next one at a shared computer.
#[tokio::test]
async fn login_carries_nothing_from_one_user_to_another() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.anonymous(carrying()));
        world.faults.answers_at_once(at_once);
        let user = world.manager.create(ada()).await.unwrap();
        let other = world.manager.login(Some(&user), bob()).await.unwrap();
        assert_eq!(world.data(&other).await, "bob");
        let again = world.manager.login(Some(&other), bob()).await.unwrap();
        assert_eq!(world.data(&again).await, "bob", "nor from one's own session before");
        let nobody = world.manager.login(None::<&kvolt_session::Token>, ada()).await.unwrap();
        assert_eq!(world.data(&nobody).await, "ada");
        let visitor = world.manager.create_anonymous(basket()).await.unwrap();
        let first = world.manager.login(Some(&visitor), ada()).await.unwrap();
        let second = world.manager.login(Some(&visitor), bob()).await.unwrap();
        assert_eq!(world.data(&first).await, "ada with basket");
        assert_eq!(world.data(&second).await, "bob", "a basket goes to one");
    }
}

#[tokio::test]
async fn login_without_a_rule_carries_nothing_over() {
    let world = world_with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    let visitor = world.manager.create_anonymous(basket()).await.unwrap();
    let token = world.manager.login(Some(&visitor), ada()).await.unwrap();
    assert_eq!(world.data(&token).await, "ada");
    assert_eq!(world.store.len(), 1);
}

/// tower-sessions 36, 37: lost updates; here of what was put into the basket during the sign-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn basket_that_changes_during_a_login_is_not_lost() {
    for round in 0..300 {
        let (store, faults) = FaultyStore::new(MemoryStore::new());
        faults.answers_at_once(round % 2 == 0);
        let anonymous = AnonymousSessions::new(100)
            .carry_over(|visitor: &Vec<u32>, user: &mut Vec<u32>| user.extend(visitor));
        let manager = Manager::builder(store).anonymous(anonymous).build().unwrap();
        let visitor = Arc::new(manager.create_anonymous(vec![0]).await.unwrap());
        let adding = (1..=8).map(|item| {
            let (manager, visitor) = (manager.clone(), Arc::clone(&visitor));
            tokio::spawn(async move {
                let put = manager.update(&visitor, |basket| basket.push(item)).await.unwrap();
                put.is_some().then_some(item)
            })
        });
        let adding: Vec<_> = adding.collect();
        let login = {
            let (manager, visitor) = (manager.clone(), Arc::clone(&visitor));
            let user = NewSession::new(Vec::new()).owner("ada");
            tokio::spawn(async move { manager.login(Some(&visitor), user).await.unwrap() })
        };
        let mut expected = vec![0];
        for adding in adding {
            expected.extend(adding.await.unwrap());
        }
        let token = login.await.unwrap();
        let mut basket = manager.peek(&token).await.unwrap().unwrap().data().clone();
        basket.sort_unstable();
        assert_eq!(basket, expected, "what was told to be there is there, once");
        assert!(manager.peek(&visitor).await.unwrap().is_none());
    }
}

/// Another process changes the basket after the login has read it.
#[tokio::test]
async fn carry_over_runs_again_on_a_changed_basket() {
    let world = Arc::new(world_with(|builder| builder.anonymous(carrying())));
    let other = Manager::builder(world.store.clone()).anonymous(carrying()).build().unwrap();
    let visitor = Arc::new(world.manager.create_anonymous(basket()).await.unwrap());
    world.faults.only(&[Call::Insert]);
    world.faults.hold_calls();
    let login = {
        let (world, visitor) = (Arc::clone(&world), Arc::clone(&visitor));
        tokio::spawn(async move { world.manager.login(Some(&visitor), ada()).await.unwrap() })
    };
    world.faults.until_waiting(1).await;
    let _ = other.update(&visitor, |basket| basket.push('+')).await.unwrap();
    world.faults.release();
    assert_eq!(world.data(&login.await.unwrap()).await, "ada with basket+");
    assert_eq!(world.faults.count(Call::Insert), 3, "a visitor, a conflict, a login");
}

#[tokio::test]
async fn anonymous_session_is_in_no_owner_s_list() {
    let world = world_with(|builder| builder.anonymous(carrying()));
    let token = world.manager.create_anonymous(basket()).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(session.owner().is_none() && session.is_anonymous());
    // Names that are like those of the store's groups. The groups' own are no owner's.
    for name in ["", "anonymous", "anonymous 0", "anonymous 1", " anonymous 0"] {
        let owner = owner(name);
        assert!(world.manager.list(&owner).await.unwrap().sessions.is_empty(), "{name}");
        assert_eq!(world.manager.revoke_owner(&owner).await.unwrap(), 0, "{name}");
        assert!(!world.manager.revoke_owned(&owner, session.id()).await.unwrap(), "{name}");
    }
    assert!(Owner::new("\u{1}anonymous 0").is_err());
    assert_eq!(world.manager.revoke_others(&token).await.unwrap(), 0);
    let other = world.manager.create_anonymous(basket()).await.unwrap();
    assert_eq!(world.manager.revoke_others(&token).await.unwrap(), 0);
    assert!(world.lives(&other).await && world.lives(&token).await);
    // Administrators see and end them.
    let page = world.manager.list_all(None, 10).await.unwrap();
    assert_eq!(page.listing.sessions.len(), 2);
    assert!(world.manager.revoke(session.id()).await.unwrap());
    assert!(!world.lives(&token).await);
}

#[tokio::test]
async fn anonymous_sessions_have_timeouts_of_their_own() {
    let own = Timeouts::new(Duration::from_secs(60), Duration::from_secs(90));
    let world = world_with(|builder| builder.anonymous(carrying().timeouts(own)));
    let token = world.manager.create_anonymous(basket()).await.unwrap();
    world.time.advance(own.idle - TICK);
    let session = world.manager.get(&token).await.unwrap().unwrap();
    assert_eq!(session.ends_at(), session.created().saturating_add(own.lifetime));
    world.time.advance(own.lifetime - own.idle);
    assert!(world.lives(&token).await);
    world.time.advance(TICK);
    assert!(!world.lives(&token).await);

    let visitor = world.manager.create_anonymous(basket()).await.unwrap();
    let token = world.manager.login(Some(&visitor), ada()).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert_eq!(session.expires_at(), session.created().saturating_add(IDLE));
    assert_eq!(session.ends_at(), session.created().saturating_add(LIFETIME));
}

#[tokio::test]
async fn login_frees_the_visitor_s_place() {
    let limit = OwnerLimit::refuse(1);
    let one = AnonymousSessions::new(1).at_limit(AtLimit::Refuse);
    let world = world_with(|builder| builder.anonymous(one).owner_limit(limit));
    let visitor = world.manager.create_anonymous(basket()).await.unwrap();
    assert!(world.manager.create_anonymous(basket()).await.unwrap_err().is_limit_reached());
    let token = world.manager.login(Some(&visitor), ada()).await.unwrap();
    let next = world.manager.create_anonymous(basket()).await.unwrap();
    let refused = world.manager.login(Some(&next), ada()).await.unwrap_err();
    assert!(refused.is_limit_reached());
    assert!(world.lives(&next).await && world.lives(&token).await, "and the visitor's stays");
}

#[tokio::test]
async fn anonymous_session_is_rotated_and_needs_no_binding() {
    let one = AnonymousSessions::new(1).at_limit(AtLimit::Refuse);
    let world = world_with(|builder| {
        let builder = builder.anonymous(one).rotation_grace(GRACE);
        builder.bound_to(|_: &String| Some(Binding::from(1)))
    });
    let visitor = world.manager.create_anonymous(basket()).await.unwrap();
    let token = world.rotate(&visitor).await;
    assert!(world.lives(&token).await && world.lives(&visitor).await);
    assert!(world.manager.peek(&token).await.unwrap().unwrap().is_anonymous());
    assert!(world.manager.create_anonymous(basket()).await.unwrap_err().is_limit_reached());
    let user = world.manager.login(Some(&visitor), ada().bound_to(1)).await.unwrap();
    assert!(!world.lives(&token).await && world.lives(&user).await);
}

#[cfg(feature = "json")]
#[tokio::test]
async fn anonymous_session_stays_anonymous_in_storage() {
    use kvolt_cache::Encoded;
    use kvolt_session::RecordJson;

    let store = MemoryStore::<Vec<u8>>::new();
    let manager = || {
        let coded = Encoded::new(store.clone(), RecordJson::<String>::new());
        Manager::builder(coded).anonymous(carrying()).build().unwrap()
    };
    let token = manager().create_anonymous(basket()).await.unwrap();
    let session = manager().update(&token, |basket| basket.push('!')).await.unwrap().unwrap();
    assert!(session.is_anonymous() && session.level().is_none());
    let token = manager().login(Some(&token), ada()).await.unwrap();
    let session = manager().get(&token).await.unwrap().unwrap();
    assert_eq!((session.is_anonymous(), &**session.data()), (false, "ada with basket!"));
    assert_eq!(store.len(), 1);
}
