//! Form tokens, and messages for the next page.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use kvolt_session::{AnonymousSessions, CsrfToken, Flash, Level};
use support::{GRACE, TICK, ada, bob, rotated, world, world_with};

/// Symfony CVE-2022-24895: the form token survives a login.
#[tokio::test]
async fn form_token_lasts_until_the_next_login() {
    let world = world_with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    let visitor = world.manager.create_anonymous(String::new()).await.unwrap();
    let session = world.manager.peek(&visitor).await.unwrap().unwrap();
    let before = session.csrf_token().unwrap();
    assert!(session.verifies_csrf(before.as_str()));

    let token = world.manager.login(Some(&visitor), ada()).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(!session.verifies_csrf(before.as_str()), "a visitor's is no user's");
    let first = session.csrf_token().unwrap();
    let token = world.rotate(&token).await;
    let token = rotated(world.manager.reauthenticate(&token, Level::Two).await.unwrap());
    let (changed, _) = world.manager.change_credentials(&token, None).await.unwrap();
    let token = rotated(changed);
    let session = world.manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
    assert!(session.verifies_csrf(first.as_str()), "a page that was open still works");
    let second = session.csrf_token().unwrap();
    assert_ne!(first.as_str(), second.as_str(), "BREACH");
    assert!(session.verifies_csrf(second.as_str()));

    let token = world.manager.login(Some(&token), bob()).await.unwrap();
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    for old in [before, first, second] {
        assert!(!session.verifies_csrf(old.as_str()));
    }
}

#[tokio::test]
async fn form_token_of_another_session_is_refused() {
    let world = world();
    let mut sessions = Vec::new();
    for new in [ada(), ada(), bob()] {
        let token = world.manager.create(new).await.unwrap();
        sessions.push(world.manager.peek(&token).await.unwrap().unwrap());
    }
    for (number, session) in sessions.iter().enumerate() {
        let token = session.csrf_token().unwrap();
        for (other, verifying) in sessions.iter().enumerate() {
            assert_eq!(verifying.verifies_csrf(token.as_str()), number == other);
        }
        for wrong in [&token.as_str()[1..], "", &"A".repeat(CsrfToken::LEN)] {
            assert!(!session.verifies_csrf(wrong));
        }
    }
}

#[cfg(feature = "json")]
#[tokio::test]
async fn form_token_and_message_survive_storage() {
    use kvolt_cache::{Encoded, MemoryStore};
    use kvolt_session::{Manager, RecordJson};

    let store = MemoryStore::<Vec<u8>>::new();
    let manager = || {
        let coded = Encoded::new(store.clone(), RecordJson::<String>::new());
        Manager::builder(coded).rotation_grace(GRACE).build().unwrap()
    };
    let token = manager().create(ada()).await.unwrap();
    let form = manager().get(&token).await.unwrap().unwrap().csrf_token().unwrap();
    assert!(manager().flash(&token, Flash::new("info", "\"saved\" – ja")).await.unwrap());
    let token = rotated(manager().rotate(&token).await.unwrap());
    let session = manager().update(&token, |name| name.push('!')).await.unwrap().unwrap();
    assert!(session.verifies_csrf(form.as_str()));
    let flashes = manager().take_flashes(&token).await.unwrap();
    assert_eq!(flashes, [Flash::new("info", "\"saved\" – ja")]);
    assert!(manager().take_flashes(&token).await.unwrap().is_empty());
}

#[tokio::test]
async fn messages_are_taken_once_in_order() {
    for at_once in [true, false] {
        let world = world_with(|builder| builder.rotation_grace(GRACE));
        world.faults.answers_at_once(at_once);
        let token = world.manager.create(ada()).await.unwrap();
        for text in ["first", "second"] {
            assert!(world.manager.flash(&token, Flash::new("info", text)).await.unwrap());
        }
        let token = world.rotate(&token).await;
        let session = world.manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
        assert_eq!(session.flashes().len(), 2, "looking takes none");
        let taken = world.manager.take_flashes(&token).await.unwrap();
        let texts: Vec<_> = taken.iter().map(|flash| (flash.kind(), flash.text())).collect();
        assert_eq!(texts, [("info", "first"), ("info", "second")]);
        assert!(world.manager.take_flashes(&token).await.unwrap().is_empty());
        let taken = world.manager.take_flashes((&token, session)).await.unwrap();
        assert!(taken.is_empty(), "also to one who has seen them before they were taken");
    }
}

#[tokio::test]
async fn login_drops_the_messages_of_another_user() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    assert!(world.manager.flash(&token, Flash::new("info", "your balance")).await.unwrap());
    let token = world.manager.login(Some(&token), bob()).await.unwrap();
    assert!(world.manager.take_flashes(&token).await.unwrap().is_empty());
}

#[tokio::test]
async fn messages_do_not_keep_a_session_alive() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    let before = world.manager.peek(&token).await.unwrap().unwrap().expires_at();
    world.time.advance(TICK);
    assert!(world.manager.flash(&token, Flash::new("info", "x")).await.unwrap());
    assert_eq!(world.manager.take_flashes(&token).await.unwrap().len(), 1);
    assert_eq!(world.manager.peek(&token).await.unwrap().unwrap().expires_at(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn message_is_given_to_one_of_many_callers() {
    for round in 0..40 {
        let world = Arc::new(world());
        world.faults.answers_at_once(round % 2 == 0);
        let token = Arc::new(world.manager.create(ada()).await.unwrap());
        for number in 0..8 {
            let flash = Flash::new("info", &number.to_string());
            assert!(world.manager.flash(&token, flash).await.unwrap());
        }
        let taking = (0..50).map(|taker: usize| {
            let (world, token) = (Arc::clone(&world), Arc::clone(&token));
            tokio::spawn(async move {
                if taker.is_multiple_of(8) {
                    let flash = Flash::new("late", &taker.to_string());
                    assert!(world.manager.flash(&token, flash).await.unwrap());
                }
                world.manager.take_flashes(&token).await.unwrap()
            })
        });
        let mut taken = Vec::new();
        for taking in taking.collect::<Vec<_>>() {
            taken.extend(taking.await.unwrap());
        }
        taken.extend(world.manager.take_flashes(&token).await.unwrap());
        let different: BTreeSet<_> =
            taken.iter().map(|flash| (flash.kind().to_owned(), flash.text().to_owned())).collect();
        assert_eq!((taken.len(), different.len()), (15, 15), "{taken:?}");
    }
}

#[tokio::test]
async fn messages_are_bounded_in_number_and_length() {
    let world = world();
    let token = world.manager.create(ada()).await.unwrap();
    for number in 0..Flash::MAX_WAITING + 4 {
        let flash = Flash::new("info", &number.to_string());
        assert!(world.manager.flash(&token, flash).await.unwrap());
    }
    let taken = world.manager.take_flashes(&token).await.unwrap();
    assert_eq!(taken.len(), Flash::MAX_WAITING);
    assert_eq!(taken[0].text(), "4", "the oldest have gone");

    let long = Flash::new(&"é".repeat(100), &"€".repeat(2_000));
    assert_eq!(long.kind(), "é".repeat(Flash::MAX_KIND_LEN / 2));
    assert_eq!(long.text(), "€".repeat(Flash::MAX_TEXT_LEN / 3), "cut between characters");
    let exact = "x".repeat(Flash::MAX_TEXT_LEN);
    assert_eq!(Flash::new("", &exact).text(), exact);
}
