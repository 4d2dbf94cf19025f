//! A request through a session layer, beside the bare route.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE as COOKIE_HEADER, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::{get, post};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{SessionHandle, Sessions};
use kvolt::session::{Manager, NewSession};
use tokio::runtime::Runtime;
use tower::Service;

use crate::floor::{self, Floor};
use crate::harness::{Contender, Race, Settings, Table, progress};
use crate::peers::{axum_session, ruts, saysion, tower_sessions};
use crate::user::{NAME, User};

pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);

pub(crate) fn ada() -> User {
    User::new(42)
}

/// The address of the client, as `into_make_service_with_connect_info` puts it into each request.
#[derive(Clone)]
struct Peer(#[expect(dead_code, reason = "no handler reads it")] SocketAddr);

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
        assert_eq!(body, NAME);
        app
    }

    pub(crate) fn with_cookies(mut self, cookies: &str) -> Self {
        self.cookies = Some(HeaderValue::from_str(cookies).expect("it is a value"));
        self
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::get("/profile").body(Body::empty()).expect("it is a request");
        if let Some(cookies) = &self.cookies {
            request.headers_mut().insert(COOKIE_HEADER, cookies.clone());
        }
        if self.peer {
            request.extensions_mut().insert(Peer(([127, 0, 0, 1], 50_000).into()));
        }
        request
    }

    /// So many clients sign in.
    pub(crate) async fn logins(&self, count: u64) {
        let mut router = self.router.clone();
        for _ in 0..count {
            let login = Request::post("/login").body(Body::empty()).expect("it is a request");
            let response = router.call(login).await.expect("it can't fail");
            assert!(response.headers().contains_key(SET_COOKIE));
        }
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
            .route("/profile", get(async || String::from(NAME)))
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

pub(crate) const BARE: &str = "a bare route";
const IDLE_LAYER: &str = "a layer that does nothing";
const FLOOR: &str = "a hand-written layer";
const KVOLT: &str = "KVolt";
const TOWER: &str = "tower-sessions, not sliding";
/// By itself, tower-sessions prolongs a session only when a request changes it.
const TOWER_SLIDING: &str = "tower-sessions, sliding";
const AXUM_SESSION: &str = "axum_session";
const RUTS: &str = "ruts, not sliding";
const RUTS_SLIDING: &str = "ruts, sliding";
const SAYSION: &str = "saysion, not sliding";
const SAYSION_SLIDING: &str = "saysion, sliding";

/// The bare route first.
pub(crate) const CONTENDERS: [&str; 11] = [
    BARE,
    IDLE_LAYER,
    FLOOR,
    KVOLT,
    TOWER,
    TOWER_SLIDING,
    AXUM_SESSION,
    RUTS,
    RUTS_SLIDING,
    SAYSION,
    SAYSION_SLIDING,
];

/// Those whose memory for a session is measured.
pub(crate) const LIBRARIES: [&str; 5] = [KVOLT, TOWER, AXUM_SESSION, RUTS, SAYSION];

pub(crate) async fn library(name: &str) -> App {
    match name {
        BARE => bare().await,
        IDLE_LAYER => idle_layer().await,
        FLOOR => floor().await,
        KVOLT => kvolt().await,
        TOWER => tower_sessions(false).await,
        TOWER_SLIDING => tower_sessions(true).await,
        AXUM_SESSION => axum_session().await,
        RUTS => ruts(false).await,
        RUTS_SLIDING => ruts(true).await,
        SAYSION => saysion(false).await,
        SAYSION_SLIDING => saysion(true).await,
        _ => unreachable!("only this program asks"),
    }
}

async fn all() -> Vec<(&'static str, App)> {
    let mut apps = Vec::new();
    for name in CONTENDERS {
        apps.push((name, library(name).await));
    }
    apps
}

/// All of them, for requests as `axum::serve` makes them of a plain router, and for requests
/// with the client's address in their extensions, which thus exist and are partly full.
pub(crate) async fn all_twice() -> [(&'static str, Vec<(&'static str, App)>); 2] {
    let with_peer = |(name, app)| (name, App { peer: true, ..app });
    [
        ("plain requests", all().await),
        ("requests with connect info", all().await.into_iter().map(with_peer).collect()),
    ]
}

/// Requests with the client's address in their extensions.
pub(crate) async fn with_peer(app: impl Future<Output = App>) -> App {
    App { peer: true, ..app.await }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts")
}

/// The requests of a turn: so few that some turns share their processor with no other program.
const REQUESTS: u64 = 10_000;

pub(crate) fn run(settings: Settings) {
    let rounds = settings.pick(41, 9);
    for (index, (requests, apps)) in runtime().block_on(all_twice()).into_iter().enumerate() {
        progress(index, 2, requests);
        let contender = |(name, app)| {
            Contender::new(name, move |_, requests| {
                runtime().block_on(App::requests(app, requests))
            })
        };
        let contenders: Vec<Contender> =
            apps.iter().map(|(name, app)| (*name, app)).map(contender).collect();
        let race = Race { column: "a request", rounds, threads: 1, ops: REQUESTS };
        race.run(&Table::new("http", requests), &contenders);
    }
}
