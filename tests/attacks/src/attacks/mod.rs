//! The attacks: one function each, for any [`Stage`](crate::Stage). A function panics if
//! the attack succeeds.

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
mod ids;
mod limits;
mod namespaces;
mod outage;
mod responses;
mod revocation;
mod rotation;
mod size;
mod tokens;
mod updates;
mod writers;

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
pub use ids::*;
pub use limits::*;
pub use namespaces::*;
pub use outage::*;
pub use responses::*;
pub use revocation::*;
pub use rotation::*;
pub use size::*;
pub use tokens::*;
pub use updates::*;
pub use writers::*;

use kvolt_session::{Manager, Owner, RotateOutcome, SessionId, SessionSnapshot, Token};

use crate::user::{User, signed_in};

/// Signs in a user.
async fn sign_in(manager: &Manager<User>, name: &str) -> Token {
    manager.create(signed_in(name)).await.expect("a sign-in works")
}

/// Returns the new token of a rotation.
fn rotated(rotated: RotateOutcome) -> Token {
    match rotated {
        RotateOutcome::Token(token) => token,
        other => panic!("it was there to be rotated, and there is {other:?}"),
    }
}

/// Returns the owner with this name.
fn account(name: impl AsRef<str>) -> Owner {
    Owner::new(name.as_ref()).expect("it is a name")
}

/// Returns an account's sessions; asserts that all are readable.
async fn listed(manager: &Manager<User>, name: impl AsRef<str>) -> Vec<SessionSnapshot<User>> {
    let listing = manager.list(&account(name)).await.expect("the store answers");
    assert_eq!(listing.unreadable, []);
    listing.sessions
}

/// Returns the ids of an account's sessions.
async fn ids(manager: &Manager<User>, name: impl AsRef<str>) -> Vec<SessionId> {
    listed(manager, name).await.iter().map(SessionSnapshot::id).collect()
}
