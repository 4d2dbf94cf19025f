use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kvolt_session::NewSession;
use serde::{Deserialize, Deserializer, Serialize};

/// What the application keeps in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Who it is.
    pub name: String,
    /// How often something was counted.
    pub count: u32,
    /// What was written down.
    pub note: String,
}

/// How often the data of users was decoded whose names begin with `counted`.
static DECODED: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

/// How often the data of this user was decoded, whose name begins with `counted`.
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
