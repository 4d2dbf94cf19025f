//! Many at once, through the manager.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvolt_cache::MemoryStore;
use kvolt_session::{AtLimit, Manager, NewSession, OwnerLimit, Record, RotateOutcome, Token};
use kvolt_testkit::FaultyStore;
use support::owner;

fn manager() -> Manager<u64> {
    Manager::new(MemoryStore::new())
}

fn owned(owner: &str) -> NewSession<u64> {
    NewSession::new(0).owner(owner)
}

/// tower-sessions 36, 37; actix-extras 212; fastify-session 237.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_updates_all_take_effect() {
    for asynchronous in [false, true] {
        let (store, faults) = FaultyStore::new(MemoryStore::<Record<u64>>::new());
        faults.answers_at_once(!asynchronous);
        let manager = Manager::new(store);
        let token = Arc::new(manager.create(0).await.unwrap());
        let updates = (0..1_000).map(|_| {
            let (manager, token) = (manager.clone(), Arc::clone(&token));
            tokio::spawn(async move { manager.update(&token, |count| *count += 1).await })
        });
        for update in updates.collect::<Vec<_>>() {
            assert!(update.await.unwrap().unwrap().is_some());
        }
        assert_eq!(*manager.get(&token).await.unwrap().unwrap().data(), 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_in_flight_revives_an_ended_session() {
    for _ in 0..200 {
        let manager = manager();
        let token = Arc::new(manager.create(owned("ada")).await.unwrap());
        let busy = (0..4).map(|task| {
            let (manager, token) = (manager.clone(), Arc::clone(&token));
            tokio::spawn(async move {
                let mut found = Vec::new();
                for _ in 0..20 {
                    match task {
                        0 => drop(manager.get(&token).await.unwrap()),
                        1 => drop(manager.update(&token, |count| *count += 1).await.unwrap()),
                        2 => {
                            if let RotateOutcome::Token(token) =
                                manager.rotate(&token).await.unwrap()
                            {
                                found.push(token);
                            }
                        }
                        _ => drop(manager.list(&owner("ada")).await.unwrap()),
                    }
                }
                found
            })
        });
        let busy: Vec<_> = busy.collect();
        tokio::task::yield_now().await;
        manager.revoke_owner(&owner("ada")).await.unwrap();
        assert!(manager.get(&token).await.unwrap().is_none());
        for task in busy {
            for rotated in task.await.unwrap() {
                assert!(manager.get(&rotated).await.unwrap().is_none());
            }
        }
        assert!(manager.list(&owner("ada")).await.unwrap().sessions.is_empty());
    }
}

/// P4: sign out everywhere while sign-ins go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revoking_an_owner_misses_no_earlier_sign_in() {
    let manager = manager();
    let stop = Arc::new(AtomicBool::new(false));
    let made = Arc::new(std::sync::Mutex::new(Vec::new()));
    let signing_in = (0..4).map(|_| {
        let (manager, stop, made) = (manager.clone(), Arc::clone(&stop), Arc::clone(&made));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let token = manager.create(owned("ada")).await.unwrap();
                made.lock().unwrap().push(token);
                tokio::task::yield_now().await;
            }
        })
    });
    let signing_in: Vec<_> = signing_in.collect();
    let mut ended = 0;
    while ended < 2_000 {
        let before: Vec<Token> = made.lock().unwrap().drain(..).collect();
        ended += manager.revoke_owner(&owner("ada")).await.unwrap();
        for token in &before {
            assert!(manager.peek(token).await.unwrap().is_none());
        }
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in signing_in {
        task.await.unwrap();
    }
    manager.revoke_owner(&owner("ada")).await.unwrap();
    assert!(manager.list(&owner("ada")).await.unwrap().sessions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owner_limit_is_exact_with_200_sign_ins_at_once() {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let limit = OwnerLimit::new(5, at_limit);
        let manager: Manager<u64> =
            Manager::builder(MemoryStore::new()).owner_limit(limit).build().unwrap();
        let sign_ins = (0..200).map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move {
                let made = manager.create(owned("ada")).await;
                let live = manager.list(&owner("ada")).await.unwrap().sessions.len();
                assert!(live <= 5, "{live}");
                made.is_ok()
            })
        });
        let mut made = 0;
        for sign_in in sign_ins.collect::<Vec<_>>() {
            made += usize::from(sign_in.await.unwrap());
        }
        assert_eq!(made, if at_limit == AtLimit::Refuse { 5 } else { 200 });
        assert_eq!(manager.list(&owner("ada")).await.unwrap().sessions.len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_at_once_make_one_token() {
    for _ in 0..100 {
        let manager: Manager<u64> = Manager::builder(MemoryStore::new())
            .rotation_grace(Duration::from_secs(60))
            .build()
            .unwrap();
        let token = Arc::new(manager.create(owned("ada")).await.unwrap());
        let rotations = (0..8).map(|_| {
            let (manager, token) = (manager.clone(), Arc::clone(&token));
            tokio::spawn(async move { manager.rotate(&token).await.unwrap() })
        });
        let mut tokens = 0;
        for rotation in rotations.collect::<Vec<_>>() {
            match rotation.await.unwrap() {
                RotateOutcome::Token(_) => tokens += 1,
                RotateOutcome::AlreadyRotated => {}
                RotateOutcome::Absent => panic!("the grace lasts"),
            }
        }
        assert_eq!(tokens, 1);
        assert_eq!(manager.list(&owner("ada")).await.unwrap().sessions.len(), 1);
    }
}
