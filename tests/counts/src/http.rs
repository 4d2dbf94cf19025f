//! Whole requests through the layer, in an application on axum, in memory.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::{Request, StatusCode};
use kvolt_cache::MemoryStore;
use kvolt_middleware::{DeviceBound, Session, SessionLayer, Sessions};
use kvolt_session::{AnonymousSessions, DeviceOutcome, Manager, NewSession};
use kvolt_testkit::device::DeviceKey;
use tower_service::Service as _;

use crate::Counter;
use crate::manager::runtime;
use crate::user::{NAME, User};

pub(crate) const BARE: &str = "bare route";

/// A client of an application.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) layer: SessionLayer<User>,
    pub(crate) cookies: String,
}

/// The clients whose requests are counted.
pub(crate) async fn clients() -> Vec<Client> {
    let manager = || {
        let builder = Manager::builder(MemoryStore::new());
        builder.anonymous(AnonymousSessions::new(100)).build().unwrap()
    };
    let cookies = |token: &str| format!("__Host-session_id={token}");
    let plain: Manager<User> = manager();
    let sessions = Sessions::new(plain.clone());
    let user = plain.create(User::of("ada")).await.unwrap();
    let visitor = plain.create_anonymous(User::ada()).await.unwrap();

    let binding: Manager<User> = manager();
    let builder = Sessions::builder(binding.clone()).device_bound(DeviceBound::new());
    let device_bound = builder.build().unwrap();
    let unbound = binding.create(User::of("ada")).await.unwrap();
    let mut session: NewSession<User> = User::of("ada");
    let offer = binding.offer_device(&mut session).unwrap();
    let bound = binding.create(session).await.unwrap();
    let proof = DeviceKey::new(1).registration(&offer);
    let lifetime = Duration::from_secs(600);
    let outcome = binding.bind_device(&bound, proof.as_bytes(), lifetime).await.unwrap();
    let DeviceOutcome::Bound(answer) = outcome else { panic!("{outcome:?}") };
    let proved = answer.cookie.unwrap();
    let bound = format!("{}; __Host-session_bound={proved}", cookies(bound.expose()));

    let client = |name, layer, cookies| Client { name, layer, cookies };
    vec![
        client("no session", sessions.layer().optional(), String::from("theme=dark")),
        client("session", sessions.layer(), cookies(user.expose())),
        client(
            "anonymous session",
            sessions.layer().optional().anonymous(),
            cookies(visitor.expose()),
        ),
        client("session, device binding on", device_bound.layer(), cookies(unbound.expose())),
        client("bound session", device_bound.layer(), bound),
    ]
}

async fn name(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from(NAME), |session| session.name.clone())
}

pub(crate) fn requests(counter: &mut dyn Counter, samples: usize) {
    let runtime = runtime();
    let mut get_profile = |client: &str, router: Router, cookies: &str| {
        // Without its state, a router prepares its handlers for each request.
        let mut router: Router = router.with_state(());
        for _ in 0..samples {
            let request = Request::get("/profile").header("cookie", cookies).body(Body::empty());
            let mut request = Some(request.unwrap());
            counter.count(&format!("axum: {client}"), &mut || {
                let answer: Result<Response, _> =
                    runtime.block_on(router.call(request.take().unwrap()));
                assert_eq!(answer.unwrap().status(), StatusCode::OK);
            });
        }
    };
    let bare = Router::new().route("/profile", get(async || String::from(NAME)));
    get_profile(BARE, bare, "theme=dark");
    for client in runtime.block_on(clients()) {
        let router = Router::new().route("/profile", get(name)).route_layer(client.layer);
        get_profile(client.name, router, &client.cookies);
    }
}
