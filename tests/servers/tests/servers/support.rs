//! Checks from outside the harness.

use std::fs;
use std::path::{Path, PathBuf};

use kvolt_servers::Server;

/// Process, port and folder, which must not exist after a server was dropped.
#[must_use = "call `assert_gone` to check that it is gone"]
pub(crate) struct Traces {
    folder: PathBuf,
    pid: u32,
    port: u16,
}

impl Traces {
    pub(crate) fn of(server: &Server) -> Self {
        let pid = server.pid().expect("it runs");
        let traces = Self { folder: server.folder().to_owned(), pid, port: server.port() };
        assert!(traces.folder.is_dir() && !processes_in(&traces.folder).is_empty());
        traces
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        assert!(!self.folder.exists(), "{} still exists", self.folder.display());
        assert_eq!(processes_in(&self.folder), Vec::<u32>::new(), "processes still run");
        let process = Path::new("/proc").join(self.pid.to_string());
        assert!(!process.exists(), "process {} still exists, perhaps as a zombie", self.pid);
        assert!(!answers(self.port), "a process still listens on port {}", self.port);
    }
}

/// Returns the processes that run in a folder, even if it was removed.
pub(crate) fn processes_in(folder: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc exists").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(works_in) = fs::read_link(entry.path().join("cwd")) else { continue };
        if works_in.starts_with(folder) {
            found.push(pid);
        }
    }
    found
}

pub(crate) fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Returns the letter of a process's state: `T` is stopped.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
