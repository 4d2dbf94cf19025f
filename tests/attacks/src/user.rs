use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kvolt_session::NewSession;
use serde::{Deserialize, Deserializer, Serialize};

/// The application's session data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// A counter.
    pub count: u32,
    /// A note.
    pub note: String,
}

/// How often data was decoded, for users whose names begin with `counted`.
static DECODED: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

/// Returns how often the data of this user was decoded; the name must begin with `counted`.
pub(crate) fn decoded(name: &str) -> usize {
    let decoded = DECODED.lock().unwrap_or_else(PoisonError::into_inner);
    decoded.as_ref().and_then(|decoded| decoded.get(name)).copied().unwrap_or_default()
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            name: String,
            count: u32,
            note: String,
        }
        let Stored { name, count, note } = Stored::deserialize(from)?;
        if name.starts_with("counted") {
            let mut decoded = DECODED.lock().unwrap_or_else(PoisonError::into_inner);
            *decoded.get_or_insert_default().entry(name.clone()).or_default() += 1;
        }
        Ok(Self { name, count, note })
    }
}

impl User {
    /// Creates a user with an empty state.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), count: 0, note: String::new() }
    }

    /// Adds an item to the basket, which is stored in the note.
    pub(crate) fn put(&mut self, item: &str) {
        self.note.extend([item, " "]);
    }
}

/// Creates a session for a signed-in user.
pub fn signed_in(name: &str) -> NewSession<User> {
    NewSession::new(User::new(name)).owner(name)
}

/// Creates an anonymous session.
pub fn guest(note: String) -> NewSession<User> {
    NewSession::new(User { note, ..User::new("guest") })
}
