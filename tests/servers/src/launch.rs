//! Starting servers, and running programs that end by themselves.

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

/// A program with its arguments; it can be started any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    folder: PathBuf,
    owner: Option<Owner>,
}

impl Launch {
    /// Runs in the folder, as its owner.
    pub(crate) fn within(folder: &Folder, program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            folder: folder.path().to_owned(),
            owner: folder.owner(),
        }
    }

    /// A client. It does not run in the folder of its server, so it is not killed with it.
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

    /// Starts it, and appends its output to the log.
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
            .map_err(|failure| Failure::last(failure.to_string()))
    }

    /// Runs it to its end and returns its output, or why it failed.
    pub(crate) fn run(&self, input: &str) -> Result<String, Failure> {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during(self.does_not_start())?;
        // At the same time, because a full pipe blocks the program.
        let input = child.stdin.take().map(|mut pipe| {
            let input = input.to_owned();
            thread::spawn(move || pipe.write_all(input.as_bytes()))
        });
        let out = child.stdout.take().map(read_all);
        let error = child.stderr.take().map(read_all);
        let status = wait::until("a program's end", || {
            match child.try_wait().during("its state can't be asked for")? {
                Some(status) => Ok(status),
                None => Err(Failure::new("it still runs")),
            }
        });
        if status.is_err() {
            // With its children, which would keep its pipes open.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
        }
        let text = |reader: Option<thread::JoinHandle<String>>| {
            reader.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        // A program may end before it has read all its input. Its status says whether it succeeded.
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
        // The environment must not change what a server does: no PGDATA, no language for its
        // messages, no configuration in a home folder.
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.env("HOME", &self.folder).env("TMPDIR", &self.folder);
        command.env("PATH", crate::package::search_path());
        // Ctrl-C ends the test program, whose watchdog then ends its servers.
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
        // The output before an error helps to explain it.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
