//! Two servers of one application on one store, the store of another library, and browsers.
#![allow(unreachable_pub, reason = "it is a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use kvolt_bridge::{Bridge, BridgeBuilder, OldCookie, OldSession, OldSessionError, OldSessions};
use kvolt_cache::{ManualClock, MemoryStore, Timestamp};
use kvolt_middleware::{Result, Session, SessionHandle, Sessions, SessionsBuilder};
use kvolt_session::{Manager, ManagerBuilder, NewSession, Record, StepUp};
use kvolt_testkit::{Faults, FaultyStore};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const NEW: &str = "__Host-session_id";

/// The other library's store.
#[derive(Clone)]
pub struct Old(Arc<OldInner>);

struct OldInner {
    cookie: OldCookie,
    records: Mutex<HashMap<String, OldSession>>,
    is_down: AtomicBool,
    is_unreadable: AtomicBool,
    hangs: AtomicBool,
    hanging: AtomicUsize,
    removals: AtomicUsize,
}

impl Old {
    fn new() -> Self {
        Self(Arc::new(OldInner {
            cookie: OldCookie::plain("id"),
            records: Mutex::default(),
            is_down: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            hanging: AtomicUsize::new(0),
            removals: AtomicUsize::new(0),
        }))
    }

    pub fn sign_in(&self, id: &str, user: &str) {
        self.put(id, OldSession::from_iter([(String::from("user"), json!(user))]));
    }

    pub fn put(&self, id: &str, session: OldSession) {
        self.0.records.lock().unwrap().insert(id.to_owned(), session);
    }

    /// Returns whether there was a session.
    pub fn sign_out(&self, id: &str) -> bool {
        self.0.records.lock().unwrap().remove(id).is_some()
    }

    pub fn len(&self) -> usize {
        self.0.records.lock().unwrap().len()
    }

    pub fn fail(&self, fail: bool) {
        self.0.is_down.store(fail, Ordering::SeqCst);
    }

    pub fn spoil(&self) {
        self.0.is_unreadable.store(true, Ordering::SeqCst);
    }

    /// Whether removals take effect and never return.
    pub fn hang(&self, hang: bool) {
        self.0.hangs.store(hang, Ordering::SeqCst);
    }

    pub fn hanging(&self) -> usize {
        self.0.hanging.load(Ordering::SeqCst)
    }

    /// How often a removal was asked for.
    pub fn removals(&self) -> usize {
        self.0.removals.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), OldSessionError> {
        match self.0.is_down.load(Ordering::SeqCst) {
            true => Err(OldSessionError::unavailable("it is down")),
            false => Ok(()),
        }
    }
}

impl OldSessions for Old {
    fn cookie(&self) -> &OldCookie {
        &self.0.cookie
    }

    fn id(&self, cookie: &str) -> Option<String> {
        cookie.starts_with("old-").then(|| cookie.to_owned())
    }

    async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        self.check()?;
        let session = self.0.records.lock().unwrap().get(id).cloned();
        if session.is_some() && self.0.is_unreadable.load(Ordering::SeqCst) {
            return Err(OldSessionError::unreadable("it is spoilt"));
        }
        Ok(session)
    }

    async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
        self.0.removals.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let existed = self.sign_out(id);
        if self.0.hangs.load(Ordering::SeqCst) {
            self.0.hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(existed)
    }
}

/// What all servers share.
pub struct World {
    pub clock: ManualClock,
    pub sessions: MemoryStore<Record<String>>,
    pub markers: MemoryStore<Vec<u8>>,
    pub old: Old,
    /// How often the application was asked.
    pub asked: Arc<AtomicUsize>,
    /// If set, the application waits for a permit before it answers.
    pub gate: Option<Arc<Semaphore>>,
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            sessions: MemoryStore::builder().clock(clock.clock()).build(),
            markers: MemoryStore::builder().clock(clock.clock()).build(),
            old: Old::new(),
            asked: Arc::default(),
            gate: None,
            clock,
        }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The states of all markers.
    pub fn markers(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let page = runtime.block_on(kvolt_cache::Store::scan(&self.markers, None, 10_000)).unwrap();
        let state = |bytes: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            value["state"].as_str().unwrap().to_owned()
        };
        let mut states: Vec<_> =
            page.listing.entries.iter().map(|entry| state(&entry.value)).collect();
        states.sort();
        states
    }

    pub fn server(&self) -> Server {
        self.server_with(|bridge| bridge)
    }

    pub fn server_with(
        &self,
        settings: impl FnOnce(BridgeBuilder<String>) -> BridgeBuilder<String>,
    ) -> Server {
        self.server_of(|manager| manager, settings, |sessions| sessions)
    }

    pub fn server_of(
        &self,
        manager: impl FnOnce(ManagerBuilder<String>) -> ManagerBuilder<String>,
        settings: impl FnOnce(BridgeBuilder<String>) -> BridgeBuilder<String>,
        sessions: impl FnOnce(SessionsBuilder<String>) -> SessionsBuilder<String>,
    ) -> Server {
        let (markers, faults) = FaultyStore::new(self.markers.clone());
        let manager = manager(Manager::builder(self.sessions.clone())).build().unwrap();
        let (asked, gate) = (Arc::clone(&self.asked), self.gate.clone());
        let bridge = settings(Bridge::builder(&manager, markers, self.old.clone()))
            .build(move |old: OldSession| {
                asked.fetch_add(1, Ordering::SeqCst);
                let gate = gate.clone();
                async move {
                    if let Some(gate) = gate {
                        gate.acquire().await?.forget();
                    }
                    match old.get::<String>("user")?.as_deref() {
                        Some("broken") => Err("the database is down".into()),
                        Some(user) => {
                            let new = NewSession::new(user.to_owned()).owner(user);
                            let at = old.get::<u64>("signed_in")?.map(Timestamp::from_millis);
                            Ok(Some(match at {
                                Some(at) => new.authenticated(at),
                                None => new,
                            }))
                        }
                        None => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(None),
                    }
                }
            })
            .unwrap();
        let sessions = sessions(Sessions::builder(manager.clone()).bridge(bridge));
        // No starved machine is a slow store.
        let sessions = sessions.store_timeout(MINUTE).build().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Server { runtime, faults, manager, app: router(&sessions) }
    }
}

pub fn router(sessions: &Sessions<String>) -> Router {
    let name = async |name: Option<Session<String>>| {
        name.map_or_else(|| String::from("nobody"), |name| name.to_string())
    };
    let shout = async |mut name: Session<String>| -> Result<String> {
        Ok(name.update(|name| name.push('!')).await?.to_string())
    };
    let logout = async |client: SessionHandle<String>| client.logout().await;
    let login = async |client: SessionHandle<String>| {
        client.login(NewSession::new(String::from("bob")).owner("bob")).await
    };
    Router::new()
        .route("/strict", get(async |name: Session<String>| name.to_string()))
        .route_layer(sessions.layer().strict())
        .merge(
            Router::new()
                .route("/fresh", get(async |name: Session<String>| name.to_string()))
                .route_layer(sessions.layer().require(StepUp::within(5 * MINUTE))),
        )
        .route("/", get(name))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/shout", post(shout))
        .route("/static", get(async || "static"))
        .route_layer(sessions.layer().optional())
        .merge(
            Router::new()
                .route("/only-fresh", get(async || "fresh"))
                .route_layer(sessions.layer().require(StepUp::within(5 * MINUTE))),
        )
        .merge(
            Router::new()
                .route("/only-signed-in", get(async || "signed in"))
                .route_layer(sessions.layer()),
        )
        .merge(
            Router::new()
                .route("/visitor", get(async |name: Session<String>| name.to_string()))
                .route_layer(sessions.layer().anonymous()),
        )
}

/// A server of the application. Dropping it is a crash.
pub struct Server {
    pub runtime: Runtime,
    pub faults: Faults,
    pub manager: Manager<String>,
    pub app: Router,
}

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub caching: Option<String>,
    pub status: StatusCode,
    pub text: String,
    pub cookies: Vec<(String, String)>,
}

impl Server {
    pub fn send(&self, method: &str, path: &str, jar: &Jar) -> Answer {
        self.runtime.block_on(send(self.app.clone(), method, path, jar))
    }

    /// Sends a request, and crashes once the server `hangs`.
    pub fn crash_in(self, jar: &Jar, hangs: impl Fn(&Self) -> bool) {
        let (app, jar) = (self.app.clone(), jar.clone());
        drop(self.runtime.spawn(async move { send(app, "GET", "/", &jar).await }));
        let hangs = (0..60_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            hangs(&self)
        });
        assert!(hangs, "the server answers, or is slower than a minute");
        self.crash();
    }

    pub fn crash(self) {
        self.runtime.shutdown_background();
    }
}

pub async fn send(app: Router, method: &str, path: &str, jar: &Jar) -> Answer {
    send_with(app, method, path, jar, &[]).await
}

pub async fn send_with(
    app: Router,
    method: &str,
    path: &str,
    jar: &Jar,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    for (name, value) in &jar.0 {
        request = request.header(COOKIE, format!("{name}={value}"));
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    let cookies = head.headers.get_all(SET_COOKIE).iter().map(|header| {
        let pair = header.to_str().unwrap().split(';').next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let caching = head.headers.get(CACHE_CONTROL);
    Answer {
        caching: caching.map(|value| value.to_str().unwrap().to_owned()),
        status: head.status,
        cookies: cookies.collect(),
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

/// A browser's cookies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Jar(pub BTreeMap<String, String>);

impl Jar {
    pub fn old(id: &str) -> Self {
        Self(BTreeMap::from([(String::from("id"), id.to_owned())]))
    }

    /// Stores the cookies of an answer.
    pub fn store(&mut self, answer: &Answer) {
        for (name, value) in &answer.cookies {
            match value.is_empty() {
                true => drop(self.0.remove(name)),
                false => drop(self.0.insert(name.clone(), value.clone())),
            }
        }
    }

    pub fn new_cookie(&self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| *name == NEW)
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        )
    }

    /// Sends a request, and stores the cookies of the answer.
    pub fn send(&mut self, server: &Server, method: &str, path: &str) -> Answer {
        let answer = server.send(method, path, self);
        self.store(&answer);
        answer
    }

    pub fn name(&mut self, server: &Server) -> String {
        let answer = self.send(server, "GET", "/");
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.text
    }
}
