//! Users: the data in their sessions, and the rules for names and passwords.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Longer names and passwords are refused before they are processed.
pub(crate) const MAX_NAME_LEN: usize = 200;
pub(crate) const MAX_PASSWORD_LEN: usize = 1024;
/// New passwords must have at least this many characters.
pub(crate) const MIN_PASSWORD_LEN: usize = 8;

/// The data of a session. Stored sessions survive restarts and new versions, so a new field needs
/// a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// The role at the time of the sign-in. Permissions are checked against the account.
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) counter: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    User,
    /// May see and end the sessions of all users.
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

/// The public part of a user's data.
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

/// A name or password in the Unicode normalization form NFC (as RFC 8265 asks): keyboards and
/// systems encode the same letter differently, such as `é` as one character or as two.
pub(crate) fn normalized(text: &str) -> String {
    text.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_of_a_letter_are_equal() {
        assert_ne!("caf\u{e9}", "cafe\u{301}");
        assert_eq!(normalized("caf\u{e9}"), normalized("cafe\u{301}"));
    }
}
