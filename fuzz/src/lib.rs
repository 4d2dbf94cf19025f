//! The bodies of the fuzz targets: each takes any bytes and asserts what must hold for all.
//!
//! They are plain functions, so that the tests of this crate replay the
//! committed corpus through them without a fuzzer.

#![forbid(unsafe_code)]

mod cookie_header;
mod csrf;
mod device_endpoints;
mod device_proof;
mod forwarded;
mod lookup;
mod old_sessions;
mod store_ops;
mod stored;
mod token;

pub use cookie_header::cookie_header;
pub use csrf::csrf;
pub use device_endpoints::device_endpoints;
pub use device_proof::device_proof;
pub use forwarded::forwarded;
pub use lookup::lookup;
pub use old_sessions::old_sessions;
pub use store_ops::store_ops;
pub use stored::stored;
pub use token::{is_token, token};
