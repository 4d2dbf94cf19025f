//! A token that can't reach its client is not changed: in a body's stream, in a task of its own,
//! after the client has gone.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use axum::Router;
use axum::routing::get;
use http::Request;
use kvolt_middleware::SessionHandle;
use kvolt_session::{AnonymousSessions, Level};
use kvolt_testkit::Call;
use support::{Client, User, World, user};
use tower::ServiceExt;

type Kept = Arc<Mutex<Option<SessionHandle<User>>>>;

/// An application whose handlers keep their handle, as a stream or a task does.
fn keeping(world: &World) -> (Router, Kept) {
    let kept = Kept::default();
    let keep = kept.clone();
    let open = move |handle: SessionHandle<User>| {
        *keep.lock().unwrap() = Some(handle);
        async { "open" }
    };
    let sessions = world.sessions();
    let app = Router::new()
        .route("/open", get(open))
        .route_layer(sessions.layer().optional())
        .route_layer(sessions.layer().optional());
    (app, kept)
}

fn shop() -> World {
    World::with(|builder| builder.anonymous(AnonymousSessions::new(10)))
}

/// Nothing is done, and the error says why.
async fn refuses_new_tokens(world: &World, handle: &SessionHandle<User>) {
    world.faults.reset();
    let begun = |error: kvolt_middleware::Error| assert!(error.to_string().contains("has begun"));
    begun(handle.login(user("bob")).await.unwrap_err());
    let visitor = User { name: String::from("visitor"), count: 0 };
    begun(handle.create_anonymous(visitor).await.unwrap_err());
    if let Some(session) = handle.session() {
        begun(session.rotate().await.unwrap_err());
        begun(session.reauthenticate(Level::One).await.unwrap_err());
        begun(session.change_credentials(None).await.unwrap_err());
    }
    assert_eq!(world.faults.count_all(), 0);
}

/// aio-libs/aiohttp-session#373, actix/actix-extras#285, bungle/lua-resty-session#33.
#[tokio::test]
async fn begun_response_changes_no_token() {
    let world = shop();
    let (app, kept) = keeping(&world);
    let token = world.manager.create(user("ada")).await.unwrap();
    for mut client in [Client::with(&app, &token), Client::new(app)] {
        assert_eq!(client.get("/open").await.text, "open");
        let handle = kept.lock().unwrap().take().unwrap();
        refuses_new_tokens(&world, &handle).await;
        let Some(mut session) = handle.session() else { continue };
        // These need no new token.
        assert_eq!(session.update(|user| user.count += 1).await.unwrap().count, 1);
        assert_eq!(session.peek().await.unwrap().unwrap().count, 1);
        assert_eq!(session.revoke_others().await.unwrap(), 0);
        session.logout().await.unwrap();
        assert_eq!(world.store.len(), 0);
    }
}

#[tokio::test]
async fn disconnected_client_keeps_its_token() {
    let world = shop();
    let (app, kept) = keeping(&world);
    let layer = world.sessions().layer();
    let app = app.route("/never", {
        let kept = kept.clone();
        get(move |handle: SessionHandle<User>| {
            *kept.lock().unwrap() = Some(handle);
            std::future::pending::<()>()
        })
        .layer(layer)
    });
    let token = world.manager.create(user("ada")).await.unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());
    let request = Request::get("/never").header("cookie", cookie).body(axum::body::Body::empty());
    let mut response = Box::pin(app.oneshot(request.unwrap()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(response.as_mut().poll(&mut context).is_pending());
    drop(response);
    let handle = kept.lock().unwrap().take().unwrap();
    refuses_new_tokens(&world, &handle).await;
    assert!(world.manager.get(&token).await.unwrap().is_some());
}

/// A task that has begun to sign in when the response begins.
#[tokio::test]
async fn session_whose_token_comes_too_late_is_ended() {
    let world = World::new();
    let (app, kept) = keeping(&world);
    let mut client = Client::new(app);
    world.faults.only(&[Call::Insert]);
    world.faults.hold_answers();
    let slow = kept.clone();
    let sign_in = tokio::spawn(async move {
        loop {
            let handle = slow.lock().unwrap().take();
            if let Some(handle) = handle {
                return handle.login(user("ada")).await;
            }
            tokio::task::yield_now().await;
        }
    });
    // The handler waits for it to have begun.
    let faults = world.faults.clone();
    let waits = Router::new().route(
        "/waits",
        get(move |handle: SessionHandle<User>| async move {
            *kept.lock().unwrap() = Some(handle);
            faults.until_waiting(1).await;
        })
        .layer(world.sessions().layer().optional())
        .with_state(world.sessions()),
    );
    client.app = client.app.merge(waits);
    assert!(client.get("/waits").await.set_cookies().is_empty());
    assert_eq!(world.store.len(), 1);
    world.faults.release();
    assert!(sign_in.await.unwrap().is_err());
    assert_eq!(world.store.len(), 0);
}
