//! A request through a session layer, beside the bare route.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::{get, post};
use axum_session::{SessionConfig, SessionNullPool};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{SessionHandle, Sessions};
use kvolt::session::{Manager, NewSession};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tower::Service;
use tower_sessions::SessionManagerLayer;

use crate::floor::{self, Floor};
use crate::harness::{Contender, race, target};

pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
}

pub(crate) fn ada() -> User {
    User { id: 42, name: "Ada Lovelace".into() }
}

/// The address of the client, as `into_make_service_with_connect_info` puts it into each request.
#[derive(Clone)]
struct Peer(#[expect(dead_code, reason = "nobody asks for it")] SocketAddr);

/// A router with `POST /login` and `GET /profile`, and the cookies of a signed-in client.
#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    cookies: Option<HeaderValue>,
    /// Whether requests come with the address of the client among their extensions.
    peer: bool,
}

impl App {
    pub(crate) async fn new(router: Router) -> Self {
        // As `axum::serve` does: without its state, a router prepares its handlers for each request.
        let mut router: Router = router.with_state(());
        let login = Request::post("/login").body(Body::empty()).expect("it is a request");
        let response = router.call(login).await.expect("it can't fail");
        let cookies: Vec<&[u8]> = response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .map(|cookie| cookie.as_bytes().split(|byte| *byte == b';').next().expect("a first"))
            .collect();
        let cookies = (!cookies.is_empty())
            .then(|| HeaderValue::from_bytes(&cookies.join(&b"; "[..])).expect("it is a value"));
        let mut app = Self { router, cookies, peer: false };
        let response = app.router.call(app.request()).await.expect("it can't fail");
        assert_eq!(response.status(), StatusCode::OK);
        let body = axum::body::to_bytes(response.into_body(), 100).await.expect("it is short");
        assert_eq!(body, "Ada Lovelace");
        app
    }

    pub(crate) fn with_cookies(mut self, cookies: &str) -> Self {
        self.cookies = Some(HeaderValue::from_str(cookies).expect("it is a value"));
        self
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::get("/profile").body(Body::empty()).expect("it is a request");
        if let Some(cookies) = &self.cookies {
            request.headers_mut().insert(COOKIE, cookies.clone());
        }
        if self.peer {
            request.extensions_mut().insert(Peer(([127, 0, 0, 1], 50_000).into()));
        }
        request
    }

    pub(crate) async fn requests(&self, count: u64) -> u64 {
        let mut router = self.router.clone();
        let mut answered = 0;
        for _ in 0..count {
            let response = router.call(self.request()).await.expect("it can't fail");
            answered += u64::from(response.status() == StatusCode::OK);
        }
        assert_eq!(answered, count);
        answered
    }
}

pub(crate) async fn bare() -> App {
    let mut app = App::new(
        Router::new()
            .route("/profile", get(async || ada().name))
            .route("/login", post(async || ([(SET_COOKIE, "id=x")], ""))),
    )
    .await;
    let cookie = "__Host-id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    app.cookies = Some(HeaderValue::from_static(cookie));
    app
}

/// Floor: what axum itself needs to call a layer.
pub(crate) async fn idle_layer() -> App {
    let app = bare().await;
    let layer = tower::layer::layer_fn(|route: axum::routing::Route| route);
    App { router: app.router.route_layer(layer), ..app }
}

/// A hand-written layer that does the same work.
pub(crate) async fn floor() -> App {
    let (layer, cookie) = Floor::new();
    let router = Router::new()
        .route("/profile", get(floor::profile).layer(layer))
        .route("/login", post(async move || ([(SET_COOKIE, cookie)], "")));
    App::new(router).await
}

pub(crate) async fn kvolt() -> App {
    async fn login(handle: SessionHandle<User>) -> kvolt::middleware::Result<()> {
        handle.login(NewSession::new(ada())).await
    }
    async fn profile(user: kvolt::middleware::Session<User>) -> String {
        user.name.clone()
    }
    let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
    let router = Router::new()
        .route("/profile", get(profile))
        .route_layer(sessions.layer())
        .route("/login", post(login).route_layer(sessions.layer().optional()));
    App::new(router).await
}

pub(crate) async fn tower_sessions(always_save: bool) -> App {
    use tower_sessions::cookie::time;
    async fn login(session: tower_sessions::Session) {
        session.insert("user", ada()).await.expect("it works");
    }
    async fn profile(session: tower_sessions::Session) -> String {
        session.get::<User>("user").await.expect("it works").expect("signed in").name
    }
    let idle = time::Duration::try_from(IDLE).expect("it is short");
    let layer = SessionManagerLayer::new(tower_sessions::MemoryStore::default())
        .with_expiry(tower_sessions::Expiry::OnInactivity(idle))
        .with_always_save(always_save);
    let router = Router::new().route("/profile", get(profile)).route("/login", post(login));
    App::new(router.layer(layer)).await
}

pub(crate) async fn axum_session() -> App {
    type Session = axum_session::Session<SessionNullPool>;
    async fn login(session: Session) {
        session.set("user", ada());
    }
    async fn profile(session: Session) -> String {
        session.get::<User>("user").expect("signed in").name
    }
    let store = axum_session::SessionStore::new(None, SessionConfig::default()).await;
    let layer = axum_session::SessionLayer::<SessionNullPool>::new(store.expect("it works"));
    let router = Router::new().route("/profile", get(profile)).route("/login", post(login));
    App::new(router.layer(layer)).await
}

pub(crate) const BARE: &str = "bare route";
pub(crate) const FLOOR: &str = "a layer written by hand, the floor";
pub(crate) const KVOLT: &str = "kvolt";
/// By itself, tower-sessions prolongs a session only when a request changes it.
const TOWER_SLIDING: &str = "tower-sessions, saving so that it slides";
const AXUM_SESSION: &str = "axum_session";

/// All of them, the bare route first.
async fn all() -> Vec<(&'static str, App)> {
    vec![
        (BARE, bare().await),
        ("a layer that does nothing", idle_layer().await),
        (FLOOR, floor().await),
        (KVOLT, kvolt().await),
        ("tower-sessions, not sliding", tower_sessions(false).await),
        (TOWER_SLIDING, tower_sessions(true).await),
        (AXUM_SESSION, axum_session().await),
    ]
}

/// All of them, for requests as `axum::serve` makes them of a plain router, and for requests
/// with the client's address in their extensions, which thus exist and are partly full.
pub(crate) async fn all_twice() -> [(&'static str, Vec<(&'static str, App)>); 2] {
    let with_peer = |(name, app)| (name, App { peer: true, ..app });
    [
        ("plain requests", all().await),
        ("with connect info", all().await.into_iter().map(with_peer).collect()),
    ]
}

/// Requests with the client's address in their extensions.
pub(crate) async fn with_peer(app: impl Future<Output = App>) -> App {
    App { peer: true, ..app.await }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts")
}

const REQUESTS: u64 = 50_000;

pub(crate) fn run() {
    println!("\n== http: a request with a signed-in user, in process");
    for (requests, apps) in runtime().block_on(all_twice()) {
        let contender = |(name, app)| {
            Contender::new(name, move |_, requests| {
                runtime().block_on(App::requests(app, requests))
            })
        };
        let contenders: Vec<Contender> =
            apps.iter().map(|(name, app)| (*name, app)).map(contender).collect();
        let results = race(&format!("GET /profile, {requests}"), 1, REQUESTS, &contenders);
        let added = |name| results.of(name) - results.of(BARE);
        println!("\n  {:<44} {:>10} {:>7}", "added to the bare route", "ns", "times");
        for (name, _) in &apps[1..] {
            println!("  {name:<44} {:>10.0} {:>7.1}", added(name), added(name) / added(KVOLT));
        }
        target("kvolt adds / the floor adds", added(KVOLT) / added(FLOOR), 1.25);
        target(
            "kvolt adds / tower-sessions, sliding",
            added(KVOLT) / added(TOWER_SLIDING),
            1.0 / 5.0,
        );
        target("kvolt adds / axum_session", added(KVOLT) / added(AXUM_SESSION), 1.0 / 9.0);
    }
}
