//! An administrator acts for a user, over HTTP: one cookie, and the way back.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use kvolt_middleware::{Result, Session, SessionHandle, Sessions};
use kvolt_session::{Actor, Level, Owner, StepUp, Token};
use kvolt_testkit::Call;
use support::{Client, IDLE, User, World, user};

/// For an administrator that has proved two factors, within five minutes.
const REQUIRED: StepUp = StepUp::within(Duration::from_secs(300)).and_level(Level::Two);

fn router(sessions: &Sessions<User>) -> Router {
    async fn login(client: SessionHandle<User>) -> Result<()> {
        client.login(user("root").remember(true)).await
    }
    async fn prove(session: Session<User>) -> Result<()> {
        session.reauthenticate(Level::Two).await
    }
    async fn act(session: Session<User>) -> Result<()> {
        session.impersonate(REQUIRED, user("ada")).await?;
        let ended = session.flash(kvolt_session::Flash::new("info", "x")).await;
        assert!(ended.unwrap_err().is_ended(), "this request's session is no longer the client's");
        Ok(())
    }
    async fn myself(session: Session<User>) -> Result<()> {
        session.impersonate(REQUIRED, user("root")).await
    }
    async fn back(session: Session<User>) -> Result<()> {
        session.end_impersonation().await
    }
    async fn name(session: Session<User>) -> String {
        let owner = session.owner().map_or("", Owner::as_str);
        format!("{} by {owner} for {:?}", session.name, session.acting_for().map(Owner::as_str))
    }
    async fn devices(session: Session<User>) -> Result<String> {
        let sessions = session.list().await?.sessions;
        let names: Vec<_> = sessions.iter().map(|session| session.name.as_str()).collect();
        Ok(names.join(" "))
    }
    async fn pay(session: Session<User>) -> Result<()> {
        session.require(StepUp::at_level(Level::One))
    }
    async fn change(session: Session<User>) -> Result<()> {
        session.change_credentials(None).await.map(drop)
    }
    async fn revoke_all(session: Session<User>) -> Result<()> {
        session.revoke_all().await
    }
    async fn revoke_first(session: Session<User>) -> Result<String> {
        let first = session.list().await?.sessions[0].id();
        Ok(session.revoke(first).await?.to_string())
    }
    async fn act_by_desk(session: Session<User>) -> Result<()> {
        let session = session.by(Actor::new("desk").because("ticket 4711"));
        session.impersonate(REQUIRED, user("ada")).await
    }
    async fn login_by_desk(client: SessionHandle<User>) -> Result<()> {
        client.by("desk").login(user("bob")).await
    }
    async fn logout(client: SessionHandle<User>) -> Result<()> {
        client.logout().await
    }
    let strong = sessions.layer().require(StepUp::at_level(Level::One));
    Router::new()
        .route("/strong", get(name).route_layer(strong))
        .route("/login", post(login))
        .route("/prove", post(prove))
        .route("/act", post(act))
        .route("/myself", post(myself))
        .route("/back", post(back))
        .route("/name", get(name))
        .route("/devices", get(devices))
        .route("/pay", post(pay))
        .route("/change", post(change))
        .route("/revoke-all", post(revoke_all))
        .route("/revoke-first", post(revoke_first))
        .route("/act-by-desk", post(act_by_desk))
        .route("/login-by-desk", post(login_by_desk))
        .route("/logout", post(logout))
        .route_layer(sessions.layer().optional())
}

async fn administrator(world: &World) -> Client {
    let mut client = Client::new(router(&world.sessions()));
    client.post("/login").await;
    assert_eq!(client.post("/prove").await.status, StatusCode::OK);
    client
}

fn token(client: &Client) -> Token {
    let cookie = client.cookie.as_deref().unwrap();
    Token::parse(cookie.strip_prefix("__Host-session_id=").unwrap()).unwrap()
}

#[tokio::test]
async fn administrator_acts_for_a_user_and_returns() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let mut client = administrator(&world).await;
        let own = token(&client);
        assert_eq!(client.get("/name").await.text, "root by root for None");
        let answer = client.post("/act").await;
        assert_eq!(answer.status, StatusCode::OK);
        let cookies: Vec<_> = answer.set_cookies();
        assert!(cookies.len() == 1 && !cookies[0].contains("Max-Age"), "{cookies:?}");
        let acting = token(&client);
        assert_ne!(acting.id(), own.id());
        assert_eq!(client.get("/name").await.text, "ada by root for Some(\"ada\")");
        // The lists are the user's.
        let _ = world.manager.create(user("ada")).await.unwrap();
        assert_eq!(client.get("/devices").await.text, "ada ada");

        let answer = client.post("/back").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.set_cookies()[0].contains("Max-Age"), "it is remembered, as before");
        let back = token(&client);
        assert!(back.id() == own.id() && back.expose() != own.expose());
        assert_eq!(client.get("/name").await.text, "root by root for None");
        for old in [own, acting] {
            assert!(world.manager.peek(&old).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn impersonation_is_refused_what_needs_the_user() {
    let world = World::new();
    let mut client = administrator(&world).await;
    client.post("/act").await;
    let acting = token(&client);
    for path in ["/pay", "/change", "/prove", "/act", "/myself"] {
        let answer = client.post(path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        let says_why = ["an impersonation", "acting for a user"];
        assert!(says_why.iter().any(|why| answer.text.contains(why)), "{path}: {}", answer.text);
        assert!(answer.set_cookies().is_empty(), "{path}");
    }
    let answer = client.get("/strong").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "by the layer: {}", answer.text);
    assert_eq!(token(&client).expose(), acting.expose());
    assert_eq!(client.get("/name").await.text, "ada by root for Some(\"ada\")");
}

#[tokio::test]
async fn impersonation_needs_the_required_proof() {
    let world = World::new();
    let mut client = Client::new(router(&world.sessions()));
    assert_eq!(client.post("/act").await.status, StatusCode::UNAUTHORIZED, "no session");
    client.post("/login").await;
    assert_eq!(client.post("/act").await.status, StatusCode::UNAUTHORIZED, "one factor");
    client.post("/prove").await;
    assert_eq!(client.post("/myself").await.status, StatusCode::FORBIDDEN);
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(client.post("/act").await.status, StatusCode::UNAUTHORIZED, "too long ago");
    assert_eq!(world.manager.count().await.unwrap(), 1);
    client.post("/prove").await;
    assert_eq!(client.post("/act").await.status, StatusCode::OK);
}

#[tokio::test]
async fn impersonation_costs_what_is_stated() {
    let world = World::new();
    world.faults.answers_at_once(false);
    let mut client = administrator(&world).await;
    let commands = || world.faults.count_all() - world.faults.count(Call::GetReady);
    // The handler of `/act` also tries a call that asks nothing.
    for (path, layer, expected) in
        [("/act", 1, 4), ("/name", 2, 0), ("/back", 2, 4), ("/name", 1, 0)]
    {
        let before = commands();
        let answer = if path == "/name" { client.get(path).await } else { client.post(path).await };
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(commands() - before, layer + expected, "{path}");
    }
}

#[tokio::test]
async fn impersonation_ends_for_the_browser_too() {
    for path in ["/logout", "/revoke-all"] {
        let world = World::new();
        let mut client = administrator(&world).await;
        client.post("/act").await;
        let answer = client.post(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.set_cookies()[0].contains("Max-Age=0"), "{path}");
        assert_eq!(client.get("/name").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.manager.count().await.unwrap(), 0, "{path}");
    }
    let world = World::new();
    let mut client = administrator(&world).await;
    client.post("/act").await;
    world.clock.advance(IDLE);
    for path in ["/back", "/pay"] {
        assert_eq!(client.post(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn events_name_who_acts() {
    let world = World::new();
    let actors = || {
        let events = world.events.take().into_iter();
        let names = events.map(|event| (event.kind.name(), event.actor));
        names.filter(|(kind, _)| ["ended", "impersonated", "created"].contains(kind)).collect()
    };
    let by = |name: &str| Some(Actor::new(name));
    let mut client = administrator(&world).await;
    let _: Vec<_> = actors();

    // What an administrator does while acting for a user.
    let _ = world.manager.create(user("ada")).await.unwrap();
    client.post("/act").await;
    assert_eq!(client.post("/revoke-first").await.text, "true");
    assert_eq!(client.post("/revoke-all").await.status, StatusCode::OK);
    let expected = [
        ("created", None),
        ("impersonated", by("root")),
        ("ended", by("root")),
        ("ended", by("root")),
        ("ended", by("root")),
    ];
    assert_eq!(actors(), expected);

    // An actor that the handler names.
    let mut client = administrator(&world).await;
    assert_eq!(client.post("/act-by-desk").await.status, StatusCode::OK);
    assert_eq!(client.post("/login-by-desk").await.status, StatusCode::OK);
    let desk = Actor::new("desk").because("ticket 4711");
    let mut expected = vec![("created", None), ("impersonated", Some(desk))];
    // The login replaces the impersonation, and ends the administrator's own session.
    expected.extend([("ended", by("desk")), ("created", by("desk")), ("ended", by("desk"))]);
    assert_eq!(actors(), expected);

    // A user's own sessions.
    assert_eq!(client.post("/revoke-all").await.status, StatusCode::OK);
    assert_eq!(actors(), [("ended", by("bob"))]);
}
