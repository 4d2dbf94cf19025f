use kvolt_session::NewSession;
use serde::{Deserialize, Serialize};

/// What the application keeps in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is.
    pub name: String,
    /// How often something was counted.
    pub count: u32,
    /// What was written down.
    pub note: String,
}

impl User {
    /// Somebody who has done nothing yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), count: 0, note: String::new() }
    }

    /// Puts something into the basket, which is written down in the note.
    pub(crate) fn put(&mut self, item: &str) {
        self.note.extend([item, " "]);
    }
}

/// A session for somebody who has signed in.
pub fn signed_in(name: &str) -> NewSession<User> {
    NewSession::new(User::new(name)).owner(name)
}

/// A session for a visitor of whom nothing is known.
pub fn guest(note: String) -> NewSession<User> {
    NewSession::new(User { note, ..User::new("guest") })
}
