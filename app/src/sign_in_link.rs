//! A link that signs a user in, once: the program prints it at the start.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt::session::Timestamp;
use subtle::ConstantTimeEq;

use crate::accounts::{Accounts, CheckedUser};

/// How long a link is valid.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Where the link leads, before its code.
pub(crate) const PATH: &str = "/login/link";

pub(crate) struct SignInLink {
    code: String,
    /// `None` once it was used.
    user: Mutex<Option<CheckedUser>>,
    until: Timestamp,
}

impl SignInLink {
    /// A link for the user with this name.
    pub(crate) fn new(name: &str, accounts: &Accounts, now: Timestamp) -> Result<Self, String> {
        let user = accounts.id(name).and_then(|id| accounts.user(id));
        let user = user.ok_or_else(|| format!("--sign-in-link: there is no user {name:?}"))?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
        let code = URL_SAFE_NO_PAD.encode(random);
        Ok(Self { code, user: Mutex::new(Some(user)), until: now.saturating_add(LIFETIME) })
    }

    /// The path of the link, with its code.
    pub(crate) fn path(&self) -> String {
        format!("{PATH}?code={}", self.code)
    }

    /// Takes the user, if the code is right. A changed password makes the link invalid.
    pub(crate) fn take(
        &self,
        code: &str,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Option<CheckedUser> {
        let is_right = bool::from(code.as_bytes().ct_eq(self.code.as_bytes()));
        let is_valid = |checked: &mut CheckedUser| {
            is_right && now < self.until && accounts.version(&checked.user) == Some(checked.version)
        };
        self.user.lock().unwrap_or_else(PoisonError::into_inner).take_if(is_valid)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    fn accounts() -> Accounts {
        Accounts::new(&Options::parse_from(["kvolt-app", "--user", "ada:secret"])).unwrap()
    }

    #[test]
    fn a_link_is_valid_once_and_for_15_minutes() {
        let (accounts, start) = (accounts(), Timestamp::from_millis(1_000_000));
        let link = || SignInLink::new("ada", &accounts, start).unwrap();
        let one = link();
        assert_ne!(one.code, link().code);
        for wrong in ["", "A", &one.code[1..], &one.path(), &"A".repeat(43), &link().code] {
            assert!(one.take(wrong, &accounts, start).is_none(), "{wrong}");
        }
        let late = start.saturating_add(LIFETIME);
        assert!(one.take(&one.code, &accounts, late).is_none(), "expired");
        let checked = one.take(&one.code, &accounts, start).unwrap();
        assert_eq!((&*checked.user.name, checked.version), ("ada", 1));
        assert!(one.take(&one.code, &accounts, start).is_none(), "used");
        assert!(SignInLink::new("eve", &accounts, start).is_err());
    }

    #[test]
    fn a_changed_password_ends_the_link() {
        let (accounts, start) = (accounts(), Timestamp::from_millis(1_000_000));
        let link = SignInLink::new("ada", &accounts, start).unwrap();
        let ada = accounts.user(1).unwrap().user;
        accounts.change_password(&ada, "another horse").unwrap();
        assert!(link.take(&link.code, &accounts, start).is_none());
    }
}
