//! The accounts of users: in memory, or in a file that instances share.

mod book;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use argon2::password_hash::phc::PasswordHash;
use kvolt::session::{Actor, Owner};

use self::book::{Account, Book, GivenAccount};
use self::file::{Stamp, stamp};
use crate::options::Options;
use crate::passwords::{Checker, hash};
use crate::users::{MAX_NAME_LEN, MAX_PASSWORD_LEN, Role, User};

/// The name of the only user if no user is given.
pub(crate) const DEMO: &str = "demo";

pub(crate) struct Accounts {
    /// The accounts in memory; with a file, its contents at that stamp.
    known: RwLock<Known>,
    file: Option<file::Accounts>,
    /// Locked during a change.
    changing: Mutex<()>,
    /// Checked for an unknown name, so that the check takes as long as for a known one.
    dummy: PasswordHash,
    passwords: Checker,
    generated_password: Option<String>,
}

struct Known {
    book: Book,
    stamp: Option<Stamp>,
}

/// A user, and the version of the credentials that was checked or read.
pub(crate) struct CheckedUser {
    pub(crate) user: User,
    pub(crate) version: u64,
}

impl Accounts {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let mut given = given(options)?;
        let file = options.accounts.as_deref().map(file::Accounts::new);
        let mut generated_password = None;
        let is_empty = match &file {
            Some(file) => file.read()?.0.accounts.is_empty(),
            None => true,
        };
        if given.is_empty() && is_empty {
            let password = generate()?;
            given.push((DEMO.to_owned(), password.clone(), Role::User));
            generated_password = Some(password);
        }
        let known = match &file {
            None => Known { book: Book::default().with(&given)?, stamp: None },
            Some(file) => {
                let (book, stamp) = file.change(|book| book.with(&given))?;
                Known { book, stamp: Some(stamp) }
            }
        };
        Ok(Self {
            known: RwLock::new(known),
            file,
            changing: Mutex::new(()),
            dummy: hash(&generate()?)?,
            passwords: Checker::new(),
            generated_password,
        })
    }

    pub(crate) fn generated_password(&self) -> Option<&str> {
        self.generated_password.as_deref()
    }

    /// The path of the file, if the accounts are in one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(file::Accounts::path)
    }

    /// The user with this name and password. Takes as long for an unknown name.
    pub(crate) async fn check(&self, name: &str, password: String) -> Option<CheckedUser> {
        let found = self.with(|book| book.named(name).cloned());
        let hash = found.as_ref().map_or(&self.dummy, |account| &account.hash).clone();
        let right = self.passwords.check(password, hash).await;
        let Account { id, name, role, version, .. } = found.filter(|_| right)?;
        Some(CheckedUser { user: User { id, name, role, counter: 0 }, version })
    }

    /// The current version of a user's credentials; `None` if the account no longer exists.
    pub(crate) fn version(&self, user: &User) -> Option<u64> {
        self.with(|book| book.of(user).map(|account| account.version))
    }

    /// The current role of a user; `None` if the account no longer exists.
    pub(crate) fn role(&self, user: &User) -> Option<Role> {
        self.with(|book| book.of(user).map(|account| account.role))
    }

    /// The user with this id, and the version of the credentials.
    pub(crate) fn user(&self, id: u32) -> Option<CheckedUser> {
        self.with(|book| {
            let account = book.accounts.iter().find(|account| account.id == id)?;
            let Account { name, role, version, .. } = account;
            let user = User { id, name: name.clone(), role: *role, counter: 0 };
            Some(CheckedUser { user, version: *version })
        })
    }

    /// The id of the account with this name.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.with(|book| book.named(name).map(|account| account.id))
    }

    /// The name of the account of an owner; the owner itself if the account does not exist.
    pub(crate) fn owner_name(&self, owner: &Owner) -> String {
        let id = owner.as_str().parse();
        let named = self.with(|book| {
            let mut accounts = book.accounts.iter();
            accounts.find(|account| Ok(account.id) == id).map(|account| account.name.clone())
        });
        named.unwrap_or_else(|| owner.to_string())
    }

    /// The name of the account that caused an event; without one, the actor's own.
    pub(crate) fn actor_name(&self, actor: &Actor) -> String {
        match Owner::new(actor.name()) {
            Ok(owner) => self.owner_name(&owner),
            Err(_) => actor.name().to_owned(),
        }
    }

    /// Changes a user's password, and returns the new version of the credentials; `None` if the
    /// account no longer exists.
    ///
    /// Blocks: it hashes the password and may write a file.
    pub(crate) fn change_password(
        &self,
        user: &User,
        password: &str,
    ) -> Result<Option<u64>, String> {
        let hash = hash(password)?;
        let _changing = lock(&self.changing);
        let mut version = None;
        let mut change = |mut book: Book| {
            if let Some(account) = book.of_mut(user) {
                account.hash = hash.clone();
                account.version += 1;
                version = Some(account.version);
            }
            Ok(book)
        };
        let known = match &self.file {
            None => Known { book: change(self.with(Book::clone))?, stamp: None },
            Some(file) => {
                let (book, stamp) = file.change(change)?;
                Known { book, stamp: Some(stamp) }
            }
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(version)
    }

    /// Reads the accounts, after a reload of the file if it has changed.
    ///
    /// Each call checks the file's metadata, which takes about a microsecond on a local disk.
    /// With an older copy, a user who changed the password on another instance would be refused.
    fn with<R>(&self, read: impl FnOnce(&Book) -> R) -> R {
        if let Some(file) = &self.file {
            self.refresh(file);
        }
        read(&self.known.read().unwrap_or_else(PoisonError::into_inner).book)
    }

    fn refresh(&self, file: &file::Accounts) {
        let is_known = |stamp: Option<Stamp>| {
            self.known.read().unwrap_or_else(PoisonError::into_inner).stamp == stamp
        };
        let now = stamp(file.path()).ok();
        if is_known(now) {
            return;
        }
        let _changing = lock(&self.changing);
        if is_known(now) {
            return;
        }
        let read = file.read();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok((book, Some(stamp))) => *known = Known { book, stamp: Some(stamp) },
            Ok((_, None)) => {
                tracing::error!("the file of accounts is missing: using its last contents");
                known.stamp = None;
            }
            Err(error) => {
                tracing::error!(%error, "could not read the file of accounts: using its last contents");
                known.stamp = now;
            }
        }
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn given(options: &Options) -> Result<Vec<GivenAccount>, String> {
    let users = options.users.iter().map(|user| (user, Role::User));
    let admins = options.admins.iter().map(|admin| (admin, Role::Admin));
    let mut given: Vec<GivenAccount> = Vec::new();
    for (user, role) in users.chain(admins) {
        if user.name.len() > MAX_NAME_LEN || user.password.len() > MAX_PASSWORD_LEN {
            return Err(format!("the name or password of user {:.20?}… is too long", user.name));
        }
        if given.iter().any(|(name, ..)| *name == user.name) {
            return Err(format!("user {:?} is given twice", user.name));
        }
        given.push((user.name.clone(), user.password.clone(), role));
    }
    Ok(given)
}

/// A password of 80 random bits: 16 of 32 characters, without similar ones.
fn generate() -> Result<String, String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
