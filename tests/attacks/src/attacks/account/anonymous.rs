//! Anonymous visitors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Access, AnonymousSessions, AtLimit, Level, Manager, NewSession, Token};
use kvolt_testkit::Call;

use crate::attacks::sign_in;
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

const VISITORS: usize = 200;
const MAX_VISITORS: u32 = 48;

/// A manager on each server, with a limit of visitors. A visitor's basket becomes the user's.
fn managers(deployment: &Deployment, max: u32, at_limit: AtLimit) -> [Manager<User>; 2] {
    deployment.servers().map(|server: &Server| {
        let anonymous = AnonymousSessions::new(max)
            .at_limit(at_limit)
            .max_size(1_000, |user: &User| user.note.len())
            .carry_over(|visitor, user: &mut User| user.note.push_str(&visitor.note));
        server.builder().anonymous(anonymous).build().expect("valid settings")
    })
}

async fn visit(manager: &Manager<User>) -> Token {
    manager.create_anonymous(User::new("visitor")).await.expect("the visit succeeds")
}

/// The number of all sessions, as the store lists them.
async fn count(manager: &Manager<User>) -> usize {
    let page = manager.list_all(None, 1_000).await.expect("the store answers");
    assert!(page.next.is_none());
    page.listing.sessions.len()
}

/// Symfony CVE-2016-4423 and its class: clients create sessions without a sign-in, and fill the
/// store. Two hundred visitors at the same time, on two servers, never exceed the limit.
pub async fn visitors_never_exceed_the_limit(deployment: &Deployment) {
    for at_limit in [AtLimit::RemoveOldest, AtLimit::Refuse] {
        let managers = managers(deployment, MAX_VISITORS, at_limit);
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
            match visit.await.expect("the task ends") {
                Ok(token) => tokens.push(token),
                Err(error) if error.is_limit_reached() => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        watch.await.expect("at most the limit");
        assert_eq!(refused > 0, at_limit == AtLimit::Refuse, "{refused} were refused");
        deployment.outlive_copies().await;
        let mut live = 0;
        for token in &tokens {
            live +=
                usize::from(managers[1].peek(token).await.expect("the store answers").is_some());
        }
        assert!((1..=MAX_VISITORS as usize).contains(&live), "{live}");
        assert_eq!(count(&managers[0]).await, live + 1);
        // Visitors never evict a signed-in user.
        deployment.is_accepted(&ada).await;
        let large = User { note: "x".repeat(1_001), ..User::new("visitor") };
        let error = managers[0].create_anonymous(large).await.expect_err("too large");
        assert!(error.is_too_large(), "{error}");
        managers[0].revoke_everyone().await.expect("the store answers");
    }
}

/// A visitor fills the basket in one tab and signs in in another: the items are in the user's
/// session, or the update reports that they are not. With and without an owner.
pub async fn basket_filled_during_the_sign_in_loses_no_item(deployment: &Deployment) {
    let managers = managers(deployment, 1_000, AtLimit::RemoveOldest);
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
        let token = managers[1].login(Some(&visitor), ada).await.expect("the sign-in succeeds");
        let mut put = Vec::new();
        for filler in filling {
            put.extend(filler.await.expect("the task ends"));
        }
        let found = managers[0].get_with(&token, Access::PEEK.strict()).await;
        let basket = found.expect("the store answers").expect("the session exists").note.clone();
        for item in &put {
            let times = basket.matches(&**item).count();
            assert_eq!(times, 1, "round {round}: {item} is there {times} times, in {basket:?}");
        }
        assert_eq!(basket.matches('<').count(), put.len(), "{basket:?} of {put:?}");
        deployment.is_refused(&visitor).await;
    }

    // The basket changes between the read for the sign-in and its write.
    for owned in [true, false] {
        let visitor = visit(&managers[0]).await;
        deployment.one.faults.only(&[Call::Insert]);
        deployment.one.faults.hold_calls();
        let new = if owned { signed_in("ada") } else { NewSession::new(User::new("ada")) };
        let (manager, old) = (managers[0].clone(), visitor.clone());
        let login = tokio::spawn(async move { manager.login(Some(&old), new).await });
        deployment.one.faults.until_waiting(1).await;
        let put = managers[1].update(&visitor, |user| user.put("<late>")).await;
        assert!(put.expect("the store answers").is_some());
        deployment.one.faults.release();
        deployment.one.faults.only(&[]);
        let token = login.await.expect("the task ends").expect("the sign-in succeeds");
        let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
        let basket = found.expect("the store answers").expect("the session exists").note.clone();
        assert_eq!(basket, "<late> ", "owned: {owned}");
        deployment.is_refused(&visitor).await;
    }
}

/// The class of the above: the basket goes to two users, or a signed-in user's data goes to the
/// next user of the same browser.
pub async fn data_of_one_user_never_reaches_another(deployment: &Deployment) {
    let managers = managers(deployment, 1_000, AtLimit::RemoveOldest);
    let basket = async |token: &Token| {
        let found = managers[0].get_with(token, Access::PEEK.strict()).await;
        found.expect("the store answers").expect("the session exists").note.clone()
    };
    for round in 0..8 {
        // Two users sign in at the same time with one visitor's token: one of them gets the basket.
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
            let token = login.await.expect("the task ends").expect("the sign-in succeeds");
            baskets.push_str(&basket(&token).await);
            tokens.push(token);
        }
        assert_eq!(baskets, "<it> ", "round {round}");
        deployment.is_refused(&visitor).await;

        // A sign-in over a user's session takes over no data, even for the same user.
        for name in ["eve", "ada"] {
            let mut client = deployment.one.client_of(managers[0].clone());
            let token = sign_in(&managers[0], "ada").await;
            client.jar = client.presenting(token.expose()).jar;
            let put = client.post("/account/basket/secret").await;
            assert_eq!((put.status, &*put.text), (StatusCode::OK, "secret "));
            assert_eq!(client.post(&format!("/login/{name}")).await.status, StatusCode::OK);
            assert_eq!(basket(&client.token().expect("a token in the cookie")).await, "", "{name}");
        }
        // A visit after a logout takes over no data.
        let mut client = deployment.other.client_of(managers[1].clone());
        client.post("/account/visit").await;
        client.post("/account/basket/mine").await;
        client.post("/login/ada").await;
        assert_eq!(basket(&client.token().expect("a token in the cookie")).await, "mine ");
        client.post("/logout").await;
        assert!(client.jar.is_empty());
        client.post("/account/visit").await;
        assert_eq!(client.post("/account/basket/next").await.text, "next ");
    }
}

/// The class of fixation: an anonymous session opens routes for signed-in users.
pub async fn anonymous_session_opens_no_protected_route(deployment: &Deployment) {
    let managers = managers(deployment, 1_000, AtLimit::RemoveOldest);
    let mut client = deployment.one.client_of(managers[0].clone());
    assert_eq!(client.post("/account/visit").await.status, StatusCode::OK);
    assert_eq!(client.post("/account/basket/it").await.text, "it ");
    let token = client.token().expect("a token in the cookie");
    for (server, manager) in deployment.servers().into_iter().zip(&managers) {
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
        let error =
            manager.reauthenticate(&token, Level::Three).await.expect_err("no signed-in user");
        assert!(!error.is_unavailable(), "{error}");
        let session = manager.peek(&token).await.expect("the store answers");
        let session = session.expect("the session lives");
        assert_eq!((session.level(), &*session.note), (None, "it "));
        assert!(session.is_anonymous() && session.owner().is_none());
    }
    // Cookies from before the login are invalid after it.
    let before = client.clone();
    assert_eq!(client.post("/login/ada").await.status, StatusCode::OK);
    assert_ne!(client.jar, before.jar);
    deployment.is_refused(&token).await;
    for server in deployment.servers() {
        assert_eq!(client.at(server).get("/profile").await.text, "ada");
        let answer = before.at(server).post("/account/basket/more").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}
