//! The log.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_cache::MemoryStore;
use kvolt_session::{Actor, Manager, NewSession, RotateOutcome};
use support::{Log, owner};

#[test]
fn log_has_public_ids_and_never_a_token() {
    let log = Log::default();
    let subscriber = log.subscriber(tracing::Level::TRACE);
    let manager: Manager<&str> = Manager::new(MemoryStore::new());
    let ada = || NewSession::new("private").owner("ada");
    let (tokens, ids) = tracing::subscriber::with_default(subscriber, || {
        pollster::block_on(async {
            let one = manager.create(ada()).await.unwrap();
            let two = manager.login(Some(&one), ada()).await.unwrap();
            let RotateOutcome::Token(three) = manager.rotate(&two).await.unwrap() else {
                panic!("there")
            };
            assert!(manager.logout(&three).await.unwrap());
            let four = manager.create(ada()).await.unwrap();
            assert!(manager.revoke_owned(&owner("ada"), four.id()).await.unwrap());
            manager.revoke_owner(&owner("ada")).await.unwrap();
            let tokens = [one, two, three, four];
            let ids = tokens.each_ref().map(|token| token.id().to_string());
            (tokens, ids)
        })
    });
    let log = log.text();
    for (token, id) in tokens.iter().zip(&ids) {
        assert!(log.contains(id.as_str()), "{log}");
        assert!(!log.contains(token.expose()), "{log}");
    }
    for expected in ["created", "rotated", "ended", "logout", "new_login", "revoked"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(!log.contains("private"), "{log}");
}

#[test]
fn log_has_the_actor_and_no_forged_line() {
    let log = Log::default();
    let subscriber = log.subscriber(tracing::Level::TRACE);
    tracing::subscriber::with_default(subscriber, || {
        pollster::block_on(async {
            let manager: Manager<&str> = Manager::new(MemoryStore::new());
            let actor = Actor::new("admin:7").because("lost\nINFO forged id=1 \" reason=logout");
            let manager = manager.by(actor);
            let _ = manager.create(NewSession::new("private").owner("ada")).await.unwrap();
            manager.revoke_owner(&owner("ada")).await.unwrap();
            manager.revoke_everyone().await.unwrap();
        });
    });
    let log = log.text();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        assert!(line.contains("actor=\"admin:7\""), "{line}");
        let because = "because=\"lost\u{fffd}INFO forged id=1 \\\" reason=logout\"";
        assert!(line.contains(because), "{line}");
    }
}
