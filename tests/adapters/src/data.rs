use kvolt_session::NewSession;
use serde::{Deserialize, Serialize};

/// The data of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name of the user.
    pub name: String,
    /// A number that each visit to `/count` increments.
    pub count: u32,
    /// The texts in the basket.
    pub basket: Vec<String>,
}

impl User {
    /// A session for a user at the time of the sign-in.
    pub(crate) fn signed_in(name: String) -> NewSession<Self> {
        NewSession::new(Self { name: name.clone(), ..Self::default() }).owner(name)
    }

    /// A visitor with something in the basket.
    pub(crate) fn visitor(text: String) -> Self {
        Self { name: String::from("visitor"), count: 0, basket: vec![text] }
    }
}
