//! Behaviour that a client of the protocol sees, without a browser.

mod admission;
mod ending;
mod refresh;
mod registration;

pub use admission::*;
pub use ending::*;
pub use refresh::*;
pub use registration::*;
