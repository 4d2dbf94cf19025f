//! Server-side sessions for Rust services: log in, protect routes, list and end
//! sessions, with your own typed data.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::response::IntoResponse;
//! use axum::routing::{get, post};
//! use kvolt::cache::MemoryStore;
//! use kvolt::middleware::{SessionHandle, Result, Session, Sessions};
//! use kvolt::session::{Manager, NewSession};
//! # use axum::{body::Body, http::{Request, header::{COOKIE, SET_COOKIE}}};
//! # use tower::ServiceExt;
//!
//! #[derive(Clone)]
//! struct User { name: String }
//!
//! async fn login(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
//!     // … after your own check of the credentials:
//!     let ada = NewSession::new(User { name: "Ada".into() }).owner("42");
//!     Ok((handle.login(ada).await?, "welcome"))
//! }
//!
//! async fn profile(user: Session<User>) -> String {
//!     user.name.clone()
//! }
//!
//! async fn logout(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
//!     Ok((handle.logout().await?, "goodbye"))
//! }
//!
//! let sessions = Sessions::new(Manager::new(MemoryStore::new(), Duration::from_secs(30 * 60)));
//! // With or without a session:
//! let open = Router::new().route("/login", post(login)).route("/logout", post(logout));
//! let app = Router::new()
//!     .route("/profile", get(profile))
//!     .route_layer(sessions.layer())
//!     .merge(open.route_layer(sessions.layer().optional()))
//!     .with_state(sessions);
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let send = |method, path, cookie: String| {
//! #     let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
//! #     app.clone().oneshot(request.body(Body::empty()).unwrap())
//! # };
//! # let login = send("POST", "/login", String::new()).await.unwrap();
//! # let cookie = login.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
//! # assert_eq!(send("GET", "/profile", cookie.clone()).await.unwrap().status(), 200);
//! # assert_eq!(send("POST", "/logout", cookie.clone()).await.unwrap().status(), 200);
//! # assert_eq!(send("GET", "/profile", cookie).await.unwrap().status(), 401);
//! # });
//! ```
//!
//! # The rooms
//!
//! Dependencies point one way: an application uses [`middleware`], which uses
//! [`session`], which uses [`cache`].
//!
//! - [`cache`]: time-limited storage that knows nothing of sessions. The
//!   contract of a store, the store in memory, and a plain cache.
//! - [`session`]: token, session and manager, which know nothing of HTTP.
//! - `kvolt::redis` and `kvolt::sql`, with their features: stores on Redis and
//!   Valkey, PostgreSQL, MySQL and MariaDB, and SQLite.
//! - [`middleware`]: the tower layer, cookies, headers, and extractors for axum.
//!
//! [`account_security`] is a guide to what is needed around a login: devices and limits,
//! step-up, rotation, form tokens, live connections, audit.
//!
//! # Guarantees
//!
//! What a call does is done when it returns. A session that was ended stays
//! ended, whatever was in flight. Concurrent updates all take effect. An error
//! is a system that failed, never a session that is not there.
//!
//! # What it does not do
//!
//! It checks no passwords and limits no attempts. Sessions in memory end with
//! the process and are not shared between processes; those in another store
//! do and are.
//!
//! # Features
//!
//! - `axum` (default): extractors and responses for axum 0.8.
//! - `http` (part of `axum`): the tower layer, for any tower service.
//! - `device-names`: what a user agent is called by people.
//! - `redis`, `postgres`, `mysql`, `sqlite`: a store each, with `json`.
//! - `json`: sessions as JSON, for stores that keep bytes.
//! - `encrypt`: what a store keeps is encrypted.
//! - `near`: copies in memory of what a remote store holds.
//! - `live` (part of `http`): waiting for the end of a session.
//! - `metrics`: counts and times by the `metrics` facade.

pub use kvolt_cache as cache;
#[cfg(feature = "middleware")]
pub use kvolt_middleware as middleware;
#[cfg(feature = "redis")]
pub use kvolt_redis as redis;
pub use kvolt_session as session;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use kvolt_sql as sql;

#[doc = include_str!("../docs/account-security.md")]
#[cfg(feature = "axum")]
pub mod account_security {}
