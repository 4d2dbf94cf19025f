//! How often a request allocates.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{Route, get};
use http::Request;
use kvolt_cache::Encoded;
use kvolt_middleware::adapter::Admission;
use kvolt_middleware::{Session, Sessions};
use kvolt_session::{Manager, Record, RecordJson};
use support::{User, user};
use tower::Service;
use tower::layer::layer_fn;

const NAME: &str = "ada";

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

/// The allocations of a request to `/profile`, once everything that is used again exists.
fn allocations(app: &Router, cookie: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let send = || {
        let request = Request::get("/profile").header("cookie", cookie).body(Body::empty());
        let answer = app.clone().call(request.unwrap());
        let answer: Result<Response, Infallible> = runtime.block_on(answer);
        assert_eq!(answer.unwrap().status(), 200);
    };
    (0..3).for_each(|_| send());
    allocation_counter::measure(send).count_total
}

#[test]
fn layer_adds_five_allocations() {
    let manager: Manager<User> = Manager::new(kvolt_cache::MemoryStore::<Record<User>>::new());
    let sessions = Sessions::new(manager.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = runtime.block_on(manager.create(user(NAME))).unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());

    let bare = || Router::new().route("/profile", get(async || String::from(NAME)));
    let idle = bare().route_layer(layer_fn(|route: Route| route)).with_state(());
    let behind = Router::new().route("/profile", get(name)).route_layer(sessions.layer());
    // Without its state, a router prepares its handlers for each request.
    let behind = behind.with_state(());
    let bare = allocations(&bare().with_state(()), &cookie);
    // Two are axum's, for any layer. The others put the session among the request's extensions.
    assert_eq!(allocations(&idle, &cookie) - bare, 2);
    assert_eq!(allocations(&behind, &cookie) - bare, 5);
    assert_eq!(runtime.block_on(manager.get(&token)).unwrap().unwrap().name, NAME);
}

#[cfg(feature = "device-bound")]
#[test]
fn bound_session_allocates_as_any_other() {
    use kvolt_middleware::DeviceBound;
    use kvolt_session::{DeviceOutcome, Token};
    use kvolt_testkit::device::DeviceKey;

    let manager: Manager<User> = Manager::new(kvolt_cache::MemoryStore::<Record<User>>::new());
    let builder = Sessions::builder(manager.clone()).device_bound(DeviceBound::new());
    let sessions = builder.build().unwrap();
    let behind = Router::new().route("/profile", get(name)).route_layer(sessions.layer());
    let behind = behind.with_state(());
    let (unbound, bound) = pollster::block_on(async {
        let unbound = manager.create(user(NAME)).await.unwrap();
        let mut session = user(NAME);
        let offer = manager.offer_device(&mut session).unwrap();
        let bound = manager.create(session).await.unwrap();
        let proof = DeviceKey::new(1).registration(&offer);
        let lifetime = std::time::Duration::from_secs(600);
        let outcome = manager.bind_device(&bound, proof.as_bytes(), lifetime).await.unwrap();
        let DeviceOutcome::Bound(answer) = outcome else { panic!("{outcome:?}") };
        let cookie = format!("__Host-session_bound={}", answer.cookie.unwrap());
        let cookies = |token: Token| format!("__Host-session_id={}; {cookie}", token.expose());
        (cookies(unbound), cookies(bound))
    });
    let bare = Router::new().route("/profile", get(async || String::from(NAME))).with_state(());
    let bare = allocations(&bare, &unbound);
    assert_eq!(allocations(&behind, &unbound) - bare, 6, "one more than without the setting");
    assert_eq!(allocations(&behind, &bound) - bare, 6);
}

/// The future is moved into its box, once for each request that waits for a store.
#[test]
fn waiting_request_has_a_small_future() {
    let store = kvolt_cache::MemoryStore::<Vec<u8>>::new();
    let manager = Manager::<String>::new(Encoded::new(store, RecordJson::new()));
    let sessions = Sessions::new(manager.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let token = runtime.block_on(manager.create(String::from(NAME))).unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());
    let request = Request::get("/").header("cookie", cookie).body(()).unwrap();
    let Admission::Wait(wait) = Arc::new(sessions.layer()).admit(&request, None) else {
        panic!("a store that decodes does not answer at once");
    };
    let size = size_of_val(&*wait);
    assert!(size <= 2_560, "{size} bytes");
    assert!(runtime.block_on(wait).is_ok());
}
