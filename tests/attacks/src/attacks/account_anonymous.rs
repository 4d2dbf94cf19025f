//! Anonymous sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, AnonymousSessions, AtLimit, Level, Manager, NewSession, Token};
use kvolt_testkit::Call;

use super::sign_in;
use crate::stage::{Server, Stage};
use crate::user::{User, signed_in};

const VISITORS: usize = 200;
const MAX_VISITORS: u32 = 48;

/// Creates a manager on each server with this limit of anonymous sessions; a login carries
/// the basket over.
fn managers(stage: &Stage, max: u32, at_limit: AtLimit) -> [Manager<User>; 2] {
    stage.servers().map(|server: &Server| {
        let anonymous = AnonymousSessions::new(max)
            .at_limit(at_limit)
            .max_size(1_000, |user: &User| user.note.len())
            .carry_over(|visitor, user: &mut User| user.note.push_str(&visitor.note));
        server.builder().anonymous(anonymous).build().expect("it can work")
    })
}

async fn visit(manager: &Manager<User>) -> Token {
    manager.create_anonymous(User::new("visitor")).await.expect("a visit works")
}

/// Counts all sessions in the store.
async fn count(manager: &Manager<User>) -> usize {
    let page = manager.list_all(None, 1_000).await.expect("the store answers");
    assert!(page.next.is_none());
    page.listing.sessions.len()
}

/// Symfony CVE-2016-4423 and similar: clients create sessions without signing in, and fill
/// the store. Two hundred concurrent visitors on two servers must never exceed the bound.
pub async fn two_hundred_visitors_never_make_more_than_the_bound(stage: &Stage) {
    for at_limit in [AtLimit::RemoveOldest, AtLimit::Refuse] {
        let managers = managers(stage, MAX_VISITORS, at_limit);
        let ada = sign_in(&managers[0], "ada").await;
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (is_over, manager) = (Arc::clone(&is_over), managers[1].clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let page = manager.list_all(None, 1_000).await.expect("the store answers");
                    let visitors =
                        page.listing.sessions.iter().filter(|it| it.is_anonymous()).count();
                    assert!(visitors <= MAX_VISITORS as usize, "{visitors} at once");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        let visits = managers.iter().cycle().take(VISITORS).map(|manager| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.create_anonymous(User::new("visitor")).await })
        });
        let (mut tokens, mut refused) = (Vec::new(), 0);
        for visit in visits.collect::<Vec<_>>() {
            match visit.await.expect("it is answered") {
                Ok(token) => tokens.push(token),
                Err(error) if error.is_limit_reached() => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        watch.await.expect("never more than allowed");
        assert_eq!(refused > 0, at_limit == AtLimit::Refuse, "{refused} were refused");
        stage.outlive_copies().await;
        let mut live = 0;
        for token in &tokens {
            live += usize::from(managers[1].peek(token).await.expect("it answers").is_some());
        }
        assert!((1..=MAX_VISITORS as usize).contains(&live), "{live}");
        assert_eq!(count(&managers[0]).await, live + 1);
        // Anonymous sessions must never evict signed-in users.
        stage.is_accepted(&ada).await;
        let large = User { note: "x".repeat(1_001), ..User::new("visitor") };
        let error = managers[0].create_anonymous(large).await.expect_err("it is too much");
        assert!(error.is_too_large(), "{error}");
        managers[0].revoke_everyone().await.expect("the store answers");
    }
}

/// A visitor adds an item to the basket in one tab while signing in in another. The item
/// must end up in the user's basket, or the update must report that it failed. With and
/// without an owner.
pub async fn a_basket_that_is_filled_during_the_sign_in_loses_nothing(stage: &Stage) {
    let managers = managers(stage, 1_000, AtLimit::RemoveOldest);
    for round in 0..12 {
        let visitor = visit(&managers[0]).await;
        let filling = managers.iter().cycle().take(4).enumerate().map(|(filler, manager)| {
            let (manager, visitor) = (manager.clone(), visitor.clone());
            tokio::spawn(async move {
                let mut put = Vec::new();
                for number in 0..10 {
                    let item = format!("<{filler}.{number}>");
                    let updated = manager.update(&visitor, |user| user.put(&item)).await;
                    match updated.expect("the store answers") {
                        Some(_) => put.push(item),
                        None => break,
                    }
                }
                put
            })
        });
        let filling: Vec<_> = filling.collect();
        tokio::time::sleep(Duration::from_millis(round)).await;
        let ada = signed_in("ada");
        let token = managers[1].login(Some(&visitor), ada).await.expect("a sign-in works");
        let mut put = Vec::new();
        for filler in filling {
            put.extend(filler.await.expect("it is answered"));
        }
        let found = managers[0].get_with(&token, Access::PEEK.strict()).await;
        let basket = found.expect("the store answers").expect("it is there").note.clone();
        for item in &put {
            let times = basket.matches(&**item).count();
            assert_eq!(times, 1, "round {round}: {item} is there {times} times, in {basket:?}");
        }
        assert_eq!(basket.matches('<').count(), put.len(), "{basket:?} of {put:?}");
        stage.is_refused(&visitor).await;
    }

    // Deterministic: the basket is read for the login, and then changes.
    for owned in [true, false] {
        let visitor = visit(&managers[0]).await;
        stage.one.faults.only(&[Call::Insert]);
        stage.one.faults.hold_calls();
        let new = if owned { signed_in("ada") } else { NewSession::new(User::new("ada")) };
        let (manager, old) = (managers[0].clone(), visitor.clone());
        let login = tokio::spawn(async move { manager.login(Some(&old), new).await });
        stage.one.faults.until_waiting(1).await;
        let put = managers[1].update(&visitor, |user| user.put("<late>")).await;
        assert!(put.expect("the store answers").is_some());
        stage.one.faults.release();
        stage.one.faults.only(&[]);
        let token = login.await.expect("it is answered").expect("a sign-in works");
        let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
        let basket = found.expect("the store answers").expect("it is there").note.clone();
        assert_eq!(basket, "<late> ", "owned: {owned}");
        stage.is_refused(&visitor).await;
    }
}

/// Related: the basket goes to two users, or the data of a signed-in user goes to the next
/// user who signs in in the same browser.
pub async fn nothing_of_one_user_goes_to_another(stage: &Stage) {
    let managers = managers(stage, 1_000, AtLimit::RemoveOldest);
    let basket = async |token: &Token| {
        let found = managers[0].get_with(token, Access::PEEK.strict()).await;
        found.expect("the store answers").expect("it is there").note.clone()
    };
    for round in 0..8 {
        // Two users sign in concurrently with the same anonymous token: only one gets the
        // basket.
        let visitor = visit(&managers[0]).await;
        let put = managers[1].update(&visitor, |user| user.put("<it>")).await;
        assert!(put.expect("the store answers").is_some());
        let logins = ["ada", "bob"].into_iter().zip(&managers).map(|(name, manager)| {
            let (manager, visitor) = (manager.clone(), visitor.clone());
            tokio::spawn(async move { manager.login(Some(&visitor), signed_in(name)).await })
        });
        let mut baskets = String::new();
        let mut tokens = Vec::new();
        for login in logins.collect::<Vec<_>>() {
            let token = login.await.expect("it is answered").expect("a sign-in works");
            baskets.push_str(&basket(&token).await);
            tokens.push(token);
        }
        assert_eq!(baskets, "<it> ", "round {round}");
        stage.is_refused(&visitor).await;

        // A login over a signed-in session, even of the same user, takes over no data.
        for name in ["eve", "ada"] {
            let mut client = stage.one.client_of(managers[0].clone());
            let token = sign_in(&managers[0], "ada").await;
            client.jar = client.presenting(token.expose()).jar;
            let put = client.post("/account/basket/secret").await;
            assert_eq!((put.status, &*put.text), (StatusCode::OK, "secret "));
            assert_eq!(client.post(&format!("/login/{name}")).await.status, StatusCode::OK);
            assert_eq!(basket(&client.token().expect("it is signed in")).await, "", "{name}");
        }
        // Nor does an anonymous session created after a logout.
        let mut client = stage.other.client_of(managers[1].clone());
        client.post("/account/visit").await;
        client.post("/account/basket/mine").await;
        client.post("/login/ada").await;
        assert_eq!(basket(&client.token().expect("it is signed in")).await, "mine ");
        client.post("/logout").await;
        assert!(client.jar.is_empty());
        client.post("/account/visit").await;
        assert_eq!(client.post("/account/basket/next").await.text, "next ");
    }
}

/// Related to fixation: an anonymous session opens routes that require a login.
pub async fn an_anonymous_session_opens_no_protected_route(stage: &Stage) {
    let managers = managers(stage, 1_000, AtLimit::RemoveOldest);
    let mut client = stage.one.client_of(managers[0].clone());
    assert_eq!(client.post("/account/visit").await.status, StatusCode::OK);
    assert_eq!(client.post("/account/basket/it").await.text, "it ");
    let token = client.token().expect("it has a session");
    for (server, manager) in stage.servers().into_iter().zip(&managers) {
        let visitor = server.client_of(manager.clone()).with(client.jar.clone());
        for path in ["/profile", "/poll", "/strict/profile", "/account/page", "/account/form"] {
            let answer = visitor.clone().get(path).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        for path in [
            "/count",
            "/rotate",
            "/password",
            "/revoke-all",
            "/account/fresh",
            "/account/strong",
            "/account/prove/3",
            "/account/credentials",
            "/account/flash/x",
        ] {
            let answer = visitor.clone().post(path).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(answer.set_cookies().is_empty(), "{path}");
        }
        assert_eq!(visitor.clone().get("/").await.text, "nobody");
        let error = manager.reauthenticate(&token, Level::Three).await.expect_err("it is nobody");
        assert!(!error.is_unavailable(), "{error}");
        let session = manager.peek(&token).await.expect("the store answers");
        let session = session.expect("it lives on");
        assert_eq!((session.level(), &*session.note), (None, "it "));
        assert!(session.is_anonymous() && session.owner().is_none());
    }
    // A jar saved before the login must be rejected after it.
    let before = client.clone();
    assert_eq!(client.post("/login/ada").await.status, StatusCode::OK);
    assert_ne!(client.jar, before.jar);
    stage.is_refused(&token).await;
    for server in stage.servers() {
        assert_eq!(client.at(server).get("/profile").await.text, "ada");
        let answer = before.at(server).post("/account/basket/more").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}
