//! The folder that all servers of this process live in, and the watchdog that removes it.

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
    /// Holds the pipe at whose end the watchdog does its work, and so is never dropped.
    _watchdog: Child,
}

static ROOT: OnceLock<Result<Root, Failure>> = OnceLock::new();

/// Where the folders of servers are made.
///
/// When this process ends, be it by a signal or while a static still holds a
/// server, a small shell script ends every process that works in here and
/// removes the whole. It is no descendant's duty: a server does not know who
/// started it, and the kernel's parent-death signal comes when the *thread* ends
/// that started a server, which for a test is long before the program does.
pub(crate) fn root() -> Result<&'static Path, Failure> {
    match ROOT.get_or_init(create) {
        Ok(root) => Ok(&root.path),
        Err(failure) => Err(failure.clone()),
    }
}

fn create() -> Result<Root, Failure> {
    let path = std::env::temp_dir().join(format!("kvolt-servers-{:08x}", ports::random() as u32));
    // Others may pass through, since some servers run as another user, but not list.
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
