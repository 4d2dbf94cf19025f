//! The log has each hint once, and nothing that any client can repeat.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use kvolt_middleware::{CookiePolicy, Session, SessionHandle, Sessions};
use kvolt_session::Manager;
use support::{Client, User, World, user};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// The lines that a usual configuration shows.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Shown {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("kvolt")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn clients_do_not_fill_the_log() {
    let shown = Shown::default();
    let _guard = tracing::subscriber::set_default(shown.clone());
    let world = World::new();
    let token = world.manager.create(user("ada")).await.unwrap();
    let mut client = world.client();
    let foreign = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")];
    for path in ["/count", "/login"] {
        let answer = client.send(Method::POST, path, &foreign).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let [line] = &shown.take()[..] else { panic!("one hint") };
    for part in ["path=\"/count\"", "origin=\"https://evil.test\"", "trusted_origin"] {
        assert!(line.contains(part), "{line}");
    }
    let unknown = "A".repeat(48);
    let name = "__Host-session_id";
    for cookie in [
        format!("{name}={unknown}"),
        format!("{name}=x"),
        format!("{name}={unknown}; {name}={}", token.expose()),
        format!("{name}={}; {}", token.expose(), "a=;".repeat(30_000)),
        vec![format!("{name}={unknown}"); 20].join("x; "),
    ] {
        for path in ["/profile", "/count", "/deep/down/logout"] {
            client.cookie = Some(cookie.clone());
            assert!(!client.post(path).await.status.is_server_error());
        }
    }
    let [line] = &shown.take()[..] else { panic!("one hint") };
    assert!(line.contains("several") && line.contains("cookie"), "{line}");
}

#[tokio::test]
async fn login_behind_a_required_layer_is_explained_once() {
    let shown = Shown::default();
    let _guard = tracing::subscriber::set_default(shown.clone());
    let world = World::new();
    let login = async |client: SessionHandle<User>| client.login(user("ada")).await;
    let routes = Router::new().route("/login", post(login)).route("/page", post(async || ()));
    let mut client =
        Client::new(Router::new().nest("/app", routes.layer(world.sessions().layer())));
    for path in ["/app/page", "/app/login", "/app/login"] {
        assert_eq!(client.post(path).await.status, StatusCode::UNAUTHORIZED);
    }
    let [line] = &shown.take()[..] else { panic!("one hint") };
    assert!(line.contains("path=\"/app/login\"") && line.contains("optional()"), "{line}");
}

#[tokio::test]
async fn secure_cookie_over_plain_http_is_explained_once() {
    let shown = Shown::default();
    let _guard = tracing::subscriber::set_default(shown.clone());
    let world = World::new();
    let mut client = world.client();
    for origin in ["https://app.test", "http://app.test", "http://app.test"] {
        client.send(Method::POST, "/login", &[("origin", origin)]).await;
    }
    let [line] = &shown.take()[..] else { panic!("one hint") };
    assert!(line.contains("insecure_plain_http"), "{line}");

    let plain = CookiePolicy::builder().insecure_plain_http(true).build().unwrap();
    let builder = Sessions::builder(world.manager.clone()).cookie(plain);
    let sessions = builder.lookup("cookie:session_id".parse().unwrap()).build().unwrap();
    let mut client = Client::new(support::router(sessions));
    client.send(Method::POST, "/login", &[("origin", "http://app.test")]).await;
    assert_eq!(shown.len(), 0);
}

struct Customer;

/// The route has a layer, and not one for this type.
#[tokio::test]
async fn layer_for_another_type_is_named() {
    let shown = Shown::default();
    let _guard = tracing::subscriber::set_default(shown.clone());
    let world = World::new();
    let customers = Manager::<Customer>::new(kvolt_cache::MemoryStore::new());
    let app = Router::new()
        .route("/", get(async |_: Session<User>| "user"))
        .route_layer(Sessions::new(customers).layer().optional());
    let answer = Client::new(app).get("/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.store.len(), 0);
    let [line] = &shown.take()[..] else { panic!("one line") };
    for part in ["support::User", "Customer", "path=\"/\""] {
        assert!(line.contains(part), "{line}");
    }
}

/// An outage of the store is one line, however many tokens are due meanwhile.
#[tokio::test]
async fn outage_at_rotations_is_one_line() {
    let shown = Shown::default();
    let _guard = tracing::subscriber::set_default(shown.clone());
    let every = std::time::Duration::from_secs(60);
    let world = World::with(|builder| builder.rotate_every(every));
    let mut client = world.client();
    client.post("/login").await;
    for outage in 1..=2 {
        world.clock.advance(every);
        world.faults.only(&[kvolt_testkit::Call::Replace]);
        world.faults.fail_all(true);
        for _ in 0..10 {
            assert_eq!(client.get("/profile").await.text, "ada");
        }
        assert_eq!(shown.len(), outage);
        world.faults.fail_all(false);
        assert_eq!(client.get("/profile").await.set_cookies().len(), 1);
    }
}
