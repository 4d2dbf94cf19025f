//! A server's folder, and the processes whose working directory it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::failure::During;
use crate::root::root;

/// A folder that is removed on drop.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    owner: Option<Owner>,
}

/// The user that a server runs as, if it differs from the user of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// Returns the user `nobody` if this process runs as root, since some servers refuse to
    /// run as root.
    pub(crate) fn unprivileged() -> Result<Option<Self>, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").during("/etc/passwd can't be read")?;
        let nobody = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
            let uid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid: fields.next()?.parse().ok()? })
        });
        let missing = "this server does not run as root, and there is no user `nobody`";
        nobody.map(Some).ok_or_else(|| Failure::fatal(missing))
    }
}

impl Folder {
    /// Creates an empty folder that only its owner can read.
    pub(crate) fn new(label: &str, owner: Option<Owner>) -> Result<Self, Failure> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Short: the path of a Unix socket has at most 107 bytes.
        let name = format!("{label}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Self { path: root()?.join(name), owner };
        let made = DirBuilder::new().mode(0o700).create(&folder.path);
        made.during(format_args!("the folder {} can't be created", folder.path.display()))?;
        folder.set_owner(&folder.path)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Writes a file that only the owner of the folder can read.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        let what = format!("{} can't be written", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).during(&what)?;
        file.write_all(contents.as_bytes()).during(&what)?;
        self.set_owner(&path)?;
        Ok(path)
    }

    fn set_owner(&self, path: &Path) -> Result<(), Failure> {
        let Some(owner) = self.owner else { return Ok(()) };
        chown(path, Some(owner.uid), Some(owner.gid))
            .during(format_args!("{} can't be assigned to its owner", path.display()))
    }

    /// Returns the processes that run in this folder: a server and the processes it
    /// started.
    ///
    /// Process groups are not enough, because each PostgreSQL backend creates its own
    /// group. Parent processes are not enough either: they no longer exist once a server
    /// was killed.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let of_entry = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Fails for a process that has ended, and for one that this user may not
            // inspect.
            let works_in = fs::read_link(entry.path().join("cwd")).ok()?;
            works_in.starts_with(&self.path).then_some(pid).and_then(Pid::from_raw)
        };
        entries.flatten().filter_map(of_entry).collect()
    }

    /// Sends a signal to each of these processes; ignores those that have already ended.
    pub(crate) fn signal(&self, signal: Signal) -> usize {
        let processes = self.processes();
        for pid in &processes {
            let _ = kill_process(*pid, signal);
        }
        processes.len()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The watchdog later removes files that can't be removed now.
        let _ = fs::remove_dir_all(&self.path);
    }
}
