#![doc = include_str!("../README.md")]
//!
//! [authenticate again]: SessionLayer::require
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
#[cfg(feature = "axum")]
mod axum;
mod bridge;
mod cookie_policy;
mod cross_origin;
#[cfg(feature = "device-bound")]
mod device_bound;
mod device_request;
mod error;
mod grpc;
mod head;
mod layer;
mod lookup;
mod message;
mod proxies;
mod refusal;
mod session;
mod sessions;
mod store_timeout;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "axum")]
pub use self::axum::{Csrf, CsrfForm, CsrfRejection, LayerMissing, SessionRejection};
pub use cookie_policy::{CookiePolicy, CookiePolicyBuilder, SameSite};
#[cfg(feature = "device-bound")]
pub use device_bound::DeviceBound;
pub use error::{ConfigError, Error, Result};
pub use layer::{ResponseFuture, SessionLayer, SessionService};
pub use lookup::Lookup;
pub use message::RETRY_AFTER_SECONDS;
pub use proxies::{ForwardingHeader, TrustedProxies};
pub use refusal::{Missing, Refusal, Refused, local_path};
pub use session::{CSRF_FIELD, CSRF_HEADER, CsrfField, Session, SessionHandle, clear_site_data};
pub use sessions::{CacheControl, DEFAULT_STORE_TIMEOUT, Sessions, SessionsBuilder};
