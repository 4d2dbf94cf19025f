//! Server-side sessions for Rust services: log in, protect routes, list and revoke sessions,
//! with your own typed data.
//!
//! ```
//! use axum::Router;
//! use axum::routing::{get, post};
//! use kvolt::{Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions};
//! # use axum::{body::Body, http::{Request, header::{COOKIE, SET_COOKIE}}};
//! # use tower::ServiceExt;
//!
//! #[derive(Clone)]
//! struct User {
//!     name: String,
//! }
//!
//! async fn login(client: SessionHandle<User>) -> Result<()> {
//!     // … after your own check of the password:
//!     client.login(NewSession::new(User { name: "Ada".to_owned() }).owner(42u64)).await
//! }
//!
//! async fn profile(user: Session<User>) -> String {
//!     format!("you are {}\n", user.name)
//! }
//!
//! async fn logout(client: SessionHandle<User>) -> Result<()> {
//!     client.logout().await
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
//! let app: Router = Router::new()
//!     .route("/login", post(login))
//!     .route("/profile", get(profile))
//!     .route("/logout", post(logout))
//!     .layer(sessions.layer().optional());
//! # let send = |method, path, cookie: String| {
//! #     let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
//! #     app.clone().oneshot(request.body(Body::empty()).unwrap())
//! # };
//! # let login = send("POST", "/login", String::new()).await.unwrap();
//! # let cookie = login.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
//! # assert_eq!(send("GET", "/profile", cookie.clone()).await.unwrap().status(), 200);
//! # assert_eq!(send("POST", "/logout", cookie.clone()).await.unwrap().status(), 200);
//! # assert_eq!(send("GET", "/profile", cookie).await.unwrap().status(), 401);
//! # }
//! ```
//!
//! The [guide] begins at an empty folder and has a whole program on each page.
//!
//! # Which type when
//!
//! | you want to | take |
//! |---|---|
//! | keep sessions in a store | [`Manager`], one for each application |
//! | put them behind routes | [`Sessions`], from the manager; [`Sessions::layer`] is the layer |
//! | demand a session in a handler | [`Session`], an argument; [`Option`] of it admits requests without one |
//! | sign a client in or out | [`SessionHandle`], an argument |
//! | describe a session to create | [`NewSession`], with [`Owner`], [`Device`] and [`Level`] |
//! | read a session outside of a handler, or in a list | [`SessionSnapshot`] |
//! | name a session in a list, a log or a URL | [`SessionId`], which is no secret |
//! | hand a client its secret | [`Token`]; within a layer, the cookie does it for you |
//! | change the cookie, or where the token travels | [`CookiePolicy`], [`Lookup`] |
//! | answer requests that lack a session | [`Refusal`] |
//! | require a recent or stronger authentication | [`StepUp`] |
//! | wait for the end of a session | [`session::LiveSession`] |
//! | follow what happens | [`session::EventListener`] |
//! | sign in inside a test | [`testing::TestClient`], with the feature `testing` |
//!
//! # Which store when
//!
//! | you have | take | sessions survive |
//! |---|---|---|
//! | one process | [`MemoryStore`] | nothing: they end with the process |
//! | one machine | [`SqliteStore`] | restarts and power failures |
//! | several servers, speed first | [`RedisStore`]: Redis or Valkey, Sentinel, Cluster | restarts; a failover may undo the last changes |
//! | several servers, a database already | [`PostgresStore`], [`MySqlStore`] | restarts, and failovers with synchronous replication |
//! | a remote store, and many reads | [`NearCache`] around it | as the store |
//!
//! A remote store keeps bytes. [`Encoded`] puts it together with a codec: [`RecordJson`], or
//! [`Encrypted`](cache::codec::Encrypted) around it.
//!
//! # Guarantees
//!
//! - A call is done when it returns. Nothing waits for the response.
//! - A session that has ended stays ended, whatever was in flight.
//! - Concurrent updates all take effect.
//! - The store holds no token, only a SHA-256 of it.
//! - An error is a system that failed, never a missing session.
//!
//! # What it does not do
//!
//! It checks no passwords and limits no attempts at signing in. Data that outlives a session belongs
//! into your database.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | yes | extractors and responses for axum 0.8; with `middleware` |
//! | `middleware` | yes | the tower layer, for any tower service, such as those of tonic; with `live` |
//! | `redis` | | [`RedisStore`]; with `json` |
//! | `postgres`, `mysql`, `sqlite` | | a SQL store each; with `json`. They need Rust 1.94 |
//! | `near` | | [`NearCache`]: copies of a remote store's entries in this process |
//! | `json` | | [`RecordJson`]: sessions as JSON, for stores that keep bytes |
//! | `encrypt` | | [`cache::codec::Encrypted`]: encrypted values in the store |
//! | `live` | yes | [`session::LiveSession`]: waiting for the end of a session |
//! | `metrics` | | counters and histograms through the `metrics` facade |
//! | `device-bound` | | [`middleware::DeviceBound`]: sessions that are bound to the device of their browser; with `middleware` |
//! | `device-names` | | [`device_names`]: readable names for `User-Agent` headers |
//! | `testing` | | [`testing`]: signing in inside a test of an application; for dev-dependencies only |
//!
//! For actix-web 4, turn the default features off, turn `middleware` on, and add the crate
//! `kvolt-actix`: see [the guide](guide::actix_web).
//!
//! # Modules
//!
//! The names above are at the root. The modules have the rest: [`cache`] (stores, codecs, clocks),
//! [`session`] (manager, events), [`middleware`] (layer, cookies, form tokens, proxies), [`redis`]
//! and [`sql`]. Each is a crate of its own, and depends on the ones before it only.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(
        feature = "axum",
        feature = "device-bound",
        feature = "device-names",
        feature = "encrypt",
        feature = "mysql",
        feature = "near",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite",
        feature = "testing"
    )),
    allow(rustdoc::broken_intra_doc_links, reason = "without a feature its items don't exist")
)]

#[doc(inline)]
pub use kvolt_cache as cache;
#[cfg(feature = "device-names")]
#[doc(inline)]
pub use kvolt_device_names as device_names;
#[cfg(feature = "middleware")]
#[doc(inline)]
pub use kvolt_middleware as middleware;
#[cfg(feature = "testing")]
#[doc(inline)]
pub use kvolt_middleware::testing;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use kvolt_redis as redis;
#[doc(inline)]
pub use kvolt_session as session;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#[doc(inline)]
pub use kvolt_sql as sql;

#[cfg(feature = "near")]
#[doc(inline)]
pub use kvolt_cache::NearCache;
#[doc(inline)]
pub use kvolt_cache::{Encoded, MemoryStore, Owner, OwnerLimit};
#[cfg(feature = "middleware")]
#[doc(inline)]
pub use kvolt_middleware::{
    CookiePolicy, Error, Lookup, Refusal, Result, Session, SessionHandle, SessionLayer, Sessions,
};
#[cfg(feature = "redis")]
#[doc(inline)]
pub use kvolt_redis::RedisStore;
#[cfg(feature = "json")]
#[doc(inline)]
pub use kvolt_session::RecordJson;
#[doc(inline)]
pub use kvolt_session::{
    Device, Level, Manager, NewSession, SessionId, SessionSnapshot, StepUp, Timeouts, Token,
};
#[cfg(feature = "mysql")]
#[doc(inline)]
pub use kvolt_sql::MySqlStore;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use kvolt_sql::PostgresStore;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use kvolt_sql::SqliteStore;

#[cfg(feature = "axum")]
pub mod guide;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
