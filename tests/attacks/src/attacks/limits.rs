//! The number of an owner's sessions, and ending all of them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, AtLimit, Manager, OwnerLimit, RotateOutcome, Token};

use super::{account, ids, listed, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

const LIMIT: u32 = 10;
const SIGN_INS: usize = 200;

fn limited(server: &Server, max_entries: u32, at_limit: AtLimit) -> Manager<User> {
    let limit = OwnerLimit::new(max_entries, at_limit);
    server.builder().owner_limit(limit).build().expect("valid settings")
}

/// Mattermost CVE-2024-4183: sessions are unlimited, and a client with the password fills the
/// store. One sign-in above the limit, on either server.
pub async fn sign_in_above_the_limit_is_refused_or_ends_the_oldest(deployment: &Deployment) {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let mut devices = Vec::new();
        let owner = format!("{at_limit:?}");
        for number in 0..4 {
            let server = deployment.servers()[number % 2];
            let mut device = server.client_of(limited(server, 3, at_limit));
            let answer = device.post(&format!("/login/{owner}")).await;
            let is_refused = at_limit == AtLimit::Refuse && number == 3;
            let expected = if is_refused { StatusCode::CONFLICT } else { StatusCode::OK };
            assert_eq!(answer.status, expected, "{owner}");
            assert_eq!(answer.set_cookies().is_empty(), is_refused, "{owner}");
            devices.extend((!is_refused).then_some(device));
        }
        if at_limit == AtLimit::RemoveOldest {
            let oldest = devices.remove(0);
            deployment.is_refused(&oldest.token().expect("a token in the cookie")).await;
        }
        assert_eq!(devices.len(), 3);
        for device in &devices {
            deployment.is_accepted(&device.token().expect("a token in the cookie")).await;
        }
        // A sign-in over the user's own session needs no further room.
        let first = &mut devices[0];
        assert_eq!(first.post(&format!("/login/{owner}")).await.status, StatusCode::OK, "{owner}");
        for device in &devices {
            deployment.is_accepted(&device.token().expect("a token in the cookie")).await;
        }
    }
}

/// Mattermost CVE-2024-4183, with parallel sign-ins: each counts the sessions before any is
/// created, and all pass. Two hundred at the same time, on two servers, never exceed the limit.
pub async fn session_limit_is_exact_with_two_hundred_sign_ins(deployment: &Deployment) {
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let name = format!("{at_limit:?}");
        let managers = deployment.servers().map(|server| limited(server, LIMIT, at_limit));
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (is_over, manager, name) =
                (Arc::clone(&is_over), managers[1].clone(), name.clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let at_once = listed(&manager, &name).await.len();
                    assert!(at_once <= LIMIT as usize, "{at_once} at once");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        let sign_ins = managers.iter().cycle().take(SIGN_INS).map(|manager| {
            let (manager, name) = (manager.clone(), name.clone());
            tokio::spawn(async move { manager.create(signed_in(&name)).await })
        });
        let (mut tokens, mut refused) = (Vec::new(), 0);
        for sign_in in sign_ins.collect::<Vec<_>>() {
            match sign_in.await.expect("the task ends") {
                Ok(token) => tokens.push(token),
                Err(error) if error.is_limit_reached() => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        watch.await.expect("at most the limit");
        let expected = match at_limit {
            AtLimit::Refuse => (LIMIT as usize, SIGN_INS - LIMIT as usize),
            _ => (SIGN_INS, 0),
        };
        assert_eq!((tokens.len(), refused), expected, "{name}");
        let listed: HashSet<_> = ids(&managers[0], &name).await.into_iter().collect();
        let accepted = accepted(&managers[1], &tokens).await;
        assert_eq!(accepted.len(), LIMIT as usize, "{name}");
        let accepted: HashSet<_> = accepted.iter().map(Token::id).collect();
        assert_eq!(accepted, listed, "{name}: what is listed is what is accepted");
    }
}

/// The class of the above: all sessions of an account end during sign-ins and rotations, and one
/// survives. Every session that existed before the call must end.
pub async fn revoking_all_during_sign_ins_leaves_no_older_session(deployment: &Deployment) {
    for round in 0..3 {
        let name = format!("ada-{round}");
        let owner = account(&name);
        let managers = deployment.servers().map(Server::manager);
        let made = Arc::new(Mutex::new(Vec::<Token>::new()));
        let sign_ins = managers.iter().cycle().take(20).map(|manager| {
            let (manager, name, made) = (manager.clone(), name.clone(), Arc::clone(&made));
            tokio::spawn(async move {
                for _ in 0..SIGN_INS / 20 {
                    let token = sign_in(&manager, &name).await;
                    made.lock().unwrap_or_else(PoisonError::into_inner).push(token);
                    tokio::task::yield_now().await;
                }
            })
        });
        // Sessions that rotate all the time also existed before.
        let mut moving = Vec::new();
        for manager in &managers {
            let mut token = sign_in(manager, &name).await;
            let manager = manager.clone();
            moving.push(tokio::spawn(async move {
                loop {
                    match manager.rotate(&token).await.expect("the store answers") {
                        RotateOutcome::Token(successor) => token = successor,
                        RotateOutcome::Absent => return token,
                        RotateOutcome::AlreadyRotated => panic!("no other task rotates it"),
                    }
                    tokio::task::yield_now().await;
                }
            }));
        }
        let sign_ins: Vec<_> = sign_ins.collect();
        let so_far = || made.lock().unwrap_or_else(PoisonError::into_inner);
        while so_far().len() < SIGN_INS / 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before: Vec<Token> = so_far().clone();
        let ended = managers[round % 2].revoke_owner(&owner).await.expect("the store answers");
        assert!(ended >= before.len(), "{ended} of at least {}", before.len());
        let left = accepted(&managers[(round + 1) % 2], &before).await.len();
        assert_eq!(left, 0, "of {} created before the call", before.len());
        for sign_in in sign_ins {
            sign_in.await.expect("sign-ins continue");
        }
        for moved in moving {
            deployment.is_refused(&moved.await.expect("the session ended")).await;
        }
        deployment.outlive_copies().await;
        for token in &before {
            for manager in &managers {
                assert!(manager.get(token).await.expect("the store answers").is_none());
            }
        }
        // Later sessions live, and the next call ends them.
        let all: Vec<Token> = so_far().drain(..).collect();
        let later = accepted(&managers[0], &all).await;
        let later: HashSet<_> = later.iter().map(Token::id).collect();
        assert_eq!(later, ids(&managers[0], &name).await.into_iter().collect());
        let ended = managers[0].revoke_owner(&owner).await.expect("the store answers");
        assert_eq!(ended, later.len());
        assert_eq!(accepted(&managers[1], &all).await.len(), 0);
    }
}

/// Those that the store accepts.
async fn accepted(manager: &Manager<User>, tokens: &[Token]) -> Vec<Token> {
    let mut accepted = Vec::new();
    for token in tokens {
        let found = manager.get_with(token, Access::PEEK.strict()).await;
        accepted.extend(found.expect("the store answers").map(|_| token.clone()));
    }
    accepted
}
