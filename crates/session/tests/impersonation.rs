//! An administrator acts for a user: what such a session may do, which lists have it, and what ends
//! it.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_session::{
    AnonymousSessions, Binding, EndReason, Event, EventKind, Flash, Level, NewSession, OwnerLimit,
    RefusalReason, RotateOutcome, SessionId, SessionSnapshot, StepUp, Timeouts, Token,
};
use kvolt_testkit::Call;
use support::{GRACE, IDLE, TICK, World, ada, bob, owner, rotated, world, world_with};

const MINUTE: Duration = Duration::from_secs(60);

fn root() -> NewSession<String> {
    NewSession::new(String::from("root")).owner("root")
}

/// The administrator's own token, and that of a session in which it acts for ada.
async fn acting(world: &World) -> (Token, Token) {
    let own = world.manager.create(root().level(Level::Three)).await.unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    assert!(world.lives(&own).await && world.lives(&token).await);
    (own, token)
}

async fn ids(world: &World, name: &str) -> Vec<SessionId> {
    let list = world.manager.list(&owner(name)).await.unwrap();
    assert_eq!(list.unreadable, []);
    list.sessions.iter().map(SessionSnapshot::id).collect()
}

/// Nothing accepts the token, and no list has its session.
async fn is_over(world: &World, token: &Token) {
    let manager = &world.manager;
    assert!(!world.lives(token).await);
    assert!(manager.get(token).await.unwrap().is_none());
    assert!(manager.find(token.id()).await.unwrap().is_none());
    assert!(manager.update(token, |_| panic!("it sees the data")).await.unwrap().is_none());
    assert!(!manager.flash(token, Flash::new("info", "x")).await.unwrap());
    assert!(matches!(manager.rotate(token).await.unwrap(), RotateOutcome::Absent));
    assert!(matches!(manager.end_impersonation(token).await.unwrap(), RotateOutcome::Absent));
    assert_eq!(manager.revoke_others(token).await.unwrap(), 0);
    for name in ["root", "ada"] {
        assert!(!ids(world, name).await.contains(&token.id()), "{name}");
    }
    let all = manager.list_all(None, 100).await.unwrap().listing.sessions;
    assert!(all.iter().all(|session| session.id() != token.id()));
}

#[tokio::test]
async fn impersonation_shows_both_and_is_in_both_lists() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let hers = world.manager.create(ada()).await.unwrap();
        world.time.advance(TICK);
        let (own, token) = acting(&world).await;
        world.time.advance(TICK);
        let other = world.manager.create(root()).await.unwrap();

        let session = world.manager.get(&token).await.unwrap().unwrap();
        assert_eq!(*session, "ada");
        assert_eq!(session.owner(), Some(&owner("root")));
        assert_eq!(session.acting_for(), Some(&owner("ada")));
        assert!(!session.is_anonymous() && !session.is_remembered());
        assert_eq!((session.level(), session.authenticated()), (None, None));
        for ordinary in [&hers, &own, &other] {
            assert_eq!(world.manager.get(ordinary).await.unwrap().unwrap().acting_for(), None);
        }

        assert_eq!(ids(&world, "ada").await, [hers.id(), token.id()]);
        assert_eq!(ids(&world, "root").await, [own.id(), token.id(), other.id()]);
        for name in ["ada", "root"] {
            let list = world.manager.list(&owner(name)).await.unwrap().sessions;
            let listed = list.iter().find(|session| session.id() == token.id()).unwrap();
            assert_eq!(listed.owner(), Some(&owner("root")));
            assert_eq!(listed.acting_for(), Some(&owner("ada")));
        }
        assert_eq!(world.manager.list_all(None, 100).await.unwrap().listing.sessions.len(), 4);
        let found = world.manager.find(token.id()).await.unwrap().unwrap();
        assert_eq!(found.acting_for(), Some(&owner("ada")));
    }
}

#[tokio::test]
async fn impersonation_ends_after_thirty_minutes_of_use() {
    let hours = Timeouts::new(60 * MINUTE, 600 * MINUTE);
    let world = world_with(|builder| builder.timeouts(hours));
    for (chosen, expected) in [
        (None, 30 * MINUTE),
        (Some(10 * MINUTE), 10 * MINUTE),
        (Some(30 * MINUTE + TICK), 30 * MINUTE),
        (Some(Duration::MAX), 30 * MINUTE),
    ] {
        let own = world.manager.create(root()).await.unwrap();
        let user = chosen.into_iter().fold(ada().remember(true), NewSession::lifetime);
        let token = world.manager.impersonate(&own, user).await.unwrap().unwrap();
        let end = world.time.clock().now().saturating_add(expected);
        for _ in 0..9 {
            let session = world.manager.get(&token).await.unwrap().unwrap();
            assert_eq!((session.expires_at(), session.ends_at()), (end, end));
            world.time.advance(expected / 10);
        }
        world.time.advance(expected / 10 - TICK);
        assert!(world.manager.get(&token).await.unwrap().is_some());
        world.time.advance(TICK);
        is_over(&world, &token).await;
        assert!(world.lives(&own).await);
    }
    let error = {
        let own = world.manager.create(root()).await.unwrap();
        world.manager.impersonate(&own, ada().lifetime(Duration::ZERO)).await.unwrap_err()
    };
    assert!(error.is_misconfigured(), "{error}");
}

/// Use keeps neither session alive: it ends with the administrator's own one.
#[tokio::test]
async fn impersonation_does_not_outlive_the_idle_time() {
    let world = world();
    let own = world.manager.create(root()).await.unwrap();
    world.time.advance(IDLE / 2);
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    let session = world.manager.get(&token).await.unwrap().unwrap();
    assert_eq!(session.ends_at(), world.time.clock().now().saturating_add(IDLE / 2));
    world.time.advance(IDLE / 2 - TICK);
    assert!(world.manager.get(&token).await.unwrap().is_some());
    world.time.advance(TICK);
    is_over(&world, &token).await;
    assert!(!world.lives(&own).await);
}

#[tokio::test]
async fn impersonation_meets_no_step_up_and_changes_no_credentials() {
    let world = world();
    let hers = world.manager.create(ada()).await.unwrap();
    let (own, token) = acting(&world).await;
    let session = world.manager.get(&token).await.unwrap().unwrap();
    let now = world.time.clock().now();
    for step_up in [StepUp::within(Duration::MAX), StepUp::at_level(Level::One)] {
        assert!(!session.meets(&step_up, now));
    }
    for level in Level::ALL {
        let error = world.manager.reauthenticate(&token, level).await.unwrap_err();
        assert!(error.is_impersonation(), "{error}");
        assert!(error.to_string().contains("only the user can prove"), "{error}");
    }
    for binding in [None, Some(Binding::from(2))] {
        let error = world.manager.change_credentials(&token, binding).await.unwrap_err();
        assert!(error.is_impersonation(), "{error}");
    }
    // Nothing happened to the user, or to the session.
    assert!(world.lives(&hers).await && world.lives(&own).await);
    let after = world.manager.get(&token).await.unwrap().unwrap();
    assert_eq!((after.level(), after.rotated()), (None, session.rotated()));
    assert!(!after.meets(&StepUp::at_level(Level::One), now));
}

#[tokio::test]
async fn impersonation_starts_from_an_administrator_s_own_session_only() {
    let world = world_with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    let (own, token) = acting(&world).await;
    let manager = &world.manager;
    let visitor = manager.create_anonymous(String::from("visitor")).await.unwrap();
    let nameless = manager.create(String::from("nameless")).await.unwrap();
    let before = manager.count().await.unwrap();
    for (by, user, expected) in [
        (&token, bob(), "can't start another one"),
        (&own, root(), "can't act for itself"),
        (&own, NewSession::new(String::from("nameless")), "a user without an owner"),
        (&visitor, bob(), "only a signed-in administrator"),
        (&nameless, bob(), "only a signed-in administrator"),
    ] {
        let error = manager.impersonate(by, user).await.unwrap_err();
        assert!(error.is_impersonation(), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(manager.count().await.unwrap(), before);
    assert!(world.lives(&token).await, "its own impersonation goes on");
    let error = manager.end_impersonation(&own).await.unwrap_err();
    assert!(error.is_misconfigured(), "{error}");
    manager.logout(&own).await.unwrap();
    assert!(manager.impersonate(&own, bob()).await.unwrap().is_none());
    assert_eq!(world.of("bob").await, 0);
}

#[tokio::test]
async fn impersonation_ends_with_what_ends_either_account() {
    for case in 0..14 {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        let hers = world.manager.create(ada()).await.unwrap();
        let (own, token) = acting(&world).await;
        let manager = &world.manager;
        match case {
            // The administrator.
            0 => assert_eq!(manager.revoke_owner(&owner("root")).await.unwrap(), 1),
            1 => assert!(manager.revoke(own.id()).await.unwrap()),
            2 => assert!(manager.revoke_owned(&owner("root"), token.id()).await.unwrap()),
            3 => assert!(manager.logout(&own).await.unwrap()),
            4 => drop(manager.login(Some(&own), root()).await.unwrap()),
            5 => drop(manager.change_credentials(&own, None).await.unwrap()),
            6 => {
                let other = manager.create(root()).await.unwrap();
                assert_eq!(manager.revoke_others(&other).await.unwrap(), 1);
            }
            7 => drop(manager.impersonate(&own, bob()).await.unwrap().unwrap()),
            // The user.
            8 => assert_eq!(manager.revoke_owner(&owner("ada")).await.unwrap(), 2),
            9 => assert!(manager.revoke_owned(&owner("ada"), token.id()).await.unwrap()),
            10 => assert_eq!(manager.revoke_others(&hers).await.unwrap(), 1),
            11 => assert_eq!(manager.change_credentials(&hers, None).await.unwrap().1, 1),
            // Either.
            12 => assert!(manager.revoke(token.id()).await.unwrap()),
            13 => manager.revoke_everyone().await.unwrap(),
            _ => unreachable!(),
        }
        is_over(&world, &token).await;
        let of_user = [8, 9, 10, 11, 12].contains(&case);
        assert!(!of_user || world.lives(&own).await, "{case}");
        if [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12].contains(&case) {
            assert!(world.lives(&hers).await, "{case}");
        }
    }
}

#[tokio::test]
async fn strangers_can_t_end_an_impersonation() {
    let world = world();
    let (own, token) = acting(&world).await;
    let stranger = world.manager.create(bob()).await.unwrap();
    assert!(!world.manager.revoke_owned(&owner("bob"), token.id()).await.unwrap());
    world.manager.revoke_others(&stranger).await.unwrap();
    world.manager.revoke_owner(&owner("bob")).await.unwrap();
    assert!(world.lives(&own).await && world.lives(&token).await);
}

/// The lists under an impersonation are the user's, and it never reaches the administrator's
/// sessions.
#[tokio::test]
async fn impersonation_revokes_as_the_user_does() {
    let world = world();
    let hers = world.manager.create(ada()).await.unwrap();
    let (own, token) = acting(&world).await;
    assert_eq!(world.manager.revoke_others(&token).await.unwrap(), 1);
    assert!(!world.lives(&hers).await);
    assert!(world.lives(&own).await && world.lives(&token).await);
}

#[tokio::test]
async fn administrator_returns_to_their_own_session() {
    let world = world_with(|builder| builder.rotation_grace(GRACE));
    let own = world.manager.create(root().level(Level::Two).remember(true)).await.unwrap();
    world.manager.update(&own, |name| name.push('!')).await.unwrap();
    let before = world.manager.peek(&own).await.unwrap().unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    world.time.advance(MINUTE);
    // The token may have changed meanwhile.
    let token = rotated(world.manager.rotate(&token).await.unwrap());
    let back = rotated(world.manager.end_impersonation(&token).await.unwrap());
    is_over(&world, &token).await;
    let session = world.manager.peek(&back).await.unwrap().unwrap();
    assert_eq!((session.id(), session.data().as_str()), (own.id(), "root!"));
    assert_eq!((session.level(), session.acting_for()), (Some(Level::Two), None));
    assert_eq!(session.expires_at(), before.expires_at());
    assert!(session.is_remembered());
    // The token from before is a previous one, in its grace.
    assert!(world.lives(&own).await);
    world.time.advance(GRACE);
    assert!(!world.lives(&own).await);
    // Once only: the token of an ended impersonation leads nowhere.
    assert!(world.manager.impersonate(&back, bob()).await.unwrap().is_some());
}

/// The holder of a token that a proof has replaced gets none of the session's new rights, by a
/// detour neither.
#[tokio::test]
async fn token_in_its_grace_starts_and_ends_no_impersonation() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let manager = &world.manager;
        let old = manager.create(root()).await.unwrap();
        let before = manager.peek(&old).await.unwrap();
        let own = rotated(manager.reauthenticate(&old, Level::Two).await.unwrap());
        let in_grace = manager.peek(&old).await.unwrap();
        assert_eq!(in_grace.as_ref().unwrap().level(), Some(Level::One));
        assert!(manager.impersonate(&old, ada()).await.unwrap().is_none());
        for read in [before, in_grace] {
            assert!(manager.impersonate((&old, read), ada()).await.unwrap().is_none());
        }
        assert_eq!(world.of("ada").await, 0);
        assert_eq!(world.store.len(), 1, "nothing is left");

        let token = manager.impersonate(&own, ada()).await.unwrap().unwrap();
        let current = world.rotate(&token).await;
        let read = manager.peek(&token).await.unwrap();
        for returned in [
            manager.end_impersonation(&token).await,
            manager.end_impersonation((&token, read)).await,
        ] {
            assert!(matches!(returned.unwrap(), RotateOutcome::AlreadyRotated));
        }
        assert!(world.lives(&current).await && world.lives(&own).await);
        let back = rotated(manager.end_impersonation(&current).await.unwrap());
        assert_eq!(manager.peek(&back).await.unwrap().unwrap().level(), Some(Level::Two));
    }
}

/// Without the new token the administrator would be signed out by a clean-up that failed.
#[tokio::test]
async fn administrator_returns_if_the_clean_up_fails() {
    let world = world();
    let (own, token) = acting(&world).await;
    world.faults.only(&[Call::Remove]);
    world.faults.fail_next(1);
    let back = rotated(world.manager.end_impersonation(&token).await.unwrap());
    assert_eq!(world.store.len(), 2, "the entry is left");
    assert!(world.lives(&back).await && !world.lives(&own).await);
    is_over(&world, &token).await;
}

/// Whatever fails, a call that then says success leaves neither session.
#[tokio::test]
async fn failure_leaves_no_session_of_the_administrator() {
    for (call, login) in [
        (Call::Get, false),
        (Call::Get, true),
        (Call::Remove, false),
        (Call::Remove, true),
        (Call::Insert, true),
    ] {
        for failing in 1..4 {
            let world = world();
            world.faults.answers_at_once(false);
            let manager = &world.manager;
            let (own, token) = acting(&world).await;
            let read = manager.peek(&token).await.unwrap();
            world.faults.only(&[call]);
            world.faults.fail_next(failing);
            let mut is_done = false;
            let mut attempts = 0;
            while !is_done {
                let presented = (&token, read.clone().filter(|_| attempts == 0));
                is_done = match login {
                    true => manager.login(Some(presented), bob()).await.is_ok(),
                    false => manager.logout(presented).await.is_ok(),
                };
                attempts += 1;
            }
            assert!(attempts > 1, "{call:?}");
            assert!(!world.lives(&own).await, "{call:?} {login} {failing}");
            is_over(&world, &token).await;
        }
    }
}

/// It is one of the sessions that a list shows beside this one.
#[tokio::test]
async fn revocation_of_the_others_ends_the_own_impersonation() {
    for credentials in [false, true] {
        let world = world();
        let (own, token) = acting(&world).await;
        let other = world.manager.create(root()).await.unwrap();
        world.events.take();
        let (own, ended) = match credentials {
            false => (own.clone(), world.manager.revoke_others(&own).await.unwrap()),
            true => {
                let changed = world.manager.change_credentials(&own, None).await.unwrap();
                (rotated(changed.0), changed.1)
            }
        };
        assert_eq!(ended, 2);
        let events = world.events.take();
        let is_end = |event: &&Event| matches!(event.kind, EventKind::Ended { .. });
        let ends: Vec<_> = events.iter().filter(is_end).map(|event| event.id.unwrap()).collect();
        assert_eq!(ends, [other.id(), token.id()]);
        is_over(&world, &token).await;
        assert!(world.lives(&own).await && !world.lives(&other).await);
        assert_eq!(world.manager.revoke_others(&own).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn use_of_an_impersonation_shows() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let (_own, token) = acting(&world).await;
        let session = world.manager.get(&token).await.unwrap().unwrap();
        let end = session.expires_at();
        for _ in 0..5 {
            world.time.advance(MINUTE);
            let peeked = world.manager.peek(&token).await.unwrap().unwrap();
            let used = world.manager.get(&token).await.unwrap().unwrap();
            assert!(peeked.last_seen() < used.last_seen());
            assert_eq!(used.last_seen(), world.time.clock().now(), "{at_once}");
            assert_eq!(used.expires_at(), end);
        }
    }
}

#[tokio::test]
async fn logout_from_an_impersonation_ends_both_sessions() {
    for login in [false, true] {
        let world = world();
        let (own, token) = acting(&world).await;
        if login {
            let _ = world.manager.login(Some(&token), bob()).await.unwrap();
        } else {
            assert!(world.manager.logout(&token).await.unwrap());
        }
        assert!(!world.lives(&own).await);
        is_over(&world, &token).await;
        assert_eq!(world.store.len(), usize::from(login));
    }
}

/// A binding is that of the account whose data a session has: the user's and, for the
/// administrator's own session, the administrator's.
#[tokio::test]
async fn impersonation_ends_when_either_account_changes() {
    for changed in ["ada", "root"] {
        let versions = Arc::new([AtomicU64::new(1), AtomicU64::new(1)]);
        let of = |name: &str| usize::from(name == "root");
        let current = Arc::clone(&versions);
        let world = world_with(|builder| {
            builder.bound_to(move |name| {
                Some(Binding::from(current[of(name)].load(Ordering::Relaxed)))
            })
        });
        let own = world.manager.create(root().bound_to(1)).await.unwrap();
        let error = world.manager.impersonate(&own, ada()).await.unwrap_err();
        assert!(error.is_misconfigured(), "{error}");
        let token = world.manager.impersonate(&own, ada().bound_to(1)).await.unwrap().unwrap();
        assert!(world.lives(&token).await);
        versions[of(changed)].store(2, Ordering::Relaxed);
        assert!(!world.lives(&token).await, "{changed}");
        assert!(
            ids(&world, "ada").await.is_empty() && !ids(&world, "root").await.contains(&token.id())
        );
    }
}

/// A crash between the two writes leaves an entry that is never accepted and in no list.
#[tokio::test]
async fn unfinished_impersonation_is_never_accepted() {
    for call in [Call::Insert, Call::Replace] {
        for lost_answer in [false, true] {
            let world = world();
            let own = world.manager.create(root()).await.unwrap();
            world.faults.only(&[call]);
            match lost_answer {
                true => world.faults.lose_next_answers(1),
                false => world.faults.fail_next(1),
            }
            let error = world.manager.impersonate(&own, ada()).await.unwrap_err();
            assert!(error.is_unavailable(), "{error}");
            let of_hers = world.manager.list(&owner("ada")).await.unwrap().sessions;
            assert!(of_hers.is_empty(), "{call:?}: {of_hers:?}");
            assert_eq!(ids(&world, "root").await, [own.id()]);
            assert!(world.manager.impersonate(&own, ada()).await.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn impersonation_takes_no_place_of_the_user() {
    let world = world_with(|builder| builder.owner_limit(OwnerLimit::refuse(1)));
    let own = world.manager.create(root()).await.unwrap();
    let hers = world.manager.create(ada()).await.unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    assert!(world.lives(&hers).await && world.lives(&own).await, "no limit refuses it");
    // A second sign-in is refused as ever, and ends the impersonation to find that out.
    assert!(world.manager.create(ada()).await.unwrap_err().is_limit_reached());
    is_over(&world, &token).await;
    world.manager.logout(&hers).await.unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    let hers = world.manager.create(ada()).await.unwrap();
    assert!(world.lives(&hers).await);
    is_over(&world, &token).await;
    assert!(world.lives(&own).await);
}

#[tokio::test]
async fn impersonation_counts_at_the_user_s_next_sign_in() {
    let world = world_with(|builder| builder.owner_limit(OwnerLimit::remove_oldest(2)));
    let first = world.manager.create(ada()).await.unwrap();
    world.time.advance(TICK);
    let second = world.manager.create(ada()).await.unwrap();
    world.time.advance(TICK);
    let (_own, token) = acting(&world).await;
    assert!(world.lives(&first).await && world.lives(&second).await, "its start removes none");
    world.time.advance(TICK);
    let third = world.manager.create(ada()).await.unwrap();
    assert!(!world.lives(&first).await && !world.lives(&second).await);
    assert!(world.lives(&token).await && world.lives(&third).await);
}

#[tokio::test]
async fn impersonation_is_reported_with_both() {
    let world = world();
    let (own, token) = acting(&world).await;
    let renewed = rotated(world.manager.rotate(&token).await.unwrap());
    let _ = rotated(world.manager.end_impersonation(&renewed).await.unwrap());
    assert!(!world.lives(&renewed).await);

    let events = world.events.take();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let (unknown, logout) = (RefusalReason::Unknown, EndReason::Logout);
    assert_eq!(
        kinds,
        [
            EventKind::Created { anonymous: false },
            EventKind::Impersonated,
            EventKind::Rotated,
            EventKind::Rotated,
            EventKind::Ended { reason: logout },
            EventKind::Refused { reason: unknown },
        ]
    );
    let ids: Vec<_> = events.iter().map(|event| event.id.unwrap()).collect();
    assert_eq!(ids, [own.id(), token.id(), token.id(), own.id(), token.id(), token.id()]);
    for (at, acting_for) in
        [(0, None), (1, Some("ada")), (2, Some("ada")), (3, None), (4, Some("ada"))]
    {
        assert_eq!(events[at].owner, Some(owner("root")), "{at}");
        assert_eq!(events[at].acting_for, acting_for.map(owner), "{at}");
    }
}

/// In commands to a remote store.
#[tokio::test]
async fn impersonation_costs_what_is_stated() {
    for with_session in [false, true] {
        let world = world();
        world.faults.answers_at_once(false);
        let manager = &world.manager;
        let commands = || world.faults.count_all() - world.faults.count(Call::GetReady);
        let read = async |token: &Token| match with_session {
            true => manager.peek(token).await.unwrap(),
            false => None,
        };
        let cost = |of_token, of_session| if with_session { of_session } else { of_token };

        let own = manager.create(root()).await.unwrap();
        let session = read(&own).await;
        let before = commands();
        let first = manager.impersonate((&own, session), ada()).await.unwrap().unwrap();
        assert_eq!(commands() - before, cost(3, 2), "impersonate");
        let session = read(&own).await;
        let before = commands();
        let token = manager.impersonate((&own, session), bob()).await.unwrap().unwrap();
        assert_eq!(commands() - before, cost(5, 4), "impersonate, in place of another");
        assert!(!world.lives(&first).await);
        let session = read(&token).await;
        let before = commands();
        let own = rotated(manager.end_impersonation((&token, session)).await.unwrap());
        assert_eq!(commands() - before, cost(5, 3), "end_impersonation");

        let token = manager.impersonate(&own, ada()).await.unwrap().unwrap();
        let session = read(&token).await;
        let before = commands();
        assert!(manager.logout((&token, session)).await.unwrap());
        assert_eq!(commands() - before, cost(5, 3), "logout");
        let own = manager.create(root()).await.unwrap();
        let token = manager.impersonate(&own, ada()).await.unwrap().unwrap();
        let session = read(&token).await;
        let before = commands();
        let _ = manager.login(Some((&token, session)), root()).await.unwrap();
        assert_eq!(commands() - before, cost(5, 3), "login");
    }
}

/// Sessions without an impersonation cost what they cost before.
#[tokio::test]
async fn ordinary_session_costs_one_command() {
    let world = world();
    world.faults.answers_at_once(false);
    let own = world.manager.create(root()).await.unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    for (token, expected) in [(&own, 1), (&token, 2)] {
        let before = world.faults.count(Call::Get);
        assert!(world.manager.peek(token).await.unwrap().is_some());
        assert_eq!(world.faults.count(Call::Get) - before, expected);
    }
}
