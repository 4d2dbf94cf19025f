//! What an administrator can see and end.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use kvolt_cache::Owner;
use kvolt_session::{
    Anonymous, EndReason, Event, Level, NewSession, SessionId, Token, TokenReuse, What,
};

use super::{again, rotated};
use crate::stage::{Server, Stage};
use crate::told::Told;
use crate::user::{User, signed_in};

/// OWASP ASVS 7.4.5: an administrator ends a session, or everybody's, and one is missed, because it
/// has no owner, is a visitor's, has another name by now, or is known to another server.
///
/// And what is told of it, to whoever reads the audit, opens nothing.
pub async fn an_administrator_finds_all_and_ends_one_or_everybody(stage: &Stage) {
    let told = Told::default();
    let managers = stage.servers().map(|server: &Server| {
        let builder = server.builder().anonymous(Anonymous::new(100)).listener(told.clone());
        builder.token_reuse(TokenReuse::EndSession).build().expect("it can work")
    });
    let mut secrets: Vec<Token> = Vec::new();
    let mut live = BTreeMap::new();
    let mut former: Vec<(SessionId, Token)> = Vec::new();
    for number in 0..30 {
        let manager = &managers[number % 2];
        let name = format!("user-{}", number % 10);
        let made = match number % 5 {
            0 => manager.create_anonymous(User::new("visitor")).await,
            1 => manager.create(NewSession::new(User::new(&name))).await,
            2 => manager.create(signed_in(&name).remember(true)).await,
            _ => manager.create(signed_in(&name)).await,
        };
        let mut token = made.expect("it is made");
        stage.is_accepted(&token).await;
        if number % 3 == 0 {
            let first = manager.id(&token);
            for other in &managers {
                secrets.push(again(&token));
                token = rotated(other.rotate(&token).await.expect("the store answers"));
            }
            former.push((first, again(&token)));
        }
        secrets.push(again(&token));
        live.insert(manager.id(&token).to_string(), token);
    }

    // All of them, in pages, on both servers.
    for manager in &managers {
        for sessions_max in [1, 7, 1_000] {
            let (mut found, mut next) = (BTreeSet::new(), None);
            loop {
                let page = manager.list_all(next.as_ref(), sessions_max).await;
                let page = page.expect("the store answers");
                found.extend(page.sessions.iter().map(|session| session.id().to_string()));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            assert!(found.iter().eq(live.keys()), "{found:?} of {:?}", live.keys());
        }
    }

    // One by the name that it has, and one by a name that it had, which an old log has.
    let by_its_name = again(live.values().next().expect("there are some"));
    let id = managers[0].id(&by_its_name);
    former.retain(|(_, token)| managers[0].id(token) != id);
    let (by_a_former, its) = former.pop().expect("there are some");
    for (name, token) in [(id, &by_its_name), (by_a_former, &its)] {
        assert!(managers[1].find(name).await.expect("the store answers").is_some());
        assert!(managers[0].end_any(name).await.expect("the store answers"));
        stage.is_refused(token).await;
        for manager in &managers {
            assert!(!manager.end_any(name).await.expect("the store answers"));
            assert!(manager.find(name).await.expect("the store answers").is_none());
        }
        live.remove(&managers[0].id(token).to_string());
        for token in live.values() {
            stage.is_accepted(token).await;
        }
    }
    let reason = EndReason::Revoked;
    for name in [id, managers[0].id(&its)] {
        let is_it = |event: &Event| event.what == What::Ended { reason };
        let ended = told.until("its end", is_it).await;
        assert!(ended.id.is_some(), "{name} was ended by its name");
    }
    // A former token is a sign of theft, and its session's end is told.
    let (_, token) = former.pop().expect("there are some");
    let lifted = managers[1].reauthenticate(&token, Level::Two).await.expect("it answers");
    let lifted = rotated(lifted);
    secrets.push(again(&lifted));
    live.remove(&managers[0].id(&token).to_string());
    // Told by one that ends nothing, and then by one that does.
    stage.is_refused(&token).await;
    assert!(managers[0].get(&token).await.expect("the store answers").is_none());
    stage.is_refused(&lifted).await;

    // Everybody.
    managers[1].end_everyone().await.expect("the store answers");
    for (number, token) in live.values().enumerate() {
        stage.is_refused(token).await;
        let server = stage.servers()[number % 2];
        let mut client = server.client().presenting(token.expose());
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.post("/count").await.status, StatusCode::UNAUTHORIZED);
    }
    for manager in &managers {
        let page = manager.list_all(None, 1_000).await.expect("the store answers");
        assert!(page.sessions.is_empty() && page.next.is_none());
        for number in 0..10 {
            let owner = Owner::from(format!("user-{number}"));
            assert!(manager.list(&owner).await.expect("the store answers").is_empty());
        }
    }
    let fresh = managers[0].create(signed_in("user-1")).await.expect("a sign-in works");
    stage.is_accepted(&fresh).await;
    secrets.push(fresh);

    let reason = EndReason::Everyone;
    told.until("everybody's end", |event| event.what == What::Ended { reason }).await;
    let id = managers[0].id(secrets.last().expect("it is one"));
    told.until("the last sign-in", |event| event.id == Some(id)).await;
    let audit: String = told.events().iter().map(|event| format!("{event:?}\n")).collect();
    assert!(audit.contains("Reused") && audit.contains("Reauthenticated"), "{audit}");
    for token in &secrets {
        assert!(!audit.contains(token.expose()), "the audit has a token");
    }
    // Nor does a name that it has open anything.
    for event in told.events() {
        let Some(id) = event.id else { continue };
        assert!(Token::parse(id.to_string()).is_none());
    }
}
