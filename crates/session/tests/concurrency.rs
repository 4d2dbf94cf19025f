//! Many at once, through the manager.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{AtLimit, Manager, NewSession, Owner, OwnerLimit, Record, Rotated, Token};
use kvolt_testkit::FaultyStore;
use proptest::prelude::*;

fn manager() -> Manager<u64> {
    Manager::new(MemoryStore::new(), Duration::from_secs(600))
}

fn owned(owner: &str) -> NewSession<u64> {
    NewSession::new(0).owner(owner)
}

/// tower-sessions 36, 37; actix-extras 212; fastify-session 237.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_concurrent_updates_all_take_effect() {
    for asynchronous in [false, true] {
        let (store, faults) = FaultyStore::new(MemoryStore::<Record<u64>>::new());
        faults.answers_at_once(!asynchronous);
        let manager = Manager::new(store, Duration::from_secs(600));
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
async fn nothing_in_flight_revives_a_session_that_was_ended() {
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
                            if let Rotated::Token(token) = manager.rotate(&token).await.unwrap() {
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
        manager.end_all(&owner("ada")).await.unwrap();
        assert!(manager.get(&token).await.unwrap().is_none());
        for task in busy {
            for rotated in task.await.unwrap() {
                assert!(manager.get(&rotated).await.unwrap().is_none());
            }
        }
        assert!(manager.list(&owner("ada")).await.unwrap().is_empty());
    }
}

/// P4: sign out everywhere while sign-ins go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ending_all_misses_no_sign_in_that_came_before_it() {
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
        ended += manager.end_all(&owner("ada")).await.unwrap();
        for token in &before {
            assert!(manager.peek(token).await.unwrap().is_none());
        }
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in signing_in {
        task.await.unwrap();
    }
    manager.end_all(&owner("ada")).await.unwrap();
    assert!(manager.list(&owner("ada")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_is_exact_with_two_hundred_sign_ins_at_once() {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let limit = OwnerLimit::new(5, at_limit);
        let manager: Manager<u64> =
            Manager::builder(MemoryStore::new()).owner_limit(limit).build().unwrap();
        let sign_ins = (0..200).map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move {
                let made = manager.create(owned("ada")).await;
                let live = manager.list(&owner("ada")).await.unwrap().len();
                assert!(live <= 5, "{live}");
                made.is_ok()
            })
        });
        let mut made = 0;
        for sign_in in sign_ins.collect::<Vec<_>>() {
            made += usize::from(sign_in.await.unwrap());
        }
        assert_eq!(made, if at_limit == AtLimit::Refuse { 5 } else { 200 });
        assert_eq!(manager.list(&owner("ada")).await.unwrap().len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_makes_a_token() {
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
                Rotated::Token(_) => tokens += 1,
                Rotated::AlreadyRotated => {}
                Rotated::Absent => panic!("the grace lasts"),
            }
        }
        assert_eq!(tokens, 1);
        assert_eq!(manager.list(&owner("ada")).await.unwrap().len(), 1);
    }
}

/// What a client does, in any order; each token is one of those made so far.
#[derive(Debug, Clone)]
enum Act {
    Create(u8),
    Login(usize, u8),
    Get(usize),
    Peek(usize),
    Update(usize),
    Rotate(usize),
    Destroy(usize),
    EndOthers(usize),
    EndAll(u8),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let token = 0usize..12;
    prop_oneof![
        3 => (0u8..3).prop_map(Act::Create),
        1 => (token.clone(), 0u8..3).prop_map(|(token, owner)| Act::Login(token, owner)),
        3 => token.clone().prop_map(Act::Get),
        1 => token.clone().prop_map(Act::Peek),
        3 => token.clone().prop_map(Act::Update),
        2 => token.clone().prop_map(Act::Rotate),
        2 => token.clone().prop_map(Act::Destroy),
        1 => token.prop_map(Act::EndOthers),
        1 => (0u8..3).prop_map(Act::EndAll),
        2 => (0u64..700).prop_map(Act::Advance),
    ]
}

/// What is known of a token from what its calls returned, and nothing else.
struct Known {
    token: Token,
    owner: u8,
    count: u64,
    idle_ends: u64,
    ends: u64,
    ended: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// P1, P2, P3 and P10 for any sequence of calls.
    #[test]
    fn any_sequence_of_calls_does_what_a_list_of_sessions_would(acts in prop::collection::vec(act(), 1..80)) {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let idle = Duration::from_secs(600);
        let lifetime = Duration::from_secs(1_800);
        let manager: Manager<u64> = Manager::builder(store)
            .idle_timeout(idle)
            .lifetime(lifetime)
            .clock(time.clock())
            .build()
            .unwrap();
        let mut now = 0;
        let mut known: Vec<Known> = Vec::new();
        let owner = |number: u8| Owner::new(format!("owner {number}"));
        let new = |number: u8| NewSession::new(0).owner(owner(number));
        let fresh = |token: Token, owner: u8, now: u64| Known {
            token, owner, count: 0, idle_ends: now + 600, ends: now + 1_800, ended: false,
        };
        pollster::block_on(async {
            for act in acts {
                let live = |known: &Known| !known.ended && now < known.idle_ends.min(known.ends);
                let of = |known: &[Known], token: usize| (!known.is_empty()).then(|| token % known.len());
                match act {
                    Act::Create(number) => {
                        let token = manager.create(new(number)).await.unwrap();
                        known.push(fresh(token, number, now));
                    }
                    Act::Login(token, number) => {
                        if let Some(at) = of(&known, token) {
                            let token = manager.login(Some(&known[at].token), new(number)).await.unwrap();
                            known[at].ended = true;
                            known.push(fresh(token, number, now));
                        }
                    }
                    Act::Get(token) | Act::Peek(token) => {
                        if let Some(at) = of(&known, token) {
                            let slides = matches!(act, Act::Get(_));
                            let known = &mut known[at];
                            let session = if slides {
                                manager.get(&known.token).await.unwrap()
                            } else {
                                manager.peek(&known.token).await.unwrap()
                            };
                            prop_assert_eq!(session.map(|session| *session), live(known).then_some(known.count));
                            if slides && live(known) {
                                known.idle_ends = now + 600;
                            }
                        }
                    }
                    Act::Update(token) => {
                        if let Some(at) = of(&known, token) {
                            let known = &mut known[at];
                            let updated = manager.update(&known.token, |count| *count += 1).await.unwrap();
                            prop_assert_eq!(updated.is_some(), live(known));
                            if live(known) {
                                known.count += 1;
                                known.idle_ends = now + 600;
                            }
                        }
                    }
                    Act::Rotate(token) => {
                        if let Some(at) = of(&known, token) {
                            match manager.rotate(&known[at].token).await.unwrap() {
                                Rotated::Token(token) => {
                                    prop_assert!(live(&known[at]));
                                    known[at].ended = true;
                                    let Known { owner, count, idle_ends, ends, .. } = known[at];
                                    known.push(Known { token, owner, count, idle_ends, ends, ended: false });
                                }
                                _ => prop_assert!(!live(&known[at])),
                            }
                        }
                    }
                    Act::Destroy(token) => {
                        if let Some(at) = of(&known, token) {
                            let destroyed = manager.destroy(&known[at].token).await.unwrap();
                            prop_assert_eq!(destroyed, live(&known[at]));
                            known[at].ended = true;
                        }
                    }
                    Act::EndOthers(token) => {
                        if let Some(at) = of(&known, token) {
                            let ended = manager.end_others(&known[at].token).await.unwrap();
                            let kept = live(&known[at]).then_some(known[at].owner);
                            let mut expected = 0;
                            for (other, known) in known.iter_mut().enumerate() {
                                if Some(known.owner) == kept && other != at && live(known) {
                                    known.ended = true;
                                    expected += 1;
                                }
                            }
                            prop_assert_eq!(ended, expected);
                        }
                    }
                    Act::EndAll(number) => {
                        let ended = manager.end_all(&owner(number)).await.unwrap();
                        let mut expected = 0;
                        for known in known.iter_mut().filter(|known| known.owner == number) {
                            expected += usize::from(live(known));
                            known.ended = true;
                        }
                        prop_assert_eq!(ended, expected);
                    }
                    Act::Advance(seconds) => {
                        time.advance(Duration::from_secs(seconds));
                        now += seconds;
                    }
                }
            }
            for known in &known {
                let live = !known.ended && now < known.idle_ends.min(known.ends);
                prop_assert_eq!(manager.peek(&known.token).await.unwrap().is_some(), live);
            }
            Ok(())
        })?;
    }
}
