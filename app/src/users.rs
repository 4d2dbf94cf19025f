//! Users, as their sessions know them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longer names and passwords are refused before anything is computed.
pub(crate) const MAX_NAME_LEN: usize = 200;
pub(crate) const MAX_PASSWORD_LEN: usize = 1024;
/// Shorter passwords are not taken where somebody chooses a new one.
pub(crate) const PASSWORD_LEN_MIN: usize = 8;

/// What a session holds. A store elsewhere keeps it over restarts and new
/// versions, so a field that is added needs a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// As it was at the sign-in; what somebody may do now, the accounts say.
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) counter: u64,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    User,
    /// Sees and ends everybody's sessions.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Admin => "administrator",
        })
    }
}

/// What a user is told of themselves.
#[derive(Debug, Serialize)]
pub(crate) struct Profile {
    id: u32,
    name: String,
    role: Role,
}

impl From<&User> for Profile {
    fn from(user: &User) -> Self {
        Self { id: user.id, name: user.name.clone(), role: user.role }
    }
}
