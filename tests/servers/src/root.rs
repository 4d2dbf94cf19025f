//! The folder of all servers of this process, and the watchdog that removes it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::failure::During;
use crate::{Failure, ports};

struct Root {
    path: PathBuf,
    /// Holds the pipe whose end starts the watchdog's work, so it is never dropped.
    _watchdog: Child,
}

static ROOT: OnceLock<Result<Root, Failure>> = OnceLock::new();

/// The folder in which the folders of servers are created.
///
/// When this process ends, even by a signal or while a static still holds a server, a small shell
/// script ends every process that works in this folder, and removes it. The servers can't do that
/// themselves: the kernel's parent-death signal comes when the *thread* that started a server ends,
/// which for a test is long before the program ends.
pub(crate) fn root() -> Result<&'static Path, Failure> {
    match ROOT.get_or_init(create) {
        Ok(root) => Ok(&root.path),
        Err(failure) => Err(failure.clone()),
    }
}

fn create() -> Result<Root, Failure> {
    let path = std::env::temp_dir().join(format!("kvolt-servers-{:08x}", ports::random() as u32));
    // Other users may enter but not list it, because some servers run as another user.
    let made = DirBuilder::new().mode(0o711).create(&path);
    made.during(format_args!("the folder {} can't be made", path.display()))?;
    let watchdog = Command::new("sh")
        .args(["-c", include_str!("watchdog.sh"), "kvolt-watchdog"])
        .arg(&path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at a terminal goes to the group of the test program.
        .process_group(0)
        .spawn()
        .during("the watchdog does not start")?;
    Ok(Root { path, _watchdog: watchdog })
}
