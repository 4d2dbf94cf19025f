//! The service on KVolt, on two servers, and its visitors.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use kvolt_bridge::{Bridge, OldSession, OldSessions};
use kvolt_cache::{Encoded, MemoryStore};
use kvolt_middleware::{Session, Sessions};
use kvolt_redis::RedisStore;
use kvolt_session::{Manager, NewSession, RecordJson};
use redis::aio::MultiplexedConnection;
use tower::ServiceExt;

use crate::old::OldLibrary;

const NEW: &str = "__Host-session_id";
/// More than a starved machine needs for the test.
const LONG: Duration = Duration::from_secs(600);

pub async fn redis_connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// The same application on two servers, and on one on which each handover has passed.
pub struct Application {
    servers: [Router; 2],
    later: Router,
    manager: Manager<String>,
}

impl Application {
    pub async fn start(url: &str, old: impl OldSessions + Clone) -> Self {
        let (first, manager) = server(url, old.clone(), LONG).await;
        let (second, _) = server(url, old.clone(), LONG).await;
        let (later, _) = server(url, old, Duration::from_nanos(1)).await;
        Self { servers: [first, second], later, manager }
    }
}

async fn server(url: &str, old: impl OldSessions, handover: Duration) -> (Router, Manager<String>) {
    let open = async |namespace| {
        let builder = RedisStore::builder(url, namespace).timeout(LONG);
        builder.open().await.unwrap()
    };
    let manager = Manager::new(Encoded::new(open("shop").await, RecordJson::new()));
    let bridge = Bridge::builder(&manager, open("shop_moves").await, old)
        .handover(handover)
        .build(convert)
        .unwrap();
    let sessions = Sessions::builder(manager.clone()).bridge(bridge);
    let sessions = sessions.store_timeout(LONG).build().unwrap();
    let name = get(async |user: Session<String>| user.to_string());
    (Router::new().route("/", name).route_layer(sessions.layer()), manager)
}

/// Sessions in memory.
pub fn in_memory(old: impl OldSessions) -> Sessions<String> {
    let manager = Manager::new(MemoryStore::new());
    let bridge = Bridge::builder(&manager, MemoryStore::new(), old).build(convert).unwrap();
    Sessions::builder(manager).bridge(bridge).build().unwrap()
}

async fn convert(old: OldSession) -> Result<Option<NewSession<String>>, serde_json::Error> {
    let user = old.get::<String>("user")?;
    Ok(user.map(|user| NewSession::new(user.clone()).owner(user)))
}

/// A browser.
struct Visitor {
    name: String,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn request(&self) -> Request<Body> {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Request::get("/").header(COOKIE, pairs.join("; ")).body(Body::empty()).unwrap()
    }

    fn store(&mut self, answer: &Response<Body>) {
        for header in answer.headers().get_all(SET_COOKIE) {
            let pair = header.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value.is_empty() {
                true => drop(self.cookies.remove(name)),
                false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
    }

    /// Sends ten requests at once, to both servers. Some clients disconnect: `cut` says after how
    /// many steps of the server.
    async fn send_ten(
        &mut self,
        servers: &[Router; 2],
        cut: impl Fn(usize) -> Option<usize>,
    ) -> Vec<(StatusCode, String)> {
        let requests = (0..10).map(|at| {
            let answer = servers[at % 2].clone().oneshot(self.request());
            tokio::spawn(steps(answer, cut(at)))
        });
        let requests: Vec<_> = requests.collect();
        let mut answers = Vec::new();
        for request in requests {
            let Some(answer) = request.await.unwrap() else { continue };
            let answer = answer.unwrap();
            self.store(&answer);
            let (head, body) = answer.into_parts();
            let text = body.collect().await.unwrap().to_bytes();
            answers.push((head.status, String::from_utf8(text.to_vec()).unwrap()));
        }
        answers
    }
}

/// Runs a future; drops it after so many steps, if it has not finished.
async fn steps<F: Future>(future: F, max_steps: Option<usize>) -> Option<F::Output> {
    let mut future = pin!(future);
    let Some(max_steps) = max_steps else { return Some(future.await) };
    for _ in 0..max_steps {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            // The server has answered, and the answer is lost.
            return None;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    None
}

/// Moves visitors of a running service, and checks that all stay signed in. A tenth as many sign out
/// on the old side meanwhile, and stay signed out.
pub async fn switch(application: &Application, library: &Arc<dyn OldLibrary>, visitors: usize) {
    let all = visitors + visitors / 10;
    let names: Vec<_> = (0..all).map(|at| format!("user-{at}")).collect();
    let (old, signing_in) = (Arc::clone(library), names.clone());
    // In a thread: the other library has a runtime of its own.
    let cookies = std::thread::spawn(move || old.sign_in(signing_in)).join().unwrap();
    assert_eq!(cookies.len(), all);
    let mut all: Vec<_> = names
        .into_iter()
        .zip(&cookies)
        .map(|(name, pair)| {
            let (cookie, value) = pair.split_once('=').unwrap();
            Visitor { name, cookies: BTreeMap::from([(cookie.to_owned(), value.to_owned())]) }
        })
        .collect();

    // The first requests. Of some visitors all answers are lost, of others some.
    for (at, visitor) in all.iter_mut().enumerate() {
        let cut = |request: usize| match at % 4 {
            0 => Some((request + at) % 12),
            1 => request.is_multiple_of(3).then_some((request + at) % 7),
            _ => None,
        };
        let answers = visitor.send_ten(&application.servers, cut).await;
        let expected = (StatusCode::OK, visitor.name.clone());
        assert!(answers.iter().all(|answer| *answer == expected), "{at}: {answers:?}");
    }

    // Some sign out on the old side, which still runs.
    let leaving = cookies[visitors..].to_vec();
    let old = Arc::clone(library);
    let has_sign_out = std::thread::spawn(move || old.sign_out(leaving)).join().unwrap();

    let has_left = |at: usize| has_sign_out && at >= visitors;

    // The next requests, also of visitors without an answer so far.
    for (at, visitor) in all.iter_mut().enumerate() {
        let answers = visitor.send_ten(&application.servers, |_| None).await;
        let expected = match has_left(at) {
            true => StatusCode::UNAUTHORIZED,
            false => StatusCode::OK,
        };
        assert!(answers.iter().all(|(status, _)| *status == expected), "{at}: {answers:?}");
    }
    for (at, visitor) in all.iter_mut().enumerate() {
        let answers = visitor.send_ten(&application.servers, |_| None).await;
        if has_left(at) {
            continue;
        }
        let expected = (StatusCode::OK, visitor.name.clone());
        assert!(answers.iter().all(|answer| *answer == expected), "{at}: {answers:?}");
        assert_eq!(visitor.cookies.keys().collect::<Vec<_>>(), [NEW], "{at}");
    }
    // One session each, whatever was cut.
    let sessions = if has_sign_out { visitors } else { all.len() };
    assert_eq!(application.manager.count().await.unwrap(), sessions as u64);

    // No old cookie is accepted once its handover has passed.
    for pair in &cookies {
        let request = Request::get("/").header(COOKIE, pair).body(Body::empty()).unwrap();
        let answer = application.later.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{pair}");
    }
    println!("{sessions} of {sessions} visitors stayed signed in");
}
