//! What any client can cause is not in the log, unless it was asked for.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};
use support::{World, user};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Counts events that a usual configuration shows.
#[derive(Clone, Default)]
struct Shown(Arc<AtomicUsize>);

impl Subscriber for Shown {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("kvolt")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
    for path in ["/count", "/login", "/bare/login"] {
        let answer = client.send(Method::POST, path, &foreign).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
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
    assert_eq!(shown.0.load(Ordering::Relaxed), 0);
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
        assert_eq!(shown.0.load(Ordering::Relaxed), outage);
        world.faults.fail_all(false);
        assert_eq!(client.get("/profile").await.set_cookies().len(), 1);
    }
}
