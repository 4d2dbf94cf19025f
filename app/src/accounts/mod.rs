//! Who can sign in, and with what: in memory, or in a file that instances share.

mod book;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use argon2::password_hash::phc::PasswordHash;
use kvolt::session::Owner;

use self::book::{Account, Book};
use self::file::{Stamp, stamp};
use crate::options::Options;
use crate::passwords::{Checker, hash};
use crate::users::{MAX_NAME_LEN, MAX_PASSWORD_LEN, Role, User};

/// The user that there is where none is named.
pub(crate) const DEMO: &str = "demo";

/// The accounts.
pub(crate) struct Accounts {
    /// What is known of them; where there is a file, what it held when it had that stamp.
    known: RwLock<Known>,
    file: Option<file::Accounts>,
    /// Held while they are changed.
    changing: Mutex<()>,
    /// What the password of somebody unknown is compared with, so that it takes as long.
    nobody: PasswordHash,
    passwords: Checker,
    generated_password: Option<String>,
}

struct Known {
    book: Book,
    stamp: Option<Stamp>,
}

/// One whose password was right, and the version of the credentials that it was right for.
pub(crate) struct Checked {
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
            nobody: hash(&generate()?)?,
            passwords: Checker::new(),
            generated_password,
        })
    }

    pub(crate) fn generated_password(&self) -> Option<&str> {
        self.generated_password.as_deref()
    }

    /// The file that they are in.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(file::Accounts::path)
    }

    /// The user of that name and password. It takes as long when there is none of that name.
    pub(crate) async fn check(&self, name: &str, password: String) -> Option<Checked> {
        let found = self.with(|book| book.named(name).cloned());
        let hash = found.as_ref().map_or(&self.nobody, |account| &account.hash).clone();
        let right = self.passwords.check(password, hash).await;
        let Account { id, name, role, version, .. } = found.filter(|_| right)?;
        Some(Checked { user: User { id, name, role, counter: 0 }, version })
    }

    /// The version of a user's credentials now; `None` if there is no such account any more.
    pub(crate) fn version(&self, user: &User) -> Option<u64> {
        self.with(|book| book.of(user).map(|account| account.version))
    }

    /// What a user may do now.
    pub(crate) fn role(&self, user: &User) -> Option<Role> {
        self.with(|book| book.of(user).map(|account| account.role))
    }

    /// The id of the user of that name.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.with(|book| book.named(name).map(|account| account.id))
    }

    /// The name of the user whose sessions an owner's are; what the owner is called where there is none.
    pub(crate) fn owner_name(&self, owner: &Owner) -> String {
        let id = owner.as_str().parse();
        let named = self.with(|book| {
            let mut accounts = book.accounts.iter();
            accounts.find(|account| Ok(account.id) == id).map(|account| account.name.clone())
        });
        named.unwrap_or_else(|| owner.to_string())
    }

    /// Gives a user another password, and returns the version that the credentials have then;
    /// `None` if there is no such account any more.
    ///
    /// It hashes, and may write a file: nothing to be done on a thread that serves requests.
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

    /// Looks at what is known, once the file was read anew if it is another than it was.
    ///
    /// That is asked of the file system each time, which takes a microsecond on a local disk:
    /// what was known a second ago would refuse one who has just changed their password on
    /// another instance.
    fn with<R>(&self, look: impl FnOnce(&Book) -> R) -> R {
        if let Some(file) = &self.file {
            self.refresh(file);
        }
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner).book)
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
                tracing::error!("the file of accounts is gone: what was in it is still used");
                known.stamp = None;
            }
            Err(error) => {
                tracing::error!(%error, "what was in the file of accounts is still used");
                known.stamp = now;
            }
        }
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user who is given on the command line: name, password, role.
type Given = (String, String, Role);

fn given(options: &Options) -> Result<Vec<Given>, String> {
    let users = options.users.iter().map(|user| (user, Role::User));
    let admins = options.admins.iter().map(|admin| (admin, Role::Admin));
    let mut given: Vec<Given> = Vec::new();
    for (user, role) in users.chain(admins) {
        if user.name.len() > MAX_NAME_LEN || user.password.len() > MAX_PASSWORD_LEN {
            return Err(format!("the name or password of user {:.20?}… is too long", user.name));
        }
        if given.iter().any(|(name, ..)| *name == user.name) {
            return Err(format!("user {:?} is named twice", user.name));
        }
        given.push((user.name.clone(), user.password.clone(), role));
    }
    Ok(given)
}

/// A password of 80 random bits, in 16 of 32 characters that can't be mistaken for one another.
fn generate() -> Result<String, String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
