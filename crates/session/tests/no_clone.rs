//! Data that can't be copied.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kvolt_cache::MemoryStore;
use kvolt_session::{Access, AnonymousSessions, Flash, Level, Manager, NewSession};
use support::{owner, rotated};

/// It has neither `Clone` nor `Debug`.
struct Counter(AtomicU32);

fn counter() -> Counter {
    Counter(AtomicU32::new(0))
}

/// Only what copies the data needs it: `update`, and the rule of what is carried over.
#[tokio::test]
async fn data_need_not_be_cloned() {
    let builder = Manager::builder(MemoryStore::new()).rotation_grace(Duration::from_secs(60));
    let builder = builder.owned_by(|_: &Counter| String::from("ada"));
    let manager = builder.anonymous(AnonymousSessions::new(10)).build().unwrap();
    let visitor = manager.create_anonymous(counter()).await.unwrap();
    let token = manager.login(Some(&visitor), counter()).await.unwrap();
    let used = manager.get(&token).await.unwrap().unwrap();
    used.0.fetch_add(1, Ordering::Relaxed);
    let token = rotated(manager.rotate(&token).await.unwrap());
    let token = rotated(manager.reauthenticate(&token, Level::Two).await.unwrap());
    assert!(manager.flash(&token, Flash::new("info", "saved")).await.unwrap());
    assert_eq!(manager.take_flashes(&token).await.unwrap().len(), 1);
    let token = rotated(manager.change_credentials(&token, None).await.unwrap().0);
    let look = |data: &Counter| data.0.load(Ordering::Relaxed);
    let count = manager.read(&token, Access::PEEK, look).await.unwrap();
    assert_eq!(count, Some(1), "it is the same value all along");
    let other = manager.create(NewSession::new(counter())).await.unwrap();
    assert_eq!(manager.list(&owner("ada")).await.unwrap().sessions.len(), 2);
    assert!(manager.find(other.id()).await.unwrap().is_some());
    assert_eq!(manager.revoke_others(&token).await.unwrap(), 1);
    #[cfg(feature = "live")]
    {
        let mut live = manager.live(&manager.peek(&token).await.unwrap().unwrap());
        assert!(manager.logout(&token).await.unwrap());
        assert!(live.changed().await.is_none());
    }
    assert_eq!(
        manager.revoke_owner(&owner("ada")).await.unwrap(),
        usize::from(cfg!(not(feature = "live")))
    );
}
