#![doc = include_str!("../README.md")]

mod admit;
mod bounded;
mod cookie_header;
mod cookie_policy;
mod cross_origin;
mod csrf;
#[cfg(feature = "device-names")]
mod device_name;
mod error;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod form;
mod forwarded;
mod future;
mod handle;
mod layer;
mod lookup;
mod redirect;
mod refusal;
mod service;
mod session;
mod sessions;
mod set_token;
mod shared;
mod slot;
mod trusted_proxies;

pub use cookie_policy::{CookiePolicy, CookiePolicyBuilder, SameSite};
pub use csrf::{CSRF_FIELD, CSRF_HEADER, CsrfField};
#[cfg(feature = "device-names")]
pub use device_name::{device_name, prepare_device_names};
pub use error::{ConfigError, Error, RETRY_AFTER, Result};
#[cfg(feature = "axum")]
pub use extract::{LayerMissing, SessionRejection};
#[cfg(feature = "axum")]
pub use form::{Csrf, CsrfForm, CsrfRejection};
pub use future::ResponseFuture;
pub use handle::SessionHandle;
pub use layer::SessionLayer;
pub use lookup::{Lookup, ParseLookupError};
pub use redirect::local_path;
pub use refusal::{Missing, Refusal, Refused};
pub use service::SessionService;
pub use session::Session;
pub use sessions::{CacheControl, DEFAULT_STORE_TIMEOUT, Sessions, SessionsBuilder};
pub use set_token::{SetToken, clear_site_data};
pub use trusted_proxies::{ForwardingHeader, TrustedProxies};
