//! The file of accounts: JSON, replaced as a whole by one instance at a time.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::book::Book;

/// Identifies a version of the file: each change creates a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    len: u64,
}

/// The stamp of the current file.
pub(super) fn stamp(path: &Path) -> std::io::Result<Stamp> {
    fs::metadata(path).map(|metadata| Stamp::of(&metadata))
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            len: metadata.len(),
        }
    }
}

/// The file, by its path.
pub(super) struct Accounts {
    path: PathBuf,
}

impl Accounts {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its accounts, and the stamp of the version that was read; no accounts if it does not exist.
    pub(super) fn read(&self) -> Result<(Book, Option<Stamp>), String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("the accounts in {} can't be read: {error}", self.path.display())
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(failed(&error)),
        };
        let stamp = Stamp::of(&file.metadata().map_err(|error| failed(&error))?);
        let book = std::io::read_to_string(file).map_err(|error| failed(&error))?;
        let book = serde_json::from_str(&book).map_err(|error| failed(&error))?;
        Ok((book, Some(stamp)))
    }

    /// Changes it. If any step fails, the file is unchanged.
    pub(super) fn change(
        &self,
        change: impl FnOnce(Book) -> Result<Book, String>,
    ) -> Result<(Book, Stamp), String> {
        let failed = |error: std::io::Error| {
            format!("the accounts in {} can't be written: {error}", self.path.display())
        };
        // Other instances wait here.
        let lock = self.private(&self.beside(".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let book = change(self.read()?.0)?;
        let text = serde_json::to_string_pretty(&book).map_err(|error| error.to_string())?;
        let new = self.beside(".new");
        let stamp = (|| {
            let mut file = self.private(&new)?;
            file.set_len(0)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            file.metadata().map(|metadata| Stamp::of(&metadata))
        })();
        stamp.map(|stamp| (book, stamp)).map_err(failed)
    }

    /// Opens a file that only this user can read.
    fn private(&self, path: &Path) -> std::io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(ending);
        path.into()
    }
}
