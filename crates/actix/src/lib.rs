#![doc = include_str!("../README.md")]
//!
//! [`SessionLayer`]: kvolt_middleware::SessionLayer
//! [`Sessions`]: kvolt_middleware::Sessions

mod csrf;
mod device;
mod error;
mod extract;
mod future;
mod head;
mod middleware;

pub use csrf::{Csrf, CsrfForm};
pub use device::device;
pub use error::{Error, Result};
pub use extract::{Session, SessionHandle};
pub use middleware::SessionMiddleware;
