use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{During, OrPanic};
use crate::folder::Folder;
use crate::launch::Launch;
use crate::{Failure, wait};

/// Time limit for an orderly shutdown on drop.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum length of the log excerpt in a failure.
const MAX_TAIL_BYTES: usize = 4_000;

/// A running server, or a stopped one that can be restarted.
///
/// All servers share these operations. Drop kills the process and its child processes, and
/// removes the folder.
/// that it started are ended, and its folder is removed.
pub struct Server {
    name: &'static str,
    port: u16,
    launch: Launch,
    signals: Signals,
    ready: Ready,
    child: Mutex<Option<Child>>,
    // The last field, so that the folder is removed last.
    folder: Folder,
}

/// Checks whether a server is ready.
pub(crate) type Ready = Box<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// The signals that a server handles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals {
    /// Shuts down without waiting for clients.
    pub(crate) stop: Signal,
    /// Exits immediately, but releases system resources.
    pub(crate) quit: Signal,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(
        name: &'static str,
        port: u16,
        folder: Folder,
        launch: Launch,
        signals: Signals,
        ready: Ready,
    ) -> Result<Self, Failure> {
        let child = Mutex::new(None);
        let server = Self { name, port, launch, signals, ready, child, folder };
        server.start_process()?;
        Ok(server)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's folder, with its data, configuration and log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the id of the main process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Returns whether the server runs and is not paused.
    pub fn is_running(&self) -> bool {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        pid.is_some_and(|pid| !is_stopped(pid))
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills the server and its child processes, as a machine failure would.
    #[track_caller]
    pub fn kill(&self) {
        self.end_process(Signal::KILL).or_panic();
    }

    /// Stops the server with an orderly shutdown.
    #[track_caller]
    pub fn stop(&self) {
        self.end_process(self.signals.stop).or_panic();
    }

    /// Restarts the server on the same port with the data in its folder; stops it first if
    /// it runs.
    #[track_caller]
    pub fn restart(&self) {
        if self.pid().is_some() {
            self.stop();
        }
        self.start_process().or_panic();
    }

    /// Suspends all its processes: connections stay open, but get no answer.
    #[track_caller]
    pub fn pause(&self) {
        self.suspend().or_panic();
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        self.folder.signal(Signal::CONT);
    }

    /// Waits until the server answers, for example after a restart or a resume.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait::until(self.name, || (self.ready)()).or_panic();
    }

    fn start_process(&self) -> Result<(), Failure> {
        let child = self.launch.spawn(&self.log_file())?;
        *self.child() = Some(child);
        wait::until(self.name, || {
            let Err(not_ready) = (self.ready)() else { return Ok(()) };
            let ended = match self.child().as_mut() {
                Some(child) => child.try_wait().during("its state can't be read")?,
                None => return Err(Failure::fatal("it was stopped during its start")),
            };
            let Some(status) = ended else { return Err(not_ready) };
            let log_tail = self.log_tail();
            let message = format!("exited during its start ({status}): {log_tail}");
            Err(match reports_port_taken(&log_tail) {
                true => Failure::port_taken(message),
                false => Failure::fatal(message),
            })
        })
        .map_err(|failure| match failure.is_fatal() {
            true => failure,
            false => Failure::fatal(format!("{failure}{}", self.log_tail())),
        })
    }

    /// Sends the signal and waits until all its processes have ended.
    fn end_process(&self, signal: Signal) -> Result<(), Failure> {
        if signal == Signal::KILL {
            // While suspended, it can't start new processes during the kill.
            let _ = self.suspend();
            self.folder.signal(Signal::KILL);
        } else {
            // A suspended process would not handle the signal.
            self.signal_main(signal);
            self.resume();
        }
        let result = self.wait_until_ended(signal, wait::TIMEOUT);
        result.map_err(|failure| failure.during(format_args!("{} does not end", self.name)))
    }

    fn wait_until_ended(&self, signal: Signal, limit: Duration) -> Result<(), Failure> {
        wait::within(limit, self.name, || {
            let mut child = self.child();
            if let Some(process) = child.as_mut() {
                // If the server was killed, signal the remaining processes again; otherwise
                // they exit by themselves.
                if process.try_wait().during("its state can't be read")?.is_none() {
                    return Err(Failure::new("it still runs"));
                }
            }
            let left = match signal == Signal::KILL {
                true => self.folder.signal(Signal::KILL),
                false => self.folder.processes().len(),
            };
            if left > 0 {
                return Err(Failure::new(format!("{left} of its processes still run")));
            }
            *child = None;
            Ok(())
        })
    }

    /// Suspends its processes until none is left that could start another.
    fn suspend(&self) -> Result<(), Failure> {
        self.signal_main(Signal::STOP);
        wait::until("a pause", || {
            let running: Vec<Pid> =
                self.folder.processes().into_iter().filter(|pid| !is_stopped(*pid)).collect();
            for pid in &running {
                let _ = kill_process(*pid, Signal::STOP);
            }
            match running.len() {
                0 => Ok(()),
                count => Err(Failure::new(format!("{count} processes still run"))),
            }
        })
    }

    fn signal_main(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            // The process may already have ended.
            let _ = kill_process(pid, signal);
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A panicking test must still be able to stop its server.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let mut start = log.len().saturating_sub(MAX_TAIL_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        format!("\n--- end of the log of {}:\n{}\n---", self.name, log[start..].trim_end())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Must not panic: a failing test drops its servers while it unwinds.
        if self.signals.quit != Signal::KILL {
            self.signal_main(self.signals.quit);
            self.resume();
            let _ = self.wait_until_ended(self.signals.quit, DROP_TIMEOUT);
        }
        let _ = self.end_process(Signal::KILL);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("port", &self.port)
            .field("pid", &self.pid())
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}

fn reports_port_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("could not create server tcp")
}

/// Returns whether the process is stopped, or is a zombie.
fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The state follows the name, which is in parentheses and may contain any character.
    let state = stat.as_deref().ok().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
}
