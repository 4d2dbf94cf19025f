//! Routes and handlers that want the store's own answer, in front of a near cache.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use kvolt_cache::{MemoryStore, NearCache, RemoveOutcome, Store, Target};
use kvolt_middleware::{Result, Session, Sessions};
use kvolt_session::{Manager, Record, Token};
use kvolt_testkit::{ManualClock, Pushes, PushingStore};
use support::{Client, User, user};

/// A server with a near cache that receives no changes of the store.
struct Far {
    store: MemoryStore<Record<User>>,
    pushes: Pushes,
    manager: Manager<User>,
    client: Client,
}

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn transfer(session: Session<User>) -> Result<String> {
    Ok(session.confirm().await?.name.clone())
}

async fn far() -> Far {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clock()).build();
    let (remote, pushes) = PushingStore::new(store.clone());
    let near = NearCache::builder(remote).build().unwrap();
    pushes.beat().await;
    let manager = Manager::new(near);
    let sessions = Sessions::new(manager.clone());
    let strict_outside = Router::new()
        .route("/outside", get(profile))
        .route_layer(sessions.layer())
        .route_layer(sessions.layer().strict());
    let strict_inside = Router::new()
        .route("/inside", get(profile))
        .route_layer(sessions.layer().strict())
        .route_layer(sessions.layer());
    let strict_far_outside = Router::new()
        .route("/far-outside", get(profile))
        .route_layer(sessions.layer().peek())
        .route_layer(sessions.layer())
        .route_layer(sessions.layer().strict());
    let app = Router::new()
        .route("/profile", get(profile))
        .route("/transfer", get(transfer))
        .route_layer(sessions.layer())
        .merge(
            Router::new()
                .route("/strict", get(profile))
                .route_layer(sessions.layer().strict().peek()),
        )
        .merge(strict_outside)
        .merge(strict_far_outside)
        .merge(strict_inside);
    Far { store, pushes, manager, client: Client::new(app) }
}

impl Far {
    async fn sign_in(&mut self) -> Token {
        let token = self.manager.create(user("ada")).await.unwrap();
        self.client.cookie = Some(format!("__Host-session_id={}", token.expose()));
        assert_eq!(self.client.get("/profile").await.text, "ada");
        token
    }

    /// As from another server, whose push is on its way.
    async fn sign_out_elsewhere(&self, token: &Token) {
        self.pushes.hold();
        let key = token.id().key(self.manager.namespace());
        assert_eq!(
            self.store.remove(Target::new(&key), None).await.unwrap(),
            RemoveOutcome::Removed
        );
    }
}

#[tokio::test]
async fn strict_route_asks_the_store() {
    let mut far = far().await;
    let token = far.sign_in().await;
    for path in ["/strict", "/outside", "/far-outside", "/inside", "/transfer"] {
        assert_eq!(far.client.get(path).await.text, "ada", "{path}");
    }
    far.sign_out_elsewhere(&token).await;
    assert_eq!(far.client.get("/profile").await.text, "ada", "a copy, within the bound");
    for path in ["/strict", "/outside", "/far-outside", "/inside", "/transfer"] {
        assert_eq!(far.client.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn ended_session_is_refused_at_once() {
    let mut far = far().await;
    let token = far.sign_in().await;
    far.pushes.hold();
    assert!(far.manager.logout(&token).await.unwrap());
    assert_eq!(far.client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
}
