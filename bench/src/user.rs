//! Session data: some 130 bytes as JSON, the same in every program and for every library.

use serde::{Deserialize, Serialize};

/// The body of `GET /profile`.
pub(crate) const NAME: &str = "Ada Lovelace";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) mail: String,
    pub(crate) roles: Vec<String>,
    pub(crate) visits: u64,
}

impl User {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            name: NAME.into(),
            mail: "ada.lovelace@example.com".into(),
            roles: vec!["author".into(), "reviewer".into()],
            visits: 0,
        }
    }
}
