//! Attacks on what an account has around its login.

mod administrator;
mod anonymous;
mod binding;
mod flashes;
mod forms;
mod impersonation;
mod live;
mod remembered;
mod reuse;
mod step_up;

pub use administrator::*;
pub use anonymous::*;
pub use binding::*;
pub use flashes::*;
pub use forms::*;
pub use impersonation::*;
pub use live::*;
pub use remembered::*;
pub use reuse::*;
pub use step_up::*;
