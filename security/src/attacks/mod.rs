//! The attacks, a function each, for any [`Stage`](crate::Stage). Each panics where it succeeds.

mod account_administrator;
mod account_anonymous;
mod account_binding;
mod account_flashes;
mod account_forms;
mod account_live;
mod account_remembered;
mod account_reuse;
mod account_step_up;
mod adoption;
mod at_rest;
mod collisions;
mod copies;
mod ended;
mod expiry;
mod fixation;
mod kinds;
mod limits;
mod outage;
mod responses;
mod revocation;
mod rotation;
mod size;
mod tokens;
mod updates;

pub use account_administrator::*;
pub use account_anonymous::*;
pub use account_binding::*;
pub use account_flashes::*;
pub use account_forms::*;
pub use account_live::*;
pub use account_remembered::*;
pub use account_reuse::*;
pub use account_step_up::*;
pub use adoption::*;
pub use at_rest::*;
pub use collisions::*;
pub use copies::*;
pub use ended::*;
pub use expiry::*;
pub use fixation::*;
pub use kinds::*;
pub use limits::*;
pub use outage::*;
pub use responses::*;
pub use revocation::*;
pub use rotation::*;
pub use size::*;
pub use tokens::*;
pub use updates::*;

use kvolt_session::{Manager, Rotated, Token};

use crate::user::{User, signed_in};

/// Signs somebody in.
async fn sign_in(manager: &Manager<User>, name: &str) -> Token {
    manager.create(signed_in(name)).await.expect("a sign-in works")
}

/// The token that a rotation gave.
fn rotated(rotated: Rotated) -> Token {
    match rotated {
        Rotated::Token(token) => token,
        other => panic!("it was there to be rotated, and there is {other:?}"),
    }
}

/// The same token once more: they can't be copied.
fn again(token: &Token) -> Token {
    Token::parse(token.expose()).expect("it is one")
}
