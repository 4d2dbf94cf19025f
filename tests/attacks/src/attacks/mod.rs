//! The attacks: one function each, for any [`Deployment`](crate::Deployment). An attack panics if
//! it succeeds.

mod account;
mod adoption;
mod at_rest;
mod collisions;
mod copies;
mod device;
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

pub use account::*;
pub use adoption::*;
pub use at_rest::*;
pub use collisions::*;
pub use copies::*;
pub use device::*;
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

/// Creates a session for this user.
async fn sign_in(manager: &Manager<User>, name: &str) -> Token {
    manager.create(signed_in(name)).await.expect("the sign-in succeeds")
}

/// The new token of a rotation.
fn rotated(rotated: RotateOutcome) -> Token {
    match rotated {
        RotateOutcome::Token(token) => token,
        other => panic!("not rotated: {other:?}"),
    }
}

/// The owner with this name.
fn account(name: impl AsRef<str>) -> Owner {
    Owner::new(name.as_ref()).expect("a valid name")
}

/// The sessions of an account. Asserts that all can be decoded.
async fn listed(manager: &Manager<User>, name: impl AsRef<str>) -> Vec<SessionSnapshot<User>> {
    let listing = manager.list(&account(name)).await.expect("the store answers");
    assert_eq!(listing.unreadable, []);
    listing.sessions
}

/// The ids of an account's sessions.
async fn ids(manager: &Manager<User>, name: impl AsRef<str>) -> Vec<SessionId> {
    listed(manager, name).await.iter().map(SessionSnapshot::id).collect()
}
