//! The guide: short pages, each with one program that can be pasted and run.
//!
//! | to begin | |
//! |---|---|
//! | [First sign-in](first_sign_in) | from an empty folder to a page that knows its user |
//! | [List and revoke](list_and_revoke) | a user's devices, and how many |
//! | [Application state](application_state) | `Arc<AppState>`, `FromRef`, `Router<()>`, `from_fn` |
//! | [Testing](testing) | signed-in requests, and time that a test moves |
//! | [Errors](errors) | each error and what to do, a section each |
//! | [actix-web](actix_web) | the same program on another framework |
//!
//! | the browser | |
//! |---|---|
//! | [Plain HTTP](plain_http) | cookies in development |
//! | [Single-page application](single_page_app) | a page on another port: CORS and `trusted_origin` |
//! | [Behind a proxy](behind_a_proxy) | `Host`, and the client's address |
//!
//! | other services | |
//! |---|---|
//! | [gRPC](grpc) | services of tonic, calls and streams |
//!
//! | the user | |
//! |---|---|
//! | [User from the database](user_from_database) | load the account on each request |
//! | [Roles](roles) | permissions as extractors |
//! | [Second factor](second_factor) | levels and step-up |
//! | [Impersonation](impersonation) | support acts for a user, and the user sees it |
//! | [Named values](named_values) | `get` and `insert`, as in other libraries |
//! | [Account security](account_security) | timeouts, devices, rotation, visitors, forms, audit |
//!
//! | in production | |
//! |---|---|
//! | [Several servers](several_servers) | Redis or SQL, and a near cache |
//! | [Several applications](several_applications) | namespaces |
//! | [Operating](operating) | what to watch, backup, failover, keys, database roles |
//!
//! The programs need `axum` 0.8, `tokio` with the feature `full`, and `serde` with the feature
//! `derive`. Some also need `serde_json`, `tower` or `tower-http`.

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
#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("first_sign_in.md")]
pub mod first_sign_in {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("grpc.md")]
pub mod grpc {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("impersonation.md")]
pub mod impersonation {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("list_and_revoke.md")]
pub mod list_and_revoke {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("named_values.md")]
pub mod named_values {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("operating.md")]
#[cfg(all(feature = "encrypt", feature = "postgres"))]
pub mod operating {}

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
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("links.txt")]
#[doc = include_str!("user_from_database.md")]
pub mod user_from_database {}
