//! Administration: list and end any session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{
    AnonymousSessions, EndReason, Event, EventKind, Level, NewSession, Token, TokenReuse,
};

use crate::attacks::{ids, rotated};
use crate::deployment::{Deployment, Server};
use crate::recording_listener::RecordingListener;
use crate::user::{User, signed_in};

/// How long a replaced token stays valid.
const GRACE: Duration = Duration::from_millis(20);

/// OWASP ASVS 7.4.5: an administrator ends one session, or all, and misses some: because they have
/// no owner, are anonymous, have a new token, or were created on another server.
///
/// The events in the audit contain nothing that a client could use.
pub async fn administrator_finds_and_ends_every_session(deployment: &Deployment) {
    let events = RecordingListener::default();
    let managers = deployment.servers().map(|server: &Server| {
        let builder =
            server.builder().anonymous(AnonymousSessions::new(100)).listener(events.clone());
        let builder = builder.token_reuse(TokenReuse::EndSession).rotation_grace(GRACE);
        builder.build().expect("valid settings")
    });
    let mut secrets: Vec<Token> = Vec::new();
    let mut live = BTreeMap::new();
    let mut renewed: Vec<(Token, Token)> = Vec::new();
    for number in 0..30 {
        let manager = &managers[number % 2];
        let name = format!("user-{}", number % 10);
        let made = match number % 5 {
            0 => manager.create_anonymous(User::new("visitor")).await,
            1 => manager.create(NewSession::new(User::new(&name))).await,
            2 => manager.create(signed_in(&name).remember(true)).await,
            _ => manager.create(signed_in(&name)).await,
        };
        let mut token = made.expect("the session is created");
        deployment.is_accepted(&token).await;
        if number % 3 == 0 {
            let first = token.clone();
            for other in &managers {
                secrets.push(token.clone());
                token = rotated(other.rotate(&token).await.expect("the store answers"));
            }
            assert_eq!(token.id(), first.id(), "an old log has the name that it has now");
            renewed.push((first, token.clone()));
        }
        secrets.push(token.clone());
        live.insert(token.id().to_string(), token);
    }

    // Lists all of them, page by page, on both servers.
    for manager in &managers {
        for max_sessions in [1, 7, 1_000] {
            let (mut found, mut next) = (BTreeSet::new(), None);
            loop {
                let page = manager.list_all(next.as_ref(), max_sessions).await;
                let page = page.expect("the store answers");
                found.extend(page.listing.sessions.iter().map(|session| session.id().to_string()));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            assert!(found.iter().eq(live.keys()), "{found:?} of {:?}", live.keys());
        }
    }

    // Ends one session with its first token, and one with a newer token, each by its id.
    let (_, its) = renewed.pop().expect("at least one");
    let is_renewed = |token: &Token| renewed.iter().any(|(_, other)| other.id() == token.id());
    let first = live.values().find(|token| token.id() != its.id() && !is_renewed(token));
    let first = first.expect("at least one").clone();
    for token in [&first, &its] {
        let id = token.id();
        assert!(managers[1].find(id).await.expect("the store answers").is_some());
        assert!(managers[0].revoke(id).await.expect("the store answers"));
        deployment.is_refused(token).await;
        for manager in &managers {
            assert!(!manager.revoke(id).await.expect("the store answers"));
            assert!(manager.find(id).await.expect("the store answers").is_none());
        }
        live.remove(&id.to_string());
        for token in live.values() {
            deployment.is_accepted(token).await;
        }
        let reason = EndReason::Revoked;
        let is_it =
            |event: &Event| event.kind == EventKind::Ended { reason } && event.id == Some(id);
        events.until("its end", is_it).await;
    }
    // The reuse of a replaced token ends the session, and the events report it.
    let (spent, token) = renewed.pop().expect("at least one");
    let lifted = managers[1].reauthenticate(&token, Level::Two).await.expect("the store answers");
    let lifted = rotated(lifted);
    secrets.push(lifted.clone());
    live.remove(&token.id().to_string());
    deployment.advance(2 * GRACE + GRACE / 2).await;
    // The first manager only reports the reuse; the second ends the session.
    deployment.is_refused(&spent).await;
    deployment.is_accepted(&lifted).await;
    assert!(managers[0].get(&spent).await.expect("the store answers").is_none());
    deployment.is_refused(&lifted).await;

    // Ends all sessions.
    managers[1].revoke_everyone().await.expect("the store answers");
    for (number, token) in live.values().enumerate() {
        deployment.is_refused(token).await;
        let server = deployment.servers()[number % 2];
        let mut client = server.client().presenting(token.expose());
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.post("/count").await.status, StatusCode::UNAUTHORIZED);
    }
    for manager in &managers {
        let page = manager.list_all(None, 1_000).await.expect("the store answers");
        assert!(page.listing.sessions.is_empty() && page.next.is_none());
        for number in 0..10 {
            assert!(ids(manager, format!("user-{number}")).await.is_empty());
        }
    }
    let fresh = managers[0].create(signed_in("user-1")).await.expect("the sign-in succeeds");
    deployment.is_accepted(&fresh).await;
    secrets.push(fresh);

    let reason = EndReason::RevokedEveryone;
    events.until("everybody's end", |event| event.kind == EventKind::Ended { reason }).await;
    let id = secrets.last().expect("at least one").id();
    events.until("the last sign-in", |event| event.id == Some(id)).await;
    let audit: String = events.events().iter().map(|event| format!("{event:?}\n")).collect();
    assert!(audit.contains("Reused") && audit.contains("Reauthenticated"), "{audit}");
    for token in &secrets {
        assert!(!audit.contains(token.expose()), "the audit has a token");
    }
    // An id in the events is not a token either.
    for event in events.events() {
        let Some(id) = event.id else { continue };
        assert!(Token::parse(id.to_string()).is_none());
    }
}
