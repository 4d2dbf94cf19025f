//! Who can sign in.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::passwords::{Checker, hash};

/// The user that there is where none is named.
pub(crate) const DEMO: &str = "demo";

/// Longer names and passwords are refused before anything is computed.
pub(crate) const NAME_LEN_MAX: usize = 200;
pub(crate) const PASSWORD_LEN_MAX: usize = 1024;

/// What a session holds. A store elsewhere keeps it over restarts and new
/// versions, so a field that is added needs a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) counter: u64,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    User,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
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

/// The accounts.
pub(crate) struct Users {
    accounts: Vec<Account>,
    /// What the password of somebody unknown is compared with, so that it takes as long.
    nobody: PasswordHash,
    passwords: Checker,
    generated_password: Option<String>,
}

struct Account {
    name: String,
    hash: PasswordHash,
}

impl Users {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let mut generated_password = None;
        let mut accounts = Vec::new();
        for user in &options.users {
            if user.name.len() > NAME_LEN_MAX || user.password.len() > PASSWORD_LEN_MAX {
                return Err(format!(
                    "the name or password of user {:.20?}… is too long",
                    user.name
                ));
            }
            if accounts.iter().any(|account: &Account| account.name == user.name) {
                return Err(format!("user {:?} is named twice", user.name));
            }
            accounts.push(Account { name: user.name.clone(), hash: hash(&user.password)? });
        }
        if accounts.is_empty() {
            let password = generate()?;
            accounts.push(Account { name: DEMO.to_owned(), hash: hash(&password)? });
            generated_password = Some(password);
        }
        let nobody = hash(&generate()?)?;
        Ok(Self { accounts, nobody, passwords: Checker::new(), generated_password })
    }

    pub(crate) fn generated_password(&self) -> Option<&str> {
        self.generated_password.as_deref()
    }

    /// The user of that name and password. It takes as long when there is none of that name.
    pub(crate) async fn check(&self, name: &str, password: String) -> Option<User> {
        let found = self.accounts.iter().position(|account| account.name == name);
        let hash = found.map_or(&self.nobody, |place| &self.accounts[place].hash).clone();
        let right = self.passwords.check(password, hash).await;
        let place = found.filter(|_| right)?;
        let name = self.accounts[place].name.clone();
        Some(User { id: place as u32 + 1, name, role: Role::User, counter: 0 })
    }
}

/// A password of 80 random bits, in 16 of 32 characters that can't be mistaken for one another.
fn generate() -> Result<String, String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn users(options: &[&str]) -> Result<Users, String> {
        Users::new(&Options::parse_from([&["kvolt-app"], options].concat()))
    }

    #[tokio::test]
    async fn the_right_password_and_no_other_makes_a_user() {
        let users = users(&["--user", "ada:secret", "--user", "bob:other"]).unwrap();
        let bob = users.check("bob", "other".into()).await.unwrap();
        assert_eq!((bob.id, &*bob.name), (2, "bob"));
        for (name, password) in [("ada", "other"), ("ada", ""), ("eve", "secret"), ("", "")] {
            assert!(users.check(name, password.into()).await.is_none(), "{name}:{password}");
        }
    }

    #[tokio::test]
    async fn without_a_user_there_is_one_with_a_password_of_its_own() {
        let (one, other) = (users(&[]).unwrap(), users(&[]).unwrap());
        let password = one.generated_password().unwrap();
        assert_ne!(Some(password), other.generated_password());
        assert!(one.check(DEMO, password.into()).await.is_some());
    }

    #[test]
    fn a_name_that_nobody_has_takes_as_much_work() {
        let users = users(&["--user", "ada:secret"]).unwrap();
        let work = |hash: &PasswordHash| {
            (hash.algorithm.to_string(), hash.version, hash.params.to_string())
        };
        assert_eq!(work(&users.nobody), work(&users.accounts[0].hash));
    }

    #[test]
    fn a_user_is_named_once() {
        assert!(users(&["--user", "ada:a", "--user", "ada:b"]).is_err());
    }
}
