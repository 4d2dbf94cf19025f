//! Visitors who have not signed in, messages for the next page, and connections that stay open.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kvolt_middleware::{CookiePolicy, Result, Session, SessionHandle, Sessions};
use kvolt_session::{AnonymousSessions, Flash, Owner, Timeouts, Token};
use kvolt_testkit::Call;
use support::{Client, User, World, user};
use tower::ServiceExt;

fn shop() -> World {
    World::with(|builder| {
        let anonymous = AnonymousSessions::new(100).max_size(10, |user: &User| user.count as usize);
        builder.anonymous(anonymous.carry_over(|visitor: &User, user| user.count += visitor.count))
    })
}

fn visitor() -> User {
    User { name: String::from("visitor"), count: 0 }
}

/// Puts something into the basket, which is made with the first thing.
async fn put(handle: SessionHandle<User>) -> Result<String> {
    match handle.session() {
        Some(mut session) => {
            session.update(|user| user.count += 1).await?;
            Ok(session.count.to_string())
        }
        None => {
            handle.create_anonymous(User { count: 1, ..visitor() }).await?;
            Ok(String::from("1"))
        }
    }
}

async fn make(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.create_anonymous(visitor()).await?;
    Ok("made")
}

async fn make_twice(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.create_anonymous(visitor()).await?;
    make(handle).await
}

async fn basket(session: Option<Session<User>>) -> String {
    session.map_or_else(
        || String::from("none"),
        |session| format!("{} {}", session.name, session.count),
    )
}

async fn login(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.login(user("ada")).await?;
    Ok("in")
}

async fn logout(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.logout().await?;
    Ok("out")
}

async fn confirm(session: Session<User>) -> Result<String> {
    Ok(session.confirm().await?.name.clone())
}

async fn count(mut session: Session<User>) -> Result<String> {
    Ok(session.update(|user| user.count += 1).await?.count.to_string())
}

async fn save(session: Session<User>) -> Result<&'static str> {
    session.flash(Flash::new("success", "saved")).await?;
    Ok("saving")
}

async fn messages(session: Option<Session<User>>) -> Result<String> {
    let Some(session) = session else { return Ok(String::new()) };
    let taken = session.take_flashes().await?;
    let texts = taken.iter().map(|flash| format!("{}: {}\n", flash.kind(), flash.text()));
    Ok(texts.collect())
}

async fn in_one(handle: SessionHandle<User>) -> Result<String> {
    handle.login(user("ada")).await?;
    let token = handle.token().unwrap();
    assert!(handle.manager().flash(&token, Flash::new("info", "welcome")).await?);
    let updated = handle.manager().update(&token, |user| user.count += 1).await?.unwrap();
    if let Some(mut before) = handle.session() {
        assert!(before.update(|_| ()).await.unwrap_err().is_ended());
    }
    Ok(updated.count.to_string())
}

fn app(world: &World) -> Router {
    let sessions = world.sessions();
    let layer = || sessions.layer();
    Router::new()
        .merge(
            Router::new()
                .route("/put", post(put))
                .route("/make", post(make))
                .route("/make-twice", post(make_twice))
                .route("/basket", get(basket))
                .route_layer(layer().anonymous().optional()),
        )
        .merge(Router::new().route("/checkout", get(basket)).route_layer(layer().anonymous()))
        .merge(
            Router::new()
                .route("/profile", get(basket))
                .route("/save", post(save))
                .route("/messages", get(messages))
                .route_layer(layer()),
        )
        .merge(
            Router::new()
                .route("/merely", get(basket))
                .route("/login", post(login))
                .route("/login-and-more", post(in_one))
                .route("/logout", post(logout))
                .route("/merely-make", post(make))
                .route("/confirm", get(confirm))
                .route("/count", post(count))
                .route("/merely-save", post(save))
                .route("/merely-messages", get(messages))
                .route_layer(layer().optional()),
        )
        .merge(
            Router::new()
                .route("/nested/login", post(login))
                .route("/nested/make", post(make))
                .route_layer(layer().optional())
                .route_layer(layer().optional()),
        )
}

fn client(world: &World) -> Client {
    Client::new(app(world))
}

#[tokio::test]
async fn visitor_session_is_hidden_by_default() {
    for at_once in [true, false] {
        let world = shop();
        world.faults.answers_at_once(at_once);
        let mut client = client(&world);
        client.post("/put").await;
        let cookie = client.cookie.clone();
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.get("/merely").await.text, "none");
        assert_eq!(client.get("/merely-messages").await.text, "");
        assert_eq!(client.get("/confirm").await.status, StatusCode::UNAUTHORIZED);
        for path in ["/count", "/merely-save"] {
            assert_eq!(client.post(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(client.cookie, cookie, "and it stays for where it is one");
        assert_eq!(client.get("/basket").await.text, "visitor 1");
    }
}

#[tokio::test]
async fn visitor_logout_ends_the_basket() {
    let world = shop();
    let mut client = client(&world);
    client.post("/put").await;
    let cookie = client.cookie.clone();
    let answer = client.post("/make").await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (500, 0));
    assert_eq!((client.cookie.clone(), world.store.len()), (cookie, 1));
    client.post("/logout").await;
    assert_eq!((client.cookie.clone(), world.store.len()), (None, 0));
    client.post("/login").await;
    assert_eq!(client.post("/make").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.get("/profile").await.text, "ada 0");
}

/// Where the layer does not show it, the client has it all the same.
#[tokio::test]
async fn visitor_gets_no_second_session() {
    for at_once in [true, false] {
        let world = shop();
        world.faults.answers_at_once(at_once);
        let mut client = client(&world);
        client.post("/put").await;
        let cookie = client.cookie.clone();
        for path in ["/merely-make", "/nested/make"] {
            let answer = client.post(path).await;
            assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (500, 0), "{path}");
            assert_eq!((client.cookie.clone(), world.store.len()), (cookie.clone(), 1));
        }
        let mut twice = client.other();
        assert_eq!(twice.post("/make-twice").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(world.store.len(), 2);
        twice.cookie = Some(format!("{0}; __Host-session_id=x", cookie.unwrap()));
        assert_eq!(twice.post("/make").await.status, StatusCode::BAD_REQUEST);
        assert_eq!(world.store.len(), 2);
        world.clock.advance(support::IDLE);
        assert_eq!(client.post("/merely-make").await.text, "made", "its session has ended");
    }
}

#[tokio::test]
async fn visitor_keeps_the_cookie_for_the_visitors_lifetime() {
    let day = Duration::from_secs(86_400);
    let world = World::with(|builder| {
        builder.anonymous(AnonymousSessions::new(100).timeouts(Timeouts::new(day * 30, day * 30)))
    });
    let cookie = CookiePolicy::builder().persistent(true).build().unwrap();
    let sessions = Sessions::builder(world.manager.clone()).cookie(cookie).build().unwrap();
    let app = Router::new().route("/make", post(make)).route("/login", post(login));
    let mut client = Client::new(app.route_layer(sessions.layer().optional()));
    let answer = client.post("/make").await;
    assert!(answer.set_cookies()[0].contains("; Max-Age=2592000;"), "{:?}", answer.set_cookies());
    let answer = client.post("/login").await;
    assert!(answer.set_cookies()[0].contains("; Max-Age=43200;"), "{:?}", answer.set_cookies());
}

/// Symfony CVE-2016-4423.
#[tokio::test]
async fn full_basket_is_413() {
    let world = shop();
    let mut client = client(&world);
    for _ in 0..10 {
        assert_eq!(client.post("/put").await.status, StatusCode::OK);
    }
    let answer = client.post("/put").await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(client.get("/basket").await.text, "visitor 10");
}

#[tokio::test]
async fn message_is_shown_on_one_page() {
    for at_once in [true, false] {
        let world = shop();
        world.faults.answers_at_once(at_once);
        let mut client = client(&world);
        client.post("/login").await;
        assert_eq!(client.get("/messages").await.text, "");
        for _ in 0..2 {
            let answer = client.post("/save").await;
            assert_eq!((&*answer.text, answer.set_cookies().len()), ("saving", 0));
        }
        let answer = client.get("/messages").await;
        assert_eq!(answer.text, "success: saved\nsuccess: saved\n");
        assert!(answer.set_cookies().is_empty());
        assert_eq!(client.get("/messages").await.text, "");
        client.post("/save").await;
        client.post("/login").await;
        assert_eq!(client.get("/messages").await.text, "", "nor to who signs in next");
        assert_eq!(client.other().post("/save").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(client.other().get("/merely-messages").await.text, "");
    }
}

#[tokio::test]
async fn no_message_costs_no_store_call() {
    let world = shop();
    let mut client = client(&world);
    client.post("/login").await;
    world.faults.reset();
    world.faults.answers_at_once(false);
    assert_eq!(client.get("/messages").await.text, "");
    assert_eq!((world.faults.count(Call::Get), world.faults.count(Call::Replace)), (1, 0));
    client.post("/save").await;
    world.faults.reset();
    world.faults.answers_at_once(false);
    assert_eq!(client.get("/messages").await.text, "success: saved\n");
    assert_eq!((world.faults.count(Call::Get), world.faults.count(Call::Replace)), (1, 1));
}

#[tokio::test]
async fn handler_can_use_the_session_it_created() {
    for at_once in [true, false] {
        let world = shop();
        world.faults.answers_at_once(at_once);
        for basket in [0, 1] {
            let mut client = client(&world);
            for _ in 0..basket {
                client.post("/put").await;
            }
            let answer = client.post("/login-and-more").await;
            assert_eq!(answer.text, (basket + 1).to_string());
            assert_eq!(client.get("/messages").await.text, "info: welcome\n");
        }
    }
}

/// Longer than any machine takes for an immediate notification.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn open_stream_ends_with_its_session() {
    async fn events(session: Session<User>) -> Body {
        let name = session.name.clone();
        let first = stream::iter([Ok::<_, Infallible>(name)]);
        Body::from_stream(session.live().take_until_ended(first.chain(stream::pending())))
    }
    for way in 0..5 {
        let world = World::with(|builder| builder.live_interval(Duration::from_secs(86_400)));
        let sessions = world.sessions();
        let app = Router::new()
            .route("/events", get(events))
            .route_layer(sessions.layer().peek())
            .merge(support::router(sessions));
        let mut client = Client::new(app.clone());
        client.post("/login").await;
        let request = Request::get("/events").header("cookie", client.cookie.clone().unwrap());
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&*first, b"ada");
        client.post("/rotate").await;
        client.post("/count").await;
        let rest = tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, body.collect()).await.expect("it ends")
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!rest.is_finished(), "a rotation and a change are no end");
        let cookie = client.cookie.clone().unwrap();
        let token = Token::parse(&cookie["__Host-session_id=".len()..]).unwrap();
        match way {
            0 => assert_eq!(client.post("/logout").await.status, StatusCode::OK),
            1 => assert_eq!(
                world.manager.revoke_owner(&Owner::new("ada").unwrap()).await.unwrap(),
                1
            ),
            2 => assert!(world.manager.revoke(token.id()).await.unwrap()),
            3 => assert_eq!(client.post("/login").await.status, StatusCode::OK),
            _ => {
                let mut other = client.other();
                other.post("/login").await;
                assert_eq!(other.post("/revoke-others").await.text, "1");
            }
        }
        assert!(rest.await.unwrap().unwrap().to_bytes().is_empty(), "way {way}");
    }
}
