//! A request through a session layer, beside the bare route.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::routing::{get, post};
use axum_session::{SessionConfig, SessionNullPool};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{Handle, Sessions};
use kvolt::session::{Manager, NewSession};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tower::Service;
use tower_sessions::SessionManagerLayer;

use crate::harness::{Contender, race, target};

const IDLE: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

fn ada() -> User {
    User { id: 42, name: "Ada Lovelace".into() }
}

/// A router with `POST /login` and `GET /profile`, and the cookies of one who signed in.
#[derive(Clone)]
pub(crate) struct App {
    router: Router,
    cookies: Option<HeaderValue>,
}

impl App {
    async fn new(mut router: Router) -> Self {
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
        let mut app = Self { router, cookies };
        let response = app.router.call(app.request()).await.expect("it can't fail");
        assert_eq!(response.status(), StatusCode::OK);
        let body = axum::body::to_bytes(response.into_body(), 100).await.expect("it is short");
        assert_eq!(body, "Ada Lovelace");
        app
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::get("/profile").body(Body::empty()).expect("it is a request");
        if let Some(cookies) = &self.cookies {
            request.headers_mut().insert(COOKIE, cookies.clone());
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
    app.cookies =
        Some(HeaderValue::from_static("__Host-id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    app
}

/// What axum itself needs to call a layer.
pub(crate) async fn idle_layer() -> App {
    let App { router, cookies } = bare().await;
    let layer = tower::layer::layer_fn(|route: axum::routing::Route| route);
    App { router: router.route_layer(layer), cookies }
}

pub(crate) async fn kvolt() -> App {
    async fn login(
        handle: Handle<User>,
    ) -> kvolt::middleware::Result<impl axum::response::IntoResponse> {
        Ok((handle.login(NewSession::new(ada())).await?, ""))
    }
    async fn profile(user: kvolt::middleware::Session<User>) -> String {
        user.name.clone()
    }
    let sessions = Sessions::new(Manager::new(MemoryStore::new(), IDLE));
    let router = Router::new()
        .route("/profile", get(profile))
        .route_layer(sessions.layer())
        .route("/login", post(login));
    App::new(router.with_state(sessions)).await
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

/// All of them, the bare route first.
pub(crate) async fn all() -> [(&'static str, App); 6] {
    [
        ("bare route", bare().await),
        ("a layer that does nothing", idle_layer().await),
        ("kvolt", kvolt().await),
        ("tower-sessions", tower_sessions(false).await),
        ("tower-sessions, saving so that it slides", tower_sessions(true).await),
        ("axum_session", axum_session().await),
    ]
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts")
}

const REQUESTS: u64 = 50_000;

pub(crate) fn run() {
    println!("\n== http: a request with a signed-in user, in process");
    let apps = runtime().block_on(all());
    let contender = |(name, app)| {
        Contender::new(name, move |_, requests| runtime().block_on(App::requests(app, requests)))
    };
    let contenders: Vec<Contender> =
        apps.iter().map(|(name, app)| (*name, app)).map(contender).collect();
    let results = race("GET /profile", 1, REQUESTS, &contenders);
    let bare = results.of("bare route");
    let added = |name| results.of(name) - bare;
    println!("\n  {:<44} {:>10} {:>7}", "added to the bare route", "ns", "times");
    for (name, _) in &apps[1..] {
        println!("  {name:<44} {:>10.0} {:>7.1}", added(name), added(name) / added("kvolt"));
    }
    target("kvolt adds, ns", added("kvolt"), 400.0);
    target("kvolt adds / tower-sessions", added("kvolt") / added("tower-sessions"), 1.0 / 5.0);
    target("kvolt adds / axum_session", added("kvolt") / added("axum_session"), 1.0 / 9.0);
}
