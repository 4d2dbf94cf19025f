//! The guide: short pages, each with one program that can be pasted and run.
//!
//! | to begin | |
//! |---|---|
//! | [First sign-in](first_sign_in) | from an empty folder to a page that knows its user |
//! | [List and revoke](list_and_revoke) | a user's devices, and how many |
//! | [Application state](application_state) | `Arc<AppState>`, `FromRef`, `Router<()>`, `from_fn` |
//! | [Testing](testing) | signed-in requests, time that a test moves, a store that fails |
//! | [Errors](errors) | each error and what to do, a section each |
//! | [actix-web](actix_web) | the same program on another framework |
//!
//! | the browser | |
//! |---|---|
//! | [Plain HTTP](plain_http) | cookies in development |
//! | [Single-page application](single_page_app) | a page on another port: CORS and `trusted_origin` |
//! | [Behind a proxy](behind_a_proxy) | `Host`, and the client's address |
//! | [Device-bound sessions](device_bound) | a stolen cookie expires within minutes |
//!
//! | the user | |
//! |---|---|
//! | [User from the database](user_from_database) | load the account on each request |
//! | [Roles](roles) | permissions as extractors |
//! | [OpenID Connect](openid_connect) | sign-in at a provider, its tokens, its logouts |
//! | [Second factor](second_factor) | levels and step-up |
//! | [Passkeys](passkeys) | sign-in without a password, and step-up |
//! | [Impersonation](impersonation) | support acts for a user, and the user sees it |
//! | [Named values](named_values) | `get` and `insert`, as in other libraries |
//! | [Account security](account_security) | timeouts, devices, rotation, visitors, forms, audit |
//!
//! | moving, with no user signed out | |
//! |---|---|
//! | [From tower-sessions](moving_from_tower_sessions) | Redis, PostgreSQL, SQLite |
//! | [From actix-session](moving_from_actix_session) | Redis, cookies |
//! | [From axum_session](moving_from_axum_session) | and any other library, by three methods |
//!
//! | in production | |
//! |---|---|
//! | [Several servers](several_servers) | Redis or SQL, and a near cache |
//! | [Several applications](several_applications) | namespaces |
//! | [Existing pool](existing_pool) | sessions on your own pool of `sqlx` or connection to Redis |
//! | [Operating](operating) | what to watch, backup, failover, keys, database roles |
//! | [Sizing](sizing) | memory, commands and servers, up to a hundred million sessions |
//!
//! | other services | |
//! |---|---|
//! | [WebSockets](web_sockets) | a chat that closes with the session |
//! | [gRPC](grpc) | services of tonic, calls and streams |
//! | [GraphQL](graphql) | the session in resolvers, sign-in and logout as mutations |
//! | [Leptos](leptos) | server functions, also while a page is streamed |
//! | [Other frameworks](frameworks) | what was tried, and how to get there; hyper alone |
//!
//! The programs need `axum` 0.8, `tokio` with the feature `full`, and `serde` with the feature
//! `derive`. Some also need `serde_json`, `tower`, `tower-http`, `sqlx` or `redis`.

#[doc = include_str!("links.txt")]
#[doc = include_str!("account_security.md")]
pub mod account_security {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("actix_web.md")]
pub mod actix_web {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("application_state.md")]
pub mod application_state {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("behind_a_proxy.md")]
pub mod behind_a_proxy {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("device_bound.md")]
#[cfg(feature = "device-bound")]
pub mod device_bound {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("existing_pool.md")]
#[cfg(all(feature = "near", feature = "postgres", feature = "redis"))]
pub mod existing_pool {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("first_sign_in.md")]
pub mod first_sign_in {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("graphql.md")]
pub mod graphql {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("impersonation.md")]
pub mod impersonation {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("leptos.md")]
pub mod leptos {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("list_and_revoke.md")]
pub mod list_and_revoke {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("moving_from_actix_session.md")]
#[cfg(feature = "redis")]
pub mod moving_from_actix_session {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("moving_from_axum_session.md")]
#[cfg(feature = "postgres")]
pub mod moving_from_axum_session {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("moving_from_tower_sessions.md")]
#[cfg(feature = "redis")]
pub mod moving_from_tower_sessions {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("named_values.md")]
pub mod named_values {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("openid_connect.md")]
pub mod openid_connect {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("operating.md")]
#[cfg(all(feature = "encrypt", feature = "postgres"))]
pub mod operating {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("passkeys.md")]
pub mod passkeys {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("plain_http.md")]
pub mod plain_http {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("roles.md")]
pub mod roles {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("second_factor.md")]
pub mod second_factor {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("several_applications.md")]
#[cfg(feature = "sqlite")]
pub mod several_applications {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("several_servers.md")]
#[cfg(all(feature = "near", feature = "redis"))]
pub mod several_servers {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("single_page_app.md")]
pub mod single_page_app {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("sizing.md")]
pub mod sizing {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("testing.md")]
#[cfg(feature = "testing")]
pub mod testing {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("user_from_database.md")]
pub mod user_from_database {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("web_sockets.md")]
pub mod web_sockets {}
