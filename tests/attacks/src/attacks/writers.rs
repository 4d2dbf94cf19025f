//! The limits of an attacker who writes to the store directly.
//!
//! A store without encryption accepts made-up sessions: see `SECURITY.md`. These attacks try to
//! change records that the attacker can neither create nor open.

use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt_cache::{
    AnyStore, Encoded, Expiry, Freshness, InsertOutcome, Key, ManualClock, NewEntry, Store, Target,
};
use kvolt_session::{Access, Manager, Owner, Record, RecordJson, Token};

use kvolt_testkit::FaultyStore;

use super::{account, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::User;

/// Managers on a server's store, without and with encryption. Only the managers use this clock.
fn managers(server: &Server, bytes: &AnyStore<Vec<u8>>, clock: &ManualClock) -> [Manager<User>; 2] {
    let key: EncryptionKey = "0f".repeat(32).parse().expect("a valid key");
    let codec = Encrypted::new(RecordJson::new(), EncryptionKeys::new(key));
    let encrypted: AnyStore<Record<User>> = AnyStore::new(Encoded::new(bytes.clone(), codec));
    [server.store.clone(), encrypted]
        .map(|store| Manager::new(FaultyStore::new(store).0.with_clock(clock.clock())))
}

/// Writes the session's value again, with another expiry and owner.
async fn rewrite(bytes: &AnyStore<Vec<u8>>, key: &Key, expiry: Expiry, owner: Owner) {
    let entry = bytes
        .get(key, Freshness::Strict)
        .await
        .expect("the store answers")
        .expect("the session exists");
    let _ = bytes.remove(Target::new(key), None).await.expect("the store answers");
    let entry = NewEntry::new(entry.value, expiry).owner(owner);
    let inserted = bytes.insert(*key, entry).await.expect("the store answers");
    assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
}

async fn is_accepted(deployment: &Deployment, manager: &Manager<User>, token: &Token) -> bool {
    deployment.outlive_copies().await;
    let mut answers = Vec::new();
    for access in [Access::PEEK, Access::SLIDE, Access::PEEK.strict()] {
        let found = manager.get_with(token, access).await;
        answers.push(found.is_ok_and(|session| session.is_some()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

/// The store's deadlines are stored next to the value, so a writer can move them, and a stolen
/// session would live forever. The absolute end is also sealed in the value.
///
/// Not in memory, where only the library writes.
pub async fn store_writer_makes_no_session_immortal(deployment: &Deployment) {
    let Some(bytes) = &deployment.one.bytes else { return };
    let clock = ManualClock::new();
    for manager in managers(&deployment.one, bytes, &clock) {
        let lifetime = manager.timeouts().lifetime;
        let token = sign_in(&manager, "ada").await;
        let key = token.id().key(manager.namespace());
        rewrite(bytes, &key, Expiry::after(lifetime * 100), account("ada")).await;
        assert!(is_accepted(deployment, &manager, &token).await, "the session still works");
        // The clocks of the store and of the server may differ by a minute.
        clock.advance(lifetime + Duration::from_secs(59));
        assert!(is_accepted(deployment, &manager, &token).await);
        clock.advance(Duration::from_secs(1));
        assert!(!is_accepted(deployment, &manager, &token).await, "it has no end");
        let listing = manager.list(&account("ada")).await.expect("the store answers");
        assert!(listing.sessions.is_empty(), "the session is listed after its end");
        let updated = manager.update(&token, |user| user.count += 1).await;
        assert!(
            updated.is_ok_and(|session| session.is_none()),
            "the session is changed after its end"
        );
        assert_eq!(manager.revoke_owner(&account("ada")).await.expect("the store answers"), 1);
    }
}

/// The owner is stored next to the value too: a writer moves a session to another owner, whose data
/// it would get, or out of reach of "sign out everywhere".
///
/// Not in memory, where only the library writes.
pub async fn store_writer_gives_no_session_to_another_owner(deployment: &Deployment) {
    let Some(bytes) = &deployment.one.bytes else { return };
    let clock = ManualClock::new();
    for manager in managers(&deployment.one, bytes, &clock) {
        let token = sign_in(&manager, "mallory").await;
        let admins = sign_in(&manager, "admin").await;
        let key = token.id().key(manager.namespace());
        rewrite(bytes, &key, Expiry::after(manager.timeouts().lifetime), account("admin")).await;
        assert!(!is_accepted(deployment, &manager, &token).await, "no owner");
        let of = async |name: &str| manager.list(&account(name)).await.expect("the store answers");
        let (admin, mallory) = (of("admin").await, of("mallory").await);
        let listed: Vec<_> =
            admin.sessions.iter().map(kvolt_session::SessionSnapshot::id).collect();
        assert_eq!((listed, admin.unreadable), (vec![admins.id()], vec![token.id()]));
        assert!(mallory.sessions.is_empty() && mallory.unreadable.is_empty());
        // The owner in the store can end it with all others.
        assert_eq!(manager.revoke_owner(&account("admin")).await.expect("the store answers"), 2);
    }
}
