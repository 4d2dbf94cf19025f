//! Flash messages, and streams that end with their session.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::Service;
use actix_web::http::Method;
use actix_web::test::init_service;
use actix_web::{App, HttpResponse, web};
use futures_util::{StreamExt, stream};
use kvolt_actix::{Result, Session, SessionHandle, SessionMiddleware};
use kvolt_session::{Flash, Owner};
use support::{User, World, user};

/// Longer than any machine takes for an immediate notification.
const PATIENCE: Duration = Duration::from_secs(30);

async fn events(session: Session<User>) -> HttpResponse {
    let first = stream::iter([Ok::<_, actix_web::Error>(session.name.clone().into())]);
    let all = session.live().take_until_ended(first.chain(stream::pending()));
    HttpResponse::Ok().content_type("text/event-stream").streaming(all)
}

async fn login(client: SessionHandle<User>) -> Result<()> {
    Ok(client.login(user("ada")).await?)
}

async fn rotate(session: Session<User>) -> Result<()> {
    Ok(session.rotate().await?)
}

async fn logout(session: Session<User>) -> Result<()> {
    Ok(session.logout().await?)
}

#[actix_web::test]
async fn open_stream_ends_with_its_session() {
    for way in 0..3 {
        let world = World::with(|builder| builder.live_interval(Duration::from_secs(86_400)));
        let peek = SessionMiddleware::new(world.sessions.layer().peek());
        let app = App::new()
            .service(web::resource("/events").wrap(peek).to(events))
            .route("/login", web::post().to(login))
            .route("/rotate", web::post().to(rotate))
            .route("/logout", web::post().to(logout))
            .wrap(world.optional());
        let app = init_service(app).await;
        let mut client = world.signed_in("ada").await;
        let response = app.call(client.request(Method::GET, "/events").to_request()).await.unwrap();
        assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
        let mut body = pin!(response.into_body());
        let first = poll_fn(|context| body.as_mut().poll_next(context)).await;
        assert_eq!(&*first.unwrap().unwrap(), b"ada");
        client.post(&app, "/rotate").await;
        for _ in 0..100 {
            let is_open =
                poll_fn(|context| Poll::Ready(body.as_mut().poll_next(context).is_pending()));
            assert!(is_open.await, "a rotation is no end");
            tokio::task::yield_now().await;
        }
        match way {
            0 => assert_eq!(client.post(&app, "/logout").await.status, 204),
            1 => assert_eq!(client.post(&app, "/login").await.status, 204),
            _ => {
                let ada = Owner::new("ada").unwrap();
                assert_eq!(world.manager().revoke_owner(&ada).await.unwrap(), 1);
            }
        }
        let end = poll_fn(|context| body.as_mut().poll_next(context));
        let end = tokio::time::timeout(PATIENCE, end).await.expect("it ends");
        assert!(end.is_none(), "way {way}");
    }
}

#[actix_web::test]
async fn message_is_shown_once() {
    async fn save(session: Session<User>) -> Result<()> {
        Ok(session.flash(Flash::new("success", "saved")).await?)
    }
    async fn page(session: Session<User>) -> Result<String> {
        let flashes = session.take_flashes().await?;
        Ok(flashes.iter().map(|flash| format!("{}: {}\n", flash.kind(), flash.text())).collect())
    }
    let world = World::new();
    let app = App::new()
        .route("/save", web::post().to(save))
        .route("/page", web::get().to(page))
        .wrap(world.required());
    let app = init_service(app).await;
    let mut client = world.signed_in("ada").await;
    assert_eq!(client.post(&app, "/save").await.status, 204);
    assert_eq!(client.get(&app, "/page").await.text, "success: saved\n");
    assert_eq!(client.get(&app, "/page").await.text, "");
}
