//! A small application behind the layer, and a client that keeps what it is given.
#![allow(unreachable_pub, reason = "it is a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kvolt_cache::MemoryStore;
use kvolt_middleware::testing::RecordedEvents;
use kvolt_middleware::{Result, Session, SessionHandle, Sessions};
use kvolt_session::{EventKind, Manager, NewSession, Record, RefusalReason, Token};
use kvolt_testkit::{Faults, FaultyStore, ManualClock};
use tower::ServiceExt;

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: String,
    pub count: u32,
}

pub fn user(name: &str) -> NewSession<User> {
    NewSession::new(User { name: name.to_owned(), count: 0 }).owner(name)
}

pub const IDLE: Duration = Duration::from_secs(600);

/// A store that can be broken, a clock that can be moved, and the application on them.
pub struct World {
    pub store: MemoryStore<Record<User>>,
    pub faults: Faults,
    pub clock: ManualClock,
    pub manager: Manager<User>,
    pub events: RecordedEvents,
}

impl World {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(
        settings: impl FnOnce(
            kvolt_session::ManagerBuilder<User>,
        ) -> kvolt_session::ManagerBuilder<User>,
    ) -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clock()).build();
        let (faulty, faults) = FaultyStore::new(store.clone());
        let builder = Manager::builder(faulty).idle_timeout(IDLE);
        let manager = settings(builder).build().unwrap();
        let events = RecordedEvents::of(&manager);
        Self { store, faults, clock, manager, events }
    }

    pub fn sessions(&self) -> Sessions<User> {
        Sessions::new(self.manager.clone())
    }

    pub fn sessions_by(&self, lookup: &str) -> Sessions<User> {
        let builder = Sessions::builder(self.manager.clone());
        builder.lookup(lookup.parse().unwrap()).build().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(router(self.sessions()))
    }
}

/// The application that most tests use.
pub fn router(sessions: Sessions<User>) -> Router {
    let optional = || sessions.layer().optional();
    Router::new()
        .route("/profile", get(profile))
        .route("/count", post(count))
        .route("/rotate", post(rotate))
        .route("/rotate-and-fail", post(rotate_and_fail))
        .route("/deep/down/logout", post(logout))
        .route("/revoke-others", post(revoke_others))
        .route_layer(sessions.layer())
        .merge(
            Router::new()
                .route("/", get(home))
                .route("/login", post(login))
                .route("/logout", post(handle_logout))
                .route_layer(sessions.layer().optional()),
        )
        .route("/nested/login", post(login).route_layer(optional()).route_layer(optional()))
        .route("/bare/home", get(home))
}

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

async fn login(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.login(user("ada")).await?;
    Ok("in")
}

async fn count(mut session: Session<User>) -> Result<String> {
    let session = session.update(|user| user.count += 1).await?;
    Ok(session.count.to_string())
}

async fn rotate(session: Session<User>) -> Result<&'static str> {
    session.rotate().await?;
    Ok("rotated")
}

async fn rotate_and_fail(session: Session<User>) -> Result<StatusCode> {
    session.rotate().await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn logout(session: Session<User>) -> Result<&'static str> {
    session.logout().await?;
    Ok("out")
}

async fn handle_logout(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.logout().await?;
    Ok("out")
}

async fn revoke_others(session: Session<User>) -> Result<String> {
    Ok(session.revoke_others().await?.to_string())
}

/// A client with a jar for one cookie, or a header of its own.
pub struct Client {
    pub app: Router,
    pub cookie: Option<String>,
}

impl Client {
    pub fn new(app: Router) -> Self {
        Self { app, cookie: None }
    }

    /// With a token that it was given by other means.
    pub fn with(app: &Router, token: &Token) -> Self {
        let cookie = Some(format!("__Host-session_id={}", token.expose()));
        Self { app: app.clone(), cookie }
    }

    /// The same device once more.
    pub fn same(&self) -> Self {
        Self { app: self.app.clone(), cookie: self.cookie.clone() }
    }

    /// The same application, for another device.
    pub fn other(&self) -> Self {
        Self::new(self.app.clone())
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn post(&mut self, path: &str) -> Answer {
        self.send(Method::POST, path, &[]).await
    }

    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_body(method, path, headers, Body::empty()).await
    }

    pub async fn send_body(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "app.test");
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            self.cookie = if pair.ends_with('=') { None } else { Some(pair) };
        }
        Answer::read(response).await
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub head: Response<()>,
    pub text: String,
}

impl Answer {
    pub async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: parts.status, head: Response::from_parts(parts, ()), text }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub fn set_cookies(&self) -> Vec<&str> {
        self.head
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    pub fn is_text(&self) -> bool {
        self.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("text/plain"))
    }
}

/// The reasons of the refusals since the last call, which are all events.
#[track_caller]
pub fn refusals(events: &RecordedEvents) -> Vec<RefusalReason> {
    let refused = |kind| match kind {
        EventKind::Refused { reason } => reason,
        other => panic!("{other:?}"),
    };
    events.kinds().into_iter().map(refused).collect()
}
