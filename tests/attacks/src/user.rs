use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kvolt_session::NewSession;
use serde::{Deserialize, Deserializer, Serialize};

/// The application's data in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The name of the user.
    pub name: String,
    /// A counter.
    pub count: u32,
    /// Free text.
    pub note: String,
}

/// Counts how often a user's data is decoded, for names that start with `counted`.
static DECODED: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

/// How often the data of this user was decoded. The name starts with `counted`.
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
    /// A new user.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), count: 0, note: String::new() }
    }

    /// Adds an item to the basket, which is in the note.
    pub(crate) fn put(&mut self, item: &str) {
        self.note.extend([item, " "]);
    }
}

/// A session for a signed-in user.
pub fn signed_in(name: &str) -> NewSession<User> {
    NewSession::new(User::new(name)).owner(name)
}

/// A session for an unknown visitor.
pub fn guest(note: String) -> NewSession<User> {
    NewSession::new(User { note, ..User::new("guest") })
}
