//! The application on KVolt, in a process of its own: a login, a protected page, a change, a logout.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use kvolt::cache::{ChangeFeed, Encoded, MemoryStore, NearCache, Store};
use kvolt::middleware::{Result, Session, SessionHandle, Sessions};
use kvolt::redis::RedisStore;
use kvolt::session::{Manager, NewSession, Record, RecordJson};
use kvolt::sql::{MySqlStore, PostgresStore, SqliteStore};

use super::floor;
use crate::user::{NAME, User};

/// Serves until its input ends, and prints first on which port.
///
/// `spec` is a store, with `+near` for a near cache and `+each-use` to write each use instead of
/// only those that are due.
pub(crate) fn child(spec: &str, url: &str) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("it starts");
    runtime.block_on(async {
        let app = match spec.split_once('+') {
            None if spec == "bare" => bare(),
            Some((store, "driver")) => floor::app(store, url).await,
            _ => with_sessions(spec, url).await,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("{}", listener.local_addr().expect("it has one").port());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let waiting = tokio::task::spawn_blocking(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        });
        let _ = waiting.await;
        std::process::exit(0);
    });
}

/// The same routes without sessions.
fn bare() -> Router {
    let cookie = "__Host-session_id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let login = async move || ([(axum::http::header::SET_COOKIE, cookie)], "");
    Router::new().route("/profile", get(async || String::from(NAME))).route("/login", post(login))
}

async fn with_sessions(spec: &str, url: &str) -> Router {
    let sessions = Sessions::new(manager(spec, url).await);
    let open = Router::new().route("/login", post(login));
    Router::new()
        .route("/profile", get(profile))
        .route("/change", post(change))
        .route("/logout", post(logout))
        .route_layer(sessions.layer())
        .merge(open.route_layer(sessions.layer().optional()))
        .with_state(sessions)
}

async fn manager(spec: &str, url: &str) -> Manager<User> {
    let (store, options) = spec.split_once('+').unwrap_or((spec, ""));
    let near = options.contains("near");
    let slide_after = if options.contains("each-use") { 0.0 } else { 1.0 / 16.0 };
    let name = format!("kv_{}", spec.replace(['+', '-'], "_"));
    match store {
        "memory" => Manager::new(MemoryStore::new()),
        "redis" => {
            let store = RedisStore::builder(url, &name).slide_after(slide_after);
            pushing(store.open().await.expect("Redis is there"), near).await
        }
        "postgres" => {
            let store = PostgresStore::builder(url, &name).slide_after(slide_after);
            pushing(store.open().await.expect("PostgreSQL is there"), near).await
        }
        "mariadb" => {
            let store = MySqlStore::builder(url, &name).slide_after(slide_after);
            Manager::new(coded(store.open().await.expect("MariaDB is there")))
        }
        "sqlite" => {
            let store = SqliteStore::builder(url, &name).slide_after(slide_after);
            Manager::new(coded(store.open().await.expect("it can be made")))
        }
        _ => panic!("there is no such store: {store}"),
    }
}

pub(super) fn coded<S: Store<Vec<u8>>>(store: S) -> Encoded<Record<User>, S, RecordJson<User>> {
    Encoded::new(store, RecordJson::new())
}

async fn pushing(store: impl Store<Vec<u8>> + ChangeFeed, near: bool) -> Manager<User> {
    if !near {
        return Manager::new(coded(store));
    }
    let store = NearCache::new(coded(store)).expect("there is a runtime");
    // No answer from a copy before that.
    while !store.is_current() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Manager::new(store)
}

async fn login(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    let id = USERS.fetch_add(1, Ordering::Relaxed);
    let session = NewSession::new(User::new(id)).owner(id.to_string());
    Ok((handle.login(session).await?, ""))
}

async fn profile(user: Session<User>) -> String {
    user.name.clone()
}

async fn change(mut user: Session<User>) -> Result<String> {
    Ok(user.update(|user| user.visits += 1).await?.visits.to_string())
}

async fn logout(user: Session<User>) -> Result<impl IntoResponse> {
    Ok((user.logout().await?, ""))
}
