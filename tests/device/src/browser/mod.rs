//! Behaviour of the server with a real Chromium, and with a thief that has copied its cookies.

mod binding;
mod links;
mod other_site;
mod owner;
mod theft;

pub use binding::*;
pub use links::*;
pub use theft::*;
