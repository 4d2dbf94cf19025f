//! The folder that contains all servers of this process, and the watchdog that removes it.

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
    /// Holds the pipe whose closing triggers the watchdog; never dropped.
    _watchdog: Child,
}

static ROOT: OnceLock<Result<Root, Failure>> = OnceLock::new();

/// Returns the folder in which the servers' folders are created.
///
/// When this process ends, even by a signal or with servers in a `static`, the watchdog (a
/// small shell script) kills every process that runs in this folder and removes the folder.
/// Child processes can't do this themselves: a server does not know the process that
/// started it, and the kernel's parent-death signal is sent when the *thread* that started
/// a server ends, which in a test is long before the program ends.
pub(crate) fn root() -> Result<&'static Path, Failure> {
    match ROOT.get_or_init(create) {
        Ok(root) => Ok(&root.path),
        Err(failure) => Err(failure.clone()),
    }
}

fn create() -> Result<Root, Failure> {
    let path = std::env::temp_dir().join(format!("kvolt-servers-{:08x}", ports::random() as u32));
    // Servers that run as another user may traverse the folder, but not list it.
    let made = DirBuilder::new().mode(0o711).create(&path);
    made.during(format_args!("the folder {} can't be created", path.display()))?;
    let watchdog = Command::new("sh")
        .args(["-c", include_str!("watchdog.sh"), "kvolt-watchdog"])
        .arg(&path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A terminal sends Ctrl-C to the process group of the test program.
        .process_group(0)
        .spawn()
        .during("the watchdog does not start")?;
    Ok(Root { path, _watchdog: watchdog })
}
