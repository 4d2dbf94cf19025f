//! The life of a session, by calls to its manager.

use std::time::Duration;

use kvolt_cache::{MemoryStore, Owner};
use kvolt_session::{Manager, RotateOutcome, Token};
use tokio::runtime::Runtime;

use crate::Counter;
use crate::user::User;

/// How many sessions a list returns.
const LISTED: usize = 5;

/// How many sessions a revocation of all ends.
const REVOKED: usize = 10;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until the clock of a record, and of a slide, shows another millisecond.
fn next_millisecond() {
    std::thread::sleep(Duration::from_millis(2));
}

pub(crate) fn in_memory(counter: &mut dyn Counter, samples: usize) {
    let manager = Manager::new(MemoryStore::new());
    let runtime = runtime();
    // In memory, each read slides.
    reads(counter, samples, &runtime, &manager, "memory");
    life(counter, samples, &runtime, &manager, "memory");
}

/// Reads of a session that exists, and of one that does not.
pub(crate) fn reads(
    counter: &mut dyn Counter,
    samples: usize,
    runtime: &Runtime,
    manager: &Manager<User>,
    store: &str,
) {
    let create = || runtime.block_on(manager.create(User::of("reader"))).unwrap();
    for _ in 0..samples {
        let (token, ended) = (create(), create());
        assert!(runtime.block_on(manager.logout(&ended)).unwrap());
        for (call, token, is_live) in [("read", &token, true), ("read, none", &ended, false)] {
            counter.count(&format!("{store}: {call}"), &mut || {
                let session = runtime.block_on(manager.get(token)).unwrap();
                assert_eq!(session.is_some(), is_live);
            });
        }
    }
}

/// Everything that changes a session, and what an owner's sessions cost.
pub(crate) fn life(
    counter: &mut dyn Counter,
    samples: usize,
    runtime: &Runtime,
    manager: &Manager<User>,
    store: &str,
) {
    let path = |call: &str| format!("{store}: {call}");
    let create = |owner: &str| runtime.block_on(manager.create(User::of(owner))).unwrap();
    (0..LISTED).for_each(|_| drop(create("listed")));
    let (listed, revoked) = (Owner::new("listed").unwrap(), Owner::new("revoked").unwrap());
    for _ in 0..samples {
        let mut token: Option<Token> = None;
        counter.count(&path("create"), &mut || token = Some(create("ada")));
        let token = token.unwrap();
        next_millisecond();
        counter.count(&path("update"), &mut || {
            let change = manager.update(&token, |user| user.id += 1);
            assert!(runtime.block_on(change).unwrap().is_some());
        });
        next_millisecond();
        let mut rotated = None;
        counter.count(&path("rotate"), &mut || {
            rotated = Some(runtime.block_on(manager.rotate(&token)).unwrap());
        });
        let Some(RotateOutcome::Token(token)) = rotated else { panic!("{rotated:?}") };
        next_millisecond();
        counter.count(&path("logout"), &mut || {
            assert!(runtime.block_on(manager.logout(&token)).unwrap());
        });
        counter.count(&path(&format!("list of {LISTED}")), &mut || {
            let list = runtime.block_on(manager.list(&listed)).unwrap();
            assert_eq!(list.sessions.len(), LISTED);
        });
        (0..REVOKED).for_each(|_| drop(create("revoked")));
        counter.count(&path(&format!("revoke all of {REVOKED}")), &mut || {
            assert_eq!(runtime.block_on(manager.revoke_owner(&revoked)).unwrap(), REVOKED);
        });
    }
}
