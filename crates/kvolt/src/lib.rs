//! Server-side sessions for Rust services.

pub use kvolt_cache as cache;
#[cfg(feature = "http")]
pub use kvolt_http as middleware;
pub use kvolt_session as session;
