//! Starts programs: servers that keep running, and commands that run to completion.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::During;
use crate::folder::{Folder, Owner};
use crate::{Failure, wait};

/// A program and its arguments; it can be started repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    folder: PathBuf,
    owner: Option<Owner>,
}

impl Launch {
    /// Creates a launch that runs in the folder, as the folder's owner.
    pub(crate) fn within(folder: &Folder, program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            folder: folder.path().to_owned(),
            owner: folder.owner(),
        }
    }

    /// Creates a launch for a client. It runs outside the server's folder, so killing the
    /// server does not kill it.
    pub(crate) fn client(program: impl Into<PathBuf>) -> Result<Self, Failure> {
        let folder = crate::root::root()?.to_owned();
        Ok(Self { program: program.into(), args: Vec::new(), folder, owner: None })
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Starts the program and appends its output to the log.
    pub(crate) fn spawn(&self, log: &Path) -> Result<Child, Failure> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let what = format!("{} can't be opened", log.display());
        let (out, error) = (open().during(&what)?, open().during(&what)?);
        self.command()
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error)
            .spawn()
            .during(self.does_not_start())
            .map_err(|failure| Failure::fatal(failure.to_string()))
    }

    /// Runs the program to completion; returns its standard output, or a failure with all
    /// its output.
    pub(crate) fn run(&self, input: &str) -> Result<String, Failure> {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during(self.does_not_start())?;
        // Threads handle the pipes concurrently: a full pipe would block the program, and
        // then this thread.
        let input = child.stdin.take().map(|mut pipe| {
            let input = input.to_owned();
            thread::spawn(move || pipe.write_all(input.as_bytes()))
        });
        let out = child.stdout.take().map(read_all);
        let error = child.stderr.take().map(read_all);
        let status = wait::until("the end of a program", || {
            match child.try_wait().during("its state can't be read")? {
                Some(status) => Ok(status),
                None => Err(Failure::new("it still runs")),
            }
        });
        if status.is_err() {
            // Kill its child processes too: they would keep the pipes open.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
        }
        let text = |reader: Option<thread::JoinHandle<String>>| {
            reader.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        // A program may exit before it reads all its input; its status reports whether it
        // succeeded.
        drop(input.map(thread::JoinHandle::join));
        let (out, error) = (text(out), text(error));
        let status = status.map_err(|failure| failure.during(self.name()))?;
        if status.success() {
            return Ok(out);
        }
        let said = format!("{}\n{}", out.trim_end(), error.trim_end());
        Err(Failure::new(format!("{} failed ({status}): {}", self.name(), said.trim())))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.folder);
        // The environment must not change what a server does: no PGDATA, no message
        // language, no configuration from a home folder.
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.env("HOME", &self.folder).env("TMPDIR", &self.folder);
        command.env("PATH", crate::package::search_path());
        // Ctrl-C must end only the test program; the watchdog then ends its servers.
        command.process_group(0);
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }

    fn does_not_start(&self) -> String {
        format!("{} does not start", self.program.display())
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Keep the output received before an error.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
