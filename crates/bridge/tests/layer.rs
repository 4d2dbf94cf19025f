//! What the layer does with a session that the bridge takes over.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use kvolt_bridge::Bridge;
use kvolt_cache::MemoryStore;
use kvolt_middleware::adapter::{BridgeOutcome, SessionBridge};
use kvolt_middleware::{Session, Sessions};
use kvolt_session::{AnonymousSessions, Manager, NewSession, Result, SessionSnapshot, Token};
use support::{Jar, MINUTE, NEW, World, send, send_with};

const LOOKUP: &str = "header:Authorization,query:token,cookie:__Host-session_id";

#[test]
fn old_cookie_is_subject_to_the_origin_check() {
    let world = World::new();
    let server = world.server_of(
        |manager| manager,
        |bridge| bridge,
        |sessions| sessions.lookup(LOOKUP.parse().unwrap()),
    );
    world.old.sign_in("old-1", "ada");
    let dead = format!("Bearer {}", "A".repeat(48));
    let foreign = ("origin", "https://evil.test");
    for headers in [&[foreign][..], &[foreign, ("authorization", &dead)]] {
        for path in ["/shout", &format!("/shout?token={}", "A".repeat(48))] {
            let jar = Jar::old("old-1");
            let answer = send_with(server.app.clone(), "POST", path, &jar, headers);
            let answer = server.runtime.block_on(answer);
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?} {path}");
        }
    }
    assert_eq!(world.asked(), 0);
    // A client that has a token only is not a browser that another site has sent.
    let token = server.runtime.block_on(server.manager.create(String::from("bot"))).unwrap();
    let (jar, bearer) = (Jar::default(), format!("Bearer {}", token.expose()));
    let headers = [foreign, ("authorization", &*bearer)];
    let answer = send_with(server.app.clone(), "POST", "/shout", &jar, &headers);
    assert_eq!(server.runtime.block_on(answer).text, "bot!");
}

#[test]
fn token_goes_to_the_cookie() {
    let world = World::new();
    let server = world.server_of(
        |manager| manager,
        |bridge| bridge,
        |sessions| sessions.lookup(LOOKUP.parse().unwrap()),
    );
    world.old.sign_in("old-1", "ada");
    let answer = server.send("GET", "/", &Jar::old("old-1"));
    assert_eq!((&*answer.text, &*answer.cookies[0].0), ("ada", NEW));
}

#[test]
fn bridge_needs_a_cookie_in_the_lookup() {
    let world = World::new();
    let manager = Manager::<String>::new(MemoryStore::new());
    let bridge = Bridge::builder(&manager, MemoryStore::new(), world.old)
        .build(async |_| Ok::<_, Infallible>(None))
        .unwrap();
    let sessions = Sessions::builder(manager).bridge(bridge);
    let built = sessions.lookup("header:Authorization,query:token".parse().unwrap()).build();
    assert!(built.unwrap_err().to_string().contains("cookie:NAME"));
}

#[test]
fn response_that_removes_the_old_cookie_is_not_cached() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    assert_eq!(jar.name(&server), "ada");
    let answer = jar.send(&server, "GET", "/static");
    assert_eq!(answer.cookies, [(String::from("id"), String::new())]);
    assert_eq!(answer.caching.as_deref(), Some("no-store"));
    assert_eq!(jar.send(&server, "GET", "/static").caching, None);

    world.old.sign_in("old-2", "eve");
    let mut jar = Jar::old("old-2");
    assert_eq!(jar.name(&server), "eve");
    assert!(world.old.sign_out("old-2"));
    let answer = jar.send(&server, "GET", "/static");
    assert_eq!(answer.cookies, [(String::from("id"), String::new())]);
    assert_eq!(answer.caching.as_deref(), Some("no-store"));
}

#[test]
fn refused_request_gets_its_token_and_the_end_of_its_old_cookie() {
    let world = World::new();
    let server = world.server();
    world.old.sign_in("old-1", "ada");
    let mut jar = Jar::old("old-1");
    let answer = jar.send(&server, "GET", "/only-fresh");
    assert_eq!((answer.status, &*answer.cookies[0].0), (StatusCode::UNAUTHORIZED, NEW));
    assert_eq!(answer.caching.as_deref(), Some("no-store"));
    let answer = jar.send(&server, "GET", "/only-fresh");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.cookies, [(String::from("id"), String::new())]);
    assert_eq!(jar.name(&server), "ada");

    world.old.sign_in("old-2", "eve");
    let mut jar = Jar::old("old-2");
    assert_eq!(jar.name(&server), "eve");
    assert!(world.old.sign_out("old-2"));
    let answer = jar.send(&server, "GET", "/only-signed-in");
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.cookies, [(String::from("id"), String::new())]);
}

#[test]
fn anonymous_session_ends_with_the_move() {
    let world = World::new();
    let server = world.server_of(
        |manager| manager.anonymous(AnonymousSessions::new(10)),
        |bridge| bridge,
        |sessions| sessions,
    );
    let visitor = server.manager.create_anonymous(String::from("a visitor"));
    let visitor = server.runtime.block_on(visitor).unwrap();
    let mut jar = Jar::default();
    jar.0.insert(NEW.to_owned(), visitor.expose().to_owned());
    assert_eq!(jar.send(&server, "GET", "/visitor").text, "a visitor");
    world.old.sign_in("old-1", "ada");
    jar.0.insert("id".to_owned(), "old-1".to_owned());
    assert_eq!(jar.send(&server, "GET", "/visitor").text, "ada");
    assert!(server.runtime.block_on(server.manager.get(&visitor)).unwrap().is_none());
    assert_eq!((jar.name(&server).as_str(), world.sessions.len()), ("ada", 1));
}

/// Signs clients in by sessions that have ended.
struct Late(Manager<String>);

impl SessionBridge<String> for Late {
    fn cookie_name(&self) -> &str {
        "id"
    }

    fn resolve<'a>(
        &'a self,
        _: Option<&'a str>,
        _: Option<(&'a Token, &'a SessionSnapshot<String>)>,
    ) -> Pin<Box<dyn Future<Output = Result<BridgeOutcome>> + Send + 'a>> {
        Box::pin(async move {
            let token = self.0.create(NewSession::new(String::from("ada"))).await?;
            self.0.logout(&token).await?;
            Ok(BridgeOutcome::SignedIn(token))
        })
    }
}

#[tokio::test]
async fn anonymous_session_survives_a_move_to_a_session_that_has_ended() {
    let anonymous = AnonymousSessions::new(10);
    let manager = Manager::builder(MemoryStore::new()).anonymous(anonymous).build().unwrap();
    let visitor = manager.create_anonymous(String::from("a visitor")).await.unwrap();
    let sessions = Sessions::builder(manager.clone()).bridge(Late(manager)).store_timeout(MINUTE);
    let app = Router::new()
        .route("/", get(async |name: Session<String>| name.to_string()))
        .route_layer(sessions.build().unwrap().layer().anonymous());
    let mut jar = Jar::old("old-1");
    jar.0.insert(NEW.to_owned(), visitor.expose().to_owned());
    assert_eq!(send(app.clone(), "GET", "/", &jar).await.text, "a visitor");
    assert_eq!(send(app, "GET", "/", &jar).await.text, "a visitor");
}
