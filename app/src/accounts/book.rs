use argon2::password_hash::phc::PasswordHash;
use serde::{Deserialize, Serialize};

use crate::passwords::hash;
use crate::users::{Role, User};

/// An account from the command line: name, password, role.
pub(super) type GivenAccount = (String, String, Role);

/// All accounts, in the order of their creation.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Book {
    pub(super) accounts: Vec<Account>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// Never reused for another account.
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) role: Role,
    #[serde(with = "phc_text")]
    pub(super) hash: PasswordHash,
    /// Counts the changes of the credentials. Sessions are bound to it.
    pub(super) version: u64,
}

impl Book {
    pub(super) fn named(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// The account of a session's user. Both id and name must match: without a file, ids are
    /// assigned again at each start.
    pub(super) fn of(&self, user: &User) -> Option<&Account> {
        self.named(&user.name).filter(|account| account.id == user.id)
    }

    pub(super) fn of_mut(&mut self, user: &User) -> Option<&mut Account> {
        let mut accounts = self.accounts.iter_mut();
        accounts.find(|account| account.name == user.name && account.id == user.id)
    }

    /// Adds accounts. An existing account keeps its id and password, and takes the new role.
    pub(super) fn with(mut self, given: &[GivenAccount]) -> Result<Self, String> {
        for (name, password, role) in given {
            if let Some(existing) = self.accounts.iter_mut().find(|account| account.name == *name) {
                existing.role = *role;
                continue;
            }
            let id = self.accounts.iter().map(|account| account.id).max().unwrap_or(0) + 1;
            let hash = hash(password)?;
            self.accounts.push(Account { id, name: name.clone(), role: *role, hash, version: 1 });
        }
        Ok(self)
    }
}

mod phc_text {
    use argon2::password_hash::phc::PasswordHash;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        hash: &PasswordHash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PasswordHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        PasswordHash::new(&text).map_err(|_| D::Error::custom("invalid password hash"))
    }
}
