use kvolt_session::NewSession;
use serde::{Deserialize, Serialize};

/// The data of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
}

pub(crate) const NAME: &str = "Ada Lovelace";

impl User {
    pub(crate) fn ada() -> Self {
        Self { id: 42, name: String::from(NAME) }
    }

    /// A sign-in by an owner.
    pub(crate) fn of(owner: &str) -> NewSession<Self> {
        NewSession::new(Self::ada()).owner(owner)
    }
}
